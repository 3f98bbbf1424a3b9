package apitest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/jobs"
)

// Hands is the queue whose runs wait to be leased. Those of all others are
// carried out as soon as they are available: the command is not run, it writes
// itself, and "exit N" ends with N; what fails is dead at once.
const Hands springtide.QueueName = "hands"

// book is the platform's ledger of jobs. Every environment has one that is
// named, deployed or not.
type book struct {
	p         *Platform
	runs      []*springtide.Run // in the order that they were made
	fence     springtide.Fence
	paused    map[string]bool // "queue APP/ENVIRONMENT NAME", or "schedule …"
	schedules map[springtide.EnvironmentID]map[springtide.ScheduleName]springtide.Schedule
	locks     map[springtide.EnvironmentID]map[string]lock
}

func newBook(p *Platform) *book {
	return &book{
		p: p, paused: map[string]bool{},
		schedules: map[springtide.EnvironmentID]map[springtide.ScheduleName]springtide.Schedule{},
		locks:     map[springtide.EnvironmentID]map[string]lock{},
	}
}

// SetSchedule gives an environment a schedule, each of whose slots is at a full hour.
func (p *Platform) SetSchedule(id springtide.EnvironmentID, name springtide.ScheduleName, schedule springtide.Schedule) {
	p.update(func() {
		if p.book.schedules[id] == nil {
			p.book.schedules[id] = map[springtide.ScheduleName]springtide.Schedule{}
		}
		p.book.schedules[id][name] = schedule
	})
}

// Enqueue implements [api.Jobs].
func (b *book) Enqueue(_ context.Context, id springtide.EnvironmentID, all []springtide.Job, batch *jobs.Batch) (done []jobs.Enqueued, err error) {
	b.p.update(func() {
		for _, job := range all {
			if job.Queue == "nobody" {
				err = springtide.Errorf(springtide.Invalid, "no process of %s takes from queue nobody", id).WithHint("there are default and hands")
				return
			}
			done = append(done, b.add(id, job, batch, ""))
		}
		if batch != nil && batch.Done != nil {
			b.add(id, *batch.Done, nil, "")
		}
	})
	return done, err
}

func (b *book) add(id springtide.EnvironmentID, job springtide.Job, batch *jobs.Batch, schedule springtide.ScheduleName) jobs.Enqueued {
	for _, run := range b.runs {
		if job.Key != "" && run.Environment == id && run.Key == job.Key && (job.KeyScope != springtide.KeyActive || !run.State.Over()) {
			return jobs.Enqueued{Run: run.ID, Existing: true}
		}
	}
	run := &springtide.Run{
		ID: springtide.RunID(fmt.Sprintf("job-%d", len(b.runs)+1)), Environment: id, State: springtide.RunAvailable,
		Queue: cmp.Or(job.Queue, springtide.DefaultQueue), Kind: cmp.Or(job.Kind, springtide.RunCommand), Command: job.Command,
		Payload: job.Payload, Priority: job.Priority, Key: job.Key, Attempts: cmp.Or(job.Attempts, springtide.DefaultAttempts),
		Timeout: job.Timeout, OnLost: cmp.Or(job.OnLost, springtide.LostRetry), Schedule: schedule, Created: Epoch(), RunAt: Epoch(),
	}
	if batch != nil {
		run.Batch = batch.ID
	}
	if job.Delay > 0 || job.RunAt.After(Epoch()) {
		run.State, run.RunAt = springtide.RunScheduled, Epoch().Add(job.Delay)
		if !job.RunAt.IsZero() {
			run.RunAt = job.RunAt
		}
	}
	b.runs = append(b.runs, run)
	b.carryOut(run)
	return jobs.Enqueued{Run: run.ID}
}

func (b *book) carryOut(run *springtide.Run) {
	if run.State != springtide.RunAvailable || run.Queue == Hands || b.paused[pauseOf("queue", run.Environment, string(run.Queue))] {
		return
	}
	b.claim(run, "worker-1-aaaaa")
	run.Started, run.Output = Epoch().Add(time.Second), run.Command+"\n"
	fmt.Sscanf(run.Command, "exit %d", &run.ExitCode) // otherwise 0
	outcome := jobs.Completion{Verdict: jobs.Succeeded}
	if run.ExitCode != 0 {
		outcome = jobs.Completion{Verdict: jobs.Failed, Final: true, ExitCode: run.ExitCode, Reason: fmt.Sprintf("exit status %d", run.ExitCode)}
	}
	finish(run, outcome)
}

func (b *book) claim(run *springtide.Run, runner string) {
	b.fence++
	run.State, run.Runner, run.Release, run.Fence, run.Claimed = springtide.RunClaimed, runner, 1, b.fence, Epoch()
	run.Attempt++
}

