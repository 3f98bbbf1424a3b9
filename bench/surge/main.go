// Surge measures what a sudden rise of the traffic costs those who use an app:
// the rate goes up x20 from one moment to the next, and the real platform brings
// up instances by its own law, by that of Kubernetes' horizontal pod autoscaler,
// or has a fixed number of them. See README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == serveArgument {
		if err := serve(os.Getenv, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		return
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, parse()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

type options struct {
	tide, root, hpa string
	rounds          int
	rate, factor    float64
	calm, surge     time.Duration
	slots, max      int
	start           time.Duration
	subjects        string
	quick, json     bool
	log             string
}

func parse() options {
	var o options
	flag.StringVar(&o.tide, "tide", "bin/tide", "the tide binary")
	flag.StringVar(&o.root, "root", ".", "the folder of the source tree, where the peer's source is")
	flag.StringVar(&o.hpa, "hpa", "", "the peer's program; empty: it is built")
	flag.IntVar(&o.rounds, "rounds", 5, "how often everything is measured, each time with new apps")
	flag.Float64Var(&o.rate, "rate", 10, "requests per second before the step")
	flag.Float64Var(&o.factor, "factor", 20, "how many times more there are after it")
	flag.DurationVar(&o.calm, "calm", 15*time.Second, "how long it is calm before the step")
	flag.DurationVar(&o.surge, "surge", 45*time.Second, "how long the traffic is high")
	flag.IntVar(&o.slots, "slots", 2, "requests that an instance serves at a time")
	flag.IntVar(&o.max, "max", 20, "instances at most")
	flag.DurationVar(&o.start, "start", time.Second, "how long the app waits when it starts")
	flag.StringVar(&o.subjects, "subject", "", "only subjects whose names contain one of these, with commas")
	flag.BoolVar(&o.quick, "quick", false, "one round and short times; not to be quoted")
	flag.BoolVar(&o.json, "json", false, "lines of JSON")
	flag.StringVar(&o.log, "log", "", "a file for what the platform logs")
	flag.Parse()
	if o.quick {
		o.rounds, o.calm, o.surge = 1, 2*time.Second, 5*time.Second
	}
	return o
}

// peak is the rate after the step.
func (o options) peak() float64 { return o.rate * o.factor }

// needed is how many instances serve a rate if none of them is ever idle.
func (o options) needed(rate float64) int {
	return ceil(rate * service.Seconds() / float64(o.slots))
}

// comfortable is how many do if they are busy for 70 % of the time.
func (o options) comfortable(rate float64) int {
	return ceil(rate * service.Seconds() / float64(o.slots) / 0.7)
}
