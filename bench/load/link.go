package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/net/http2"
)

const (
	readBuffer = 256 << 10
	// The peer may have this much in flight on a connection, and is told again when a part is used up.
	connectionWindow = 1 << 30
	windowRefill     = 64 << 20
	streamLimit      = 1<<31 - 1
)

var errGoneAway = errors.New("the peer said GOAWAY")

// link is one HTTP/2 connection. One goroutine reads it, and writes what the answers allow to be sent, in one write for all
// that one read brought; in an open loop the pacer writes too, so everything stands under the lock.
type link struct {
	run    *run
	load   *grpcLoad
	tally  *tally
	counts *numbers

	mu      sync.Mutex
	conn    net.Conn
	in      *bufio.Reader
	framer  *http2.Framer
	out     []byte
	request *requestFields
	reader  *fieldReader
	block   []byte

	active  map[uint32]*call
	free    []*call
	fresh   []*call
	blocked []*call
	stream  uint32
	// What the peer allows: bytes on the connection and on a new stream, a frame's length, streams at once.
	window, streamWindow int64
	frameSize, streams   uint32
	used                 uint32
	ready, leaving       bool
	received             uint64
	turn                 int
}

func newLink(r *run, load *grpcLoad, index int) *link {
	return &link{run: r, load: load, tally: &tally{}, counts: newNumbers(load.varying, index, load.conns), turn: index}
}

// Write takes what the framer writes: it leaves with the next flush.
func (l *link) Write(data []byte) (int, error) {
	l.out = append(l.out, data...)
	return len(data), nil
}

// Read counts what comes.
func (l *link) Read(data []byte) (int, error) {
	n, err := l.conn.Read(data)
	l.received += uint64(n)
	return n, err
}

// open connects and sends the preface. Requests wait for the peer's settings.
func (l *link) open() error {
	conn, err := l.load.endpoint.dial()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.in = conn, bufio.NewReaderSize(l, readBuffer)
	l.framer = http2.NewFramer(l, l.in)
	l.framer.SetReuseFrames()
	l.framer.SetMaxReadFrameSize(1 << 20)
	l.request, l.reader = newRequestFields(l.load.scheme, l.load.authority, l.load.path, l.load.timeout), newFieldReader()
	l.out = append(l.out[:0], http2.ClientPreface...)
	l.active, l.free, l.fresh, l.blocked, l.stream = map[uint32]*call{}, nil, nil, nil, 1
	l.window, l.streamWindow, l.frameSize, l.streams = 65535, 65535, 16384, uint32(l.load.streams)
	l.used, l.ready, l.leaving = 0, false, false
	for range l.load.streams {
		l.free = append(l.free, &call{})
	}
	settings := []http2.Setting{{ID: http2.SettingEnablePush, Val: 0}, {ID: http2.SettingInitialWindowSize, Val: answerLimit}}
	if err := l.framer.WriteSettings(settings...); err != nil {
		return err
	}
	if err := l.framer.WriteWindowUpdate(0, connectionWindow-65535); err != nil {
		return err
	}
	return l.flush()
}

// serve reads until the connection ends.
func (l *link) serve() error {
	for {
		if !l.frameBuffered() {
			// The next read waits: send first what was gathered, so that the peer has something to answer.
			l.mu.Lock()
			err := l.flush()
			l.mu.Unlock()
			if err != nil {
				return err
			}
		}
		frame, err := l.framer.ReadFrame()
		if err != nil {
			return err
		}
		l.mu.Lock()
		if l.received > 0 && l.run.counting() {
			l.tally.received += l.received
		}
		l.received = 0
		if err = l.handle(frame); err == nil && !l.load.open() {
			l.startFree()
		}
		l.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// frameBuffered tells whether the next frame can be read without waiting.
func (l *link) frameBuffered() bool {
	if l.in.Buffered() < 9 {
		return false
	}
	head, err := l.in.Peek(3)
	return err == nil && l.in.Buffered() >= 9+(int(head[0])<<16|int(head[1])<<8|int(head[2]))
}

func (l *link) flush() error {
	if len(l.out) == 0 {
		return nil
	}
	if len(l.fresh) > 0 {
		now := l.run.now()
		for _, c := range l.fresh {
			c.began = now
		}
		l.fresh = l.fresh[:0]
	}
	if l.run.counting() {
		l.tally.sent += uint64(len(l.out))
	}
	_, err := l.conn.Write(l.out)
	l.out = l.out[:0]
	return err
}

// startFree starts a request on every slot that is free, as many as the peer allows.
func (l *link) startFree() {
	if l.run.ended() {
		return
	}
	for l.canStart() {
		l.fresh = append(l.fresh, l.start())
	}
}

func (l *link) canStart() bool {
	return l.ready && !l.leaving && len(l.free) > 0 && uint32(len(l.active)) < l.streams
}

// start writes one request. What the windows do not allow yet is kept with the call.
func (l *link) start() *call {
	c := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	c.reset(l.stream, l.streamWindow)
	if l.stream += 2; l.stream >= streamLimit {
		l.leaving = true
	}
	l.active[c.stream] = c
	l.out = appendFrame(l.out, http2.FrameHeaders, http2.FlagHeadersEndHeaders, c.stream, l.request.block())
	m := &l.load.messages[l.turn%len(l.load.messages)]
	l.turn++
	length := grpcPrefix + len(m.body)
	if int64(length) <= min(l.window, c.window) && length <= int(l.frameSize) {
		l.out = appendFrameHead(l.out, http2.FrameData, http2.FlagDataEndStream, c.stream, length)
		l.out = l.appendBody(l.out, m)
		l.window -= int64(length)
		return c
	}
	c.pending = l.appendBody(c.pending, m)
	l.blocked = append(l.blocked, c)
	l.push()
	return c
}

func (l *link) appendBody(out []byte, m *message) []byte {
	n := len(m.body)
	out = append(out, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	return appendMessage(out, m, l.counts)
}

// push sends of the waiting calls what the windows allow.
func (l *link) push() {
	left := l.blocked[:0]
	for _, c := range l.blocked {
		for len(c.pending) > 0 {
			n := min(int64(len(c.pending)), int64(l.frameSize), l.window, c.window)
			if n <= 0 {
				break
			}
			var flags http2.Flags
			if n == int64(len(c.pending)) {
				flags = http2.FlagDataEndStream
			}
			l.out = appendFrame(l.out, http2.FrameData, flags, c.stream, c.pending[:n])
			c.pending = c.pending[n:]
			l.window -= n
			c.window -= n
		}
		if len(c.pending) > 0 {
			left = append(left, c)
		}
	}
	l.blocked = left
}

func appendFrame(out []byte, kind http2.FrameType, flags http2.Flags, stream uint32, payload []byte) []byte {
	return append(appendFrameHead(out, kind, flags, stream, len(payload)), payload...)
}

func appendFrameHead(out []byte, kind http2.FrameType, flags http2.Flags, stream uint32, n int) []byte {
	return append(out, byte(n>>16), byte(n>>8), byte(n), byte(kind), byte(flags), byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

// lost counts what the end of the connection left unanswered: all of it, or at the run's end what had waited long.
func (l *link) lost(cause error, since int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.active {
		if c.began <= since {
			l.tally.failed++
			l.run.tellOnce("failure", "%v", fmt.Errorf("stream %d got no answer: %w", c.stream, cause))
		}
	}
	clear(l.active)
}
