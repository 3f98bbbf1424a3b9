package manifest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cron"
)

// What holds where a manifest says nothing of jobs.
const (
	defaultWorkerMax     = 4
	defaultWorkerIdle    = time.Minute
	defaultWorkerTimeout = time.Hour
	defaultWorkerWait    = 5 * time.Second
	defaultDeadline      = 10 * time.Minute

	// ownWorker is the process that is added for schedules with commands, where an
	// app has no worker.
	ownWorker          = name("jobs")
	ownWorkerMax count = 2

	// graceBeyond is what a worker's instance gets beyond its longest run: to tell
	// how that ended.
	graceBeyond = 10 * time.Second
)

// jobs gives all that is said of jobs.
func (r *resolver) jobs(d *document) springtide.Jobs {
	var jobs springtide.Jobs
	for _, queue := range sortedKeys(d.Queues) {
		s := d.Queues[queue]
		if jobs.Queues == nil {
			jobs.Queues = map[springtide.QueueName]springtide.Queue{}
		}
		jobs.Queues[springtide.QueueName(queue)] = springtide.Queue{
			Concurrency: int(s.Concurrency.Value),
			Attempts:    int(s.Attempts.or(springtide.DefaultAttempts)),
			Retention:   time.Duration(s.Retention.or(duration(springtide.DefaultRetention))),
		}
	}
	for _, schedule := range sortedKeys(d.Schedules) {
		resolved := r.schedule("schedules."+string(schedule), d.Schedules[schedule])
		if !d.Schedules[schedule].Enabled.or(true) {
			continue
		}
		if jobs.Schedules == nil {
			jobs.Schedules = map[springtide.ScheduleName]springtide.Schedule{}
		}
		jobs.Schedules[springtide.ScheduleName(schedule)] = resolved
	}
	if d.Jobs != nil {
		jobs.Concurrency = int(d.Jobs.Concurrency.Value)
		for host, most := range d.Jobs.Calls {
			if jobs.Calls == nil {
				jobs.Calls = map[string]float64{}
			}
			jobs.Calls[string(host)] = float64(most.Value)
		}
	}
	if d.Mail != nil {
		jobs.MailFrom = string(d.Mail.From.Value)
	}
	return jobs
}

func (r *resolver) schedule(path string, s *scheduleSection) springtide.Schedule {
	job := springtide.Job{
		Queue:    springtide.QueueName(s.Queue.or(name(springtide.DefaultQueue))),
		Kind:     springtide.RunCommand,
		Command:  string(s.Command.Value),
		Payload:  json.RawMessage(slices.Clone(s.Payload.Value)),
		Priority: int(s.Priority.Value),
		Attempts: int(s.Attempts.Value),
		Timeout:  time.Duration(s.Timeout.Value),
		OnLost:   springtide.OnLost(s.OnLost.or(onLost(springtide.LostRetry))),
	}
	if s.URL.IsSet {
		call, err := json.Marshal(springtide.HTTPCall{URL: string(s.URL.Value), Body: job.Payload})
		if err != nil {
			r.problems.add(s.Payload.At, "%s.payload: %v", path, err)
		}
		job.Kind, job.Payload = springtide.RunHTTP, call
		if s.Command.IsSet {
			r.problems.add(s.URL.At, "%s: command and url are both there; keep one of them", path)
		}
	}
	schedule := springtide.Schedule{
		Cron:     r.times(path, s),
		Timezone: string(s.Timezone.Value),
		Job:      job,
		Missed:   springtide.Missed(s.Missed.or(missed(springtide.MissedLatest))),
		Overlap:  springtide.Overlap(s.Overlap.or(overlap(springtide.OverlapSkip))),
		Deadline: time.Duration(s.Deadline.or(duration(defaultDeadline))),
		Jitter:   time.Duration(s.Jitter.Value),
	}
	if schedule.Jitter > schedule.Deadline {
		r.problems.add(s.Jitter.At, "%s.jitter: %s is longer than the deadline, %s: runs would be late", path, formatDuration(schedule.Jitter), formatDuration(schedule.Deadline))
	}
	return schedule
}

