package scale

import (
	"context"
	"errors"
	"time"

	"github.com/springtide/springtide"
)

// loop is what [Scaler.Run] remembers from one pass to the next.
type loop struct {
	*Scaler
	states map[springtide.GroupID]*state
	// stale says that the targets are to be read again, not before retry.
	stale bool
	retry time.Time
	// limited says that all groups together want more than the machine has.
	limited bool
	// seconds is reused by every decision.
	seconds []Second
}

// state is what is remembered of one target.
type state struct {
	target Target
	spec   Spec
	// since is from when on the group has been a target.
	since  time.Time
	needs  needs // of workers
	memory Memory
	// verdict is the last one, want what it says the group wants of the machine.
	verdict Verdict
	want    Want
	// granted and shared are what the machine has for it, where it has not for all.
	granted int
	shared  string
	// evidence is what the last verdict was made of, if that is to be recorded.
	evidence Evidence
	// retry is when to try again what failed.
	retry time.Time
	// decided is when it was decided on last, due when to do so again although
	// nothing is new; zero: never.
	decided, due time.Time
	// recorded is the last decision that was given to the recorder.
	recorded       Reason
	recordedTime   time.Time
	recordedBefore bool
}

// pass decides on every group that has something to decide, and gives when the
// next pass is due; zero: when something happens.
func (l *loop) pass(ctx context.Context) time.Time {
	now := time.Now()
	if l.stale && !now.Before(l.retry) {
		if err := l.load(ctx, now); err != nil && ctx.Err() == nil {
			l.options.Logger.Warn("the groups to scale cannot be read", "error", err)
			l.retry = now.Add(retryAfter)
		}
	}
	var next time.Time
	if l.stale {
		next = l.retry
	}
	var due []*state
	for _, st := range l.states {
		if now.Before(st.retry) {
			next = earlier(next, st.retry)
			continue
		}
		if (st.due.IsZero() || now.Before(st.due)) && !l.changed(st).After(st.decided) {
			next = earlier(next, st.due)
			continue
		}
		st.verdict = l.verdict(now, st)
		due = append(due, st)
	}
	for _, st := range l.divide(now, due) {
		l.decide(ctx, now, st)
		next = earlier(next, st.due)
	}
	return next
}

// load reads the targets and keeps what is remembered of those that are known.
func (l *loop) load(ctx context.Context, now time.Time) error {
	targets, err := l.options.Targets.Targets(ctx)
	if err != nil {
		return err
	}
	states := make(map[springtide.GroupID]*state, len(targets))
	for _, target := range targets {
		if target.Stopped {
			continue
		}
		st, known := l.states[target.Group]
		if !known {
			st = &state{since: now}
			if l.options.Past != nil && target.Process.HTTP {
				st.memory.Learn(now, target.Group, l.options.Past)
			}
		} else if target.Replicas > st.target.Replicas {
			st.memory.lastOut = now // somebody else's scale-out
		}
		l.meter.Keep(now, target.Group, target.Process.Scale.StableFor)
		if target.Process.Scale.P95 > 0 {
			l.meter.Learn(now, target.Group)
		}
		st.target = target
		st.spec = Spec{
			Group: target.Group, Requests: target.Process.HTTP, Scale: target.Process.Scale, Limits: target.Process.Limits,
			Floors: floors(target.Process.Announcements),
		}
		if !target.Process.HTTP {
			st.spec.Worker = target.Process.Worker
			if queue := target.Process.Scale.Queue; queue != nil {
				st.spec.Worker = &springtide.Worker{Wait: queue.Wait}
			}
		}
		st.due = now
		states[target.Group] = st
	}
	l.states, l.stale = states, false
	l.meter.Retain(now, func(id springtide.GroupID) bool { return states[id] != nil })
	l.outside.forget(now)
	l.forget()
	return nil
}

// forget drops the last decisions on groups that are no target any more.
func (l *loop) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.last {
		if l.states[id] == nil {
			delete(l.last, id)
		}
	}
}

// changed gives when anything about a group was last new.
func (l *loop) changed(st *state) time.Time {
	at := l.meter.Changed(st.target.Group)
	if st.spec.Worker != nil {
		at = later(at, l.workChanged(st.spec))
	}
	return at
}

