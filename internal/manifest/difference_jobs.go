package manifest

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/springtide/springtide"
)

// worker compares how a process takes runs. Its grace is that of a run's command;
// the process's own follows from the rest.
func (d *difference) worker(path, restart string, from, to springtide.Process) {
	was, is := workerOf(from), workerOf(to)
	d.value(path+".queues", restart, queuesOf(was), queuesOf(is))
	d.value(path+".runner", restart, runnerOf(was), runnerOf(is))
	d.value(path+".timeout", restart, orNothing(max(from.Timeout, was.Timeout)), orNothing(max(to.Timeout, is.Timeout)))
	d.value(path+".grace", restart, graceOf(from), graceOf(to))
	d.value(path+".scale.target.wait", effectScale, orNothing(was.Wait), orNothing(is.Wait))
}

// workerOf gives what says how a process takes runs; the zero one if it takes none.
func workerOf(p springtide.Process) springtide.Worker {
	if p.Worker == nil {
		return springtide.Worker{}
	}
	return *p.Worker
}

func queuesOf(w springtide.Worker) string {
	var names []string
	for _, queue := range w.Queues {
		names = append(names, string(queue))
	}
	return strings.Join(names, ", ")
}

func runnerOf(w springtide.Worker) string {
	switch {
	case len(w.Queues) == 0:
		return ""
	case w.Own:
		return string(runnerOwn)
	}
	return string(runnerTide)
}

func graceOf(p springtide.Process) string {
	if p.Worker != nil {
		return formatDuration(p.Worker.Grace)
	}
	return formatDuration(p.Grace)
}

// jobs compares schedules, queues and what holds for all runs.
func (d *difference) jobs(from, to springtide.Jobs) {
	eachOf(from.Schedules, to.Schedules, func(name springtide.ScheduleName, before, after *springtide.Schedule) {
		path := "schedules." + string(name)
		switch {
		case before == nil:
			d.add(Change{Path: path, Kind: Added, To: timesOf(*after), Effect: effectSchedules})
		case after == nil:
			d.add(Change{Path: path, Kind: Removed, From: timesOf(*before), Effect: effectSchedules})
		default:
			d.schedule(path, *before, *after)
		}
	})
	eachOf(from.Queues, to.Queues, func(name springtide.QueueName, before, after *springtide.Queue) {
		was, is := queueOf(before), queueOf(after)
		path := "queues." + string(name)
		d.value(path+".concurrency", effectQueues, whole(was.Concurrency), whole(is.Concurrency))
		d.value(path+".attempts", effectQueues, whole(was.Attempts), whole(is.Attempts))
		d.value(path+".retention", effectQueues, formatDuration(was.Retention), formatDuration(is.Retention))
	})
	d.value("jobs.concurrency", effectQueues, whole(from.Concurrency), whole(to.Concurrency))
	eachOf(from.Calls, to.Calls, func(host string, before, after *float64) {
		d.value("jobs.calls."+host, effectQueues, rateOf(before), rateOf(after))
	})
	d.value("mail.from", effectQueues, from.MailFrom, to.MailFrom)
}

func (d *difference) schedule(path string, from, to springtide.Schedule) {
	d.value(path+".cron", effectSchedules, from.Cron, to.Cron)
	d.value(path+".timezone", effectSchedules, from.Timezone, to.Timezone)
	d.value(path+".command", effectSchedules, from.Job.Command, to.Job.Command)
	d.value(path+".payload", effectSchedules, string(from.Job.Payload), string(to.Job.Payload))
	d.value(path+".queue", effectSchedules, string(from.Job.Queue), string(to.Job.Queue))
	d.value(path+".missed", effectSchedules, string(from.Missed), string(to.Missed))
	d.value(path+".overlap", effectSchedules, string(from.Overlap), string(to.Overlap))
	d.value(path+".deadline", effectSchedules, formatDuration(from.Deadline), formatDuration(to.Deadline))
	d.value(path+".jitter", effectSchedules, orNothing(from.Jitter), orNothing(to.Jitter))
	d.value(path+".timeout", effectSchedules, orNothing(from.Job.Timeout), orNothing(to.Job.Timeout))
	d.value(path+".attempts", effectSchedules, whole(from.Job.Attempts), whole(to.Job.Attempts))
	d.value(path+".on_lost", effectSchedules, string(from.Job.OnLost), string(to.Job.OnLost))
	d.value(path+".priority", effectSchedules, whole(from.Job.Priority), whole(to.Job.Priority))
}

func timesOf(s springtide.Schedule) string { return strings.TrimSpace(s.Cron + " " + s.Timezone) }

// queueOf gives what holds for a queue; of one that is not listed, the defaults.
func queueOf(q *springtide.Queue) springtide.Queue {
	if q == nil {
		return springtide.Queue{Attempts: springtide.DefaultAttempts, Retention: springtide.DefaultRetention}
	}
	return *q
}

func rateOf(requests *float64) string {
	if requests == nil {
		return ""
	}
	return strconv.FormatFloat(*requests, 'f', -1, 64)
}

// eachOf visits what has a name before or after, in order; nil where it has none.
func eachOf[K cmp.Ordered, V any](before, after map[K]V, visit func(K, *V, *V)) {
	names := slices.Sorted(maps.Keys(before))
	for name := range after {
		if _, both := before[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	pointer := func(in map[K]V, name K) *V {
		if value, ok := in[name]; ok {
			return &value
		}
		return nil
	}
	for _, name := range names {
		visit(name, pointer(before, name), pointer(after, name))
	}
}
