package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// report is what is printed with --json. Latencies are microseconds.
type report struct {
	Requests uint64    `json:"requests"`
	Failed   uint64    `json:"failed"`
	Wrong    uint64    `json:"wrong"`
	Seconds  float64   `json:"seconds"`
	Rate     float64   `json:"rate"`
	Latency  latencies `json:"latency_us"`
	Sent     uint64    `json:"bytes_sent"`
	Received uint64    `json:"bytes_received"`
	Begin    int64     `json:"begin_unix_ns"`
	End      int64     `json:"end_unix_ns"`
	OwnCPU   float64   `json:"own_cpu_us_per_request"`
}

type latencies struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

func newReport(s span, tallies []*tally) report {
	var all tally
	for _, t := range tallies {
		all.requests += t.requests
		all.failed += t.failed
		all.wrong += t.wrong
		all.sent += t.sent
		all.received += t.received
		all.latency.merge(&t.latency)
	}
	us := func(q float64) float64 { return float64(all.latency.quantile(q)) / 1000 }
	r := report{
		Requests: all.requests, Failed: all.failed, Wrong: all.wrong, Sent: all.sent, Received: all.received,
		Seconds: s.seconds, Rate: float64(all.requests) / s.seconds, Begin: s.beginUnixNs, End: s.endUnixNs,
		Latency: latencies{us(0.5), us(0.9), us(0.99), us(0.999), float64(all.latency.max) / 1000},
	}
	if all.requests > 0 {
		r.OwnCPU = s.ownCPU.Seconds() * 1e6 / float64(all.requests)
	}
	return r
}

func (r report) print(asJSON bool) error {
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	_, err := fmt.Printf("%d answers in %.2f s: %.0f/s, %d failed, %d wrong; p50 %.0f p90 %.0f p99 %.0f p99.9 %.0f max %.0f us; own CPU %.2f us a request\n",
		r.Requests, r.Seconds, r.Rate, r.Failed, r.Wrong, r.Latency.P50, r.Latency.P90, r.Latency.P99, r.Latency.P999, r.Latency.Max, r.OwnCPU)
	return err
}
