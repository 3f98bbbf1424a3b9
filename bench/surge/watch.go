package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/client"
)

// look is how often it is looked which instances there are.
const look = 100 * time.Millisecond

// watch sees instances come and go.
type watch struct {
	client      *client.Client
	environment springtide.EnvironmentID
	seen        map[springtide.InstanceID]*life
	most        int
}

// life is an instance as it was seen last.
type life struct {
	springtide.Instance
	until time.Time
}

func newWatch(c *client.Client, id springtide.EnvironmentID) *watch {
	return &watch{client: c, environment: id, seen: map[springtide.InstanceID]*life{}}
}

// run looks until ctx ends.
func (w *watch) run(ctx context.Context) error {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		instances, err := w.client.Instances(context.WithoutCancel(ctx), w.environment)
		if err != nil {
			return err
		}
		now := time.Now()
		w.most = max(w.most, len(instances))
		for _, i := range instances {
			w.seen[i.ID] = &life{i, now}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// paid is how many instance-seconds there were between two moments: each counts
// from its order until it is gone.
func (w *watch) paid(from, to time.Time) float64 {
	var sum time.Duration
	for _, l := range w.seen {
		begin, end := l.Ordered, l.until
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		sum += max(end.Sub(begin), 0)
	}
	return sum.Seconds()
}

// ready gives the instances that became ready, the first of them first.
func (w *watch) ready() []*life {
	var ready []*life
	for _, l := range w.seen {
		if !l.Ready.IsZero() {
			ready = append(ready, l)
		}
	}
	slices.SortFunc(ready, func(a, b *life) int { return a.Ready.Compare(b.Ready) })
	return ready
}

// phases are what the time went by with until there was capacity, in seconds,
// for the instance that made it whole.
type phases struct {
	// Ordered is from the step until it was ordered.
	Ordered float64 `json:"ordered_s"`
	// Started is from then until its process was started,
	Started float64 `json:"started_s"`
	// Listening from then until it listened, the app's own start,
	Listening float64 `json:"listening_s"`
	// Ready from then until it was known to be ready,
	Ready float64 `json:"ready_s"`
	// Request from then until the first request reached it.
	Request float64 `json:"first_request_s"`
}

// phases of the instance that made the capacity whole; nil if none did after the step.
func (r *round) phases(ctx context.Context) (*phases, error) {
	step, ready := r.step(), r.watch.ready()
	if len(ready) < r.needed(r.peak()) || ready[r.needed(r.peak())-1].Ready.Before(step) {
		return nil, nil
	}
	last := ready[r.needed(r.peak())-1]
	said := map[string]time.Time{}
	for line, err := range r.platform.Client.Logs(ctx, springtide.LogQuery{Environment: r.environment, Instance: last.ID}) {
		if err != nil {
			return nil, err
		}
		for _, what := range []string{listening, firstRequest} {
			if text, ok := strings.CutPrefix(line.Text, what); ok {
				if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
					said[what] = at
				}
			}
		}
	}
	p := &phases{
		Ordered: last.Ordered.Sub(step).Seconds(), Started: last.Started.Sub(last.Ordered).Seconds(),
		Listening: said[listening].Sub(last.Started).Seconds(), Ready: last.Ready.Sub(said[listening]).Seconds(),
	}
	if first, ok := said[firstRequest]; ok {
		p.Request = first.Sub(last.Ready).Seconds()
	}
	return p, nil
}

// decisions gives what the platform decided, the newest first.
func (r *round) decisions(ctx context.Context) ([]string, error) {
	decided, err := r.platform.Client.Decisions(ctx, r.environment, 50)
	var lines []string
	for _, d := range decided {
		lines = append(lines, fmt.Sprintf("%+.2f s: %s", d.Time.Sub(r.step()).Seconds(), d.Sentence))
	}
	return lines, err
}

// step is when the traffic rises.
func (r *round) step() time.Time { return r.began.Add(r.calm) }
