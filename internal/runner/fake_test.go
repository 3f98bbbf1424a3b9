package runner

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// fake is a platform with a ledger in memory.
type fake struct {
	*httptest.Server
	t *testing.T

	mu    sync.Mutex
	runs  []*fakeRun
	fence springtide.Fence
	// lease and beat are told. A lease is longer than a busy machine may keep anybody
	// from the processor, where a test is not about its end.
	lease, beat time.Duration
	// away has it break every connection, status answer nothing but that.
	away   bool
	status int
	// drain and interrupt are said in answers.
	drain, interrupt bool
	beats            int
	// refuseStart tells that nothing may start.
	refuseStart bool
	stale       int // results that came with a fence that was over
}

type fakeRun struct {
	jobs.LeasedRun
	state     springtide.RunState
	runner    string
	until     time.Time
	cancel    bool
	progress  springtide.Progress
	completed []jobs.Completion // those that were accepted
	output    []byte
}

const testToken = "secret"

func newFake(t *testing.T) *fake {
	f := &fake{t: t, lease: 30 * time.Second, beat: time.Second}
	mux := http.NewServeMux()
	route(f, mux, "POST /env/leases", f.claim)
	route(f, mux, "POST /env/leases/start", f.start)
	route(f, mux, "POST /env/leases/heartbeat", f.heartbeat)
	route(f, mux, "POST /env/leases/complete", f.complete)
	mux.HandleFunc("POST /env/leases/output", f.appendOutput)
	f.Server = httptest.NewServer(f.gate(mux))
	t.Cleanup(f.Server.Close)
	return f
}

// gate is where a platform is away, or refuses.
func (f *fake) gate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		away, status := f.away, f.status
		f.mu.Unlock()
		switch {
		case away:
			panic(http.ErrAbortHandler)
		case r.Header.Get("Authorization") != "Bearer "+testToken:
			status = http.StatusUnauthorized
		}
		if status != 0 {
			w.WriteHeader(status)
			fmt.Fprint(w, `{"error":{"kind":"unauthorized","message":"the token is not one of ours","hint":"use another"}}`)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func route[Q, A any](f *fake, mux *http.ServeMux, pattern string, handle func(*http.Request, Q) A) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return // who asks was killed
		}
		var question Q
		if err := json.Unmarshal(text, &question); err != nil {
			f.t.Errorf("%s: %v", pattern, err)
		}
		answer := handle(r, question)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	})
}

// enqueue adds a run and gives it.
func (f *fake) enqueue(command string, change ...func(*fakeRun)) *fakeRun {
	f.mu.Lock()
	defer f.mu.Unlock()
	run := &fakeRun{state: springtide.RunAvailable}
	run.Run, run.Queue, run.Command = springtide.RunID(fmt.Sprintf("r%d-%d", time.Now().UnixNano(), len(f.runs))), "default", command
	for _, one := range change {
		one(run)
	}
	f.runs = append(f.runs, run)
	return run
}

// tick takes lost leases back; the mutex is held.
func (f *fake) tick() {
	for _, run := range f.runs {
		if (run.state == springtide.RunClaimed || run.state == springtide.RunRunning) && time.Now().After(run.until) {
			run.state = springtide.RunAvailable
		}
	}
}

func (f *fake) claim(r *http.Request, request jobs.LeaseRequest) jobs.LeaseAnswer {
	if request.Started || request.Most < 1 || request.Runner == "" {
		f.t.Errorf("%+v", request)
	}
	answer := jobs.LeaseAnswer{LeaseSeconds: f.lease.Seconds(), BeatSeconds: f.beat.Seconds()}
	for until := time.Now().Add(seconds(request.WaitSeconds)); time.Now().Before(until) && r.Context().Err() == nil; time.Sleep(3 * time.Millisecond) {
		f.mu.Lock()
		f.tick()
		for _, run := range f.runs {
			if run.state != springtide.RunAvailable || len(answer.Runs) == request.Most || f.drain {
				continue
			}
			f.fence++
			run.Attempt, run.Fence, run.state, run.runner, run.until = run.Attempt+1, f.fence, springtide.RunClaimed, request.Runner, time.Now().Add(f.lease)
			answer.Runs = append(answer.Runs, run.LeasedRun)
		}
		answer.Drain = f.drain
		f.mu.Unlock()
		if len(answer.Runs) > 0 || answer.Drain {
			break
		}
	}
	return answer
}

