package jobs_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

func TestTimePassesWhenSomethingIsDueAndEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		start(t, b)
		time.Sleep(10*time.Second + time.Millisecond)
		if b.count(&b.ticks) != 11 {
			t.Errorf("ten idle seconds took %d ticks", b.ticks)
		}
		b.set(func() { b.next, b.ticks = 100*time.Millisecond, 0 })
		time.Sleep(2 * time.Second)
		if b.count(&b.ticks) < 10 {
			t.Errorf("there were only %d ticks", b.ticks)
		}
		b.set(func() { b.next, b.ticks = time.Nanosecond, 0 })
		time.Sleep(time.Second)
		if b.count(&b.ticks) > 210 {
			t.Errorf("there were %d ticks in a second", b.ticks)
		}
	})
}

func TestADelayedJobIsLeasedWhenItsDelayIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := start(t, b)
		time.Sleep(300 * time.Millisecond)
		began := time.Now()
		enqueue(t, s, springtide.Job{Delay: 900 * time.Millisecond}, springtide.Job{Delay: 120 * time.Millisecond})
		if answer := lease(t, s, 1); len(answer.Runs) != 1 || answer.Runs[0].Run != "run2" {
			t.Error(answer)
		}
		if took := time.Since(began); took < 120*time.Millisecond || took > 130*time.Millisecond {
			t.Error("it took", took)
		}
		if answer := lease(t, s, 1); len(answer.Runs) != 1 || time.Since(began) > 1100*time.Millisecond {
			t.Error(answer, time.Since(began))
		}
	})
}

func TestAnOutageIsLoggedOnceAndEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		b.away = springtide.Errorf(springtide.Unavailable, "no connection")
		var mu sync.Mutex
		var log bytes.Buffer
		s := start(t, b, func(o *jobs.Options) {
			o.Logger = slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				return log.Write(p)
			}), nil))
			o.Executors = map[springtide.RunKind]jobs.Executor{springtide.RunHTTP: executorFunc(nil)}
		})
		time.Sleep(time.Minute)
		_, err := s.Lease(t.Context(), jobs.Identity{Environment: quiz}, jobs.LeaseRequest{Runner: "r", WaitSeconds: 30})
		wantKind(t, err, springtide.Unavailable, "no connection")
		if b.count(&b.ticks) > 62 {
			t.Errorf("the ledger was asked %d times in a minute", b.ticks)
		}
		b.set(func() { b.away = nil })
		time.Sleep(1100 * time.Millisecond)
		began := time.Now()
		enqueue(t, s, springtide.Job{Delay: 50 * time.Millisecond})
		if answer := lease(t, s, 1); len(answer.Runs) != 1 || time.Since(began) > 60*time.Millisecond {
			t.Error(answer, time.Since(began))
		}
		mu.Lock()
		defer mu.Unlock()
		if strings.Count(log.String(), "is away") != 1 || strings.Count(log.String(), "is back") != 1 || strings.Count(log.String(), "\n") > 3 {
			t.Errorf("the log says:\n%s", log.String())
		}
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// watcher is an observer that notes.
type watcher struct {
	mu       sync.Mutex
	waited   []time.Duration
	took     []time.Duration
	verdicts []jobs.Verdict
	happened []string
}

func (w *watcher) RunClaimed(_ springtide.Run, waited time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waited = append(w.waited, waited)
}

func (w *watcher) AttemptOver(_ springtide.EnvironmentID, _ springtide.QueueName, verdict jobs.Verdict, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.verdicts, w.took = append(w.verdicts, verdict), append(w.took, took)
}

func (w *watcher) JobHappened(happened jobs.Happened) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.happened = append(w.happened, happened.Kind)
}

func TestWhatHappensIsToldOnceAndMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		var told []string
		w := &watcher{}
		s := start(t, b, func(o *jobs.Options) {
			o.Observer = w
			o.Happened = func(happened jobs.Happened) { told = append(told, happened.Kind) }
		})
		b.set(func() { b.happened = []jobs.Happened{{Kind: "slot.late"}, {Kind: "run.dead"}} })
		enqueue(t, s, springtide.Job{})
		time.Sleep(3 * time.Second)
		leased := lease(t, s, 1).Runs[0]
		hold := jobs.Hold{Run: leased.Run, Fence: leased.Fence}
		time.Sleep(time.Second)
		if _, err := s.Start(t.Context(), jobs.Identity{Environment: quiz}, []jobs.Hold{hold}); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		for range 2 { // the answer was lost: asked again, it does not count again
			if _, err := complete(t, s, jobs.Completion{Hold: hold, Verdict: jobs.Succeeded}); err != nil {
				t.Error(err)
			}
		}
		if strings.Join(told, " ") != "slot.late run.dead" || strings.Join(w.happened, " ") != "slot.late run.dead" {
			t.Error(told, w.happened)
		}
		if len(w.waited) != 1 || w.waited[0] != 3*time.Second {
			t.Error("waited", w.waited)
		}
		if len(w.verdicts) != 1 || w.verdicts[0] != jobs.Succeeded || w.took[0] != 2*time.Second {
			t.Error(w.verdicts, w.took)
		}
	})
}
