package main

import "math/bits"

// A latency histogram with logarithmic buckets: 128 in each power of two, so that a value is known to better than 0.8 %.
// Values are nanoseconds.
const (
	subBits = 7
	subs    = 1 << subBits
	buckets = (64 - subBits + 1) * subs
)

type histogram struct {
	counts [buckets]uint64
	total  uint64
	max    uint64
}

func bucketOf(value uint64) int {
	if value < subs {
		return int(value)
	}
	shift := bits.Len64(value) - subBits - 1
	// The top bit is implied by the row, the next seven choose the bucket in it.
	return (shift+1)<<subBits + int(value>>shift) - subs
}

// upperOf is the highest value that falls in the bucket.
func upperOf(bucket int) uint64 {
	row, column := uint(bucket>>subBits), uint64(bucket&(subs-1))
	if row == 0 {
		return column
	}
	return (subs+column+1)<<(row-1) - 1
}

func (h *histogram) add(value uint64) {
	h.counts[bucketOf(value)]++
	h.total++
	h.max = max(h.max, value)
}

func (h *histogram) merge(other *histogram) {
	for i, count := range other.counts {
		h.counts[i] += count
	}
	h.total += other.total
	h.max = max(h.max, other.max)
}

// quantile is the value that the part q of all values does not exceed; 0 of an empty histogram.
func (h *histogram) quantile(q float64) uint64 {
	rank := uint64(q * float64(h.total))
	if float64(rank) < q*float64(h.total) {
		rank++
	}
	var seen uint64
	for i, count := range h.counts {
		if seen += count; count > 0 && seen >= rank {
			return min(upperOf(i), h.max)
		}
	}
	return h.max
}
