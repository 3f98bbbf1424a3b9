package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// Change is one difference between what runs and what is wanted.
type Change struct {
	// Path names what changes, as in tide.yaml: "processes.web.scale.max".
	Path string `json:"path"`
	// From is empty for what is added, To for what is removed.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Kind says whether something is added, removed or changed.
	Kind ChangeKind `json:"kind"`
	// Effect is what the change will cause: "new build", "restart of web",
	// "scaling only".
	Effect string `json:"effect"`
}

// ChangeKind is what happens to a value.
type ChangeKind string

// The kinds of changes.
const (
	Added   ChangeKind = "added"
	Removed ChangeKind = "removed"
	Changed ChangeKind = "changed"
)

// What changes cause.
const (
	effectBuild     = "new build and release"
	effectRelease   = "new release"
	effectAll       = "restart of every process"
	effectScale     = "scaling only"
	effectSchedules = "schedules only"
	effectQueues    = "queues only"
	effectRoutes    = "routing only"
	effectKeeping   = "nothing that runs"
)

// String gives "processes.web.scale.max: 4 → 10 (scaling only)".
func (c Change) String() string {
	var what string
	switch {
	case c.Kind == Changed:
		what = fmt.Sprintf("%s: %s → %s", c.Path, c.From, c.To)
	case c.Kind == Added && c.To == "":
		what = "+ " + c.Path
	case c.Kind == Added:
		what = "+ " + c.Path + ": " + c.To
	case c.From == "":
		what = "- " + c.Path
	default:
		what = "- " + c.Path + ": " + c.From
	}
	return what + " (" + c.Effect + ")"
}

// Difference lists what has to change for the wanted app to run in place of the
// running one, in the order of tide.yaml. It is empty if nothing has to.
func Difference(running, wanted springtide.App) []Change {
	var d difference
	d.value("app", effectAll, string(running.Name), string(wanted.Name))
	d.build(running.Build, wanted.Build)
	names := slices.Sorted(maps.Keys(running.Processes))
	for name := range wanted.Processes {
		if _, both := running.Processes[name]; !both {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b springtide.ProcessName) int { return webFirst(string(a), string(b)) })
	for _, name := range names {
		before, ran := running.Processes[name]
		after, runs := wanted.Processes[name]
		path := "processes." + string(name)
		switch {
		case !ran:
			d.add(Change{Path: path, Kind: Added, To: shorten(after.Command), Effect: "start of " + string(name)})
		case !runs:
			d.add(Change{Path: path, Kind: Removed, From: shorten(before.Command), Effect: "end of " + string(name)})
		default:
			d.process(path, name, before, after)
		}
	}
	d.value("release", effectRelease, running.ReleaseCommand, wanted.ReleaseCommand)
	d.jobs(running.Jobs, wanted.Jobs)
	d.state(running, wanted)
	d.env("env", effectAll, running.Env, wanted.Env)
	d.list("domains", effectRoutes, running.Domains, wanted.Domains)
	d.cached(running.Cache, wanted.Cache)
	d.protection(running.Protection, wanted.Protection)
	d.value("keep", effectKeeping, whole(running.KeepReleases), whole(wanted.KeepReleases))
	return d
}

// difference collects changes.
type difference []Change

func (d *difference) add(c Change) { *d = append(*d, c) }

// value compares two values as they are written; empty means that there is none.
func (d *difference) value(path, effect, from, to string) {
	kind := Changed
	switch {
	case from == to:
		return
	case from == "":
		kind = Added
	case to == "":
		kind = Removed
	}
	d.add(Change{Path: path, From: shorten(from), To: shorten(to), Kind: kind, Effect: effect})
}

func (d *difference) build(from, to springtide.Build) {
	d.value("build.command", effectBuild, from.Command, to.Command)
	d.value("build.timeout", effectBuild, orNothing(from.Timeout), orNothing(to.Timeout))
	d.limits("build.limits", effectBuild, from.Limits, to.Limits)
	d.env("build.env", effectBuild, from.Env, to.Env)
	d.value("build.base", effectBuild, from.Base, to.Base)
	d.value("build.push", effectRelease, from.Push, to.Push)
	d.value("build.login", effectRelease, string(from.Login), string(to.Login))
}

func (d *difference) process(path string, name springtide.ProcessName, from, to springtide.Process) {
	restart := "restart of " + string(name)
	d.value(path+".command", restart, from.Command, to.Command)
	d.value(path+".http", restart, strconv.FormatBool(from.HTTP), strconv.FormatBool(to.HTTP))
	d.health(path+".health", restart, from.Health, to.Health)
	d.scale(path+".scale", from.Scale, to.Scale)
	d.announcements(name, from.Announcements, to.Announcements)
	d.env(path+".env", restart, from.Env, to.Env)
	d.value(path+".drain", restart, formatDuration(from.Drain), formatDuration(to.Drain))
	d.worker(path, restart, from, to)
	d.value(path+".streams", restart, streamsOf(from), streamsOf(to))
	d.balance(path, restart, from, to)
	d.limits(path+".limits", restart, from.Limits, to.Limits)
}

