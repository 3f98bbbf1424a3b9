package main

import (
	"time"

	"github.com/springtide/springtide/bench/load"
)

// plan is what happens when.
type plan struct {
	// low and high are requests per second before and after the step.
	low, high float64
	// calm goes before the step, plateau is how long the high rate lasts, ebb
	// goes after it.
	calm, plateau, ebb time.Duration
	// Counted from the step; each also waits for what goes before it.
	deploy, killInstance, killControl time.Duration
	// streams is how many WebSockets there are, and how many event streams.
	streams int
}

func fullPlan() plan {
	return plan{
		low: 20, high: 400, calm: 6 * time.Second, plateau: 30 * time.Second, ebb: 10 * time.Second,
		deploy: 7 * time.Second, killInstance: 16 * time.Second, killControl: 21 * time.Second, streams: 10,
	}
}

func quickPlan() plan {
	return plan{
		low: 10, high: 200, calm: 3 * time.Second, plateau: 22 * time.Second, ebb: 4 * time.Second, // a busy machine deploys for longer
		deploy: 4 * time.Second, killInstance: 9 * time.Second, killControl: 11 * time.Second, streams: 5,
	}
}

func (p plan) schedule() load.Schedule {
	return load.Schedule{load.Steady(p.low, p.calm), load.Steady(p.high, p.plateau), load.Steady(p.low, p.ebb)}
}
