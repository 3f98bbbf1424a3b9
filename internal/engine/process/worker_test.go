package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/enginetest"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/redact"
	"github.com/springtide/springtide/internal/runner"
)

// eachKind runs a test with all the isolation there is, and with none.
func eachKind(t *testing.T, change func(*Options), test func(t *testing.T, e *Engine)) {
	t.Helper()
	for name, plain := range map[string]bool{"isolated": false, "plain": true} {
		t.Run(name, func(t *testing.T) {
			test(t, runningEngine(t, func(o *Options) {
				o.Plain = plain
				if change != nil {
					change(o)
				}
			}))
		})
	}
}

func TestWhatAnAppSetsItselfWinsOverItsAccess(t *testing.T) {
	e := runningEngine(t, func(o *Options) {
		o.Access = func(Subject) (Grant, error) { return Grant{Env: map[string]string{"SMTP_URL": "smtp://catcher"}}, nil }
	})
	group := crashGroup(1)
	group.Template.Env = map[string]string{"SMTP_URL": "smtp://own"}
	group.Template.Process.Command = `echo "$SMTP_URL" > "$HOME/told"; exec sleep 86399`
	if err := e.Apply(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	told := filepath.Join(e.options.Data, "instances", string(awaitReady(t, e, group)[0].ID), homeFolder, "told")
	poll(t, "the app's own server", func() bool {
		text, err := os.ReadFile(told)
		return err == nil && string(text) == "smtp://own\n"
	})
}

func TestAnInstanceIsGivenItsAccessAtEveryStartAndNobodyKeepsIt(t *testing.T) {
	secret := func(s Subject) (Grant, error) {
		return Grant{Env: map[string]string{"TIDE_TOKEN": "secret-" + string(s.Instance) + s.Task, "SUBJECT": s.Environment.String()}}, nil
	}
	eachKind(t, func(o *Options) { o.Access = secret }, func(t *testing.T, e *Engine) {
		group := crashGroup(1)
		group.Template.Process.Command = `echo "$TIDE_TOKEN $SUBJECT" > "$HOME/told"; exec sleep 86399`
		if err := e.Apply(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		instance := awaitReady(t, e, group)[0]
		place := filepath.Join(e.options.Data, "instances", string(instance.ID))
		want := "secret-" + string(instance.ID) + " crash/production"
		poll(t, "what the instance was told", func() bool {
			told, err := os.ReadFile(filepath.Join(place, homeFolder, "told"))
			return err == nil && strings.TrimSpace(string(told)) == want
		})
		for _, name := range []string{specFile, recordFile} {
			if kept, err := os.ReadFile(filepath.Join(place, name)); err != nil || strings.Contains(string(kept), "secret-") {
				t.Errorf("%s: %s, %v", name, kept, err)
			}
		}
		if exit, output := execute(t, e, "told", `test "$TIDE_TOKEN" = secret-told`, springtide.Limits{}); exit.Code != 0 {
			t.Errorf("%+v %s", exit, output)
		}
	})
}

func TestInstancesFindThisProgramAsTheLastOnTheirPath(t *testing.T) {
	eachKind(t, nil, func(t *testing.T, e *Engine) {
		bin := filepath.Join(e.options.Data, "bin")
		command := `test "${PATH##*:}" = '` + bin + `' && test "$(command -v tide)" = '` + bin + `/tide'`
		if e.Isolation().MountNamespace {
			command += ` && ! touch '` + bin + `/other'`
		}
		if exit, output := execute(t, e, "path", command, springtide.Limits{}); exit.Code != 0 {
			t.Errorf("%+v %s", exit, output)
		}
		own, err := os.Stat(ownProgram)
		if err != nil {
			t.Fatal(err)
		}
		there, err := os.Stat(filepath.Join(bin, "tide"))
		if err != nil || there.Size() != own.Size() || there.Mode().Perm()&0o555 != 0o555 {
			t.Errorf("%v, %v", there, err)
		}
	})
}

func TestAnotherProgramThanTheRunningOneIsReplaced(t *testing.T) {
	p := &programs{folder: filepath.Join(t.TempDir(), "bin")}
	if err := os.Mkdir(p.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{p.tide(), p.tide() + ".new"} {
		if err := os.WriteFile(name, []byte("an older one"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.install(); err != nil {
		t.Fatal(err)
	}
	own, err := os.Stat(ownProgram)
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.Stat(p.tide())
	if err != nil || first.Size() != own.Size() {
		t.Fatalf("%v, %v", first, err)
	}
	// A copy, as between file systems, is as good and left alone.
	if err := os.Remove(p.tide()); err != nil {
		t.Fatal(err)
	}
	if err := copyProgram(own, p.tide()); err != nil {
		t.Fatal(err)
	}
	copied, _ := os.Stat(p.tide())
	if err := p.install(); err != nil {
		t.Fatal(err)
	}
	if again, err := os.Stat(p.tide()); err != nil || !os.SameFile(copied, again) {
		t.Errorf("the copy was replaced: %v", err)
	}
}

func TestTheHostIsWhereInstancesReachTheMachine(t *testing.T) {
	eachKind(t, nil, func(t *testing.T, e *Engine) {
		host, err := e.Host()
		if err != nil {
			t.Fatal(err)
		}
		if own := e.Isolation().Network == networkNamespace; host.IsLoopback() == own || !host.Is4() {
			t.Errorf("%s, network %s", host, e.Isolation().Network)
		}
		listener, err := net.Listen("tcp", net.JoinHostPort(host.String(), "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		if exit, output := execute(t, e, "reach", `bash -c 'exec 3<>/dev/tcp/`+strings.ReplaceAll(listener.Addr().String(), ":", "/")+`'`, springtide.Limits{}); exit.Code != 0 {
			t.Errorf("%+v %s", exit, output)
		}
	})
}

// runnerVariable has the test binary stand for tide: it notes how it was called.
const runnerVariable = "PROCESSTEST_RUNNER"

func runRunner() {
	if os.Getenv("TIDE_API") != "" {
		runRealRunner()
	}
	words := append([]string{}, os.Args[1:]...)
	for _, name := range []string{"TIDE_QUEUES", "TIDE_SLOTS", "TIDE_RUNNER_COMMAND", "TIDE_RUNNER_TIMEOUT", "TIDE_RUNNER_GRACE"} {
		words = append(words, os.Getenv(name))
	}
	if err := os.WriteFile(filepath.Join(os.Getenv("HOME"), "called"), []byte(strings.Join(words, "|")), 0o600); err != nil {
		panic(err)
	}
	time.Sleep(time.Hour) // until it is told to end
}

// runRealRunner is `tide runner`.
func runRealRunner() {
	options, err := runner.OptionsOf(os.Getenv)
	if err != nil {
		panic(err)
	}
	if initProgram != nil {
		panic("the init is not built in")
	}
	options.Output, options.Log = os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := runner.Run(context.Background(), options); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func workerGroup(worker springtide.Worker, command string) springtide.Group {
	group := crashGroup(1)
	group.Template.Process = springtide.Process{Command: command, Worker: &worker, Scale: springtide.Scale{Concurrency: 3}, Grace: time.Second}
	return group
}

func TestAWorkersCommandIsLeftToTheRunner(t *testing.T) {
	eachKind(t, nil, func(t *testing.T, e *Engine) {
		// This test binary stands for tide: it tells how it was called.
		group := workerGroup(springtide.Worker{Queues: []springtide.QueueName{"a", "b"}, Timeout: time.Hour, Grace: 2 * time.Second}, `./it's "mine"`)
		group.Template.Env = map[string]string{runnerVariable: "1"}
		if err := e.Apply(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		instance := awaitReady(t, e, group)[0]
		told := filepath.Join(e.options.Data, "instances", string(instance.ID), homeFolder, "called")
		poll(t, "the runner", func() bool {
			text, err := os.ReadFile(told)
			return err == nil && string(text) == "runner|a,b|3|./it's \"mine\"|1h0m0s|2s"
		})
	})
}

func TestAWorkerOfItsOwnIsToldWhatToTake(t *testing.T) {
	e := runningEngine(t, nil)
	group := workerGroup(springtide.Worker{Queues: []springtide.QueueName{"mail"}, Own: true}, `echo "$TIDE_QUEUES $TIDE_SLOTS$TIDE_RUNNER_COMMAND" > "$HOME/called"; exec sleep 86399`)
	if err := e.Apply(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	instance := awaitReady(t, e, group)[0]
	poll(t, "its variables", func() bool {
		text, err := os.ReadFile(filepath.Join(e.options.Data, "instances", string(instance.ID), homeFolder, "called"))
		return err == nil && string(text) == "mail 3\n"
	})
}

func TestAWorkerMayFinishWhatItHasBegun(t *testing.T) {
	web := springtide.Process{Grace: 5 * time.Second}
	own := springtide.Process{Grace: 5 * time.Second, Worker: &springtide.Worker{Own: true, Timeout: time.Hour, Grace: time.Minute}}
	run := springtide.Process{Worker: &springtide.Worker{Timeout: 48 * time.Hour}}
	for want, process := range map[time.Duration]springtide.Process{5 * time.Second: web, 61*time.Minute + standardGrace: own, 48*time.Hour + standardGrace: run, standardGrace: {}} {
		if got := graceOf(process); got != want {
			t.Errorf("%+v: %s, want %s", process, got, want)
		}
	}
}

// loads is a router that knows how busy instances are that the edges do not know.
type loads struct {
	enginetest.Router
	busy atomic.Value // a springtide.InstanceID
}

func (l *loads) Load(id springtide.InstanceID) int {
	if id == l.busy.Load() {
		return 1
	}
	return 0
}

func TestOfWorkersTheIdleOneGoesFirst(t *testing.T) {
	router := &loads{}
	e := runningEngine(t, func(o *Options) { o.Router = router })
	group := crashGroup(2)
	if err := e.Apply(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	instances := awaitReady(t, e, group)
	// The younger one would go if both were as busy.
	older := slices.MinFunc(instances, func(a, b springtide.Instance) int { return a.Ordered.Compare(b.Ordered) })
	busy := instances[0]
	if busy.ID == older.ID {
		busy = instances[1]
	}
	router.busy.Store(busy.ID)
	group.Replicas = 1
	if err := e.Apply(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	if left := awaitReady(t, e, group); left[0].ID != busy.ID {
		t.Errorf("the busy one went, %s stayed", left[0].ID)
	}
}

func TestARunnerCarriesRunsOutInsideOfAnInstance(t *testing.T) {
	if initProgram != nil {
		t.Skip("the init is not built in")
	}
	var api atomic.Value
	access := func(Subject) (Grant, error) {
		url, told := api.Load().(string)
		if !told {
			return Grant{}, errors.New("the API is not there yet")
		}
		return Grant{
			Env:         map[string]string{"TIDE_API": url, "TIDE_TOKEN": "x"},
			Credentials: map[string][]byte{"KEY": []byte("open sesame")},
		}, nil
	}
	eachKind(t, func(o *Options) { o.Access = access }, func(t *testing.T, e *Engine) {
		leased, ended := make(chan string, 1), make(chan jobs.Completion, 1)
		mux := http.NewServeMux()
		mux.HandleFunc("POST /leases", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // Only then is the end of the connection noticed.
			select {
			case command := <-leased:
				_ = json.NewEncoder(w).Encode(jobs.LeaseAnswer{Runs: []jobs.LeasedRun{{Run: "r1", Fence: 1, Attempt: 1, Command: command}}})
			case <-r.Context().Done():
			}
		})
		mux.HandleFunc("POST /leases/start", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"accepted":[true]}`) })
		mux.HandleFunc("POST /leases/complete", func(w http.ResponseWriter, r *http.Request) {
			var request jobs.CompleteRequest
			_ = json.NewDecoder(r.Body).Decode(&request)
			fmt.Fprint(w, `{"accepted":[true]}`)
			ended <- request.Runs[0]
		})
		host, err := e.Host()
		if err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("tcp", net.JoinHostPort(host.String(), "0"))
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { server.Close() })
		api.Store("http://" + listener.Addr().String())
		group := workerGroup(springtide.Worker{Timeout: time.Minute, Grace: time.Second}, "")
		group.Template.Env = map[string]string{runnerVariable: "1"}
		if err := e.Apply(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		awaitReady(t, e, group)
		leased <- `(setsid sleep 60 &); echo "{\"user\":$(id -u)}" > "$RUN_RESULT"; tide=$(command -v tide); cat "$CREDENTIALS_DIRECTORY/KEY"; echo " $TIDE_INSTANCE ${tide##*/}"`
		select {
		case run := <-ended:
			if run.Verdict != jobs.Succeeded || !strings.HasSuffix(run.Output, " tide\n") || !strings.HasPrefix(run.Output, redact.Marker) || !strings.HasPrefix(string(run.Result), `{"user":`) {
				t.Errorf("%+v", run)
			}
		case <-time.After(time.Minute):
			t.Fatal("the run did not end")
		}
	})
}
