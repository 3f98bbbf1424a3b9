package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/springtide/springtide/internal/simulate"
)

// shape makes a trace of a length in seconds from a function of the second.
func shape(name string, seconds, step int, rate func(t float64) float64) simulate.Trace {
	trace := simulate.Trace{Name: name, Step: step, Clump: 1, Rates: make([]float64, seconds)}
	for i := range trace.Rates {
		trace.Rates[i] = rate(float64(i))
	}
	return trace
}

// logistic rises from 0 to 1 around a time.
func logistic(t, at, width float64) float64 { return 1 / (1 + math.Exp(-(t-at)/width)) }

// shapes are the synthetic traces: what real ones do not do, or do too seldom.
func shapes() []simulate.Trace {
	step := func(name string, from, to, ramp float64) simulate.Trace {
		return shape(name, 3600, 900, func(t float64) float64 {
			up := min(max((t-900)/max(ramp, 1e-9), 0), 1)
			down := min(max((t-2700)/120, 0), 1)
			return from + (to-from)*(up-down)
		})
	}
	clumped := func(name string, rate, clump float64) simulate.Trace {
		t := shape(name, 7200, -1, func(t float64) float64 { return rate * (1 + 0.3*math.Sin(t/600)) })
		t.Clump = clump
		return t
	}
	walk := rand.New(rand.NewPCG(23, 1))
	level := math.Log(60.0)
	all := []simulate.Trace{
		shape("show x40", 5400, 1800, func(t float64) float64 {
			return 15 + 585*(logistic(t, 1830, 5)-logistic(t, 4200, 30))
		}),
		step("step x20 at once", 20, 400, 0),
		step("ramp x10 in 3 min", 40, 400, 180),
		clumped("clumps of 10", 60, 10),
		clumped("clumps of 4", 200, 4),
		shape("steady 20/s", 7200, -1, func(float64) float64 { return 20 }),
		shape("steady 160/s", 7200, -1, func(float64) float64 { return 160 }),
		shape("square of 10 min", 7200, -1, func(t float64) float64 {
			if math.Mod(t, 600) < 300 {
				return 50
			}
			return 250
		}),
		shape("random walk", 10800, -1, func(float64) float64 {
			level += 0.02*walk.NormFloat64() + 0.0005*(math.Log(60.0)-level)
			return math.Exp(level)
		}),
		shape("spikes", 7200, -1, func(t float64) float64 {
			if math.Mod(t, 900) < 20 && t > 900 {
				return 300
			}
			return 40
		}),
	}
	for i := range all {
		// What was looked at while the law was tuned.
		all[i].Tuned = !slices.Contains([]string{"square of 10 min", "random walk", "spikes", "steady 160/s"}, all[i].Name)
	}
	return append(all, heldOut()...)
}

// heldOut are the shapes that were made when the law was done.
func heldOut() []simulate.Trace {
	lunch := shape("lunch, in pairs", 10800, -1, func(t float64) float64 {
		return 20 + 180*math.Exp(-math.Pow((t-5400)/1500, 2))
	})
	lunch.Clump = 2
	return []simulate.Trace{
		shape("two rises", 4500, 1500, func(t float64) float64 {
			return 30 + 120*min(max((t-900)/60, 0), 1) + 450*min(max((t-1500)/20, 0), 1) - 570*min(max((t-3000)/60, 0), 1)
		}),
		shape("news x8 in 10 s", 3600, 900, func(t float64) float64 {
			return 50 + 350*min(max((t-900)/10, 0), 1)*math.Exp(-max(t-910, 0)/600)
		}),
		shape("sawtooth of 20 min", 7200, -1, func(t float64) float64 { return 30 + 270*math.Mod(t, 1200)/1200 }),
		lunch,
	}
}

// announced adds what was announced to a trace.
func announced(t simulate.Trace, name string, from, to time.Duration, n int) simulate.Trace {
	t.Name = name
	t.Floors = []simulate.Floor{{From: from, To: to, Instances: n}}
	return t
}
