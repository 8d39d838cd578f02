package main

import (
	"encoding/binary"
	"errors"
)

// job returns what the application called name does; nil for the echo.
func job(name string) (app, error) {
	switch name {
	case "":
		return nil, nil
	case "push":
		return push, nil
	}
	return nil, errors.New("no job is called " + name)
}

// push sends as many messages as it is asked for, without waiting. They are
// numbered, and 64 bytes long.
func push(send func([]byte) error) func([]byte) error {
	message := append([]byte(nil), pushed(0)...)
	sent := uint64(0)
	return func(order []byte) error {
		for n := binary.BigEndian.Uint64(order); n > 0; n-- {
			binary.BigEndian.PutUint64(message, sent)
			if err := send(message); err != nil {
				return err
			}
			sent++
		}
		return nil
	}
}

// pushed is message number n of push.
func pushed(n uint64) []byte {
	m := []byte("________ is the number of this message, which is 64 bytes long..")
	binary.BigEndian.PutUint64(m, n)
	return m
}
