package main

import (
	"runtime"
	"syscall"
	"time"
)

// pace calls start at even distances, until the run ends. A request that finds no free place waits for one, and its latency
// counts from when it was due: a server that falls behind is seen to.
func pace(r *run, rate float64, start func(due int64) bool) {
	// The runtime's timers sleep in whole milliseconds where nothing else happens; the thread's own sleep is finer.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := r.now()
	distance := float64(time.Second) / rate
	for i := 0; !r.ended(); {
		due := began + int64(float64(i)*distance)
		if wait := due - r.now(); wait > 0 {
			pause(wait)
			continue
		}
		if start(due) {
			i++
		} else {
			pause(int64(100 * time.Microsecond))
		}
	}
}

func pause(ns int64) {
	span := syscall.NsecToTimespec(min(ns, int64(10*time.Millisecond)))
	_ = syscall.Nanosleep(&span, nil)
}
