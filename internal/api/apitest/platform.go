// Package apitest is a platform in memory, for the tests of what speaks to the
// API: nothing is built and nothing runs, but all that is asked is remembered
// and answered as the real one would.
package apitest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// Epoch is the time that the platform's clock shows.
func Epoch() time.Time { return time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC) }

// Platform implements every interface of the API. A source that holds a file
// named FAIL does not become ready; one that holds PANIC makes the handler
// panic.
type Platform struct {
	mu           sync.Mutex
	changed      chan struct{} // closed and replaced whenever anything below changes
	environments map[springtide.EnvironmentID]*environment
	deploys      map[api.DeployID]api.Deploy
	events       []springtide.Event
	runs         map[string]api.OneOff
	tokens       map[string]api.Token
	drained      bool
	served       []api.Certificate
	book         *book
	mails        *mails
	state        *state
	waiting      atomic.Int64
	background   sync.WaitGroup
}

// environment is what is kept of one.
type environment struct {
	status    api.EnvironmentStatus
	releases  []springtide.Release
	instances []springtide.Instance
	decisions []springtide.Decision
	logs      []springtide.LogLine
	occasions []springtide.Occasion
	purges    []springtide.Purge
}

// New makes a platform without apps.
func New() *Platform {
	p := &Platform{
		changed:      make(chan struct{}),
		environments: map[springtide.EnvironmentID]*environment{},
		deploys:      map[api.DeployID]api.Deploy{},
		runs:         map[string]api.OneOff{},
		tokens:       map[string]api.Token{},
		served:       []api.Certificate{{Name: "quiz.example.com", Environment: springtide.EnvironmentID{App: "quiz", Name: springtide.Production}, Source: "own", Issuer: "the platform's own authority", Failure: refused, Failed: Epoch(), Trouble: "none could be obtained: " + refused}},
	}
	p.book, p.mails, p.state = newBook(p), newMails(p), newState(p)
	return p
}

// API gives the platform as the API takes it.
func (p *Platform) API() api.Platform {
	return api.Platform{
		Deploys: p, Environments: p, Settings: p, Observer: p, OneOffs: p, Shells: p, Tokens: tokens{p}, Machine: p,
		Moving: mover{p}, Ledger: p.book, Jobs: p.book, Leases: p.book, Schedules: p.book, Locks: p.book, Mail: p.mails,
		Secrets: p.state, Services: p.state, Files: p.state, Backups: p.state,
		Certificates: certificates{p}, Caches: caches{p}, Announcements: announcements{p}, History: history{p},
	}
}

// Wait returns when what was started in the background is over.
func (p *Platform) Wait() { p.background.Wait() }

// Log adds a line of output of an instance of web.
func (p *Platform) Log(id springtide.EnvironmentID, instance springtide.InstanceID, text string) {
	p.update(func() {
		e := p.environments[id]
		at := Epoch().Add(time.Duration(len(e.logs)) * time.Second)
		e.logs = append(e.logs, springtide.LogLine{Time: at, Instance: instance, Process: "web", Release: e.status.Active, Stream: "stdout", Text: text})
	})
}

// Decide adds a scaling decision.
func (p *Platform) Decide(id springtide.EnvironmentID, from, to int, sentence string) {
	p.update(func() {
		e := p.environments[id]
		group := springtide.GroupID{Environment: id, Release: e.status.Active, Process: "web", Generation: 1}
		d := springtide.Decision{Time: Epoch().Add(time.Duration(len(e.decisions)) * time.Minute), Group: group, From: from, To: to, Sentence: sentence}
		e.decisions = append(e.decisions, d)
	})
	p.Event(springtide.Event{Environment: id, Kind: "scale.decision", Message: sentence})
}

// Event makes something happen.
func (p *Platform) Event(e springtide.Event) {
	p.update(func() {
		e.Sequence = int64(len(p.events) + 1)
		if e.Time.IsZero() {
			e.Time = Epoch().Add(time.Duration(e.Sequence) * time.Second)
		}
		p.events = append(p.events, e)
	})
}

// Drained tells whether Drain was called.
func (p *Platform) Drained() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.drained
}

func (p *Platform) update(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Platform) find(id springtide.EnvironmentID) (*environment, error) {
	e, ok := p.environments[id]
	if !ok {
		return nil, springtide.Errorf(springtide.NotFound, "there is no environment %s", id).WithHint("`tide ps` lists them")
	}
	return e, nil
}

