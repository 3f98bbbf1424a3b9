package main

import (
	"cmp"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/springtide/springtide"
)

// inOrder is that of snapshots; all groups here differ by their apps only.
func inOrder(a, b springtide.Instance) int {
	return cmp.Or(cmp.Compare(a.Group.Environment.App, b.Group.Environment.App), cmp.Compare(a.ID, b.ID))
}

func timed(what func() error) (seconds float64, err error) {
	began := time.Now()
	err = what()
	return time.Since(began).Seconds(), err
}

// each does something that often, and gives the median and the longest time of one,
// and what processor time one took, in milliseconds.
func each(times int, what func(n int) error) (median, longest, processor float64, err error) {
	var took []float64
	before := processorTime()
	for n := range times {
		seconds, err := timed(func() error { return what(n) })
		if err != nil {
			return 0, 0, 0, err
		}
		took = append(took, seconds*1000)
	}
	processor = milliseconds(processorTime()-before) / float64(times)
	slices.Sort(took)
	return took[len(took)/2], took[len(took)-1], processor, nil
}

// processorTime is what this process has had.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// heap is what is in use after a collection, in MiB.
func heap() float64 {
	runtime.GC()
	runtime.GC() // what the first one found to be finalised
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return float64(memory.HeapAlloc) / (1 << 20)
}