// decide makes one decision and carries it out.
func (l *loop) decide(ctx context.Context, now time.Time, st *state) {
	verdict := st.verdict
	st.decided, st.due = now, verdict.Due
	if !st.due.IsZero() {
		st.due = later(st.due, now.Add(period))
	}
	if verdict.To != verdict.From && !l.apply(ctx, st, verdict) {
		return
	}
	st.memory.Remember(now, verdict)
	l.record(ctx, now, st, verdict)
}

// verdict asks the law for what the group is.
func (l *loop) verdict(now time.Time, st *state) Verdict {
	observation, history := l.meter.View(now, st.target.Group, l.seconds[:0])
	l.seconds = history.Seconds
	observation.Replicas, observation.Granted, observation.Shared = st.target.Replicas, st.granted, st.shared
	st.memory.Recall(now, &history)
	if st.since.After(history.Since) {
		history.Since = st.since
	}
	if st.spec.Worker == nil {
		verdict := Decide(now, st.spec, observation, history)
		st.keep(verdict, Evidence{Now: now, Spec: st.spec, Observation: &observation, History: &history})
		return verdict
	}
	work, since, lastWork := l.workOf(now, st.spec)
	work.Replicas, work.Instances, work.Capacity = observation.Replicas, observation.Instances, observation.Capacity
	work.Granted, work.Shared = st.granted, st.shared
	worked := WorkHistory{
		Since: later(since, st.since), LastWork: lastWork, LastOut: history.LastOut, LastIn: history.LastIn,
		ColdStart: history.ColdStart, SlowStart: history.SlowStart,
		Needed: st.needs.highest(now, st.spec.windows(history.ColdStart, 0, 0).stable),
	}
	verdict := DecideWork(now, st.spec, work, worked)
	st.keep(verdict, Evidence{Now: now, Spec: st.spec, Work: &work, WorkHistory: &worked})
	st.needs.add(now, int(verdict.Inputs["need"]))
	return verdict
}

// apply carries a change out; it tells whether that succeeded.
func (l *loop) apply(ctx context.Context, st *state, verdict Verdict) bool {
	ctx, cancel := context.WithTimeout(ctx, applyLimit)
	defer cancel()
	if err := l.options.Applier.SetReplicas(ctx, st.target.Group, verdict.To, verdict.Decision); err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) {
			l.options.Logger.Warn("a group cannot be scaled", "group", st.target.Group.String(), "to", verdict.To, "error", err)
		}
		// It may have been changed by somebody else: read again what it is.
		st.retry = time.Now().Add(retryAfter)
		st.due = st.retry
		l.stale, l.retry = true, st.retry
		return false
	}
	st.target.Replicas = verdict.To
	return true
}

// record keeps the decision for [Scaler.Last], and gives it to the recorder if
// it says something new.
func (l *loop) record(ctx context.Context, now time.Time, st *state, verdict Verdict) {
	l.mu.Lock()
	l.last[st.target.Group] = verdict.Decision
	l.mu.Unlock()
	if !st.tells(now, verdict) {
		return
	}
	if packed, err := st.evidence.Pack(); err != nil {
		l.options.Logger.Warn("a decision is recorded without its evidence", "group", st.target.Group.String(), "error", err)
	} else {
		verdict.Evidence = packed
	}
	if err := l.options.Recorder.RecordDecision(ctx, verdict.Decision); err != nil {
		if ctx.Err() == nil {
			l.options.Logger.Warn("a decision cannot be recorded", "group", st.target.Group.String(), "error", err)
		}
		return
	}
	st.recorded, st.recordedTime, st.recordedBefore = verdict.Reason, now, true
}

// tells says that a decision is news: it changes something, or has another reason.
func (st *state) tells(now time.Time, verdict Verdict) bool {
	return verdict.To != verdict.From || !st.recordedBefore ||
		verdict.Reason != st.recorded && now.Sub(st.recordedTime) >= recordEvery
}

// keep keeps what a decision was made of, if it is news.
func (st *state) keep(verdict Verdict, evidence Evidence) {
	if st.evidence = (Evidence{}); st.tells(evidence.Now, verdict) {
		st.evidence = evidence.settled()
	}
}

// earlier gives the earlier of two times, where zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