func finish(run *springtide.Run, outcome jobs.Completion) {
	run.Reason, run.ExitCode, run.Result = outcome.Reason, outcome.ExitCode, outcome.Result
	run.Output += outcome.Output
	switch {
	case outcome.Verdict == jobs.Returned:
		run.State = springtide.RunAvailable
		return
	case outcome.Verdict == jobs.Succeeded:
		run.State = springtide.RunSucceeded
	case run.Cancelling:
		run.State = springtide.RunCancelled
	default:
		run.State = springtide.RunDead
		run.Failures++
	}
	run.Finished = Epoch().Add(3 * time.Second)
}

func (b *book) find(id springtide.EnvironmentID, run springtide.RunID) (*springtide.Run, error) {
	for _, r := range b.runs {
		if r.Environment == id && r.ID == run {
			return r, nil
		}
	}
	return nil, springtide.Errorf(springtide.NotFound, "%s has no run %s", id, run).WithHint("`tide jobs ls` lists them")
}

// Run implements [api.Ledger].
func (b *book) Run(_ context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error) {
	return b.change(id, run, func(*springtide.Run) error { return nil })
}

func (b *book) change(id springtide.EnvironmentID, run springtide.RunID, change func(*springtide.Run) error) (after springtide.Run, err error) {
	b.p.update(func() {
		var found *springtide.Run
		if found, err = b.find(id, run); err == nil {
			err = change(found)
			after = *found
		}
	})
	return after, err
}

// Runs implements [api.Ledger].
func (b *book) Runs(_ context.Context, query jobs.Query) ([]springtide.Run, error) {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	var found []springtide.Run
	behind := query.Before == ""
	for _, run := range slices.Backward(b.runs) {
		matches := run.Environment == query.Environment && (query.Queue == "" || query.Queue == run.Queue) &&
			(query.Schedule == "" || query.Schedule == run.Schedule) && (query.Batch == "" || query.Batch == run.Batch) &&
			(len(query.States) == 0 || slices.Contains(query.States, run.State))
		if matches && behind && len(found) < query.Most {
			listed := *run
			listed.Payload, listed.Result, listed.Output = nil, nil, ""
			found = append(found, listed)
		}
		behind = behind || run.ID == query.Before
	}
	return found, nil
}

// Queues implements [api.Ledger].
func (b *book) Queues(_ context.Context, id springtide.EnvironmentID) ([]jobs.QueueStatus, error) {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	queues := map[springtide.QueueName]jobs.QueueStatus{}
	for _, run := range b.runs {
		if run.Environment != id {
			continue
		}
		queue, ok := queues[run.Queue]
		if !ok {
			queue = jobs.QueueStatus{
				Environment: id, Name: run.Queue, States: map[springtide.RunState]int{}, Paused: b.paused[pauseOf("queue", id, string(run.Queue))],
				Settings: springtide.Queue{Attempts: springtide.DefaultAttempts, Retention: springtide.DefaultRetention},
			}
		}
		queue.States[run.State]++
		switch run.State {
		case springtide.RunAvailable:
			queue.Commands++
			queue.Oldest = time.Minute
		case springtide.RunClaimed, springtide.RunRunning:
			queue.UnderWay++
		}
		queues[run.Queue] = queue
	}
	var all []jobs.QueueStatus
	for _, name := range slices.Sorted(maps.Keys(queues)) {
		all = append(all, queues[name])
	}
	return all, nil
}

// BatchStatus implements [api.Ledger].
func (b *book) BatchStatus(_ context.Context, id springtide.EnvironmentID, batch string) (jobs.BatchStatus, error) {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	status := jobs.BatchStatus{ID: batch}
	for _, run := range b.runs {
		if run.Environment != id || run.Batch != batch {
			continue
		}
		status.Size++
		if run.State.Over() {
			status.Over++
		}
		if run.State == springtide.RunDead {
			status.Dead++
		}
	}
	if status.Size == 0 {
		return status, springtide.Errorf(springtide.NotFound, "%s has no batch %s", id, batch)
	}
	return status, nil
}

// WaitRun implements [api.Jobs].
func (b *book) WaitRun(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error) {
	for {
		b.p.mu.Lock()
		changed := b.p.changed
		found, err := b.find(id, run)
		var now springtide.Run
		if err == nil {
			now = *found
		}
		b.p.mu.Unlock()
		if err != nil || now.State.Over() {
			return now, err
		}
		if !b.await(ctx, changed) {
			return now, nil
		}
	}
}

// await waits for a change, and tells whether it came before ctx ended.
func (b *book) await(ctx context.Context, changed <-chan struct{}) bool {
	b.p.waiting.Add(1)
	defer b.p.waiting.Add(-1)
	select {
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	}
}

// Waiting counts the requests that wait for a run: to be available, or over.
func (p *Platform) Waiting() int { return int(p.waiting.Load()) }