// times gives the expression of a schedule.
func (r *resolver) times(path string, s *scheduleSection) string {
	if !s.Every.IsSet {
		if !s.Cron.IsSet && !s.Cron.attempted() && !s.Every.attempted() {
			r.problems.add(s.At, `%s has no times: give it cron: "0 8 * * *", or every: 10m`, path)
		}
		return string(s.Cron.Value)
	}
	if s.Cron.IsSet {
		r.problems.add(s.Every.At, "%s: cron and every are both there; keep one of them", path)
	}
	every := "every " + plainDuration(time.Duration(s.Every.Value))
	if _, err := cron.Parse(every, ""); err != nil && !r.problems.about(path) {
		r.problems.add(s.Every.At, "%s: %v", path, err)
	}
	return every
}

// plainDuration writes a duration in hours and less: "24h", "1h30m".
func plainDuration(d time.Duration) string {
	written := d.String()
	if strings.HasSuffix(written, "m0s") {
		written = strings.TrimSuffix(written, "0s")
	}
	if strings.HasSuffix(written, "h0m") {
		written = strings.TrimSuffix(written, "0m")
	}
	return written
}

// replaceBy makes room for other times, and for another thing to do, than those
// before.
func (s *scheduleSection) replaceBy(different *scheduleSection) {
	if different.Cron.IsSet || different.Every.IsSet {
		s.Cron, s.Every = set[expression]{}, set[duration]{}
	}
	if different.Command.IsSet || different.URL.IsSet {
		s.Command, s.URL = set[command]{}, set[callURL]{}
	}
}

// worker says how a process takes runs; nil if it takes none. Its grace is that
// of a run's command.
func (r *resolver) worker(path string, s *processSection, http bool) *springtide.Worker {
	if s.Queues == nil {
		if s.Runner.IsSet {
			r.problems.add(s.Runner.At, "%s.runner: the process takes no runs; give it queues", path)
		}
		return nil
	}
	worker := &springtide.Worker{
		Own:     s.Runner.Value == runnerOwn,
		Timeout: time.Duration(s.Timeout.or(duration(defaultWorkerTimeout))),
		Grace:   time.Duration(s.Grace.or(duration(defaultGrace))),
		Wait:    defaultWorkerWait,
	}
	if s.Scale != nil && s.Scale.Target != nil {
		worker.Wait = time.Duration(s.Scale.Target.Wait.or(duration(defaultWorkerWait)))
	}
	for _, queue := range s.Queues {
		if slices.Contains(worker.Queues, springtide.QueueName(queue.Value)) && queue.IsSet {
			r.problems.add(queue.At, "%s.queues: %s is in the list twice", path, queue.Value)
		}
		worker.Queues = append(worker.Queues, springtide.QueueName(queue.Value))
	}
	switch {
	case len(s.Queues) == 0:
		r.problems.add(s.At, "%s.queues: the list is empty; write queues: [%s]", path, springtide.DefaultQueue)
	case http:
		r.problems.add(s.Queues[0].At, "%s.queues: the process is given the requests; let another process take the runs", path)
		return nil
	}
	return worker
}

