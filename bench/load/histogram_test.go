package main

import "testing"

func TestBucketsHoldTheirValues(t *testing.T) {
	last := -1
	for value := uint64(0); value < 1<<40; value += 1 + value/50 {
		bucket := bucketOf(value)
		upper := upperOf(bucket)
		if bucket < last || upper < value || bucketOf(upper) != bucket || float64(upper-value) > 0.008*float64(value)+1 {
			t.Fatalf("%d fell in bucket %d, whose upper end is %d", value, bucket, upper)
		}
		last = bucket
	}
	if bucketOf(1<<64-1) >= buckets {
		t.Error("the highest value has no bucket")
	}
}

func TestQuantiles(t *testing.T) {
	var one, two histogram
	for value := uint64(1); value <= 100; value++ {
		if value%2 == 0 {
			one.add(value)
		} else {
			two.add(value)
		}
	}
	one.merge(&two)
	for q, want := range map[float64]uint64{0.5: 50, 0.9: 90, 0.99: 99, 1: 100} {
		if got := one.quantile(q); got != want {
			t.Errorf("quantile %v is %d, want %d", q, got, want)
		}
	}
	if (&histogram{}).quantile(0.5) != 0 {
		t.Error("an empty histogram has no quantile")
	}
}