// Output implements [api.Jobs].
func (b *book) Output(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID, follow bool) (io.ReadCloser, error) {
	now, err := b.Run(ctx, id, run)
	if err != nil {
		return nil, err
	}
	if follow {
		if now, err = b.WaitRun(ctx, id, run); err != nil {
			return nil, err
		}
	}
	return io.NopCloser(strings.NewReader(now.Output)), nil
}

// Cancel implements [api.Jobs].
func (b *book) Cancel(_ context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error) {
	return b.change(id, run, func(r *springtide.Run) error {
		switch {
		case r.State.Over():
			return springtide.Errorf(springtide.Conflict, "run %s is over: it is %s", run, r.State)
		case r.State == springtide.RunClaimed || r.State == springtide.RunRunning:
			r.Cancelling = true
		default:
			r.State, r.Finished, r.Reason = springtide.RunCancelled, Epoch(), "cancelled by hand"
		}
		return nil
	})
}

// Retry implements [api.Jobs].
func (b *book) Retry(_ context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error) {
	return b.change(id, run, func(r *springtide.Run) error {
		if r.State != springtide.RunDead && r.State != springtide.RunCancelled && r.State != springtide.RunScheduled {
			return springtide.Errorf(springtide.Conflict, "run %s cannot be tried again: it is %s", run, r.State)
		}
		b.again(r)
		return nil
	})
}

func (b *book) again(r *springtide.Run) {
	r.State, r.Finished, r.Reason, r.Cancelling = springtide.RunAvailable, time.Time{}, "", false
	b.carryOut(r)
}

// Replay implements [api.Jobs].
func (b *book) Replay(_ context.Context, id springtide.EnvironmentID, queue springtide.QueueName) (count int, err error) {
	b.p.update(func() {
		for _, run := range b.runs {
			if run.Environment == id && run.State == springtide.RunDead && (queue == "" || run.Queue == queue) {
				b.again(run)
				count++
			}
		}
	})
	return count, nil
}

func pauseOf(what string, id springtide.EnvironmentID, name string) string {
	return what + " " + id.String() + " " + name
}

// PauseQueue implements [api.Jobs].
func (b *book) PauseQueue(_ context.Context, id springtide.EnvironmentID, queue springtide.QueueName, paused bool) error {
	b.p.update(func() {
		b.paused[pauseOf("queue", id, string(queue))] = paused
		for _, run := range b.runs {
			if run.Environment == id && run.Queue == queue {
				b.carryOut(run)
			}
		}
	})
	return nil
}

// Schedules implements [api.Schedules].
func (b *book) Schedules(_ context.Context, id springtide.EnvironmentID) ([]jobs.ScheduleStatus, error) {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	var all []jobs.ScheduleStatus
	for _, name := range slices.Sorted(maps.Keys(b.schedules[id])) {
		status := jobs.ScheduleStatus{
			Environment: id, Name: name, Schedule: b.schedules[id][name], Paused: b.paused[pauseOf("schedule", id, string(name))],
			Next: Epoch().Add(4 * time.Hour),
		}
		for _, run := range b.runs {
			if run.Environment == id && run.Schedule == name {
				status.Last, status.LastRun, status.LastState = run.Created, run.ID, run.State
			}
		}
		all = append(all, status)
	}
	return all, nil
}

// Coming implements [api.Schedules].
func (b *book) Coming(ctx context.Context, id springtide.EnvironmentID, count int) ([]jobs.Coming, error) {
	schedules, err := b.Schedules(ctx, id)
	var coming []jobs.Coming
	for i := 0; len(coming) < count && len(schedules) > 0; i++ {
		s := schedules[i%len(schedules)]
		slot := s.Next.Add(time.Duration(i/len(schedules)) * time.Hour)
		coming = append(coming, jobs.Coming{Schedule: s.Name, Slot: slot, Zone: cmp.Or(s.Schedule.Timezone, "UTC")})
	}
	return coming, err
}

func (b *book) findSchedule(id springtide.EnvironmentID, name springtide.ScheduleName) (springtide.Schedule, error) {
	schedule, ok := b.schedules[id][name]
	if !ok {
		return schedule, springtide.Errorf(springtide.NotFound, "%s has no schedule %s", id, name).WithHint("`tide schedules` lists them")
	}
	return schedule, nil
}

// Trigger implements [api.Schedules].
func (b *book) Trigger(_ context.Context, id springtide.EnvironmentID, name springtide.ScheduleName) (run springtide.RunID, err error) {
	b.p.update(func() {
		var schedule springtide.Schedule
		if schedule, err = b.findSchedule(id, name); err == nil {
			run = b.add(id, schedule.Job, nil, name).Run
		}
	})
	return run, err
}

