package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/load"
	"github.com/springtide/springtide/bench/platform"
)

// late is how long after it was due an answer may come and be in time.
const late = time.Second

// fine is how finely the result is divided in time.
const fine = 250 * time.Millisecond

// bench is one run of the benchmark.
type bench struct {
	options
	platform *platform.Platform
	ca       *x509.CertPool
	folder   string
}

func run(ctx context.Context, o options) (err error) {
	folder, err := platform.Folder("bench-surge-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if o.hpa == "" {
		if o.hpa, err = buildHPA(ctx, o.root, folder); err != nil {
			return fmt.Errorf("building the peer: %w", err)
		}
	}
	run := platform.Options{Tide: o.tide, Data: filepath.Join(folder, "data")}
	if o.log != "" {
		log, err := os.Create(o.log)
		if err != nil {
			return err
		}
		defer log.Close()
		run.Output = log
	}
	p, err := platform.Start(ctx, run)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	ca, err := p.CA(ctx)
	if err != nil {
		return err
	}
	b := &bench{options: o, platform: p, ca: ca, folder: folder}
	rows, err := b.all(ctx)
	if err != nil {
		return err
	}
	return report(o, rows)
}

// all measures the subjects in turn, and again.
func (b *bench) all(ctx context.Context) ([]row, error) {
	var rows []row
	for number := 1; number <= b.rounds; number++ {
		for _, s := range b.options.all() {
			if !s.wanted(b.subjects) {
				continue
			}
			got, err := b.measure(ctx, number, s)
			if err != nil {
				return nil, fmt.Errorf("round %d, %s: %w", number, s.name, err)
			}
			rows = append(rows, got)
			fmt.Fprintf(os.Stderr, "round %d, %s\n", number, got)
		}
	}
	return rows, nil
}

// round is one step of the traffic for one subject.
type round struct {
	*bench
	number      int
	environment springtide.EnvironmentID
	began       time.Time
	watch       *watch

	mu   sync.Mutex
	open []int // how many requests were open, second by second
}

// measure deploys an app of its own, without a past, and takes it to the step.
func (b *bench) measure(ctx context.Context, number int, s subject) (got row, err error) {
	name := fmt.Sprintf("surge-%d", time.Now().UnixNano())
	folder := filepath.Join(b.folder, name)
	defer os.RemoveAll(folder)
	if err := b.writeApp(folder, name, s.least, s.most); err != nil {
		return row{}, err
	}
	deploy, err := b.platform.Deploy(ctx, folder)
	if err != nil {
		return row{}, err
	}
	defer func() { err = errors.Join(err, b.platform.Client.Destroy(ctx, deploy.Environment)) }()
	if _, err := b.platform.Ready(ctx, deploy.Environment, s.least); err != nil {
		return row{}, err
	}
	r := &round{bench: b, number: number, environment: deploy.Environment, began: time.Now()}
	r.watch = newWatch(b.platform.Client, r.environment)

	beside, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	var watched, driven error
	running.Go(func() { watched = r.watch.run(beside) })
	if s.drive != nil {
		running.Go(func() { driven = s.drive(beside, r) })
	}
	result, err := r.load(ctx, deploy.URL)
	stop()
	running.Wait()
	if err = errors.Join(err, watched, driven); err != nil {
		return row{}, err
	}
	phases, err := r.phases(ctx)
	if err != nil {
		return row{}, err
	}
	got = r.row(s, result, phases)
	got.Decisions, err = r.decisions(ctx)
	return got, err
}

// load is the step. What has no answer when it is over is late: it is not waited for.
func (r *round) load(ctx context.Context, target string) (load.Result, error) {
	limited, cancel := context.WithDeadline(ctx, r.began.Add(r.calm+r.surge+late))
	defer cancel()
	result, err := load.Run(limited, load.Options{
		Target: target, Dial: r.platform.HTTPS, CA: r.ca, RequestID: true, Late: late, Interval: fine,
		Schedule: load.Schedule{load.Steady(r.rate, r.calm), load.Steady(r.peak(), r.surge)},
		Poisson:  true, Seed: uint64(r.number),
		Mix: []load.Kind{{Name: "work", Weight: 1, Path: "/work", Digest: true, Token: true, Identity: true}},
		Progress: func(p load.Progress) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.open = append(r.open, p.Open)
		},
	})
	if err == nil && result.Skipped > 0 {
		err = fmt.Errorf("%d requests were not sent: too many were open", result.Skipped)
	}
	return result, errors.Join(err, ctx.Err())
}

// inFlight is how many requests were open in the last 5 s, on average.
func (r *round) inFlight() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	seconds := r.open[max(0, len(r.open)-int(told/time.Second)):]
	sum := 0
	for _, n := range seconds {
		sum += n
	}
	return float64(sum) / float64(max(len(seconds), 1))
}
