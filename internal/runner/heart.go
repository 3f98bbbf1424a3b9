package runner

import (
	"context"
	"time"

	"github.com/springtide/springtide/internal/jobs"
)

// lastProgressLimit is how long the end of a run may wait for its progress to be
// known.
const lastProgressLimit = 2 * time.Second

// heart renews the leases of all runs, until life ends.
func (r *runner) heart(life context.Context) {
	var p patience
	next := time.NewTimer(r.timing.Load().beat)
	defer next.Stop()
	draining := r.draining
	for {
		select {
		case <-next.C:
		case <-r.retimed:
		case <-draining:
			draining = nil // Asked at once: maybe what runs is to be given back.
		case <-life.Done():
			return
		}
		beat := r.timing.Load().beat
		err := r.beat(life, max(min(beat/2, answerLimit), time.Second))
		switch {
		case err == nil:
			p = patience{}
			next.Reset(beat)
		case p.isOver(err):
			r.refuse(err)
			return
		default:
			r.complain(&p, "heartbeat", err)
			next.Reset(min(pause(p.failures), beat))
		}
	}
}

// beat is one request for all runs.
func (r *runner) beat(life context.Context, limit time.Duration) error {
	attempts := r.begun()
	if len(attempts) == 0 {
		return nil
	}
	request := jobs.BeatRequest{Runner: r.options.Name}
	for _, a := range attempts {
		beat := jobs.Beat{Hold: a.hold()}
		if says, ok := a.progress(); ok && says != a.told {
			a.telling, beat.Progress = says, &says
		}
		request.Runs = append(request.Runs, beat)
	}
	sent := now()
	answer, err := r.platform.heartbeat(life, limit, request)
	if err != nil {
		return err
	}
	until := sent.add(r.timing.Load().silent)
	for i, a := range attempts {
		if request.Runs[i].Progress != nil {
			a.told = a.telling
		}
		switch standing := answer.Runs[i]; {
		case !standing.Held:
			r.options.Log.Warn("the lease of a run is lost; it is killed", "run", a.leased.Run, "attempt", a.leased.Attempt)
			a.decide(fateLost)
			continue
		case standing.Cancel:
			a.decide(fateCancelled)
		case answer.Interrupt:
			a.decide(fateInterrupted)
		}
		a.renew(until)
	}
	if answer.Drain || answer.Interrupt {
		r.drain()
	}
	return nil
}

// sayProgress tells how far a run that has ended had come: the heart may not have
// looked since. Nothing is lost by an answer that does not come.
func (a *attempt) sayProgress(ctx context.Context) {
	says, ok := a.progress()
	if !ok {
		return
	}
	beat := jobs.Beat{Hold: a.hold(), Progress: &says}
	if _, err := a.runner.platform.heartbeat(ctx, lastProgressLimit, jobs.BeatRequest{Runner: a.runner.options.Name, Runs: []jobs.Beat{beat}}); err != nil {
		a.runner.options.Log.Debug("the last progress of a run is not known", "run", a.leased.Run, "error", err)
	}
}

// begun gives the runs whose leases are to be kept.
func (r *runner) begun() []*attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	attempts := make([]*attempt, 0, len(r.running))
	for a := range r.running {
		if fate(a.fate.Load()) != fateLost {
			attempts = append(attempts, a)
		}
	}
	return attempts
}