// serve sees to it that each schedule has a worker, and that no instance of a
// worker is killed before the time limit of what it may run.
func (r *resolver) serve(d *document, app *springtide.App) {
	var workers []springtide.ProcessName
	for _, process := range app.ProcessNames() {
		if app.Processes[process].Worker != nil {
			workers = append(workers, process)
		}
	}
	if len(workers) == 0 {
		workers = r.addWorker(d, app)
	} else {
		for _, schedule := range sortedKeys(app.Jobs.Schedules) {
			if job := app.Jobs.Schedules[schedule].Job; job.Kind == springtide.RunCommand {
				r.served("schedules."+string(schedule), d.Schedules[name(schedule)], job, workers, app)
			}
		}
	}
	for _, key := range sortedKeys(d.Files) {
		if s := d.Files[key]; s.Enqueue.IsSet && !s.S3.IsSet {
			job := springtide.Job{Queue: springtide.QueueName(s.Enqueue.Value)}
			r.served("files."+string(key)+".enqueue", &scheduleSection{At: s.Enqueue.At}, job, workers, app)
		}
	}
	for _, process := range workers {
		resolved := app.Processes[process]
		longest := resolved.Worker.Timeout
		for _, schedule := range app.Jobs.Schedules {
			if schedule.Job.Kind == springtide.RunCommand && slices.Contains(resolved.Worker.Queues, schedule.Job.Queue) {
				longest = max(longest, schedule.Job.Timeout)
			}
		}
		resolved.Grace = longest + resolved.Worker.Grace + graceBeyond
		app.Processes[process] = resolved
	}
}

// addWorker adds a process for schedules with commands, and gives its name, to an
// app that has no worker.
func (r *resolver) addWorker(d *document, app *springtide.App) []springtide.ProcessName {
	var queues []name
	for _, schedule := range sortedKeys(app.Jobs.Schedules) {
		job := app.Jobs.Schedules[schedule].Job
		switch {
		case job.Kind != springtide.RunCommand:
		case job.Command != "":
			queues = append(queues, name(job.Queue))
		case !r.problems.about("schedules." + string(schedule)):
			r.problems.add(d.Schedules[name(schedule)].At, "schedules.%s has nothing to do: give it a command or a url", schedule)
		}
	}
	if len(queues) == 0 {
		return nil
	}
	slices.Sort(queues)
	queues = slices.Compact(queues)
	if taken := d.Processes[ownWorker]; taken != nil {
		r.problems.add(taken.At, "processes.%s: the worker that runs the schedules would have this name; give it queues: [%s] to make it that worker, or another name", ownWorker, queues[0])
		return nil
	}
	section := &processSection{Scale: &scaleSection{Max: setTo(ownWorkerMax)}}
	for _, queue := range queues {
		section.Queues = append(section.Queues, setTo(queue))
	}
	added := springtide.ProcessName(ownWorker)
	app.Processes[added] = r.process(ownWorker, section)
	return []springtide.ProcessName{added}
}

// served checks that the runs of a schedule will be carried out by a worker.
func (r *resolver) served(path string, s *scheduleSection, job springtide.Job, workers []springtide.ProcessName, app *springtide.App) {
	at, found := s.At, false
	if s.Queue.IsSet && s.Queue.At.Line > 0 {
		at = s.Queue.At
	}
	var queues []springtide.QueueName
	for _, process := range workers {
		resolved := app.Processes[process]
		queues = append(queues, resolved.Worker.Queues...)
		if !slices.Contains(resolved.Worker.Queues, job.Queue) {
			continue
		}
		found = true
		switch {
		case resolved.Worker.Own && job.Command != "":
			r.problems.add(at, "%s: processes.%s, which takes runs from the queue %s, has a runner of its own that starts no commands; use another queue, or a payload in place of the command", path, process, job.Queue)
		case job.Command == "" && resolved.Command == "" && !r.problems.about(path):
			r.problems.add(at, "%s has no command, nor has processes.%s, which takes runs from the queue %s", path, process, job.Queue)
		}
	}
	if !found && len(queues) == 0 {
		r.problems.add(at, "%s: no process takes runs from the queue %s; give a worker queues: [%s]", path, job.Queue, job.Queue)
	} else if !found {
		slices.Sort(queues)
		names := strings.Trim(fmt.Sprint(slices.Compact(queues)), "[]")
		r.problems.add(at, "%s: no process takes runs from the queue %s, only from %s; add it to the queues of a worker", path, job.Queue, strings.ReplaceAll(names, " ", ", "))
	}
}
