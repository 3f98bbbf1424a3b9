// Edge compares the edge with what people would put in its place: how much
// processor time each takes for a thousand requests, and how many it serves.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	tide            string
	rounds, workers int
	length          time.Duration
	cases, subjects string
	quick, json     bool
}

func main() {
	runtime.LockOSThread() // what this thread starts ends with it
	if len(os.Args) > 2 && os.Args[1] == "-be" {
		fail(be(os.Args[2], os.Args[3:]))
	}
	var o options
	flag.StringVar(&o.tide, "tide", "bin/tide", "the tide binary")
	flag.IntVar(&o.rounds, "rounds", 5, "how often everything is measured, in turns")
	flag.IntVar(&o.workers, "workers", 1, "of each subject; one has a processor of its own, more are bound to none")
	flag.DurationVar(&o.length, "length", 5*time.Second, "how long each is loaded")
	flag.StringVar(&o.cases, "cases", "a,b,c,d,dt,e,f,g", "which cases")
	flag.StringVar(&o.subjects, "subjects", "tide,nginx,HAProxy,Varnish,Caddy,ReverseProxy", "which subjects")
	flag.BoolVar(&o.quick, "quick", false, "one round of cases a, b, e with three subjects; not to be quoted")
	flag.BoolVar(&o.json, "json", false, "lines of JSON")
	flag.Parse()
	if o.quick {
		o.rounds, o.length, o.cases, o.subjects = 1, 2*time.Second, "a,b,e", "tide,nginx,HAProxy"
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	fail(run(ctx, o))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// be is what the benchmark's own children do.
func be(what string, args []string) error {
	listen := func(i int) net.Listener {
		listener, err := net.Listen("tcp", args[i])
		fail(err)
		return listener
	}
	switch {
	case what == "origin" && len(args) == 1:
		return serveOrigin(listen(0))
	case what == "proxy" && len(args) == 5:
		return serveReverseProxy(listen(0), listen(1), args[2], args[3], args[4])
	}
	return errors.New("it is not known how to be " + what)
}

func run(ctx context.Context, o options) (err error) {
	b := &bench{options: o}
	if b.folder, err = os.MkdirTemp("", "bench-edge-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.folder)
	if err := os.Chmod(b.folder, 0o755); err != nil {
		return err
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.tide, err = filepath.Abs(o.tide); err != nil {
		return err
	}
	if err := b.makeCertificate(); err != nil {
		return err
	}
	if slices.Contains(strings.Split(o.subjects, ","), "Caddy") {
		if b.caddy, err = buildCaddy(ctx, b.folder); err != nil {
			return err
		}
	}
	if b.originAddress, err = freeAddress(); err != nil {
		return err
	}
	if b.origin, err = start([]string{b.self, "-be", "origin", b.originAddress}, loadCore, "GOMAXPROCS=1"); err != nil {
		return err
	}
	defer b.origin.stop()
	if err := b.origin.await(ctx, func() error { _, err := b.originCount(ctx); return err }); err != nil {
		return err
	}
	rows, err := b.rounds(ctx)
	if err != nil {
		return err
	}
	return report(o, rows)
}

// rounds measures everything in turns, so that what else the machine does meets
// all alike.
func (b *bench) rounds(ctx context.Context) (rows []row, err error) {
	chosen := strings.Split(b.options.subjects, ",")
	for round := 1; round <= b.options.rounds; round++ {
		for _, c := range cases() {
			if !slices.Contains(strings.Split(b.options.cases, ","), c.Name) {
				continue
			}
			if c.steady {
				r, err := b.direct(ctx, c, round)
				if err != nil {
					return nil, err
				}
				rows = append(rows, r)
			}
			for _, s := range subjects() {
				if !slices.Contains(chosen, s.Name) || !slices.Contains(s.cases, c.Name) {
					continue
				}
				r, err := b.measure(ctx, s, c, round)
				if err != nil {
					return nil, fmt.Errorf("case %s, %s: %w", c.Name, s.Name, err)
				}
				rows = append(rows, r)
				fmt.Fprintf(os.Stderr, "round %d, case %-2s %-13s %6.1f ms/1000 %8.0f/s\n", round, c.Name, s.Name, r.CPU, r.Rate)
			}
		}
	}
	return rows, nil
}

// direct measures the origin without anything before it.
func (b *bench) direct(ctx context.Context, c aCase, round int) (row, error) {
	got, err := drive(ctx, c, b.originAddress, b.length)
	return row{
		Case: c.Name, Subject: direct, Round: round, Requests: got.requests, Protocol: "HTTP/1.1",
		Rate: float64(got.requests) / b.length.Seconds(), P50: milliseconds(got.p50), P99: milliseconds(got.p99),
	}, err
}
