package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestReadsDelimitedMessages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "messages")
	if err := os.WriteFile(file, []byte("\x00\x00\x00\x03abc\x00\x00\x00\x01d"), 0o600); err != nil {
		t.Fatal(err)
	}
	messages, err := readMessages(file, false, "")
	if err != nil || len(messages) != 2 || string(messages[0].body) != "abc" || string(messages[1].body) != "d" {
		t.Fatal(messages, err)
	}
	if _, err := readMessages(file, false, "zz"); err == nil {
		t.Error("a message without the placeholder was taken")
	}
	if single, err := readMessages(file, true, "bc"); err != nil || len(single) != 1 || single[0].places[0] != 5 {
		t.Error(single, err)
	}
	for _, broken := range []string{"", "\x00\x00", "\x00\x00\x00\x09abc"} {
		if _, err := split([]byte(broken)); err == nil {
			t.Errorf("%q was taken for messages", broken)
		}
	}
}

func TestFillsEveryPlaceWithOneNumber(t *testing.T) {
	m := message{body: []byte("a-0000-b-0000"), places: findPlaces([]byte("a-0000-b-0000"), "0000")}
	first := newNumbers(varying{width: 4, cardinality: 5, sequence: true}, 0, 2)
	second := newNumbers(varying{width: 4, cardinality: 5, sequence: true}, 1, 2)
	var got []string
	for range 3 {
		got = append(got, string(appendMessage(nil, &m, first)), string(appendMessage([]byte("x"), &m, second)))
	}
	want := []string{"a-0000-b-0000", "xa-0001-b-0001", "a-0002-b-0002", "xa-0003-b-0003", "a-0004-b-0004", "xa-0000-b-0000"}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("message %d: %s, want %s", i, got[i], want[i])
		}
	}
	if !bytes.Equal(m.body, []byte("a-0000-b-0000")) {
		t.Error("the message itself was changed")
	}
	seen := map[uint64]bool{}
	random := newNumbers(varying{width: 4, cardinality: 5}, 0, 1)
	for range 200 {
		seen[random.draw()] = true
	}
	if len(seen) != 5 {
		t.Error("random numbers were", seen)
	}
}

func TestBoundsCardinality(t *testing.T) {
	if _, err := newVarying("00", 101, false); err == nil {
		t.Error("101 numbers do not fit in two digits")
	}
	if _, err := newVarying("00", 100, false); err != nil {
		t.Error(err)
	}
}
