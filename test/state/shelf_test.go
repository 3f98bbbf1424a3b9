// Package state tells of what an app keeps: services, secrets, shared files and
// backups, with real servers.
package state

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/supervisor"
	"github.com/springtide/springtide/test/story"
)

// key is a secret that must not be found anywhere but in its instances.
const key = "sk_live_51H8xYz-Q/9+=&"

// limit is how long a test waits for what takes seconds.
const limit = 3 * time.Minute

var production = springtide.EnvironmentID{App: "shelf", Name: springtide.Production}

// manifest is that of the shelf; SERVICES and MORE are replaced.
const manifest = `
app: shelf
processes: { web: { command: ./shelf, health: { path: /healthz }, scale: { min: MIN, max: 8 } } }
release: ./shelf "CREATE TABLE IF NOT EXISTS rows (id bigserial PRIMARY KEY, name text NOT NULL)"
services: { db: { postgres: newestDB }, cache: redis }
files: { uploads: /data/uploads }
secrets: [API_KEY]
backups: { db: { keep: 30d }, cache: {}, files: { keep: 10d } }
`

// shelf is the app on a platform, as its owner and its visitors see it.
type shelf struct {
	*platform.Platform
	t      testing.TB
	source string
	url    string
	client *http.Client
}

// build makes the app's folder, with a program that is built here.
func build(t testing.TB, min int) string {
	t.Helper()
	source := filepath.Join(t.TempDir(), "shelf")
	if err := os.MkdirAll(source, 0o755); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(source, "shelf"), "./test/state/shelf")
	command.Dir, command.Env = story.Root(t), append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	write(t, source, min, "")
	return source
}

// write writes the manifest, with more said of the database.
func write(t testing.TB, source string, min int, database string) {
	t.Helper()
	text := strings.NewReplacer("MIN", strconv.Itoa(min), "newestDB", "newest"+database).Replace(manifest)
	if err := os.WriteFile(filepath.Join(source, "tide.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// open sets the secret and deploys.
func open(t testing.TB, p *platform.Platform, source string) *shelf {
	t.Helper()
	s := &shelf{Platform: p, t: t, source: source, client: story.HTTP(t, p)}
	s.setKey()
	s.url = story.Deploy(t, p, source)
	return s
}

func (s *shelf) setKey() {
	s.t.Helper()
	command := s.command("secrets", "set", "API_KEY")
	command.Stdin = strings.NewReader(key + "\n")
	if output, err := command.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, output)
	}
}

func (s *shelf) command(arguments ...string) *exec.Cmd {
	command := s.Command(s.t.Context(), arguments...)
	command.Dir = s.source
	return command
}

// tide runs a command that has to succeed, and gives what it prints.
func (s *shelf) tide(arguments ...string) string {
	s.t.Helper()
	return story.Output(s.t, s.command(arguments...))
}

// refused runs a command that has to fail with an exit code, and say something.
func (s *shelf) refused(code int, says string, arguments ...string) {
	s.t.Helper()
	if told := story.Refused(s.t, s.command(arguments...), code); !strings.Contains(told, says) {
		s.t.Errorf("tide %s does not say %q:\n%s", strings.Join(arguments, " "), says, told)
	}
}

// ask makes a request that has to succeed.
func (s *shelf) ask(method, path, body string) string {
	s.t.Helper()
	answer, err := s.try(s.t.Context(), method, path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer
}

func (s *shelf) try(ctx context.Context, method, path, body string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, response.Status, text)
	}
	return string(text), err
}

// rows is how many there are.
func (s *shelf) rows() int {
	s.t.Helper()
	count, err := strconv.Atoi(s.ask("GET", "/rows", ""))
	if err != nil {
		s.t.Fatal(err)
	}
	return count
}

// load adds rows as fast as two visitors can, until it is told to stop; then it
// tells how many were acknowledged, and what failed.
func (s *shelf) load() (stop func() (acknowledged int, failures []string)) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var added atomic.Int64
	var mu sync.Mutex
	var failed []string
	var visitors sync.WaitGroup
	for range 2 {
		visitors.Go(func() {
			for ctx.Err() == nil {
				// One that was begun is waited for: it may be acknowledged.
				if _, err := s.try(s.t.Context(), "POST", "/rows?name=x", ""); err == nil {
					added.Add(1)
				} else {
					mu.Lock()
					failed = append(failed, err.Error())
					mu.Unlock()
				}
			}
		})
	}
	return func() (int, []string) {
		cancel()
		visitors.Wait()
		return int(added.Load()), failed
	}
}

// service gives how one stands.
func (s *shelf) service(name springtide.ServiceName) api.ServiceDetails {
	s.t.Helper()
	details, err := s.Client.Service(s.t.Context(), springtide.ServiceID{Environment: production, Name: name})
	if err != nil {
		s.t.Fatal(err)
	}
	return details
}

// killControl kills the control plane.
func (s *shelf) killControl() {
	s.t.Helper()
	control := 0 // which would be all of us
	story.Eventually(s.t, "a control plane", limit, func() bool {
		control = supervisor.Holder(filepath.Join(s.Data, "run", "control.lock"))
		return control > 0
	})
	if err := syscall.Kill(control, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
}

// primary is the PID of the first server of a service.
func (s *shelf) primary(name springtide.ServiceName) int {
	s.t.Helper()
	for _, server := range s.service(name).Servers {
		if server.Role == "primary" {
			return server.PID
		}
	}
	return 0
}
