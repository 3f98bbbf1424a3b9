// Idle measures what the platform costs while nobody uses it: memory and
// processor time of all its own processes, with 0, 1, 10 and 100 apps that are
// scaled to zero, and with one app that has one instance.
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

type options struct {
	tide           string
	rounds         int
	settle, window time.Duration
	quick, json    bool
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == serveArgument {
		if err := serve(os.Getenv); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.tide, "tide", "bin/tide", "the tide binary")
	flag.IntVar(&o.rounds, "rounds", 5, "how often everything is measured, each time on a new platform")
	flag.DurationVar(&o.settle, "settle", 10*time.Second, "how long nothing happens before it is measured")
	flag.DurationVar(&o.window, "window", 20*time.Second, "how long processor time is counted")
	flag.BoolVar(&o.quick, "quick", false, "one round and short times; not to be quoted")
	flag.BoolVar(&o.json, "json", false, "lines of JSON")
	flag.Parse()
	if o.quick {
		o.rounds, o.settle, o.window = 1, time.Second, 4*time.Second
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	var rows []row
	for round := 1; round <= o.rounds; round++ {
		for _, measure := range []func(context.Context, options, func(row)) error{measureAsleep, measureRunning} {
			err := measure(ctx, o, func(r row) {
				r.Round = round
				rows = append(rows, r)
				fmt.Fprintf(os.Stderr, "round %d, %s\n", round, r)
			})
			if err != nil {
				return err
			}
		}
	}
	return report(o, rows)
}
