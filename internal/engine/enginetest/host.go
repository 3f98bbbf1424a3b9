// Package enginetest is the conformance suite of engines: every implementation
// passes [Run]. It is a test kit, not part of the product.
package enginetest

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine"
)

// patience is how long anything may take on this machine, which may have much else to do.
const patience = 90 * time.Second

// Host is where an engine under test runs.
type Host struct {
	Engine engine.Engine
	// Restart ends the engine without a word to its instances, calls meanwhile
	// unless it is nil, and gives another engine on the same state.
	Restart func(meanwhile func()) engine.Engine
	// Remote is how instances are reached that are no processes of this machine; nil:
	// they are.
	Remote *Remote
}

// Remote reaches instances on other machines. What the suite expects of them differs
// where those machines are not the engine's: it sees no PID and no sockets there,
// counts time in whole seconds, has restarts done by others, and keeps no output of
// what is gone.
type Remote struct {
	// Image has the program that calls [Main], as "app" in its working folder.
	Image string
	// Patience is how long anything may take.
	Patience time.Duration
	// Alive reports whether this attempt of the instance still runs.
	Alive func(springtide.Instance) bool
	// Kill kills the command of an instance.
	Kill func(springtide.Instance)
	// Lose has an instance, or a task, vanish with all that would tell of its end.
	Lose func(id string)
}

// Factory gives a host of its own to each test. The engine runs until the test
// ends; then the factory removes what is left.
type Factory func(t *testing.T, router engine.Router) *Host

// bench is what one test works with.
type bench struct {
	*testing.T
	*Host
	router *Router
	root   string
}

func newBench(t *testing.T, factory Factory) *bench {
	t.Helper()
	router := &Router{}
	host := factory(t, router)
	if host.Remote != nil {
		return &bench{T: t, Host: host, router: router}
	}
	root := t.TempDir()
	// The app is the test binary itself, at a place that any user reaches.
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := place(program, filepath.Join(root, "app")); err != nil {
		t.Fatal(err)
	}
	return &bench{T: t, Host: host, router: router, root: root}
}

// place links or copies a file.
func place(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	if closeErr := target.Close(); err == nil {
		err = closeErr
	}
	return err
}

// group gives a group of the app in a mode.
func (b *bench) group(mode string, replicas int) springtide.Group {
	group := springtide.Group{
		ID: springtide.GroupID{
			Environment: springtide.EnvironmentID{App: "quiz", Name: springtide.Production},
			Release:     3, Process: springtide.Web, Generation: 1,
		},
		Replicas: replicas,
		Template: springtide.Template{
			Root: b.root,
			Env: map[string]string{
				modeVariable: mode, "GREETING": "hello world",
				"GORACE": "atexit_sleep_ms=0", // The race detector's pause is not the app's.
			},
			Process: springtide.Process{
				Command: "./app", HTTP: true,
				Health: springtide.Health{
					Path: "/health", Interval: 100 * time.Millisecond, Timeout: 5 * time.Second,
					Start: time.Minute, Failures: 3,
				},
				Drain: patience, Grace: patience, // all that are told to end do
			},
		},
	}
	if b.Remote != nil {
		group.Template.Image, group.Template.Process.Grace = b.Remote.Image, 2*time.Second
	}
	return group
}

// alive reports whether this attempt of an instance still runs.
func (b *bench) alive(instance springtide.Instance) bool {
	if b.Remote != nil {
		return b.Remote.Alive(instance)
	}
	return alive(instance.PID)
}

// short is a time as short as the engine can measure.
func (b *bench) short() time.Duration {
	if b.Remote != nil {
		return time.Second
	}
	return 500 * time.Millisecond
}

func (b *bench) patience() time.Duration {
	if b.Remote != nil {
		return b.Remote.Patience
	}
	return patience
}

func (b *bench) task(id, command string) springtide.Task {
	group := b.group("", 0)
	return springtide.Task{
		ID: id, Environment: group.ID.Environment, Release: group.ID.Release, Command: command, Template: group.Template,
	}
}

func (b *bench) apply(group springtide.Group) {
	b.Helper()
	if err := b.Engine.Apply(b.Context(), group); err != nil {
		b.Fatal(err)
	}
}

// until waits for a snapshot that satisfies the condition.
func (b *bench) until(what string, condition func(springtide.Snapshot) bool) springtide.Snapshot {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), b.patience())
	defer cancel()
	var last springtide.Snapshot
	for snapshot, err := range b.Engine.Watch(ctx) {
		if err != nil {
			b.Fatal(err)
		}
		last = snapshot
		if condition(snapshot) {
			return snapshot
		}
	}
	b.Fatalf("%s did not come about; last seen: %+v", what, last)
	return last
}

// untilReady waits for exactly that many instances, all of them ready.
func (b *bench) untilReady(group springtide.Group) []springtide.Instance {
	b.Helper()
	return b.until("readiness", func(s springtide.Snapshot) bool {
		own := s.Of(group.ID)
		return len(own) == group.Replicas && allReady(own)
	}).Of(group.ID)
}

func allReady(instances []springtide.Instance) bool {
	return !slices.ContainsFunc(instances, func(i springtide.Instance) bool { return i.State != springtide.InstanceReady })
}

// get asks an instance for a path.
func get(address, path string) (string, error) { return getWithin(patience/3, address, path) }

func getWithin(limit time.Duration, address, path string) (string, error) {
	dialer := net.Dialer{Timeout: limit} // Without it a dial outlives its request.
	client := http.Client{Timeout: limit, Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	response, err := client.Get("http://" + address + path)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func (b *bench) get(instance springtide.Instance, path string) string {
	b.Helper()
	body, err := get(instance.Address, path)
	if err != nil {
		b.Fatalf("%s: %v", instance.ID, err)
	}
	return body
}

// poll waits for a condition that no snapshot shows.
func (b *bench) poll(what string, condition func() bool) {
	b.Helper()
	for deadline := time.Now().Add(b.patience()); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("%s did not come about", what)
		}
	}
}

// alive reports whether a process is there and no zombie. Its first thread may
// be one while others still hold what it holds.
func alive(pid int) bool {
	if threads, err := os.ReadDir("/proc/" + itoa(pid) + "/task"); err == nil && len(threads) > 1 {
		return true
	}
	data, err := os.ReadFile("/proc/" + itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	text := string(data)
	return !strings.HasPrefix(text[strings.LastIndexByte(text, ')')+1:], " Z")
}

// children gives the children of a process.
func children(pid int) []int {
	entries, _ := os.ReadDir("/proc")
	var found []int
	for _, entry := range entries {
		data, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		text := string(data)
		if fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]); len(fields) > 1 && fields[1] == itoa(pid) {
			found = append(found, atoi(entry.Name()))
		}
	}
	return found
}

func kill(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }

func selfPID() int { return os.Getpid() }

func commandLine(pid int) string {
	data, _ := os.ReadFile("/proc/" + itoa(pid) + "/cmdline")
	return strings.ReplaceAll(string(data), "\x00", " ")
}