// Deploy implements [api.Deploys].
func (p *Platform) Deploy(_ context.Context, request api.DeployRequest) (api.DeployID, error) {
	files, err := readSource(request.Source)
	if err != nil {
		return "", springtide.Errorf(springtide.Invalid, "the source is not a tar.gz: %w", err)
	}
	if slices.Contains(files, "PANIC") {
		panic("asked to")
	}
	return p.begin(request.Environment, request.Description, slices.Contains(files, "FAIL"))
}

func readSource(source io.Reader) (files []string, err error) {
	unzipped, err := gzip.NewReader(source)
	if err != nil {
		return nil, err
	}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		files = append(files, strings.TrimPrefix(header.Name, "./"))
	}
}

// Create makes an environment without a release.
func (p *Platform) Create(id springtide.EnvironmentID) { p.update(func() { p.create(id) }) }

// create gives the environment, made if there is none.
func (p *Platform) create(id springtide.EnvironmentID) *environment {
	if p.environments[id] == nil {
		p.environments[id] = &environment{status: api.EnvironmentStatus{
			Environment: springtide.Environment{ID: id, Created: Epoch()},
			URLs:        []string{"https://" + host(id) + ":8443"},
			Processes:   []api.ProcessStatus{},
		}}
	}
	return p.environments[id]
}

// begin makes a release and rolls it out in the background.
func (p *Platform) begin(id springtide.EnvironmentID, description string, fail bool) (api.DeployID, error) {
	var deploy api.Deploy
	p.update(func() {
		e := p.create(id)
		release := springtide.Release{
			Environment: id, Number: len(e.releases) + 1, Artifact: springtide.Digest("sha256:" + strings.Repeat("ab", 32)),
			App: springtide.App{Name: id.App, Processes: map[springtide.ProcessName]springtide.Process{}}, Config: maps.Clone(e.status.Config),
			Description: description, Created: Epoch().Add(time.Duration(len(e.releases)) * time.Hour), State: springtide.ReleasePending,
		}
		e.releases = append(e.releases, release)
		deploy = api.Deploy{
			ID: api.DeployID(fmt.Sprintf("d%d", len(p.deploys)+1)), Environment: id, Release: release.Number,
			Step: "building", Started: Epoch(), URL: e.status.URLs[0],
		}
		p.deploys[deploy.ID] = deploy
	})
	p.background.Go(func() { p.rollOut(deploy, fail) })
	return deploy.ID, nil
}

func host(id springtide.EnvironmentID) string {
	if id.Name == springtide.Production {
		return string(id.App) + ".localhost"
	}
	return string(id.App) + "--" + string(id.Name) + ".localhost"
}

func (p *Platform) rollOut(deploy api.Deploy, fail bool) {
	tell := func(kind, message string, fields map[string]string) {
		all := map[string]string{"deploy": string(deploy.ID)}
		maps.Copy(all, fields)
		p.Event(springtide.Event{Environment: deploy.Environment, Kind: kind, Message: message, Fields: all})
	}
	tell("build.line", "compiling", nil)
	tell("build.done", "built in 2.1 s", map[string]string{"seconds": "2.1"})
	tell("rollout.step", "starting", map[string]string{"step": "starting"})
	deploy.Done = true
	deploy.Timings = api.Timings{BuildSeconds: 2.1, StartSeconds: 0.4, SwitchSeconds: 0.2, TotalSeconds: 2.7}
	if fail {
		deploy.Step = "failed"
		failure := springtide.Errorf(springtide.Failed, "v%d of %s does not become ready: it exits at once with status 3", deploy.Release, deploy.Environment).
			WithHint("run it with its command from the manifest and PORT set")
		failure.Lines = []string{"listening…", "no database"}
		deploy.Error = failure
		p.update(func() {
			p.deploys[deploy.ID] = deploy
			releases := p.environments[deploy.Environment].releases
			releases[deploy.Release-1].State = springtide.ReleaseFailed
			releases[deploy.Release-1].Reason = failure.Message
		})
		tell("deploy.failed", failure.Message, nil)
		return
	}
	instance := springtide.Instance{
		ID:      springtide.InstanceID(fmt.Sprintf("web-%d-aaaaa", deploy.Release)),
		Group:   springtide.GroupID{Environment: deploy.Environment, Release: deploy.Release, Process: "web", Generation: 1},
		State:   springtide.InstanceReady,
		Ordered: Epoch(), Started: Epoch(), Ready: Epoch(), Address: "127.0.0.1:20001", PID: 4242,
	}
	tell("instance.state", string(instance.ID)+" is ready", map[string]string{"instance": string(instance.ID), "state": "ready"})
	tell("rollout.step", "switched", map[string]string{"step": "switched"})
	deploy.Step = "done"
	p.update(func() {
		p.deploys[deploy.ID] = deploy
		e := p.environments[deploy.Environment]
		for i := range e.releases {
			if e.releases[i].State == springtide.ReleaseActive {
				e.releases[i].State = springtide.ReleaseSuperseded
			}
		}
		e.releases[deploy.Release-1].State = springtide.ReleaseActive
		e.status.Active = deploy.Release
		e.status.Stopped = false
		e.status.Processes = []api.ProcessStatus{{Name: "web", Min: 1, Max: 4, Wanted: 1, Ready: 1}}
		e.instances = []springtide.Instance{instance}
	})
	tell("deploy.done", fmt.Sprintf("v%d serves %s", deploy.Release, deploy.URL), nil)
}

