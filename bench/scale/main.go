// Command scale compares laws of scaling on the same traces, request by request.
// See README.md.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide/internal/simulate"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	quick, json, verbose bool
	seeds                int
	colds                []time.Duration
	only, subjects       string
	charts, peers        string
	trace, column        string
	factor, clump        float64
	step, tuned          int
	conditions           simulate.Conditions
}

func parse(args []string) (options, error) {
	o := options{conditions: simulate.Conditions{Service: 200 * time.Millisecond, Slots: 10, Min: 1, Max: 500, HoldFor: 30 * time.Second, HoldLimit: 10_000}}
	flags := flag.NewFlagSet("scale", flag.ContinueOnError)
	flags.BoolVar(&o.quick, "quick", false, "one seed and few cases, under 50 s; not to be quoted")
	flags.BoolVar(&o.json, "json", false, "a line for each run, then the summaries")
	flags.BoolVar(&o.verbose, "v", false, "print what our law decides")
	flags.IntVar(&o.seeds, "seeds", 5, "runs of each case")
	colds := flags.String("cold-start", "", "median cold starts, such as 3s or 1s,20s; default 1s,3s,20s,60s")
	flags.StringVar(&o.only, "case", "", "only cases whose names contain this")
	flags.StringVar(&o.subjects, "subject", "", "only subjects whose names contain one of these, with commas")
	flags.StringVar(&o.charts, "charts", "", "write a chart per case into this folder")
	flags.StringVar(&o.peers, "peers", "build", "folder of the peers' programs; build: build them; none: without them")
	flags.StringVar(&o.trace, "trace", "", "a CSV instead of the cases: requests per row, rows 1 s to 1 h apart")
	flags.StringVar(&o.column, "column", "", "column of the trace")
	flags.Float64Var(&o.factor, "factor", 1, "multiplies the rates of the trace")
	flags.Float64Var(&o.clump, "clump", 1, "mean number of requests of the trace that arrive together")
	flags.IntVar(&o.step, "step", -1, "second of the trace at which the rise begins that is to be met")
	flags.IntVar(&o.tuned, "tuned", -1, "1: only cases the law was tuned on; 0: only the others")
	flags.DurationVar(&o.conditions.Service, "service", o.conditions.Service, "mean service time")
	flags.IntVar(&o.conditions.Slots, "slots", o.conditions.Slots, "requests that an instance serves at a time")
	flags.IntVar(&o.conditions.Min, "min", o.conditions.Min, "instances at least")
	flags.IntVar(&o.conditions.Max, "max", o.conditions.Max, "instances at most")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *colds == "" {
		*colds = "1s,3s,20s,60s"
		if o.quick {
			*colds = "3s"
		}
	}
	for _, word := range strings.Split(*colds, ",") {
		cold, err := time.ParseDuration(word)
		if err != nil || cold <= 0 {
			return o, fmt.Errorf("-cold-start %q: durations such as 3s are wanted", word)
		}
		o.colds = append(o.colds, cold)
	}
	if o.quick {
		o.seeds = 1
	}
	c := o.conditions
	if c.Service < time.Millisecond || c.Service > time.Minute || c.Slots < 1 || c.Min < 0 || c.Max < max(c.Min, 1) || o.seeds < 1 || o.factor <= 0 {
		return o, errors.New("a service time of 1 ms to 1 m, one slot, one seed, a positive factor and a range are wanted")
	}
	return o, nil
}

func (o options) traces() ([]simulate.Trace, error) {
	if o.trace != "" {
		t, err := simulate.OpenTrace(o.trace, o.column, o.factor, 0, 0)
		t.Step, t.Clump = o.step, o.clump
		return []simulate.Trace{t}, err
	}
	all, err := given()
	if err != nil {
		return nil, err
	}
	if o.quick && o.only == "" {
		all = few(all)
	}
	return slices.DeleteFunc(all, func(t simulate.Trace) bool {
		return !strings.Contains(t.Name, o.only) || o.tuned >= 0 && t.Tuned != (o.tuned == 1)
	}), nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	traces, err := o.traces()
	if err != nil {
		return err
	}
	switch o.peers {
	case "none":
		o.peers = ""
	case "build":
		folder, err := os.MkdirTemp("", "bench-scale-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		for _, name := range []string{"knative", "hpa"} {
			if _, err := buildPeer(ctx, folder, name); err != nil {
				return err
			}
		}
		o.peers = folder
	}
	rows, err := o.play(ctx, traces, out)
	if err != nil {
		return err
	}
	if o.charts != "" {
		if err := writeCharts(o.charts, traces, rows); err != nil {
			return err
		}
	}
	return report(out, rows, o.json)
}

// job is all runs of one case with one seed and one cold start.
type job struct {
	trace      simulate.Trace
	conditions simulate.Conditions
}

// play makes all runs, as many at once as there are processors.
func (o options) play(ctx context.Context, traces []simulate.Trace, out io.Writer) ([]row, error) {
	var jobs []job
	for _, t := range traces {
		for _, cold := range o.colds {
			for seed := range o.seeds {
				c := o.conditions
				c.ColdStart, c.Seed = cold, uint64(seed+1)
				jobs = append(jobs, job{t, c})
			}
		}
	}
	results := make([][]row, len(jobs))
	failures := make([]error, len(jobs))
	var group sync.WaitGroup
	var mu sync.Mutex
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, one := range jobs {
		group.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			if ctx.Err() != nil {
				failures[i] = ctx.Err()
				return
			}
			results[i], failures[i] = o.playOne(one, out)
			mu.Lock()
			defer mu.Unlock()
			if o.json {
				failures[i] = cmp.Or(failures[i], printJSON(out, results[i]))
			} else {
				for _, r := range results[i] {
					fmt.Fprintln(os.Stderr, r)
				}
			}
		})
	}
	group.Wait()
	return slices.Concat(results...), errors.Join(failures...)
}

func (o options) playOne(j job, out io.Writer) ([]row, error) {
	base := simulate.Run(j.trace, j.conditions, simulate.NewClairvoyant(j.trace, j.conditions))
	var rows []row
	for _, k := range contenders(o.peers) {
		if !o.wants(k.Name) {
			continue
		}
		s := k.make(j.trace, j.conditions)
		if l, ok := s.(*simulate.Law); ok && o.verbose {
			l.Log = func(format string, a ...any) { fmt.Fprintf(out, format+"\n", a...) }
		}
		outcome := simulate.Run(j.trace, j.conditions, s)
		if p, ok := s.(*process); ok {
			if err := p.close(); err != nil {
				return nil, fmt.Errorf("%s: %w", k.Name, err)
			}
		}
		r := newRow(j.trace, j.conditions, k, outcome, base)
		if j.conditions.Seed != 1 {
			r.series = nil
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (o options) wants(subject string) bool {
	return slices.ContainsFunc(strings.Split(o.subjects, ","), func(part string) bool { return strings.Contains(subject, part) })
}
