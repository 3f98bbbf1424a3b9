package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// What is measured, in this order.
const (
	singlesCase = "enqueue one by one"
	batchesCase = "enqueue 100 at a time"
	workCase    = "work off"
	pickUpCase  = "pick up"
)

const (
	// producers is how many enqueue at the same time.
	producers = 8
	batchSize = 100
	// warmUp is how many jobs nobody counts.
	warmUp = 20
	// patience is how long anything may take.
	patience = 5 * time.Minute
)

// sizes say how much is measured.
type sizes struct {
	// Jobs are worked off; of these so many Singles are enqueued one by one.
	Jobs, Singles int
	// Rate is that of the jobs a second whose pick-up is timed, for Window.
	Rate   int
	Window time.Duration
}

// figure is what one case took.
type figure struct {
	Case string        `json:"case"`
	Jobs int           `json:"jobs"`
	Took time.Duration `json:"took"`
	// CPU is the processor time of all processes, Own that of the subject's own,
	// without its server.
	CPU time.Duration `json:"cpu"`
	Own time.Duration `json:"own_cpu"`
	// P50 and P99 are from just before a job is enqueued until it begins.
	P50 time.Duration `json:"p50,omitempty"`
	P99 time.Duration `json:"p99,omitempty"`
}

// measurement is what one process does with one subject.
type measurement struct {
	sizes
	queue   queue
	server  int // PID; 0: none
	profile string

	begun  []atomic.Int32
	sent   []time.Time // when each job whose pick-up is timed was about to be enqueued
	waited []time.Duration
}

func (m *measurement) run(ctx context.Context) ([]figure, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	timed := m.Rate * int(m.Window/time.Second)
	m.begun = make([]atomic.Int32, m.Jobs+warmUp+timed)
	m.sent, m.waited = make([]time.Time, timed), make([]time.Duration, timed)
	var figures []figure
	for _, part := range []struct {
		name string
		jobs int
		do   func(context.Context) error
	}{
		{singlesCase, m.Singles, func(ctx context.Context) error { return m.enqueue(ctx, 0, m.Singles, 1) }},
		{batchesCase, m.Jobs - m.Singles, func(ctx context.Context) error { return m.enqueue(ctx, m.Singles, m.Jobs, batchSize) }},
		{workCase, m.Jobs, m.workOff},
		{pickUpCase, timed, m.pickUp},
	} {
		f, err := m.measure(ctx, part.name, part.jobs, part.do)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
		figures = append(figures, f)
	}
	slices.Sort(m.waited)
	last := &figures[len(figures)-1]
	last.P50, last.P99 = m.waited[timed/2], m.waited[timed*99/100]
	return figures, m.check()
}

// measure times one part, and counts processor time.
func (m *measurement) measure(ctx context.Context, name string, jobs int, do func(context.Context) error) (figure, error) {
	if m.profile != "" {
		file, err := os.Create(m.profile + "." + name)
		if err != nil {
			return figure{}, err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return figure{}, err
		}
		defer pprof.StopCPUProfile()
	}
	own, server, err := m.usage()
	if err != nil {
		return figure{}, err
	}
	began := time.Now()
	if err := do(ctx); err != nil {
		return figure{}, err
	}
	f := figure{Case: name, Jobs: jobs, Took: time.Since(began)}
	ownAfter, serverAfter, err := m.usage()
	f.Own = ownAfter - own
	f.CPU = f.Own + serverAfter - server
	return f, err
}

func (m *measurement) usage() (own, server time.Duration, err error) {
	own, err = usage(os.Getpid())
	if err == nil && m.server != 0 {
		server, err = usage(m.server)
	}
	return own, server, err
}

// enqueue enqueues the jobs from first to last, several callers at once.
func (m *measurement) enqueue(ctx context.Context, first, last, size int) error {
	calls, ctx := errgroup.WithContext(ctx)
	calls.SetLimit(producers)
	for n := first; n < last; n += size {
		calls.Go(func() error { return m.queue.Enqueue(ctx, n, min(size, last-n)) })
	}
	return calls.Wait()
}

// workOff starts workers and returns when nothing is unfinished.
func (m *measurement) workOff(ctx context.Context) error {
	return m.whileWorking(ctx, func(ctx context.Context) error { return m.over(ctx, 0, m.Jobs) })
}

// pickUp enqueues jobs at a steady rate for workers that wait for them.
func (m *measurement) pickUp(ctx context.Context) error {
	return m.whileWorking(ctx, func(ctx context.Context) error {
		if err := m.enqueue(ctx, m.Jobs, m.Jobs+warmUp, 1); err != nil {
			return err
		}
		if err := m.over(ctx, m.Jobs, m.Jobs+warmUp); err != nil {
			return err
		}
		first := m.Jobs + warmUp
		ticker := time.NewTicker(time.Second / time.Duration(m.Rate))
		defer ticker.Stop()
		calls, calling := errgroup.WithContext(ctx)
		for n := range m.sent {
			<-ticker.C
			calls.Go(func() error {
				m.sent[n] = time.Now()
				return m.queue.Enqueue(calling, first+n, 1)
			})
		}
		if err := calls.Wait(); err != nil {
			return err
		}
		return m.over(ctx, first, first+len(m.sent))
	})
}

// whileWorking does something while workers are up.
func (m *measurement) whileWorking(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return m.queue.Work(ctx, worker{job: m.begin, slot: func(string) {}}) })
	all.Go(func() error {
		defer cancel()
		return do(ctx)
	})
	return all.Wait()
}

func (m *measurement) begin(n int) {
	if timed := n - m.Jobs - warmUp; timed >= 0 {
		m.waited[timed] = time.Since(m.sent[timed])
	}
	m.begun[n].Add(1)
}

// over returns when the jobs have begun, and none is unfinished.
func (m *measurement) over(ctx context.Context, first, last int) error {
	for n := first; n < last; n++ {
		for m.begun[n].Load() == 0 {
			if err := pause(ctx, time.Millisecond); err != nil {
				return fmt.Errorf("job %d of %d to %d did not begin: %w", n, first, last, err)
			}
		}
	}
	for {
		count, err := m.queue.Unfinished(ctx)
		if err != nil || count == 0 {
			return err
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return fmt.Errorf("%d jobs are unfinished: %w", count, err)
		}
	}
}

// check reports whether each job ran once.
func (m *measurement) check() error {
	var wrong []error
	for n := range m.begun {
		if times := m.begun[n].Load(); times != 1 {
			wrong = append(wrong, fmt.Errorf("job %d ran %d times", n, times))
		}
	}
	return errors.Join(wrong...)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
