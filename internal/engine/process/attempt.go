package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/process/order"
	"github.com/springtide/springtide/internal/health"
)

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

func joinAddress(address netip.Addr, port int) string {
	return netip.AddrPortFrom(address, uint16(port)).String()
}

// prepare makes what all attempts share: the folder, an address, and the spec,
// which comes last.
func (i *instance) prepare() error {
	if i.prepared {
		return nil
	}
	e := i.engine
	// What is left of a preparation that failed half-way.
	if err := os.RemoveAll(string(i.folder)); err != nil {
		return err
	}
	if err := makeFolder(i.folder); err != nil {
		return err
	}
	user, err := e.user(i.spec)
	if err != nil {
		return err
	}
	if user != 0 {
		if err := giveHome(i.folder, user); err != nil {
			return err
		}
	}
	if err := e.takeAddress(&i.spec); err != nil {
		return err
	}
	logs, _ := e.logPlace(i.spec)
	if err := os.MkdirAll(logs, 0o700); err != nil {
		return err
	}
	if err := writeSidecar(logs, i.spec); err != nil {
		return err
	}
	if err := i.folder.writeSpec(i.spec); err != nil {
		return err
	}
	i.prepared = true
	return nil
}

// user gives the user ID to run as; 0: that of the platform.
func (e *Engine) user(s spec) (int, error) {
	if !e.isolation.UserPerApp {
		return 0, nil
	}
	return e.users.of(s.environment().App)
}

// takeAddress gives the spec a slot in the private network or a port of the
// loopback interface, whichever it needs and has not got.
func (e *Engine) takeAddress(s *spec) (err error) {
	if e.isolation.Network == networkNamespace {
		if err := e.network.ensure(); err != nil {
			return err
		}
		if s.Slot == 0 {
			if s.Slot, err = e.network.slots.take(always); err != nil {
				return err
			}
		}
		if s.listens() {
			s.Port = e.options.Port
		}
		return nil
	}
	if s.listens() && s.Port == 0 {
		s.Port, err = e.ports.take(portIsFree)
	}
	return err
}

// listens reports whether the process is expected to accept connections.
func (s spec) listens() bool {
	process := s.Group.Template.Process
	return s.Task == nil && (process.HTTP || process.Health.TCP || process.Health.Path != "")
}

func (s spec) environment() springtide.EnvironmentID {
	if s.Task != nil {
		return s.Task.Environment
	}
	return s.Group.ID.Environment
}

// start starts one attempt.
func (i *instance) start() error {
	e := i.engine
	if i.record.Attempt > 0 && i.record.Ended {
		i.record.Restarts++
	}
	i.record = record{
		Attempt: i.record.Attempt + 1, Started: time.Now(), Restarts: i.record.Restarts,
		Crashes: i.record.Crashes, Reason: i.record.Reason, LastLines: i.record.LastLines,
	}
	if err := i.prepare(); err != nil {
		return err
	}
	if err := i.renewAddress(); err != nil {
		return err
	}
	user, err := e.user(i.spec)
	if err != nil {
		return err
	}
	grant, err := e.grant(i.spec)
	if err != nil {
		return err
	}
	template := i.spec.Group.Template
	logs, logName := e.logPlace(i.spec)
	i.show(func(view *springtide.Instance) {
		view.State, view.Address, view.Started = springtide.InstanceStarting, e.address(i.spec), i.record.Started
		view.Ready, view.PID, view.Restarts = time.Time{}, 0, i.record.Restarts
	})
	i.process, err = e.launch(launch{
		folder: i.folder, spec: i.spec, isolation: e.isolation, user: user, limits: template.Process.Limits,
		logs: logs, logName: logName, root: e.rootOf(i.spec),
		command: e.commandOf(i.spec), env: e.variables(i.spec, grant), grant: grant,
	}, i.record)
	if err != nil {
		return err
	}
	i.record.PID, i.record.Namespace, i.record.Boot = i.process.pid, i.process.namespace, e.boot
	if i.record.Ticks, err = startTicks(i.process.pid); err != nil {
		i.record.Ticks = 0 // It has ended already; that will be noticed.
	}
	i.show(func(view *springtide.Instance) { view.PID = i.process.pid })
	return nil
}

// renewAddress gives an instance that starts again another address if its own
// is of no use any more: somebody else has taken its port, or the platform has
// gained or lost the right to make networks since.
func (i *instance) renewAddress() error {
	e := i.engine
	own := e.isolation.Network == networkNamespace
	if own == (i.spec.Slot != 0) && (own || i.spec.Port == 0 || i.record.Attempt == 1 || portIsFree(i.spec.Port)) {
		return nil
	}
	e.giveBackAddress(i.spec)
	i.spec.Slot, i.spec.Port = 0, 0
	if err := e.takeAddress(&i.spec); err != nil {
		return err
	}
	return i.folder.writeSpec(i.spec)
}

func (e *Engine) giveBackAddress(s spec) {
	if s.Slot != 0 {
		e.network.slots.giveBack(s.Slot)
	} else if s.Port != 0 {
		e.ports.giveBack(s.Port)
	}
}

