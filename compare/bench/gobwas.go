package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"io"
	"net"
	"sync"

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
	in := bufio.NewReaderSize(c, s.readBuffer(4<<10))
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
		h.Masked, h.Mask = false, [4]byte{}
		switch {
		case h.Rsv != 0:
			err = echoPacked(h, buf, write)
		case receive != nil:
			err = receive(buf)
		default:
			err = write(h, buf)
		}
		if err != nil {
			return
		}
	}
}

// A gobwasPacker compresses with the standard library, as wsflate's documentation
// does, each message by itself. It needs 1.2 MB, so connections share them.
type gobwasPacker struct {
	in       bytes.Reader
	inflater *wsflate.Reader
	inflated []byte
	out      bytes.Buffer
	deflater *wsflate.Writer
}

var gobwasPackers = sync.Pool{New: func() any {
	return &gobwasPacker{
		inflater: wsflate.NewReader(nil, func(r io.Reader) wsflate.Decompressor { return flate.NewReader(r) }),
		deflater: wsflate.NewWriter(nil, func(w io.Writer) wsflate.Compressor {
			f, _ := flate.NewWriter(w, flate.BestSpeed)
			return f
		}),
	}
}}

// echoPacked inflates a message, and returns it compressed anew.
func echoPacked(h ws.Header, p []byte, write func(ws.Header, []byte) error) (err error) {
	k := gobwasPackers.Get().(*gobwasPacker)
	defer gobwasPackers.Put(k)
	k.in.Reset(p)
	k.inflater.Reset(&k.in)
	if k.inflated, err = readAll(k.inflater, k.inflated[:0]); err != nil {
		return err
	}
	k.out.Reset()
	k.deflater.Reset(&k.out)
	if _, err := k.deflater.Write(k.inflated); err != nil {
		return err
	}
	if err := k.deflater.Flush(); err != nil {
		return err
	}
	h.Length = int64(k.out.Len())
	return write(h, k.out.Bytes())
}
