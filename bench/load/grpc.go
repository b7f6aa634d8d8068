package main

import (
	"errors"
	"net"
	"sync"
	"time"
)

// grpcLoad is one run of unary calls.
type grpcLoad struct {
	endpoint                endpoint
	scheme, authority, path string
	messages                []message
	varying                 varying
	conns, streams          int
	timeout                 time.Duration
	// Requests a second over all connections; 0 for a closed loop, where each stream asks again when it was answered.
	rate   float64
	expect string
}

func (g *grpcLoad) open() bool { return g.rate > 0 }

func (g *grpcLoad) expected(got verdict) bool {
	switch g.expect {
	case "allow":
		return got == allowed
	case "deny":
		return got == denied
	}
	return got != malformed
}

// execute runs the load and gives what was measured.
func (g *grpcLoad) execute(t timing) (report, error) {
	r := newRun()
	links := make([]*link, g.conns)
	for i := range links {
		links[i] = newLink(r, g, i)
		if err := links[i].open(); err != nil {
			return report{}, err
		}
	}
	var done sync.WaitGroup
	for _, l := range links {
		done.Go(l.keep)
	}
	if g.open() {
		done.Go(func() { pace(r, g.rate, func(due int64) bool { return startSomewhere(links, due) }) })
	}
	s, err := r.hold(t)
	r.phase.Store(over)
	for _, l := range links {
		l.close()
	}
	done.Wait()
	if err != nil {
		return report{}, err
	}
	tallies := make([]*tally, g.conns)
	for i, l := range links {
		tallies[i] = l.tally
	}
	return newReport(s, tallies), nil
}

// What had no answer for so long when the run ended has failed; what was asked later was cut off by the end.
const patience = 2 * time.Second

// keep serves, and connects again where the peer ended the connection.
func (l *link) keep() {
	for {
		err := l.serve()
		if l.run.ended() {
			l.lost(err, l.run.now()-int64(patience))
			return
		}
		l.lost(err, l.run.now())
		if !errors.Is(err, errGoneAway) {
			l.run.tellOnce("end of a connection", "%v", err)
		}
		l.close()
		for {
			if err = l.open(); err == nil {
				break
			}
			if l.run.ended() {
				return
			}
			l.run.tellOnce("failure to connect again", "%v", err)
			time.Sleep(50 * time.Millisecond)
		}
		if l.run.ended() {
			l.close()
			return
		}
	}
}

func (l *link) close() {
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		// Without the farewell of TLS, which waits for a writer.
		conn = secure.NetConn()
	}
	_ = conn.Close()
}

// startSomewhere starts a request that was due at that time on a connection with a free stream.
func startSomewhere(links []*link, due int64) bool {
	first := int(due) % len(links)
	for i := range links {
		l := links[(first+i)%len(links)]
		l.mu.Lock()
		if l.canStart() {
			l.start().began = due
			// Its error is seen by the reader too, which connects again.
			_ = l.flush()
			l.mu.Unlock()
			return true
		}
		l.mu.Unlock()
	}
	return false
}
