package load

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Run drives the load and gives what it saw. It returns when the schedule is
// over and every request has been answered, has failed or has timed out; when
// ctx ends, it breaks off.
func Run(ctx context.Context, options Options) (Result, error) {
	if err := options.Validate(); err != nil {
		return Result{}, err
	}
	sender, err := newSender(options)
	if err != nil {
		return Result{}, err
	}
	defer sender.transports.close()
	r := newRecord(options, time.Now())

	streaming, stopStreams := context.WithCancel(ctx)
	defer stopStreams()
	var streams sync.WaitGroup
	startStreams(streaming, &streams, sender, r)

	reporting, stopReports := context.WithCancel(ctx)
	defer stopReports()
	go r.report(reporting)

	r.drive(ctx, sender)
	stopStreams()
	streams.Wait()
	return r.finish(), nil
}

// drive sends what the schedule says, and waits for the answers.
func (r *record) drive(ctx context.Context, sender *sender) {
	var open sync.WaitGroup
	defer open.Wait()
	for one := range r.options.arrivals() {
		at := r.result.Started.Add(one.at)
		if !wait(ctx, time.Until(at)) {
			return
		}
		if !r.begin(one, time.Since(at)) {
			continue
		}
		open.Go(func() {
			got := sender.send(ctx, one.kind, one.number)
			r.end(one, got, time.Since(at))
		})
	}
	wait(ctx, time.Until(r.result.Started.Add(r.options.Schedule.Length())))
}

// arrivals gives the requests of the schedule in order of time.
func (o Options) arrivals() func(yield func(due) bool) {
	return func(yield func(due) bool) {
		random := rand.New(rand.NewPCG(o.Seed, 0))
		weights := 0
		for _, kind := range o.Mix {
			weights += kind.Weight
		}
		for position, number := 0.0, 0; ; number++ {
			if o.Poisson {
				position += random.ExpFloat64()
			} else {
				position = float64(number)
			}
			at, ok := o.Schedule.when(position)
			if !ok || !yield(due{o.draw(random.IntN(weights)), number, at}) {
				return
			}
		}
	}
}

// draw gives the kind at a place among all weights.
func (o Options) draw(place int) *Kind {
	for i := range o.Mix {
		if place -= o.Mix[i].Weight; place < 0 {
			return &o.Mix[i]
		}
	}
	return &o.Mix[len(o.Mix)-1]
}

// report tells the progress every second.
func (r *record) report(ctx context.Context) {
	if r.options.Progress == nil {
		return
	}
	for last := time.Now(); wait(ctx, time.Second); {
		now := time.Now()
		r.options.Progress(r.progress(now.Sub(last)))
		last = now
	}
}

// wait reports whether d went by, which it does not if ctx ends.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