// variables is the environment of a process. The app's own wins where nothing
// depends on the platform's.
func (e *Engine) variables(s spec, grant Grant) []string {
	environment := s.environment()
	home := e.folderOf(s).file(homeFolder)
	all := map[string]string{"LANG": "C.UTF-8", "PATH": os.Getenv("PATH")}
	if e.isolation.UserPerApp || all["PATH"] == "" {
		// The platform's own may lead where apps cannot go.
		all["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	if s.Port != 0 {
		all["HOST"] = "127.0.0.1"
		if s.Slot != 0 {
			all["HOST"] = "0.0.0.0"
		}
	}
	template, release := s.Group.Template, s.Group.ID.Release
	if s.Task != nil {
		template, release = s.Task.Template, s.Task.Release
		all["TIDE_TASK"] = s.Task.ID
	}
	maps.Copy(all, grant.Env)
	for name, place := range grant.Places {
		all[name] = filepath.Join(e.rootOf(s), place)
	}
	maps.Copy(all, template.Env) // what an app says itself wins
	if len(grant.Credentials) > 0 {
		all[credentialsVariable] = e.credentialsOf(e.folderOf(s), s, e.isolation)
	}
	all["PATH"] = strings.TrimPrefix(all["PATH"]+":"+e.programs.folder, ":")
	if s.Task == nil {
		maps.Copy(all, workerVariables(template.Process))
	}
	if s.Port != 0 {
		all["PORT"] = strconv.Itoa(s.Port)
	}
	all["TIDE_APP"], all["TIDE_ENV"] = string(environment.App), string(environment.Name)
	all["TIDE_RELEASE"] = strconv.Itoa(release)
	all[nameVariable] = s.name()
	all["HOME"], all["TMPDIR"] = home, filepath.Join(home, "tmp")
	list := make([]string, 0, len(all))
	for key, value := range all {
		list = append(list, key+"="+value)
	}
	slices.Sort(list)
	return list
}

// prober gives the function that probes the instance. While it starts, the
// answer says what the instance's sockets tell about why it cannot be reached.
func (i *instance) prober() func(context.Context) error {
	template, address, s, pid := i.spec.Group.Template, i.engine.address(i.spec), i.spec, i.process.pid
	target := health.Target{Address: address, Run: func(ctx context.Context, command string) error {
		return i.engine.runInside(ctx, s, pid, command)
	}}
	starting := i.record.Ready.IsZero()
	var looked time.Time
	var explanation string
	return func(ctx context.Context) error {
		if target.Connect = 0; starting {
			// What is lost on the way at first is better asked again soon.
			target.Connect = 50 * time.Millisecond
		}
		err := health.Probe(ctx, template.Process.Health, target)
		if err == nil {
			starting = false
			return nil
		}
		if !starting || s.Port == 0 {
			return err
		}
		if time.Since(looked) > 200*time.Millisecond {
			looked = time.Now()
			explanation = explainListeners(i.engine.ownListeners(s, pid), s.Port, s.Slot != 0)
		}
		if explanation != "" {
			return errors.New(explanation)
		}
		return err
	}
}

// lateReason says why an instance was not ready within its start limit.
func (i *instance) lateReason(reason string) string {
	limit := i.spec.Group.Template.Process.Health.Start
	if limit <= 0 {
		limit = time.Minute
	}
	if strings.HasPrefix(reason, "nothing listens") || strings.HasSuffix(reason, "cannot be reached") {
		return fmt.Sprintf("did not listen on $PORT (%d) within %s", i.spec.Port, limit)
	}
	return fmt.Sprintf("was not ready within %s: %s", limit, reason)
}

// warnOfWildcard tells when an instance that shares the machine's network can be
// reached from everywhere.
func (i *instance) warnOfWildcard() {
	if i.spec.Slot != 0 || i.spec.Port == 0 {
		return
	}
	for _, l := range i.engine.ownListeners(i.spec, i.process.pid) {
		if l.address.Addr().IsUnspecified() {
			i.say("listens on all addresses, set HOST=127.0.0.1")
			return
		}
	}
}

// collect takes in the end of the process. A reason says why the engine ended it.
func (i *instance) collect(reason string) {
	ended := i.engine.collect(i.process, i.folder, i.record.Attempt, i.spec)
	i.process = nil
	if ended.neverBegan {
		i.record.Ended = false
		i.next = time.Now()
		return
	}
	if reason == "" {
		reason = ended.reason
	}
	logs, name := i.engine.logPlace(i.spec)
	i.fail(time.Now(), reason, lastLines(logs, name, i.record.Started, 20))
}

// fail records that an attempt has ended, and sets the back-off.
func (i *instance) fail(now time.Time, reason string, lines []string) {
	if !i.record.Ready.IsZero() && now.Sub(i.record.Ready) >= stableAfter {
		i.record.Crashes = 0
	}
	i.record.Ended, i.record.Reason, i.record.LastLines = true, reason, lines
	i.record.Crashes++
	if i.prepared {
		i.keepRecord()
	}
	wait := backoff(i.record.Crashes)
	i.next = now.Add(wait)
	if !i.isRetiring() {
		i.say(fmt.Sprintf("%s; starts again in %s", reason, wait.Round(10*time.Millisecond)))
		i.show(func(view *springtide.Instance) { i.showCrash(view) })
	}
}

func (i *instance) showCrash(view *springtide.Instance) {
	view.State, view.Reason, view.LastLines = springtide.InstanceCrashed, i.record.Reason, i.record.LastLines
	view.Ready, view.PID, view.Restarts = time.Time{}, 0, i.record.Restarts
	view.CrashLoop = i.record.Crashes >= loopAfter
}

func (i *instance) isRetiring() bool {
	select {
	case <-i.retire:
		return true
	default:
		return false
	}
}

// say writes a line of the platform into the instance's log.
func (i *instance) say(text string) { i.engine.say(i.spec, text) }

func (e *Engine) say(s spec, text string) {
	logs, name := e.logPlace(s)
	file, err := os.OpenFile(filepath.Join(logs, name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			e.log.Warn("a line could not be written to a log", "instance", s.name(), "text", text, "error", err)
		}
		return
	}
	defer file.Close()
	_, _ = file.Write(order.AppendLine(nil, time.Now().UnixNano(), order.Tide, []byte(text)))
}
