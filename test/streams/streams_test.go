// Package streams tells of connections that last: an Icecast with its listeners,
// and WebSockets that say nothing. STREAMS=full has many of them.
package streams

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/test/story"
)

// size is how many connections there are.
type size struct {
	listeners, sockets int
	rate               int // lines a second for each listener
	// patience is how long memory is watched.
	patience time.Duration
	// edges is over how many of them the connections are spread, each the successor of
	// the one before: the limit of open files is one of a process.
	edges int
}

func sizeOf(t *testing.T) size {
	t.Helper()
	if os.Getenv("STREAMS") != "full" {
		return size{100, 500, 1000, 3 * time.Second, 1}
	}
	// The edge has two files for each: the client's side, and the instance's.
	full := size{2000, 10_000, 250, 10 * time.Second, 1}
	limit := syscall.Rlimit{Cur: 1 << 16, Max: 1 << 16}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) != nil { // it takes root, and not everywhere is root enough
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		full.edges = 1 + 2*(full.sockets+full.listeners+250)/int(limit.Max)
		t.Logf("no more than %d open files: %d edges", limit.Max, full.edges)
	}
	return full
}

const manifest = `app: %[1]s
processes:
  %[1]s:
    command: ./app %[1]s
    http: true
    health: %[2]s
    scale: { min: 1, max: 1, target: { concurrency: 20000 } }
    streams: finish
    drain: 6h
  news: echo %[3]s; exec sleep infinity
env: { RATE: "%[4]d" }
`

// apps are a radio and a server of WebSockets, each with the news beside it.
type apps struct {
	folders map[string]string
	probes  map[string]string
	rate    int
}

func newApps(t *testing.T, rate int) *apps {
	t.Helper()
	a := &apps{map[string]string{}, map[string]string{"radio": `{ command: "./app on-air" }`, "sockets": "/"}, rate}
	content, err := os.ReadFile(buildApp(t))
	if err != nil {
		t.Fatal(err)
	}
	for name := range a.probes {
		a.folders[name] = filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(a.folders[name], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(a.folders[name], "app"), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// buildApp builds the program of the apps, and gives its path.
func buildApp(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "app")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, "./app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	return program
}

// deploy takes the app of a name to other news, and gives its URL.
func (a *apps) deploy(t *testing.T, p *platform.Platform, name, news string) string {
	t.Helper()
	text := fmt.Appendf(nil, manifest, name, a.probes[name], news, a.rate)
	if err := os.WriteFile(filepath.Join(a.folders[name], "tide.yaml"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	return story.Deploy(t, p, a.folders[name])
}

func TestNoStreamIsBrokenByARolloutBesideItNorByAnUpgrade(t *testing.T) {
	size := sizeOf(t)
	p := story.Own(t)
	apps := newApps(t, size.rate)
	urls := map[string]string{}
	for _, name := range []string{"radio", "sockets"} {
		urls[name] = apps.deploy(t, p, name, "yesterday")
	}
	client := story.HTTP(t, p)
	client.Timeout = 0
	transport := client.Transport.(*http.Transport)
	transport.ForceAttemptHTTP2 = false // a connection for each

	began := time.Now()
	var sockets sockets
	var listeners []*listener
	var leaves []func()
	for leaving := range size.edges {
		if leaving > 0 {
			upgrade(t, p, leaving)
			transport.CloseIdleConnections()
		}
		edge := edgeOf(t, p)
		before := memory(t, edge)
		sockets = append(sockets, dial(t, client, urls["sockets"], size.sockets/size.edges)...)
		costOf(t, edge, before, size.sockets/size.edges, size.patience, 0) // told, not judged: the platform's edge does other things too
		tuned, leave := listen(t, client, urls["radio"]+"/live", size.listeners/size.edges)
		listeners, leaves = append(listeners, tuned...), append(leaves, leave)
	}
	t.Logf("%d WebSockets and %d listeners after %s", len(sockets), len(listeners), time.Since(began).Round(time.Millisecond))
	well := func(when string) {
		t.Helper()
		if failed := sockets.echo(t.Context(), when); len(failed) > 0 {
			t.Errorf("%s: %d WebSockets are broken; the first: %v", when, len(failed), failed[0])
		}
		allHear(t, when, listeners, size.rate)
	}
	well("before")

	for name := range urls {
		apps.deploy(t, p, name, "today")
	}
	well("after the rollout")
	for name := range urls {
		story.Eventually(t, name+" to have its new instances, and of the old ones the one with streams", 2*time.Minute, func() bool {
			states := statesOf(t, p, name)
			return states[springtide.InstanceReady] == 2 && states[springtide.InstanceRetiring] == 1
		})
	}
	late, stop := listen(t, client, urls["radio"]+"/live", 1)
	allHear(t, "on the new release", late, size.rate)
	stop()

	upgrade(t, p, size.edges)
	well("after the upgrade")

	for _, leave := range leaves {
		leave()
	}
	for i, l := range listeners {
		if l.err != nil {
			t.Fatalf("listener %d: %v", i, l.err)
		}
	}
	sockets.close()
	story.Eventually(t, "the old instances and the old edge to end with their last streams", 2*time.Minute, func() bool {
		status, err := p.Status(t.Context())
		return err == nil && len(status.Edges) == 1 && statesOf(t, p, "radio")[springtide.InstanceRetiring]+statesOf(t, p, "sockets")[springtide.InstanceRetiring] == 0
	})
}

// allHear waits until each listener has heard 2 s more.
func allHear(t *testing.T, when string, listeners []*listener, rate int) {
	t.Helper()
	more := int64(2 * rate * line)
	goals := make([]int64, len(listeners))
	for i, l := range listeners {
		goals[i] = l.heard.Load() + more
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		behind := 0
		for i, l := range listeners {
			if l.heard.Load() < goals[i] {
				behind++
			}
		}
		if behind == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: %d of %d listeners hear nothing more", when, behind, len(listeners))
			return
		}
	}
}

func statesOf(t *testing.T, p *platform.Platform, app string) map[springtide.InstanceState]int {
	t.Helper()
	instances, err := p.Client.Instances(t.Context(), springtide.EnvironmentID{App: springtide.AppName(app), Name: springtide.Production})
	if err != nil {
		t.Fatal(err)
	}
	states := map[springtide.InstanceState]int{}
	for _, instance := range instances {
		states[instance.State]++
	}
	return states
}

func edgeOf(t *testing.T, p *platform.Platform) int {
	t.Helper()
	status, err := p.Status(t.Context())
	if err != nil || len(status.Processes.Edges) != 1 {
		t.Fatalf("want one edge: %+v, %v", status.Processes, err)
	}
	return status.Processes.Edges[0]
}

// upgrade has a new edge take over, beside which so many old ones drain.
func upgrade(t *testing.T, p *platform.Platform, drain int) {
	t.Helper()
	if _, err := p.CLI(t.Context(), "upgrade"); err != nil {
		t.Fatal(err)
	}
	story.Eventually(t, "the edges of before to say that they drain", 2*time.Minute, func() bool {
		output, err := p.CLI(t.Context(), "status", "--json")
		if err != nil {
			return false
		}
		var status struct{ Edges []struct{ Leaving bool } }
		if err := json.Unmarshal([]byte(output), &status); err != nil {
			t.Fatal(err)
		}
		leaving := 0
		for _, edge := range status.Edges {
			if edge.Leaving {
				leaving++
			}
		}
		return leaving == drain
	})
}