// held gives the run that is held so; nil if it is not. The mutex is held.
func (f *fake) held(hold jobs.Hold) *fakeRun {
	f.tick()
	for _, run := range f.runs {
		if run.Run == hold.Run && run.Fence == hold.Fence && (run.state == springtide.RunClaimed || run.state == springtide.RunRunning) {
			run.until = time.Now().Add(f.lease)
			return run
		}
	}
	return nil
}

func (f *fake) start(_ *http.Request, request jobs.StartRequest) (answer jobs.AcceptedAnswer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, hold := range request.Runs {
		run := f.held(hold)
		if run != nil && !f.refuseStart {
			run.state = springtide.RunRunning
		}
		answer.Accepted = append(answer.Accepted, run != nil && !f.refuseStart)
	}
	return answer
}

func (f *fake) heartbeat(_ *http.Request, request jobs.BeatRequest) (answer jobs.BeatAnswer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.beats++
	for _, beat := range request.Runs {
		run := f.held(beat.Hold)
		standing := jobs.Standing{Held: run != nil, Cancel: run != nil && run.cancel}
		if run != nil && beat.Progress != nil {
			run.progress = *beat.Progress
		}
		answer.Runs = append(answer.Runs, standing)
	}
	answer.Drain, answer.Interrupt = f.drain, f.interrupt
	return answer
}

func (f *fake) complete(_ *http.Request, request jobs.CompleteRequest) (answer jobs.AcceptedAnswer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ended := range request.Runs {
		run := f.held(ended.Hold)
		answer.Accepted = append(answer.Accepted, run != nil)
		switch {
		case run == nil:
			f.stale++
		case ended.Verdict == jobs.Succeeded:
			run.state = springtide.RunSucceeded
			run.completed = append(run.completed, ended)
		case ended.Verdict == jobs.Returned:
			run.state = springtide.RunScheduled // so that it is not taken again at once
			run.completed = append(run.completed, ended)
		default:
			run.state = springtide.RunDead
			run.completed = append(run.completed, ended)
		}
	}
	return answer
}

func (f *fake) appendOutput(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	fence, _ := strconv.ParseInt(r.FormValue("fence"), 10, 64)
	offset, _ := strconv.ParseInt(r.FormValue("offset"), 10, 64)
	f.mu.Lock()
	defer f.mu.Unlock()
	run := f.held(jobs.Hold{Run: springtide.RunID(r.FormValue("run")), Fence: springtide.Fence(fence)})
	if run == nil {
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, `{"error":{"kind":"conflict","message":"another has it"}}`)
		return
	}
	if offset != int64(len(run.output)) {
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintf(w, `{"error":{"kind":"conflict","message":"elsewhere"},"next":%d}`, len(run.output))
		return
	}
	run.output = append(run.output, text...)
	fmt.Fprintf(w, `{"next":%d}`, len(run.output))
}

// change changes the platform.
func (f *fake) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
}

// await waits for a condition of the platform.
func (f *fake) await(what string, condition func() bool) {
	f.t.Helper()
	poll(f.t, what, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.tick()
		return condition()
	})
}

// end waits for the end of a run.
func (f *fake) end(run *fakeRun) jobs.Completion {
	f.t.Helper()
	f.await("the end of "+run.Command, func() bool { return len(run.completed) > 0 })
	f.mu.Lock()
	defer f.mu.Unlock()
	return run.completed[len(run.completed)-1]
}

func poll(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about", what)
		}
	}
}
