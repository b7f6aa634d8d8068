package main

import "testing"

func TestReadsTheVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want verdict
	}{
		"allow":                        {"\x0a\x00\x1a\x00", allowed},
		"allow, code 0 written":        {"\x0a\x02\x08\x00\x1a\x02ab", allowed},
		"allow with metadata":          {"\x1a\x00\x22\x03abc\x0a\x00", allowed},
		"allow, unknown scalars":       {"\x50\x07\x59abcdefgh\x5dabcd\x0a\x00\x1a\x00", allowed},
		"denial":                       {"\x0a\x02\x08\x07\x12\x00", denied},
		"denial, message before code":  {"\x0a\x05\x12\x01x\x08\x07\x12\x00", denied},
		"empty":                        {"", malformed},
		"no status":                    {"\x1a\x00", malformed},
		"status alone":                 {"\x0a\x00", malformed},
		"OK with a denied response":    {"\x0a\x00\x12\x00", malformed},
		"refused with an OK response":  {"\x0a\x02\x08\x07\x1a\x00", malformed},
		"ends inside a length":         {"\x0a", malformed},
		"ends inside a field":          {"\x0a\x00\x1a\x05ab", malformed},
		"group":                        {"\x0a\x00\x1a\x00\x2b", malformed},
		"status is not well-formed":    {"\x0a\x01\x08\x1a\x00", malformed},
		"scalar ends early":            {"\x0a\x00\x1a\x00\x5dab", malformed},
		"negative code":                {"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x12\x00", denied},
		"error response, neither form": {"\x0a\x02\x08\x0e\x2a\x00", malformed},
	} {
		if got := readAnswer([]byte(c.body)); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestReadsAnAnswerInParts(t *testing.T) {
	frame := "\x00\x00\x00\x00\x04\x0a\x00\x1a\x00"
	for cut := 1; cut < len(frame); cut++ {
		var c call
		c.reset(1, 0)
		c.read([]byte(frame[:cut]))
		if c.whole {
			t.Errorf("whole after %d bytes", cut)
		}
		c.read([]byte(frame[cut:]))
		if !c.whole || c.got != allowed {
			t.Errorf("cut at %d: %v %d", cut, c.whole, c.got)
		}
	}
	var twice call
	twice.read([]byte(frame))
	twice.read([]byte(frame))
	if twice.got != malformed {
		t.Error("two messages were taken for one")
	}
}
