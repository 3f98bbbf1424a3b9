// Package story is what the end-to-end tests share: a real platform for each
// test, with the quiz or another example on it.
package story

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/load"
	"github.com/springtide/springtide/bench/platform"
)

// Quiz is the environment that most stories are about.
var Quiz = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}

// Root is the folder of the source tree.
func Root(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			t.Fatal("the tests do not run inside the source tree")
		}
		folder = parent
	}
}

// Binary gives the tide binary: $TIDE_BINARY, or the one that make builds.
func Binary(t testing.TB) string {
	t.Helper()
	if binary := os.Getenv("TIDE_BINARY"); binary != "" {
		return binary
	}
	binary, err := platform.Build(t.Context(), Root(t))
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// Platform starts a platform that ends with the test. What it logged is shown
// if the test fails.
func Platform(t testing.TB, arguments ...string) *platform.Platform {
	t.Helper()
	return run(t, platform.Options{Arguments: arguments})
}

// Own starts a platform whose binary belongs to it, so that it can be replaced.
func Own(t testing.TB, arguments ...string) *platform.Platform {
	t.Helper()
	program, err := os.ReadFile(Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(Folder(t), "tide")
	if err := os.WriteFile(own, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return run(t, platform.Options{Tide: own, Arguments: arguments})
}

// nobody is who has ordinary platforms.
const nobody = 65534

// Ordinary starts a platform of a user who is not root. It takes root to become
// somebody else; if we are not root, it is ours.
func Ordinary(t testing.TB, arguments ...string) *platform.Platform {
	t.Helper()
	options := platform.Options{Arguments: arguments}
	if os.Getuid() == 0 {
		options.User = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return run(t, options)
}

// run starts a platform of which not everything is said.
func run(t testing.TB, options platform.Options) *platform.Platform {
	t.Helper()
	log := &output{}
	options.Data, options.Output = t.TempDir(), log
	if options.Tide == "" {
		options.Tide = Binary(t)
	}
	if err := os.Chmod(filepath.Dir(options.Data), 0o755); err != nil { // apps have users of their own
		t.Fatal(err)
	}
	if options.User != nil {
		if err := os.Chown(options.Data, int(options.User.Uid), int(options.User.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := platform.Start(t.Context(), options)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the platform said:\n%s", log.tail(200))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Errorf("the platform ended with %v", err)
		}
	})
	return p
}

// App gives a copy of an example's folder, to be changed.
func App(t testing.TB, example string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), example)
	if err := platform.CopyApp(filepath.Join(Root(t), "examples", example), folder); err != nil {
		t.Fatal(err)
	}
	return folder
}

// Prebuilt gives a copy of the quiz that was built here, with this machine's
// caches: its build command has nothing to do. [Stamp] makes it another version.
func Prebuilt(t testing.TB) string {
	t.Helper()
	folder := App(t, "quiz")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", "prebuilt", ".")
	build.Dir = folder
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	Edit(t, folder, `build: { command: "go build -o bin/quiz ." }`, `build: { command: "test -x prebuilt" }`)
	Edit(t, folder, "command: ./bin/quiz", "command: ./prebuilt")
	return folder
}

// Edit replaces a text in the manifest of an app.
func Edit(t testing.TB, folder, from, to string) {
	t.Helper()
	path := filepath.Join(folder, "tide.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		t.Fatalf("%s has no %q", path, from)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Stamp makes an app differ from all that was deployed of it before.
func Stamp(t testing.TB, folder, version string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, "STAMP"), []byte(version+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Deploy deploys a folder; the test ends if that fails.
func Deploy(t testing.TB, p *platform.Platform, folder string, arguments ...string) string {
	t.Helper()
	deploy, err := p.Deploy(t.Context(), folder, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return deploy.URL
}

// HTTP gives a client that trusts the platform and finds every host on it.
func HTTP(t testing.TB, p *platform.Platform) *http.Client {
	t.Helper()
	ca, err := p.CA(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: ca},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			var dialer net.Dialer
			if _, port, err := net.SplitHostPort(address); err == nil && strings.HasSuffix(p.HTTP, ":"+port) {
				return dialer.DialContext(ctx, network, p.HTTP)
			}
			return dialer.DialContext(ctx, network, p.HTTPS)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Load drives the quiz at a steady rate until stop is called, which gives what
// became of it.
func Load(t testing.TB, p *platform.Platform, target string, rate float64) (stop func() load.Result) {
	t.Helper()
	ca, err := p.CA(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var result load.Result
	var running sync.WaitGroup
	running.Go(func() {
		var err error
		result, err = load.Run(ctx, load.Options{
			Target: target, Dial: p.HTTPS, CA: ca, RequestID: true, Mix: load.QuizMix(),
			Schedule:     load.Schedule{load.Steady(rate, time.Hour)},
			WebSockets:   load.Streams{Clients: 5, Path: "/live/story-{client}"},
			EventStreams: load.Streams{Clients: 5, Path: "/scores"},
		})
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return func() load.Result {
		cancel()
		running.Wait()
		t.Log(result.Summary())
		for _, end := range slices.Concat(result.WebSockets.Ends, result.EventStreams.Ends) {
			if !end.Drained {
				t.Logf("a stream ended after %s at %s: %s", end.At, end.Instance, end.Reason)
			}
		}
		return result
	}
}

// Eventually waits for a condition.
func Eventually(t testing.TB, what string, limit time.Duration, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", limit, what)
		}
	}
}

// output keeps what is written to it.
type output struct {
	mu   sync.Mutex
	text []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	return len(p), nil
}

func (o *output) tail(lines int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := strings.Split(string(o.text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Get requests a URL and gives the body of its answer, which has to be 200.
func Get(t testing.TB, client *http.Client, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s\n%s", url, response.Status, body)
	}
	return string(body)
}
