package manifest

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// What holds where a manifest says nothing.
const (
	defaultKeep           = 10
	defaultBuildTimeout   = 15 * time.Minute
	defaultWebMax         = 4
	defaultConcurrency    = 40
	defaultIdle           = 5 * time.Minute
	defaultDrain          = 30 * time.Second
	defaultGrace          = 10 * time.Second
	defaultHealthInterval = 5 * time.Second
	defaultHealthTimeout  = 2 * time.Second
	defaultHealthStart    = 60 * time.Second
	defaultHealthFailures = 3
)

// resolver makes an app of a document, and finds what contradicts itself.
type resolver struct {
	problems problems
}

// inEnvironment gives the document with the environment's differences applied.
func (r *resolver) inEnvironment(d *document, environment name) *document {
	effective := new(document)
	overlay(reflect.ValueOf(effective).Elem(), reflect.ValueOf(d).Elem())
	effective.Environments = nil
	if environment != name(springtide.Production) {
		// Two environments cannot have the same domain, and one that is visited.
		effective.Domains, effective.Events = nil, nil
	}
	section := d.Environments[environment]
	if section == nil {
		return effective
	}
	different := &document{
		Domains: section.Domains, Env: section.Env, Release: section.Release,
		Services: section.Services, Files: section.Files, Secrets: section.Secrets, Backups: section.Backups, Cache: section.Cache,
		RateLimits: section.RateLimits, MaxBody: section.MaxBody, Headers: section.Headers, ErrorPages: section.ErrorPages,
		Processes: map[name]*processSection{}, Schedules: map[name]*scheduleSection{}, Events: section.Events,
	}
	for _, process := range sortedKeys(section.Processes) {
		if known(r, "process", d.Processes, process, section.Processes[process].At) {
			different.Processes[process] = section.Processes[process]
			replaceHealth(effective.Processes[process], section.Processes[process])
			replaceQueue(effective.Processes[process], section.Processes[process].Scale)
		}
	}
	for _, schedule := range sortedKeys(section.Schedules) {
		if known(r, "schedule", d.Schedules, schedule, section.Schedules[schedule].At) {
			different.Schedules[schedule] = section.Schedules[schedule]
			effective.Schedules[schedule].replaceBy(section.Schedules[schedule])
		}
	}
	replaceServices(effective, section)
	replaceFiles(effective, section)
	overlay(reflect.ValueOf(effective).Elem(), reflect.ValueOf(different).Elem())
	for _, process := range sortedKeys(section.Scale) {
		if known(r, "process", d.Processes, process, section.Scale[process].At) {
			replaceQueue(effective.Processes[process], section.Scale[process])
			scaled := &document{Processes: map[name]*processSection{process: {Scale: section.Scale[process]}}}
			overlay(reflect.ValueOf(effective).Elem(), reflect.ValueOf(scaled).Elem())
		}
	}
	return effective
}

// replaceHealth makes room for a way of probing other than the one before.
func replaceHealth(process, different *processSection) {
	other := different.Health
	if process.Health != nil && other != nil && (other.Path.IsSet || other.TCP.IsSet || other.Command.IsSet) {
		process.Health.Path, process.Health.TCP, process.Health.Command = set[urlPath]{}, set[truth]{}, set[command]{}
	}
}

// known reports whether there is something of that name for an environment to
// change.
func known[V any](r *resolver, what string, all map[name]*V, wanted name, at position) bool {
	if all[wanted] != nil {
		return true
	}
	var others []string
	for other := range all {
		others = append(others, string(other))
	}
	r.problems.add(at, "there is no %s %q to change%s", what, wanted, didYouMean(string(wanted), others))
	return false
}

