package main

import (
	"bytes"
	"fmt"

	"golang.org/x/net/http2"
)

// handle takes one frame of the peer. What it answers leaves with the next flush.
func (l *link) handle(frame http2.Frame) error {
	switch f := frame.(type) {
	case *http2.DataFrame:
		return l.takeData(f)
	case *http2.HeadersFrame:
		if !f.HeadersEnded() {
			l.block = append(l.block[:0], f.HeaderBlockFragment()...)
			// The stream's end is told by the HEADERS frame, before its continuations.
			if c := l.active[f.StreamID]; c != nil {
				c.opened = f.StreamEnded()
			}
			return nil
		}
		return l.takeFields(f.StreamID, f.HeaderBlockFragment(), f.StreamEnded())
	case *http2.ContinuationFrame:
		l.block = append(l.block, f.HeaderBlockFragment()...)
		if !f.HeadersEnded() {
			return nil
		}
		c := l.active[f.StreamID]
		return l.takeFields(f.StreamID, l.block, c != nil && c.opened)
	case *http2.RSTStreamFrame:
		if c := l.active[f.StreamID]; c != nil {
			l.fail(c, "stream reset: %v", f.ErrCode)
		}
	case *http2.SettingsFrame:
		return l.takeSettings(f)
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			l.window += int64(f.Increment)
		} else if c := l.active[f.StreamID]; c != nil {
			c.window += int64(f.Increment)
		}
		l.push()
	case *http2.PingFrame:
		if !f.IsAck() {
			return l.framer.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		l.leaving = true
		for stream, c := range l.active {
			if stream > f.LastStreamID {
				l.fail(c, "GOAWAY: %v, last stream %d", f.ErrCode, f.LastStreamID)
			}
		}
		return l.leave()
	}
	return nil
}

func (l *link) takeSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		switch s.ID {
		case http2.SettingInitialWindowSize:
			change := int64(s.Val) - l.streamWindow
			l.streamWindow += change
			for _, c := range l.active {
				c.window += change
			}
		case http2.SettingMaxFrameSize:
			l.frameSize = min(s.Val, 1<<20)
		case http2.SettingMaxConcurrentStreams:
			l.streams = min(s.Val, uint32(l.load.streams))
		case http2.SettingHeaderTableSize:
			l.request.tableSize(s.Val)
		}
		return s.Valid()
	})
	if err != nil {
		return err
	}
	l.ready = true
	l.push()
	return l.framer.WriteSettingsAck()
}

func (l *link) takeData(f *http2.DataFrame) error {
	if l.used += f.Length; l.used >= windowRefill {
		if err := l.framer.WriteWindowUpdate(0, l.used); err != nil {
			return err
		}
		l.used = 0
	}
	c := l.active[f.StreamID]
	if c == nil {
		return nil
	}
	c.read(f.Data())
	if c.whole && len(c.body) == 0 && !l.load.expected(c.got) {
		// Kept to be shown.
		c.body = append(c.body, f.Data()...)
	}
	if f.StreamEnded() {
		// Without trailers there is no grpc-status.
		return l.finish(c, "")
	}
	return nil
}

func (l *link) takeFields(stream uint32, block []byte, ended bool) error {
	// Read in any case: each block may change the table that the next one is read with.
	fields, err := l.reader.read(block)
	if err != nil {
		return fmt.Errorf("header block of stream %d: %w", stream, err)
	}
	c := l.active[stream]
	if c == nil {
		return nil
	}
	if fields.status >= 0 {
		c.status = fields.status
	}
	if !ended {
		return nil
	}
	c.grpcStatus = fields.grpcStatus
	return l.finish(c, fields.message)
}

// finish judges a whole answer: HTTP 200, grpc-status 0, and one message that says what is expected.
func (l *link) finish(c *call, message string) error {
	switch {
	case c.status != 200 || c.grpcStatus != 0:
		l.fail(c, "HTTP status %d, grpc-status %d %s", c.status, c.grpcStatus, message)
		return l.leave()
	case !c.whole:
		l.fail(c, "grpc-status 0 without a whole message")
		return l.leave()
	}
	if l.run.counting() {
		l.tally.requests++
		l.tally.latency.add(uint64(max(0, l.run.now()-c.began)))
		if !l.load.expected(c.got) {
			l.tally.wrong++
			l.run.tellWrong(bytes.Clone(c.body))
		}
	} else if !l.load.expected(c.got) {
		l.run.tellWrong(bytes.Clone(c.body))
	}
	l.release(c)
	return l.leave()
}

func (l *link) fail(c *call, format string, args ...any) {
	if !l.run.ended() {
		l.run.tellOnce("failure", format, args...)
		if l.run.counting() {
			l.tally.failed++
		}
	}
	l.release(c)
}

func (l *link) release(c *call) {
	delete(l.active, c.stream)
	if len(c.pending) > 0 {
		c.pending = c.pending[:0]
		for i, waiting := range l.blocked {
			if waiting == c {
				l.blocked = append(l.blocked[:i], l.blocked[i+1:]...)
				break
			}
		}
	}
	l.free = append(l.free, c)
}

// leave ends a connection that the peer, or the count of streams, bids to leave, when the last answer has come.
func (l *link) leave() error {
	if l.leaving && len(l.active) == 0 {
		return errGoneAway
	}
	return nil
}
