package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The phases of a run. Only answers that come while measuring are counted.
const (
	warming int32 = iota
	measuring
	over
)

// tally is what one connection counted. It belongs to that connection's goroutine until the run is over.
type tally struct {
	requests, failed, wrong uint64
	sent, received          uint64
	latency                 histogram
}

// run is what all connections of one run share.
type run struct {
	phase  atomic.Int32
	began  time.Time
	told   sync.Map
	closed chan struct{}
}

func newRun() *run { return &run{began: time.Now(), closed: make(chan struct{})} }

// now is monotonic, in nanoseconds since the run began.
func (r *run) now() int64 { return int64(time.Since(r.began)) }

func (r *run) counting() bool { return r.phase.Load() == measuring }

func (r *run) ended() bool { return r.phase.Load() == over }

// tellOnce says on stderr the first of each kind of what went wrong: thousands that follow are alike.
func (r *run) tellOnce(kind, format string, args ...any) {
	if _, was := r.told.LoadOrStore(kind, true); !was {
		fmt.Fprintf(os.Stderr, "postern-load: first %s: %s\n", kind, fmt.Sprintf(format, args...))
	}
}

func (r *run) tellWrong(body []byte) {
	r.tellOnce("wrong answer", "%s", hex.EncodeToString(body[:min(len(body), 4096)]))
}

// timing is how long a run warms up and measures, and whether it waits at the gate between them.
type timing struct {
	warmup, seconds time.Duration
	gate            bool
}

// span is what was measured from outside the connections.
type span struct {
	beginUnixNs, endUnixNs int64
	seconds                float64
	ownCPU                 time.Duration
}

// hold lets the connections run: warm-up, gate, measured time. With the gate it prints `ready`, and goes on when a line
// comes on stdin; the load keeps running while it waits. It prints `begin` and `end` with the wall-clock time in nanoseconds
// at these instants; from `end` on nothing more is asked, and the connections stay open until one more line comes.
func (r *run) hold(t timing) (span, error) {
	time.Sleep(t.warmup)
	stdin := bufio.NewReader(os.Stdin)
	pass := func() error {
		if _, err := stdin.ReadString('\n'); err != nil {
			return errors.New("stdin ended before a line came through the gate")
		}
		return nil
	}
	if t.gate {
		fmt.Println("ready")
		if err := pass(); err != nil {
			return span{}, err
		}
	}
	own := ownCPU()
	began := time.Now()
	r.phase.Store(measuring)
	if t.gate {
		fmt.Println("begin", began.UnixNano())
	}
	time.Sleep(t.seconds)
	ended := time.Now()
	r.phase.Store(over)
	s := span{began.UnixNano(), ended.UnixNano(), ended.Sub(began).Seconds(), ownCPU() - own}
	if t.gate {
		fmt.Println("end", ended.UnixNano())
		return s, pass()
	}
	return s, nil
}

// ownCPU is the user and system time of this process.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