// Rollback implements [api.Deploys].
func (p *Platform) Rollback(_ context.Context, id springtide.EnvironmentID, number int) (api.DeployID, error) {
	p.mu.Lock()
	e, err := p.find(id)
	if err == nil && number == 0 {
		number = e.status.Active - 1
	}
	if err == nil && (number < 1 || number > len(e.releases)) {
		err = springtide.Errorf(springtide.NotFound, "%s has no release %d", id, number).WithHint("`tide releases` lists them")
	}
	p.mu.Unlock()
	if err != nil {
		return "", err
	}
	return p.begin(id, fmt.Sprintf("rollback to %d", number), false)
}

// Restart implements [api.Deploys].
func (p *Platform) Restart(ctx context.Context, id springtide.EnvironmentID) (api.DeployID, error) {
	if _, err := p.Environment(ctx, id); err != nil {
		return "", err
	}
	return p.begin(id, "restart", false)
}

// DeployStatus implements [api.Deploys].
func (p *Platform) DeployStatus(_ context.Context, id api.DeployID) (api.Deploy, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	deploy, ok := p.deploys[id]
	if !ok {
		return api.Deploy{}, springtide.Errorf(springtide.NotFound, "there is no deploy %s", id)
	}
	return deploy, nil
}

// Environments implements [api.Environments].
func (p *Platform) Environments(_ context.Context, app springtide.AppName) ([]api.EnvironmentStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []api.EnvironmentStatus
	for id, e := range p.environments {
		if app == "" || id.App == app {
			all = append(all, e.status)
		}
	}
	slices.SortFunc(all, func(a, b api.EnvironmentStatus) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	return all, nil
}

// Environment implements [api.Environments].
func (p *Platform) Environment(_ context.Context, id springtide.EnvironmentID) (api.EnvironmentStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, err := p.find(id)
	if err != nil {
		return api.EnvironmentStatus{}, err
	}
	return e.status, nil
}

func (p *Platform) with(id springtide.EnvironmentID, change func(*environment) error) (err error) {
	p.update(func() {
		var e *environment
		if e, err = p.find(id); err == nil {
			err = change(e)
		}
	})
	return err
}

func (p *Platform) look(id springtide.EnvironmentID, read func(*environment) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, err := p.find(id)
	if err != nil {
		return err
	}
	return read(e)
}

// Stop implements [api.Environments].
func (p *Platform) Stop(_ context.Context, id springtide.EnvironmentID) error {
	return p.with(id, func(e *environment) error { e.status.Stopped, e.instances = true, nil; return nil })
}

// Start implements [api.Environments].
func (p *Platform) Start(_ context.Context, id springtide.EnvironmentID) error {
	return p.with(id, func(e *environment) error { e.status.Stopped = false; return nil })
}

// Maintain implements [api.Environments].
func (p *Platform) Maintain(_ context.Context, id springtide.EnvironmentID, maintenance *springtide.Maintenance) error {
	return p.with(id, func(e *environment) error { e.status.Maintenance = maintenance; return nil })
}

// Destroy implements [api.Environments].
func (p *Platform) Destroy(_ context.Context, id springtide.EnvironmentID) error {
	return p.with(id, func(*environment) error { delete(p.environments, id); return nil })
}

// ChangeConfig implements [api.Settings].
func (p *Platform) ChangeConfig(_ context.Context, id springtide.EnvironmentID, change api.ConfigChange) (config map[string]string, err error) {
	err = p.with(id, func(e *environment) error {
		config = maps.Clone(e.status.Config)
		if config == nil {
			config = map[string]string{}
		}
		for _, name := range change.Remove {
			delete(config, name)
		}
		maps.Copy(config, change.Set)
		e.status.Config = config
		return nil
	})
	return config, err
}

// ChangeDomains implements [api.Settings].
func (p *Platform) ChangeDomains(_ context.Context, id springtide.EnvironmentID, change api.DomainsChange) (domains []string, err error) {
	err = p.with(id, func(e *environment) error {
		domains = slices.DeleteFunc(append(slices.Clone(e.status.Domains), change.Add...), func(d string) bool {
			return slices.Contains(change.Remove, d)
		})
		e.status.Domains = domains
		return nil
	})
	return domains, err
}

// ChangeScale implements [api.Settings].
func (p *Platform) ChangeScale(_ context.Context, id springtide.EnvironmentID, change api.ScaleChange) error {
	return p.with(id, func(e *environment) error {
		processes := slices.Clone(e.status.Processes)
		for name, size := range change.Set {
			i := slices.IndexFunc(processes, func(s api.ProcessStatus) bool { return s.Name == name })
			if i < 0 {
				return springtide.Errorf(springtide.NotFound, "%s has no process %s", id, name)
			}
			processes[i].Min, processes[i].Max, processes[i].Fixed = size.Min, size.Max, true
		}
		for i := range processes {
			if slices.Contains(change.Reset, processes[i].Name) {
				processes[i].Min, processes[i].Max, processes[i].Fixed = 1, 4, false
			}
		}
		e.status.Processes = processes
		return nil
	})
}

// Plan implements [api.Settings].
func (p *Platform) Plan(_ context.Context, id springtide.EnvironmentID, app springtide.App) (api.Plan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	plan := api.Plan{Environment: id}
	if e, ok := p.environments[id]; ok {
		plan.Release = e.status.Active
		plan.Changes = []api.Change{{Action: api.ChangeValue, What: "processes.web.command", From: "./old", To: app.Processes["web"].Command, Effect: "restart of web"}}
		return plan, nil
	}
	for _, name := range app.ProcessNames() {
		plan.Changes = append(plan.Changes, api.Change{Action: api.ChangeAdd, What: "processes." + string(name), To: app.Processes[name].Command, Effect: "start of " + string(name)})
	}
	return plan, nil
}

// Releases implements [api.Observer].
func (p *Platform) Releases(_ context.Context, id springtide.EnvironmentID) (releases []springtide.Release, err error) {
	err = p.look(id, func(e *environment) error {
		releases = slices.Clone(e.releases)
		slices.Reverse(releases)
		return nil
	})
	return releases, err
}

// Instances implements [api.Observer].
func (p *Platform) Instances(_ context.Context, id springtide.EnvironmentID) (instances []springtide.Instance, err error) {
	err = p.look(id, func(e *environment) error { instances = slices.Clone(e.instances); return nil })
	return instances, err
}

// Decisions implements [api.Observer].
func (p *Platform) Decisions(_ context.Context, id springtide.EnvironmentID, limit int) (decisions []springtide.Decision, err error) {
	err = p.look(id, func(e *environment) error {
		decisions = slices.Clone(e.decisions)
		slices.Reverse(decisions)
		decisions = decisions[:min(limit, len(decisions))]
		return nil
	})
	return decisions, err
}

// Events implements [api.Observer].
func (p *Platform) Events(ctx context.Context, query api.EventQuery) iter.Seq2[springtide.Event, error] {
	return func(yield func(springtide.Event, error) bool) {
		p.mu.Lock()
		next := int(query.After)
		if query.After < 0 {
			next = len(p.events)
		}
		p.mu.Unlock()
		for {
			p.mu.Lock()
			changed, events := p.changed, p.events[min(next, len(p.events)):]
			p.mu.Unlock()
			for _, e := range events {
				next++
				if query.Environment.App != "" && e.Environment != query.Environment {
					continue
				}
				if query.Deploy != "" && e.Fields["deploy"] != string(query.Deploy) {
					continue
				}
				if !yield(e, nil) {
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Live implements [api.Observer]. It gives figures whenever something changes.
func (p *Platform) Live(ctx context.Context, id springtide.EnvironmentID) iter.Seq2[api.Figures, error] {
	return func(yield func(api.Figures, error) bool) {
		for {
			p.mu.Lock()
			changed := p.changed
			e, err := p.find(id)
			if err != nil {
				p.mu.Unlock()
				yield(api.Figures{}, err)
				return
			}
			figures := api.Figures{
				Time: Epoch(), Environment: id, URL: e.status.URLs[0], Release: e.status.Active,
				RequestsPerSecond: 12.5, P50: 3 * time.Millisecond, P99: 40 * time.Millisecond, Busy: 2,
				States: map[springtide.InstanceState]int{springtide.InstanceReady: len(e.instances)}, Instances: slices.Clone(e.instances),
			}
			p.mu.Unlock()
			if !yield(figures, nil) {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Logs implements [api.Observer].
func (p *Platform) Logs(ctx context.Context, query springtide.LogQuery) (io.ReadCloser, error) {
	reader, writer := io.Pipe()
	stop := context.AfterFunc(ctx, func() { writer.CloseWithError(ctx.Err()) })
	go func() {
		defer stop()
		defer writer.Close()
		p.writeLogs(ctx, writer, query)
	}()
	return reader, nil
}

func (p *Platform) writeLogs(ctx context.Context, w io.Writer, query springtide.LogQuery) {
	for written := 0; ; {
		p.mu.Lock()
		changed := p.changed
		var lines []springtide.LogLine
		if e, ok := p.environments[query.Environment]; ok {
			lines = slices.Clone(e.logs)
		}
		p.mu.Unlock()
		lines = slices.DeleteFunc(lines, func(l springtide.LogLine) bool { return !selects(query, l) })
		if written == 0 && query.Tail > 0 {
			written = max(0, len(lines)-query.Tail)
		}
		var text bytes.Buffer
		for _, line := range lines[written:] {
			json.NewEncoder(&text).Encode(line) // a LogLine can be written
		}
		written = len(lines)
		if _, err := w.Write(text.Bytes()); err != nil || !query.Follow {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func selects(query springtide.LogQuery, line springtide.LogLine) bool {
	run, isRun := strings.CutPrefix(string(line.Instance), "run-")
	if query.Task != "" {
		return isRun && "run-"+run == query.Task
	}
	return !isRun && (query.Process == "" || query.Process == line.Process) &&
		(query.Instance == "" || query.Instance == line.Instance) && !line.Time.Before(query.Since)
}

// StartRun implements [api.OneOffs]. The command is not run: it writes itself, and
// "exit N" exits with N.
func (p *Platform) StartRun(_ context.Context, request api.OneOffRequest) (run api.OneOff, err error) {
	err = p.with(request.Environment, func(e *environment) error {
		run = api.OneOff{
			ID: fmt.Sprintf("run-%d", len(p.runs)+1), Environment: request.Environment, Release: e.status.Active,
			Command: request.Command, Started: Epoch(),
		}
		p.runs[run.ID] = run
		return nil
	})
	if err != nil {
		return run, err
	}
	p.background.Go(func() {
		p.Log(request.Environment, springtide.InstanceID(run.ID), request.Command)
		exit := springtide.Exit{}
		fmt.Sscanf(request.Command, "exit %d", &exit.Code) // otherwise 0
		p.update(func() {
			over := run
			over.Exit = &exit
			p.runs[run.ID] = over
		})
	})
	return run, nil
}

// Run implements [api.OneOffs].
func (p *Platform) Run(_ context.Context, id string) (api.OneOff, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	run, ok := p.runs[id]
	if !ok {
		return api.OneOff{}, springtide.Errorf(springtide.NotFound, "there is no run %s", id)
	}
	return run, nil
}

// WaitRun implements [api.OneOffs].
func (p *Platform) WaitRun(ctx context.Context, id string) (api.OneOff, error) {
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		run, err := p.Run(ctx, id)
		if err != nil || run.Exit != nil {
			return run, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return run, nil
		}
	}
}

// Shell implements [api.Shells]: the command runs on this machine.
func (p *Platform) Shell(ctx context.Context, _ springtide.InstanceID, command []string) (*exec.Cmd, error) {
	if len(command) == 0 {
		command = []string{"sh"}
	}
	return exec.CommandContext(ctx, command[0], command[1:]...), nil
}

// Status implements [api.Machine].
func (p *Platform) Status(context.Context) (api.Status, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return api.Status{
		Version: "v0.1.0", Data: "/var/lib/tide", Started: Epoch(), Isolation: "namespaces, cgroups",
		Edges:     []api.EdgeStatus{{Name: "edge-1", Acknowledged: 7}},
		Processes: api.PlatformProcesses{Supervisor: 100, Control: 101, Edges: []int{102}},
		Listeners: []string{"https://127.0.0.1:8443", "http://127.0.0.1:8080"},
		Store:     api.StoreStatus{Location: "/var/lib/tide/tide.db", Leads: true},
		Cache:     api.CacheTotals{Memory: 3 << 20, Disk: 40 << 20, Requests: map[springtide.CacheResult]int64{springtide.CacheHit: 75, springtide.CacheMiss: 25}},
		Ledger:    api.LedgerStatus{Location: "postgres://db.example.com/tide", Trouble: "it is away"},
		Apps:      len(p.environments), Environments: len(p.environments), Backups: safety(), Certificates: slices.Clone(p.served),
		Capacity: &api.Capacity{
			Memory: 2 << 30, Wanted: 3 << 30, Full: "one more instance needs 256 MiB of memory, 96 MiB is available",
			Short: []api.Shortage{{Group: springtide.GroupID{
				Environment: springtide.EnvironmentID{App: "shop", Name: springtide.Production}, Process: springtide.Web, Release: 1, Generation: 1,
			}, Wanted: 12, Granted: 8}},
		},
	}, nil
}

// CertificateAuthority implements [api.Machine].
func (p *Platform) CertificateAuthority(context.Context) (string, error) {
	return "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", nil
}

// Drain implements [api.Machine].
func (p *Platform) Drain(context.Context) error {
	p.update(func() {
		p.drained = true
		for _, e := range p.environments {
			e.instances = nil
		}
	})
	return nil
}

// Upgrade implements [api.Machine].
func (p *Platform) Upgrade(context.Context, string) (api.Upgrade, error) {
	return api.Upgrade{Executable: "/usr/local/bin/tide", From: "v0.1.0", To: "v0.2.0"}, nil
}

// tokens implements [api.TokenStore]; it has a method of the platform's own name.
type tokens struct{ p *Platform }

func (t tokens) AddToken(_ context.Context, token api.Token) (err error) {
	t.p.update(func() {
		if _, ok := t.p.tokens[token.Name]; ok {
			err = springtide.Errorf(springtide.Conflict, "there is a token %s", token.Name)
			return
		}
		t.p.tokens[token.Name] = token
	})
	return err
}

func (t tokens) Tokens(context.Context) ([]api.Token, error) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	var all []api.Token
	for _, name := range slices.Sorted(maps.Keys(t.p.tokens)) {
		all = append(all, t.p.tokens[name])
	}
	return all, nil
}

func (t tokens) DeleteToken(_ context.Context, name string) (err error) {
	t.p.update(func() {
		if _, ok := t.p.tokens[name]; !ok {
			err = springtide.Errorf(springtide.NotFound, "there is no token %s", name)
		}
		delete(t.p.tokens, name)
	})
	return err
}

func (t tokens) TokenByHash(_ context.Context, hash [32]byte) (api.Token, error) {
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	for _, token := range t.p.tokens {
		if token.Hash == hash {
			return token, nil
		}
	}
	return api.Token{}, springtide.Errorf(springtide.NotFound, "there is no such token")
}

func (t tokens) TouchToken(_ context.Context, name string, used time.Time) error {
	t.p.update(func() {
		token := t.p.tokens[name]
		token.LastUsed = used
		t.p.tokens[name] = token
	})
	return nil
}
