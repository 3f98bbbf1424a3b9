package service_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

const crashVariable = "SERVICE_DOOMED"

// doom is what a manager is to do in a process that dies at one of its steps.
type doom struct {
	Folder, Program, Operation string
	Host                       netip.Addr
	Port                       uint16
	// At is the step at which it dies, counted from 1.
	At int64
}

var (
	staging    = springtide.EnvironmentID{App: "quiz", Name: "staging"}
	forked     = springtide.ServiceID{Environment: staging, Name: "db"}
	replicated = one(springtide.Service{Replica: true, Synchronous: true})
	silent     = func(string) {}
)

// operations are what a manager can be killed in. Each can be done again.
var operations = map[string]func(context.Context, *service.Manager) error{
	"provision": func(ctx context.Context, m *service.Manager) error {
		return m.Provision(ctx, staging, replicated, silent)
	},
	"rotate": func(ctx context.Context, m *service.Manager) error {
		if err := m.Rotate(ctx, serviceID("db")); err != nil {
			return err
		}
		return m.Retire(ctx, serviceID("db"))
	},
	"fork": func(ctx context.Context, m *service.Manager) error {
		return m.Fork(ctx, serviceID("db"), forked, "")
	},
	"swap": func(ctx context.Context, m *service.Manager) error {
		return m.Swap(ctx, serviceID("db"), serviceID("db-restored"))
	},
	"upgrade": func(ctx context.Context, m *service.Manager) error {
		_, err := m.Upgrade(ctx, serviceID("db"), "2", false)
		return err
	},
	"rehearsal": func(ctx context.Context, m *service.Manager) error {
		_, err := m.Upgrade(ctx, serviceID("db"), "2", true)
		return err
	},
	"destroy": func(ctx context.Context, m *service.Manager) error {
		return m.Destroy(ctx, forked)
	},
	"failover": func(ctx context.Context, m *service.Manager) error {
		for ctx.Err() == nil {
			if status := m.List(quiz)[0]; status.Protected && status.State == service.StateReady {
				return nil
			}
			time.Sleep(5 * time.Millisecond)
		}
		return ctx.Err()
	},
}