// resolve fills in the defaults and checks what one value alone does not show.
func (r *resolver) resolve(d *document) springtide.App {
	app := springtide.App{
		Name:           springtide.AppName(d.App.Value),
		Build:          r.build(d.Build),
		Processes:      map[springtide.ProcessName]springtide.Process{},
		ReleaseCommand: string(d.Release.Value),
		Env:            variables(d.Env),
		Domains:        r.domains(d.Domains),
		Jobs:           r.jobs(d),
		Services:       r.services(d),
		Files:          r.files(d),
		Secrets:        r.secrets(d),
		Cache:          r.cache(d),
		Protection:     r.protection(d),
		KeepReleases:   int(d.Keep.or(defaultKeep)),
	}
	if !d.App.IsSet && !d.App.attempted() {
		r.problems.add(d.At, "app is missing: name the app, like app: quiz")
	}
	app.Backups = r.backups(d, &app)
	var http *processSection
	for _, process := range sortedKeys(d.Processes) {
		section := d.Processes[process]
		resolved := r.process(process, section)
		if resolved.HTTP {
			if http != nil {
				r.problems.add(section.At, "processes.%s: another process is given the requests already (line %d); set http: false in one of them", process, http.At.Line)
			}
			http = section
		}
		app.Processes[springtide.ProcessName(process)] = resolved
	}
	r.announce(d, &app)
	r.serve(d, &app)
	if len(app.Processes) == 0 && !r.problems.about("processes") {
		r.problems.add(d.At, "processes is missing: say what runs, like processes: { web: ./bin/web }")
	}
	return app
}

func (r *resolver) build(s *buildSection) springtide.Build {
	if s == nil {
		s = &buildSection{}
	}
	if s.Login.IsSet && !s.Base.IsSet && !s.Push.IsSet {
		r.problems.add(s.Login.At, "build.login: there is neither a base to pull nor a push")
	}
	return springtide.Build{
		Command: string(s.Command.Value),
		Timeout: time.Duration(s.Timeout.or(duration(defaultBuildTimeout))),
		Limits:  s.Limits.limits(),
		Env:     variables(s.Env),
		Base:    string(s.Base.Value),
		Push:    string(s.Push.Value),
		Login:   springtide.SecretName(s.Login.Value),
	}
}

func (s *limitsSection) limits() springtide.Limits {
	if s == nil {
		return springtide.Limits{}
	}
	return springtide.Limits{CPU: float64(s.CPU.Value), Memory: int64(s.Memory.Value), Processes: int(s.Processes.Value)}
}

func (r *resolver) domains(written []set[host]) []string {
	var domains []string
	for _, domain := range written {
		if slices.Contains(domains, string(domain.Value)) && domain.IsSet {
			r.problems.add(domain.At, "domains: %s is in the list twice", domain.Value)
		}
		domains = append(domains, string(domain.Value))
	}
	return domains
}

func (r *resolver) process(process name, s *processSection) springtide.Process {
	path := "processes." + string(process)
	http := bool(s.HTTP.or(process == name(springtide.Web)))
	worker := r.worker(path, s, http)
	if !s.Command.IsSet && (worker == nil || worker.Own) && !r.problems.about(path) {
		r.problems.add(s.At, "%s has no command", path)
	}
	if s.Streams.IsSet && !http {
		r.problems.add(s.Streams.At, "%s.streams: %s is given no requests; set http: true", path, process)
	}
	timeout := time.Duration(s.Timeout.Value)
	switch {
	case worker != nil:
		timeout = 0
	case s.Timeout.IsSet && !http:
		r.problems.add(s.Timeout.At, "%s.timeout: %s is given no requests; set http: true", path, process)
	}
	if s.Scale != nil && s.Scale.Target != nil && timeout > 0 && time.Duration(s.Scale.Target.P95.Value) >= timeout {
		r.problems.add(s.Scale.Target.P95.At, "%s.scale.target.p95: requests end after the timeout of %s", path, formatDuration(timeout))
	}
	resolved := springtide.Process{
		Command:       string(s.Command.Value),
		HTTP:          http,
		Worker:        worker,
		Health:        r.health(path, s.Health, http),
		Scale:         r.scale(path, s.Scale, http, worker != nil),
		Env:           variables(s.Env),
		Drain:         time.Duration(s.Drain.or(duration(defaultDrain))),
		Timeout:       timeout,
		Grace:         time.Duration(s.Grace.or(duration(defaultGrace))),
		FinishStreams: s.Streams.Value == streamsFinish,
		Limits:        s.Limits.limits(),
	}
	r.balance(path, s, &resolved)
	return resolved
}

