package runner

import (
	"context"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

const (
	// pollFor is how long the platform may wait for runs before it answers.
	pollFor = 20 * time.Second
	// lingerFor is how long a runner that is to end waits for an answer: what it
	// was given in that moment goes back at once.
	lingerFor = time.Second
	// hurry is how soon an answer without runs is suspicious.
	hurry = 50 * time.Millisecond
)

// lease takes runs for as many slots as are free, until the runner is to end.
func (r *runner) lease(life context.Context) {
	asking, stop := context.WithCancel(life)
	defer stop()
	go func() {
		select {
		case <-r.draining:
			wait(asking, lingerFor, nil)
			stop()
		case <-asking.Done():
		}
	}()
	var p patience
	for r.awaitSlot() {
		asked := time.Now()
		answer, err := r.platform.lease(asking, jobs.LeaseRequest{
			Runner: r.options.Name, Queues: r.options.Queues, Most: r.free(), WaitSeconds: pollFor.Seconds(),
		})
		late := r.isDraining()
		if err != nil {
			if late {
				return
			}
			if p.isOver(err) {
				r.refuse(err)
				return
			}
			r.complain(&p, "lease", err)
			wait(asking, pause(p.failures), r.draining)
			continue
		}
		p = patience{}
		r.retime(timingOf(answer))
		if answer.Drain {
			r.drain()
		}
		if len(answer.Runs) > 0 {
			r.take(len(answer.Runs))
			r.active.Go(func() { r.begin(life, answer.Runs, late) })
		} else if time.Since(asked) < hurry {
			wait(asking, pause(2), r.draining) // Nothing will have come meanwhile.
		}
	}
}

// awaitSlot waits for a free slot; it reports false if the runner is to end.
func (r *runner) awaitSlot() bool {
	for {
		if r.isDraining() {
			return false
		}
		if r.free() > 0 {
			return true
		}
		select {
		case <-r.freed:
		case <-r.draining:
		}
	}
}

// begin prepares the runs, tells the platform that they start, and has those
// begin that it has nothing against. Those that come late are given back.
func (r *runner) begin(life context.Context, leased []jobs.LeasedRun, late bool) {
	var ready []*attempt
	var holds []jobs.Hold
	for _, one := range leased {
		a, ended := r.tryPrepare(one, late)
		if a == nil {
			r.active.Go(func() {
				defer r.give(1)
				r.tell(life, nil, ended)
			})
			continue
		}
		ready, holds = append(ready, a), append(holds, a.hold())
	}
	if len(ready) == 0 {
		return
	}
	accepted, until, err := r.start(life, holds)
	for i, a := range ready {
		if err != nil || !accepted[i] {
			a.discard()
			r.give(1)
			continue
		}
		a.until.Store(int64(until))
		r.register(a, true)
		r.active.Go(func() {
			defer r.give(1)
			defer r.register(a, false)
			a.carryOut(life)
		})
	}
}

// register has the heart know the run, or forget it.
func (r *runner) register(a *attempt, runs bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !runs {
		delete(r.running, a)
		return
	}
	r.running[a] = true
	if r.refusal != nil {
		a.decide(fateLost)
	}
}

// tryPrepare gives a run that is prepared, or how it ended at once.
func (r *runner) tryPrepare(leased jobs.LeasedRun, late bool) (*attempt, jobs.Completion) {
	ended := jobs.Completion{Hold: jobs.Hold{Run: leased.Run, Fence: leased.Fence}, Verdict: jobs.Returned, Reason: "the runner is ending"}
	if late {
		return nil, ended
	}
	if _, err := r.command(leased); err != nil {
		ended.Verdict, ended.Final, ended.Reason = jobs.Failed, true, err.Error()
		return nil, ended
	}
	a, err := r.prepare(leased)
	if err != nil {
		r.options.Log.Error("a run cannot be prepared", "run", leased.Run, "error", err)
		// With its back-off: somebody else, or later, may have more room.
		ended.Verdict, ended.Reason = jobs.Failed, "the runner could not prepare it: "+err.Error()
		return nil, ended
	}
	return a, ended
}

// start tells the platform that the runs start, and gives what may, and until
// when. It is tried again for a part of the lease.
func (r *runner) start(ctx context.Context, holds []jobs.Hold) (accepted []bool, until moment, err error) {
	silent := r.timing.Load().silent
	given := now()
	for failures := 1; ; failures++ {
		sent := now()
		accepted, err = r.platform.start(ctx, holds)
		kind := springtide.KindOf(err)
		if err == nil || kind != springtide.Unavailable || now() > given.add(silent/2) || ctx.Err() != nil {
			return accepted, sent.add(silent), err
		}
		wait(ctx, pause(failures), nil)
	}
}