// runDoomed is the process that dies. What it started goes on.
func runDoomed(told string) {
	var d doom
	if err := json.Unmarshal([]byte(told), &d); err != nil {
		panic(err)
	}
	fakeProgram, host = d.Program, d.Host
	var steps atomic.Int64
	options := optionsFor(d.Folder, d.Port, func() {
		if steps.Add(1) == d.At {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	options.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	m, err := service.New(options)
	if err == nil {
		go m.Run(context.Background())
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = operations[d.Operation](ctx, m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// killAtEachStep has the operation die at its first step, its second, and so on,
// until it comes to its end. After each death a new manager takes over.
func (w *world) killAtEachStep(operation string, before, after func()) {
	w.t.Helper()
	for at := int64(1); ; at++ {
		before()
		w.end()
		told, err := json.Marshal(doom{w.folder, fakeProgram, operation, host, w.options.FirstPort, at})
		if err != nil {
			w.t.Fatal(err)
		}
		process := exec.Command("/proc/self/exe")
		process.Env = append(os.Environ(), crashVariable+"="+string(told))
		output, err := process.CombinedOutput()
		w.run()
		if err != nil && !strings.Contains(err.Error(), "killed") {
			w.t.Fatalf("killed at step %d: %v\n%s", at, err, output)
		}
		after()
		w.eventually("each server is one process", w.noStrays)
		if w.t.Failed() {
			w.t.Fatalf("killed at step %d:\n%s", at, output)
		}
		if err == nil {
			w.t.Logf("killed at each of %d steps", at-1)
			return
		}
	}
}

// again does the operation to its end.
func (w *world) again(operation string) {
	w.t.Helper()
	if err := operations[operation](w.t.Context(), w.Manager); err != nil {
		w.t.Fatal(err)
	}
}

// noStrays says whether the servers that run are those that are known.
func (w *world) noStrays() bool {
	known := map[string]bool{}
	for _, status := range w.All() {
		for _, server := range status.Servers {
			if server.PID != 0 {
				known[fmt.Sprint(server.PID)] = true
			}
		}
	}
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		environ, _ := os.ReadFile(path)
		if strings.Contains(string(environ), fakeVariable+"=") && strings.Contains(string(environ), w.folder) {
			pid := filepath.Base(filepath.Dir(path))
			if !known[pid] {
				return false
			}
			delete(known, pid)
		}
	}
	return len(known) == 0
}

// started gives a world with a service that holds something.
func started(t *testing.T, services map[springtide.ServiceName]springtide.Service) *world {
	t.Helper()
	w := newWorld(t, nil)
	w.provision(services)
	w.write("colour", "green")
	return w
}

func TestAProvisioningThatIsKilledAtAnyStepCanBeDoneAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.killAtEachStep("provision", func() {}, func() {
		w.again("provision")
		variables, err := w.Variables(staging, replicated)
		if err != nil {
			t.Fatal(err)
		}
		if err := write(t.Context(), variables["DB_URL"], "colour", "green"); err != nil {
			t.Error(err)
		}
		if got, err := read(t.Context(), variables["DB_REPLICA_URL"], "colour"); err != nil || got != "green" {
			t.Errorf("the replica says %q: %v", got, err)
		}
		w.again("destroy")
	})
}

func TestARotationThatIsKilledAtAnyStepCanBeDoneAgain(t *testing.T) {
	t.Parallel()
	w := started(t, one(springtide.Service{}))
	w.killAtEachStep("rotate", func() {}, func() {
		w.expect("db", "colour", "green")
		old := w.url("db")
		w.again("rotate")
		w.again("rotate")
		w.write("colour", "green")
		if err := write(t.Context(), old, "colour", "red"); err == nil {
			t.Error("an old login works")
		}
	})
}

func TestAForkThatIsKilledAtAnyStepCanBeDoneAgain(t *testing.T) {
	t.Parallel()
	w := started(t, one(springtide.Service{}))
	w.killAtEachStep("fork", func() {}, func() {
		if _, _, err := w.Server(forked); err != nil || w.List(staging)[0].State == service.StateMaking {
			w.again("fork")
		}
		server, driver, err := w.Server(forked)
		if err != nil {
			t.Fatal(err)
		}
		w.eventually("the copy serves", func() bool { return w.List(staging)[0].State == service.StateReady })
		if got, err := read(t.Context(), driver.URL(server, server.Logins.Current), "colour"); err != nil || got != "green" {
			t.Errorf("the copy says %q: %v", got, err)
		}
		w.again("destroy")
	})
}

func TestASwapThatIsKilledAtAnyStepHasHappenedOrNot(t *testing.T) {
	t.Parallel()
	w := started(t, replicated)
	w.restore("db-restored", "colour restored\n")
	w.killAtEachStep("swap", func() {}, func() {
		w.eventually("it serves", func() bool { return w.status("db").Protected && w.status("db").State == service.StateReady })
		first, err := read(t.Context(), w.url("db"), "colour")
		if err != nil {
			t.Fatal(err)
		}
		w.again("swap")
		second, err := read(t.Context(), w.url("db"), "colour")
		if err != nil || first == second || first+second != "greenrestored" && first+second != "restoredgreen" {
			t.Errorf("it says %q, and swapped %q: %v", first, second, err)
		}
	})
}

func TestAnUpgradeThatIsKilledAtAnyStepCanBeDoneAgain(t *testing.T) {
	t.Parallel()
	w := started(t, one(springtide.Service{Version: "1"}))
	w.killAtEachStep("upgrade", func() {}, func() {
		w.again("upgrade")
		w.expect("db", "colour", "green")
		if w.status("db").Version != "2" || w.status("db-old").Version != "1" {
			t.Errorf("there is %+v", w.List(quiz))
		}
		if err := w.Swap(t.Context(), serviceID("db"), serviceID("db-old")); err != nil {
			t.Fatal(err)
		}
		if err := w.Destroy(t.Context(), serviceID("db-old")); err != nil {
			t.Fatal(err)
		}
		w.expect("db", "colour", "green")
	})
}

func TestARehearsalThatIsKilledAtAnyStepLeavesNothing(t *testing.T) {
	t.Parallel()
	w := started(t, one(springtide.Service{Version: "1"}))
	w.killAtEachStep("rehearsal", func() {}, func() {
		w.eventually("only the service is there", func() bool { return len(w.List(quiz)) == 1 })
		w.expect("db", "colour", "green")
		w.eventually("nothing else has a folder", func() bool {
			entries, err := os.ReadDir(filepath.Join(w.folder, "quiz/production"))
			return err == nil && len(entries) == 1
		})
	})
}

func TestADestructionThatIsKilledAtAnyStepIsFinished(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.killAtEachStep("destroy", func() { w.again("provision") }, func() {
		if list := w.List(staging); len(list) > 0 {
			w.eventually("it is all there, or nothing is left", func() bool {
				list := w.List(staging)
				return len(list) == 0 || list[0].State == service.StateReady
			})
		}
	})
}

func TestAFailoverThatIsKilledAtAnyStepIsFinished(t *testing.T) {
	t.Parallel()
	w := started(t, replicated)
	pid := 0
	w.killAtEachStep("failover", func() {
		w.eventually("it is protected", func() bool { return w.status("db").Protected && w.status("db").State == service.StateReady })
		w.write("colour", "green")
		pid = w.server(service.RolePrimary).PID
		w.spoil(service.RolePrimary)
		w.eventually("its death is known", func() bool { return w.server(service.RolePrimary).PID != pid })
	}, func() {
		w.eventually("another serves", func() bool {
			return w.status("db").Protected && w.status("db").State == service.StateReady && w.server(service.RolePrimary).PID != pid
		})
		w.expect("db", "colour", "green")
	})
}