func (r *resolver) health(path string, s *healthSection, http bool) springtide.Health {
	if s == nil {
		s = &healthSection{}
	}
	health := springtide.Health{
		Path:     string(s.Path.Value),
		TCP:      bool(s.TCP.Value),
		Command:  string(s.Command.Value),
		Interval: time.Duration(s.Interval.or(duration(defaultHealthInterval))),
		Timeout:  time.Duration(s.Timeout.or(duration(defaultHealthTimeout))),
		Start:    time.Duration(s.Start.or(duration(defaultHealthStart))),
		Failures: int(s.Failures.or(defaultHealthFailures)),
	}
	if http && !s.Path.IsSet && !s.Command.IsSet && !s.TCP.IsSet {
		health.TCP = true
	}
	ways := []string{}
	for _, way := range []struct {
		name   string
		chosen bool
		at     position
	}{{"path", health.Path != "", s.Path.At}, {"tcp", health.TCP, s.TCP.At}, {"command", health.Command != "", s.Command.At}} {
		if !way.chosen {
			continue
		}
		ways = append(ways, way.name)
		if !http && way.name != "command" {
			r.problems.add(way.at, "%s.health.%s: the process is given no requests, so it does not listen; probe it with command", path, way.name)
		}
	}
	if len(ways) > 1 {
		r.problems.add(s.At, "%s.health: choose one of %s", path, strings.Join(ways, " and "))
	}
	return health
}

func (r *resolver) scale(path string, s *scaleSection, http, worker bool) springtide.Scale {
	if s == nil {
		s = &scaleSection{}
	}
	target := s.Target
	if target == nil {
		target = &targetSection{}
	}
	least, most, idle := 1, 1, defaultIdle
	scale := springtide.Scale{StableFor: time.Duration(s.Stable.Value)}
	switch {
	case http:
		most = defaultWebMax
		scale.Concurrency = int(target.Concurrency.or(defaultConcurrency))
	case worker || s.Queue != nil:
		least, most = 0, defaultWorkerMax
		if worker {
			idle = defaultWorkerIdle
		}
		scale.Concurrency = int(target.Concurrency.or(1))
	case target.Concurrency.IsSet:
		r.problems.add(target.Concurrency.At, "%s.scale.target.concurrency: the process is given no requests", path)
	}
	scale.Queue = r.outside(path, s, target, http, worker)
	if target.Wait.IsSet && !worker && s.Queue == nil {
		r.problems.add(target.Wait.At, "%s.scale.target.wait: the process takes no runs; give it queues", path)
	}
	r.targets(path, s, target, http, &scale)
	scale.Idle = time.Duration(s.Idle.or(duration(idle)))
	scale.Min = int(s.Min.or(count(least)))
	scale.Max = int(s.Max.or(count(max(most, scale.Min))))
	if scale.Min > scale.Max {
		at := s.Max.At
		if s.Min.At.Line > at.Line {
			at = s.Min.At
		}
		r.problems.add(at, "%s.scale: min %d is more than max %d", path, scale.Min, scale.Max)
	}
	if scale.Spare > 0 && scale.Spare >= scale.Max {
		r.problems.add(s.Spare.At, "%s.scale: spare %d leaves nothing of max %d to work with", path, scale.Spare, scale.Max)
	}
	return scale
}

// targets takes in what a process with requests can be scaled by besides its
// concurrency, its spare instances, and its priority.
func (r *resolver) targets(path string, s *scaleSection, target *targetSection, http bool, scale *springtide.Scale) {
	scale.Requests, scale.P95 = float64(target.Requests.Value), time.Duration(target.P95.Value)
	scale.CPU, scale.Spare = float64(target.CPU.Value), int(s.Spare.Value)
	scale.Priority = int(s.Priority.Value)
	if http {
		return
	}
	for _, key := range []struct {
		name string
		set  bool
		at   position
	}{
		{"target.requests", target.Requests.IsSet, target.Requests.At},
		{"target.p95", target.P95.IsSet, target.P95.At},
		{"target.cpu", target.CPU.IsSet, target.CPU.At},
		{"spare", s.Spare.IsSet, s.Spare.At},
	} {
		if key.set {
			r.problems.add(key.at, "%s.scale.%s: the process is given no requests", path, key.name)
		}
	}
}

func variables(written map[variable]set[content]) map[string]string {
	if len(written) == 0 {
		return nil
	}
	env := make(map[string]string, len(written))
	for key, value := range written {
		env[string(key)] = string(value.Value)
	}
	return env
}
