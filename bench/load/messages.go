package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
)

// message is one request body and the places in it that hold the placeholder.
type message struct {
	body   []byte
	places []int
}

// varying says how the placeholder is filled: with a number of its own width, zero-padded, from 0 to cardinality-1.
type varying struct {
	width       int
	cardinality uint64
	sequence    bool
}

// numbers gives one connection its numbers. In a sequence of several connections each takes every n-th, so that together
// they name all of them equally often.
type numbers struct {
	varying
	random *rand.Rand
	next   uint64
	step   uint64
}

func newNumbers(v varying, connection, connections int) *numbers {
	return &numbers{varying: v, random: rand.New(rand.NewPCG(uint64(connection)+1, 77)), next: uint64(connection), step: uint64(connections)}
}

func (n *numbers) draw() uint64 {
	if !n.sequence {
		return n.random.Uint64N(n.cardinality)
	}
	drawn := n.next % n.cardinality
	n.next += n.step
	return drawn
}

// appendMessage appends the body with one drawn number in all its places.
func appendMessage(out []byte, m *message, n *numbers) []byte {
	start := len(out)
	out = append(out, m.body...)
	if len(m.places) > 0 {
		drawn := n.draw()
		for i := n.width - 1; i >= 0; i-- {
			digit := byte('0' + drawn%10)
			drawn /= 10
			for _, place := range m.places {
				out[start+place+i] = digit
			}
		}
	}
	return out
}

// findPlaces lists where the placeholder stands; they do not overlap.
func findPlaces(body []byte, placeholder string) []int {
	if placeholder == "" {
		return nil
	}
	var places []int
	for from := 0; ; {
		at := bytes.Index(body[from:], []byte(placeholder))
		if at < 0 {
			return places
		}
		places = append(places, from+at)
		from += at + len(placeholder)
	}
}

// readMessages reads a file of messages, each behind its length as 4 bytes big-endian; or of one raw message.
func readMessages(file string, single bool, placeholder string) ([]message, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var bodies [][]byte
	if single {
		bodies = [][]byte{data}
	} else if bodies, err = split(data); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	messages := make([]message, 0, len(bodies))
	for _, body := range bodies {
		m := message{body: body, places: findPlaces(body, placeholder)}
		if placeholder != "" && len(m.places) == 0 {
			return nil, fmt.Errorf("%s: a message does not hold the placeholder %q", file, placeholder)
		}
		messages = append(messages, m)
	}
	return messages, nil
}

func split(data []byte) ([][]byte, error) {
	var bodies [][]byte
	for len(data) > 0 {
		if len(data) < 4 {
			return nil, errors.New("ends inside a length; use --single for one raw message")
		}
		length := binary.BigEndian.Uint32(data)
		if uint64(len(data)-4) < uint64(length) {
			return nil, errors.New("ends inside a message; use --single for one raw message")
		}
		bodies = append(bodies, data[4:4+length])
		data = data[4+length:]
	}
	if len(bodies) == 0 {
		return nil, errors.New("holds no message")
	}
	return bodies, nil
}

func newVarying(placeholder string, cardinality uint64, sequence bool) (varying, error) {
	v := varying{width: len(placeholder), cardinality: cardinality, sequence: sequence}
	if placeholder == "" {
		return v, nil
	}
	highest := uint64(1)
	for i := 0; i < v.width && i < 19; i++ {
		highest *= 10
	}
	if cardinality < 1 || cardinality > highest {
		return v, fmt.Errorf("--cardinality must be 1 to %d for a placeholder of %d characters", highest, v.width)
	}
	return v, nil
}