// PauseSchedule implements [api.Schedules].
func (b *book) PauseSchedule(_ context.Context, id springtide.EnvironmentID, name springtide.ScheduleName, paused bool) (err error) {
	b.p.update(func() {
		if _, err = b.findSchedule(id, name); err == nil {
			b.paused[pauseOf("schedule", id, string(name))] = paused
		}
	})
	return err
}

// Lease implements [api.Leases].
func (b *book) Lease(ctx context.Context, who jobs.Identity, request jobs.LeaseRequest) (jobs.LeaseAnswer, error) {
	answer := jobs.LeaseAnswer{LeaseSeconds: jobs.LeaseFor.Seconds(), BeatSeconds: jobs.BeatEvery.Seconds()}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(request.WaitSeconds*float64(time.Second)))
	defer cancel()
	for {
		b.p.mu.Lock()
		changed := b.p.changed
		for _, run := range b.runs {
			if run.Environment != who.Environment || run.State != springtide.RunAvailable || len(answer.Runs) == request.Most {
				continue
			}
			b.claim(run, request.Runner)
			answer.Runs = append(answer.Runs, jobs.LeasedRun{
				Run: run.ID, Fence: run.Fence, Attempt: run.Attempt, Queue: run.Queue, Command: run.Command,
				Payload: run.Payload, Schedule: run.Schedule, TimeoutSeconds: run.Timeout.Seconds(),
			})
		}
		b.p.mu.Unlock()
		if len(answer.Runs) > 0 {
			return answer, nil
		}
		if !b.await(ctx, changed) {
			return answer, nil
		}
	}
}

// holding calls change for a run that is held, and tells whether it is.
func (b *book) holding(who jobs.Identity, hold jobs.Hold, change func(*springtide.Run)) (held bool) {
	b.p.update(func() {
		run, err := b.find(who.Environment, hold.Run)
		held = err == nil && run.Fence == hold.Fence && (run.State == springtide.RunClaimed || run.State == springtide.RunRunning)
		if held {
			change(run)
		}
	})
	return held
}

// Start implements [api.Leases].
func (b *book) Start(_ context.Context, who jobs.Identity, holds []jobs.Hold) (accepted []bool, err error) {
	for _, hold := range holds {
		accepted = append(accepted, b.holding(who, hold, func(r *springtide.Run) { r.State, r.Started = springtide.RunRunning, Epoch() }))
	}
	return accepted, nil
}

// Heartbeat implements [api.Leases].
func (b *book) Heartbeat(_ context.Context, who jobs.Identity, request jobs.BeatRequest) (answer jobs.BeatAnswer, err error) {
	for _, beat := range request.Runs {
		var standing jobs.Standing
		standing.Held = b.holding(who, beat.Hold, func(r *springtide.Run) {
			if beat.Progress != nil {
				r.Progress = *beat.Progress
			}
			standing.Cancel = r.Cancelling
		})
		answer.Runs = append(answer.Runs, standing)
	}
	return answer, nil
}

// Complete implements [api.Leases].
func (b *book) Complete(_ context.Context, who jobs.Identity, request jobs.CompleteRequest) (answer jobs.AcceptedAnswer, err error) {
	for _, completion := range request.Runs {
		answer.Accepted = append(answer.Accepted, b.holding(who, completion.Hold, func(r *springtide.Run) { finish(r, completion) }))
	}
	return answer, nil
}

// AppendOutput implements [api.Leases].
func (b *book) AppendOutput(_ context.Context, who jobs.Identity, hold jobs.Hold, offset int64, body io.Reader) (next int64, err error) {
	var text bytes.Buffer
	if _, err := text.ReadFrom(body); err != nil {
		return 0, err
	}
	held := b.holding(who, hold, func(r *springtide.Run) {
		if next = int64(len(r.Output)); next != offset {
			err = &jobs.OffsetError{Next: next}
			return
		}
		r.Output += text.String()
		next = int64(len(r.Output))
	})
	if !held {
		return 0, springtide.Errorf(springtide.Conflict, "another attempt has run %s, or it is over", hold.Run)
	}
	return next, err
}

// Identify implements [api.InstanceTokens]: "instance-of-APP/ENVIRONMENT" is the
// token of web-1-aaaaa in release 1.
func (b *book) Identify(token string) (jobs.Identity, error) {
	of, ok := strings.CutPrefix(token, "instance-of-")
	app, environment, both := strings.Cut(of, "/")
	if !ok || !both {
		return jobs.Identity{}, springtide.Errorf(springtide.Unauthorized, "the token is of no instance")
	}
	id := springtide.EnvironmentID{App: springtide.AppName(app), Name: springtide.EnvironmentName(environment)}
	return jobs.Identity{Environment: id, Release: 1, Generation: 1, Process: "web", Instance: "web-1-aaaaa"}, nil
}

var _ interface {
	api.Ledger
	api.Jobs
	api.Leases
	api.Schedules
	api.Locks
	api.InstanceTokens
} = (*book)(nil)