func (d *difference) health(path, effect string, from, to springtide.Health) {
	d.value(path+".path", effect, from.Path, to.Path)
	d.value(path+".tcp", effect, strconv.FormatBool(from.TCP), strconv.FormatBool(to.TCP))
	d.value(path+".command", effect, from.Command, to.Command)
	d.value(path+".interval", effect, formatDuration(from.Interval), formatDuration(to.Interval))
	d.value(path+".timeout", effect, formatDuration(from.Timeout), formatDuration(to.Timeout))
	d.value(path+".start", effect, formatDuration(from.Start), formatDuration(to.Start))
	d.value(path+".failures", effect, whole(from.Failures), whole(to.Failures))
}

func (d *difference) scale(path string, from, to springtide.Scale) {
	d.value(path+".min", effectScale, strconv.Itoa(from.Min), strconv.Itoa(to.Min))
	d.value(path+".max", effectScale, strconv.Itoa(from.Max), strconv.Itoa(to.Max))
	d.value(path+".target.concurrency", effectScale, whole(from.Concurrency), whole(to.Concurrency))
	d.value(path+".target.requests", effectScale, orNone(from.Requests, new(rate(from.Requests))), orNone(to.Requests, new(rate(to.Requests))))
	d.value(path+".target.p95", effectScale, orNothing(from.P95), orNothing(to.P95))
	d.value(path+".target.cpu", effectScale, orNone(from.CPU, new(percent(from.CPU))), orNone(to.CPU, new(percent(to.CPU))))
	d.outside(path+".queue", from.Queue, to.Queue)
	d.value(path+".spare", effectScale, whole(from.Spare), whole(to.Spare))
	d.value(path+".priority", effectScale, whole(from.Priority), whole(to.Priority))
	d.value(path+".idle", effectScale, formatDuration(from.Idle), formatDuration(to.Idle))
	d.value(path+".stable", effectScale, orNothing(from.StableFor), orNothing(to.StableFor))
}

func (d *difference) limits(path, effect string, from, to springtide.Limits) {
	cpu := func(l springtide.Limits) string {
		if l.CPU == 0 {
			return ""
		}
		return strconv.FormatFloat(l.CPU, 'f', -1, 64)
	}
	memory := func(l springtide.Limits) string {
		if l.Memory == 0 {
			return ""
		}
		return formatSize(l.Memory)
	}
	d.value(path+".cpu", effect, cpu(from), cpu(to))
	d.value(path+".memory", effect, memory(from), memory(to))
	d.value(path+".processes", effect, whole(from.Processes), whole(to.Processes))
}

func (d *difference) env(path, effect string, from, to map[string]string) {
	keys := slices.Collect(maps.Keys(from))
	for key := range to {
		if _, both := from[key]; !both {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		before, was := from[key]
		after, is := to[key]
		switch {
		case !was:
			d.add(Change{Path: path + "." + key, Kind: Added, To: shown(after), Effect: effect})
		case !is:
			d.add(Change{Path: path + "." + key, Kind: Removed, From: shown(before), Effect: effect})
		case before != after:
			d.add(Change{Path: path + "." + key, Kind: Changed, From: shown(before), To: shown(after), Effect: effect})
		}
	}
}

func (d *difference) list(path, effect string, from, to []string) {
	for _, item := range from {
		if !slices.Contains(to, item) {
			d.add(Change{Path: path, Kind: Removed, From: item, Effect: effect})
		}
	}
	for _, item := range to {
		if !slices.Contains(from, item) {
			d.add(Change{Path: path, Kind: Added, To: item, Effect: effect})
		}
	}
}

// shown makes an empty value visible.
func shown(value string) string {
	if value == "" {
		return `""`
	}
	return shorten(value)
}

// whole writes a number; 0 is none.
func whole(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// orNothing writes a duration; 0 is none.
func orNothing(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return formatDuration(d)
}

// orNone writes a number as the manifest does; 0 is none.
func orNone(number float64, as scalar) string {
	if number == 0 {
		return ""
	}
	written, _ := as.write()
	return written
}

func streamsOf(p springtide.Process) string {
	if p.FinishStreams {
		return string(streamsFinish)
	}
	return string(streamsClose)
}

// Sentence says in one line what the changes cause together: "restart of web,
// scaling only".
func Sentence(changes []Change) string {
	var effects []string
	for _, c := range changes {
		if !slices.Contains(effects, c.Effect) {
			effects = append(effects, c.Effect)
		}
	}
	if len(effects) == 0 {
		return "nothing to change"
	}
	return strings.Join(effects, ", ")
}
