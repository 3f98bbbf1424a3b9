package service_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/servicetest"
)

// fakeProgram is a copy of the test binary that other users may run.
var fakeProgram string

func TestMain(m *testing.M) {
	if told := os.Getenv(fakeVariable); told != "" {
		os.Stderr.WriteString("fake: " + runFake(told).Error() + "\n")
		os.Exit(1)
	}
	if told := os.Getenv(crashVariable); told != "" {
		runDoomed(told)
	}
	folder, err := os.MkdirTemp("", "tide")
	if err == nil {
		err = os.Chmod(folder, 0o711)
	}
	if err != nil {
		panic(err)
	}
	fakeProgram = filepath.Join(folder, "fake")
	program, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(fakeProgram, program, 0o755)
	}
	if err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(folder)
		os.Exit(code)
	}))
}

// reverse is a sealer that can be told from none.
type reverse struct{ step func() }

func (r reverse) Seal(name string, plain []byte) ([]byte, error) {
	r.step()
	sealed := append([]byte(name+"|"), plain...)
	for i := range sealed {
		sealed[i] ^= 0x55
	}
	return sealed, nil
}

func (r reverse) Open(name string, sealed []byte) ([]byte, error) {
	plain := bytes.Clone(sealed)
	for i := range plain {
		plain[i] ^= 0x55
	}
	plain, ok := bytes.CutPrefix(plain, []byte(name+"|"))
	if !ok {
		return nil, io.ErrUnexpectedEOF
	}
	return plain, nil
}

// world is a manager that runs, and what it has told of.
type world struct {
	*service.Manager
	t       *testing.T
	folder  string
	options service.Options
	cancel  context.CancelFunc
	done    chan error

	mu     sync.Mutex
	events []springtide.Event
}

var quiz = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}

func serviceID(name springtide.ServiceName) springtide.ServiceID {
	return springtide.ServiceID{Environment: quiz, Name: name}
}

// worlds counts the tests, each of which has ports of its own; host has them, which
// no other tests have.
var (
	worlds atomic.Int32
	host   = servicetest.Host()
)

// optionsFor are those that a manager of the folder is tested with.
func optionsFor(folder string, first uint16, step func()) service.Options {
	return service.Options{
		Folder: folder, Sealer: reverse{step}, Host: host,
		Drivers:  map[springtide.ServiceKind]service.Driver{fakeKind: fakeDriver{program: fakeProgram, step: step}},
		Interval: 100 * time.Millisecond, Patience: 500 * time.Millisecond, Alone: 700 * time.Millisecond,
		FirstPort: first, LastPort: first + 49,
	}
}

func newWorld(t *testing.T, change func(*service.Options)) *world {
	t.Helper()
	w := &world{t: t, folder: filepath.Join(servicetest.Folder(t), "services")}
	w.options = optionsFor(w.folder, uint16(15000+50*worlds.Add(1)), func() {})
	w.options.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	w.options.Happened = func(event springtide.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, event)
	}
	if change != nil {
		change(&w.options)
	}
	w.run()
	t.Cleanup(func() {
		if err := w.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		w.end()
	})
	return w
}

// now is the manager that runs, for who asks while another one takes over.
func (w *world) now() *service.Manager {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Manager
}

func (w *world) run() {
	w.t.Helper()
	manager, err := service.New(w.options)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.Manager = manager
	w.mu.Unlock()
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	w.done = make(chan error, 1)
	go func() { w.done <- w.Run(ctx) }()
}

// end ends the manager; the servers go on.
func (w *world) end() {
	w.t.Helper()
	w.cancel()
	if err := <-w.done; err != nil {
		w.t.Error(err)
	}
	w.Close()
}

func (w *world) provision(services map[springtide.ServiceName]springtide.Service) {
	w.t.Helper()
	if err := w.Provision(w.t.Context(), quiz, services, func(line string) { w.t.Log(line) }); err != nil {
		w.t.Fatal(err)
	}
}

func one(spec springtide.Service) map[springtide.ServiceName]springtide.Service {
	spec.Kind = fakeKind
	return map[springtide.ServiceName]springtide.Service{"db": spec}
}

// url is what the app is told of a service.
func (w *world) url(name springtide.ServiceName) string {
	w.t.Helper()
	server, driver, err := w.Server(serviceID(name))
	if err != nil {
		w.t.Fatal(err)
	}
	return driver.URL(server, server.Logins.Current)
}

// write, server and waitReady are about the service that all tests have.
func (w *world) write(key, value string) {
	w.t.Helper()
	if err := write(w.t.Context(), w.url("db"), key, value); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) expect(name springtide.ServiceName, key, want string) {
	w.t.Helper()
	got, err := read(w.t.Context(), w.url(name), key)
	if err != nil || got != want {
		w.t.Fatalf("%s of %s is %q, not %q: %v", key, name, got, want, err)
	}
}

func (w *world) status(name springtide.ServiceName) service.Status {
	for _, status := range w.List(quiz) {
		if status.ID.Name == name {
			return status
		}
	}
	return service.Status{}
}

func (w *world) server(role service.Role) service.ServerStatus {
	for _, server := range w.status("db").Servers {
		if server.Role == role {
			return server
		}
	}
	return service.ServerStatus{}
}

func (w *world) eventually(what string, met func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !met(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("not yet: %s; it is %+v", what, w.List(quiz))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *world) happened(kind string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.events, func(event springtide.Event) bool { return event.Kind == kind })
}

func (w *world) waitReady() {
	w.t.Helper()
	w.eventually("it is ready", func() bool { return w.status("db").State == service.StateReady })
}
