package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"io"
	"net"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
)

// serveGobwas upgrades without net/http and reads frames without wsutil, the
// fastest that its README describes. One buffer makes one system call of a frame's
// header and payload.
func serveGobwas(s setting) error {
	room := new(room[net.Conn])
	return acceptGobwas(s, func(c net.Conn) {
		var out []byte
		frame := make(frameBuffer, 0, ws.MaxHeaderSize)
		scratch := make([]byte, ws.MaxHeaderSize)
		write := func(h ws.Header, p []byte) error {
			frame = frame[:0]
			if err := ws.WriteHeaderBuffer(&frame, h, scratch); err != nil {
				return err
			}
			if len(p) > 16<<10 {
				_, err := (&net.Buffers{frame, p}).WriteTo(c)
				return err
			}
			out = append(append(out[:0], frame...), p...)
			_, err := c.Write(out)
			return err
		}
		gobwasLoop(c, s, room, write, func() error { return nil })
	})
}

// serveGobwasByHand gathers what it writes until it has to read.
func serveGobwasByHand(s setting) error {
	return acceptGobwas(s, func(c net.Conn) {
		out := bufio.NewWriterSize(c, 64<<10)
		scratch := make([]byte, ws.MaxHeaderSize)
		write := func(h ws.Header, p []byte) error {
			if err := ws.WriteHeaderBuffer(out, h, scratch); err != nil {
				return err
			}
			_, err := out.Write(p)
			return err
		}
		gobwasLoop(c, s, nil, write, out.Flush)
	})
}

type frameBuffer []byte

func (b *frameBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

func acceptGobwas(s setting, serve func(net.Conn)) error {
	ln := s.listener()
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			var up ws.Upgrader
			if s.cfg.Deflate {
				up.Negotiate = (&wsflate.Extension{Parameters: wsflate.DefaultParameters}).Negotiate
			}
			if _, err := up.Upgrade(c); err == nil {
				serve(c)
			}
		}()
	}
}

func gobwasLoop(c net.Conn, s setting, room *room[net.Conn], write func(ws.Header, []byte) error, beforeRead func() error) {
	send := func(p []byte) error {
		return write(ws.Header{Fin: true, OpCode: ws.OpBinary, Length: int64(len(p))}, p)
	}
	// A broadcast is compiled once, and written in a loop: a slow member would hold
	// up all others.
	receive := s.receiver(send, func() func([]byte) {
		room.add(c)
		return func(p []byte) {
			frame := ws.MustCompileFrame(ws.NewBinaryFrame(p))
			room.each(func(c net.Conn) { c.Write(frame) })
		}
	})
	packer := newGobwasPacker()
	size := 4 << 10
	if s.cfg.Large {
		size = 64 << 10
	}
	in := bufio.NewReaderSize(c, size)
	header := make([]byte, ws.MaxHeaderSize)
	var buf []byte
	for {
		buf = s.keep(buf)
		if in.Buffered() == 0 && beforeRead() != nil {
			return
		}
		h, err := ws.ReadHeaderBuffer(in, header)
		if err != nil || h.OpCode == ws.OpClose {
			return
		}
		if int64(cap(buf)) < h.Length {
			buf = make([]byte, h.Length)
		}
		buf = buf[:h.Length]
		if _, err := io.ReadFull(in, buf); err != nil {
			return
		}
		ws.Cipher(buf, h.Mask, 0)
		if h.Rsv != 0 {
			if buf, err = packer.inflate(buf); err != nil {
				return
			}
		}
		if receive != nil {
			err = receive(buf)
		} else {
			err = packer.echo(ws.Header{Fin: true, OpCode: h.OpCode, Rsv: h.Rsv}, buf, write)
		}
		if err != nil {
			return
		}
	}
}

// A gobwasPacker compresses with the standard library, as wsflate's documentation
// does, each message by itself.
type gobwasPacker struct {
	in       bytes.Reader
	inflater *wsflate.Reader
	inflated []byte
	out      bytes.Buffer
	deflater *wsflate.Writer
}

func newGobwasPacker() *gobwasPacker {
	return &gobwasPacker{
		inflater: wsflate.NewReader(nil, func(r io.Reader) wsflate.Decompressor { return flate.NewReader(r) }),
		deflater: wsflate.NewWriter(nil, func(w io.Writer) wsflate.Compressor {
			f, _ := flate.NewWriter(w, flate.BestSpeed)
			return f
		}),
	}
}

func (k *gobwasPacker) inflate(p []byte) (_ []byte, err error) {
	k.in.Reset(p)
	k.inflater.Reset(&k.in)
	k.inflated, err = readAll(k.inflater, k.inflated[:0])
	return k.inflated, err
}

// echo writes a message as it came, compressed or not.
func (k *gobwasPacker) echo(h ws.Header, p []byte, write func(ws.Header, []byte) error) error {
	if h.Rsv != 0 {
		k.out.Reset()
		k.deflater.Reset(&k.out)
		if _, err := k.deflater.Write(p); err != nil {
			return err
		}
		if err := k.deflater.Flush(); err != nil {
			return err
		}
		p = k.out.Bytes()
	}
	h.Length = int64(len(p))
	return write(h, p)
}
