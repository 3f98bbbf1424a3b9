package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
)

// enterGate has a request at the gate, and tells what came of it.
func enterGate(ctx context.Context, g *gate) (*lease, error) {
	return g.enter(ctx, newTicket(g))
}

func newTicket(g *gate) *ticket {
	t := new(ticket)
	g.arrive(t, time.Now())
	t.end = func(error) {}
	return t
}

func newTestGate(route springtide.Route) *gate {
	g := newGate(newBell(), testLogger())
	g.apply(route, time.Now())
	return g
}

func TestWhatExceedsTheConcurrencyIsHeldInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route := routeTo(readyBackend("a", "a:1"), readyBackend("b", "b:1"))
		route.Concurrency = 2
		g := newTestGate(route)
		var open []*lease
		for range 4 {
			l, err := enterGate(t.Context(), g)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, l)
		}
		var mu sync.Mutex
		var order []int
		for i := range 5 {
			go func() {
				l, err := enterGate(t.Context(), g)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				time.Sleep(time.Second)
				l.done()
			}()
			synctest.Wait()
		}
		if g.meter.demand.Held != 5 || g.meter.demand.Busy != 4 {
			t.Errorf("%d held and %d busy, want 5 and 4", g.meter.demand.Held, g.meter.demand.Busy)
		}
		open[3].done()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if want := []int{0, 1, 2, 3, 4}; !slices.Equal(order, want) {
			t.Errorf("served in the order %v", order)
		}
		if g.meter.demand.Held != 0 || g.meter.demand.Waited != 5 || g.meter.demand.HeldTime != 10*time.Second {
			t.Errorf("held %d, waited %d for %v", g.meter.demand.Held, g.meter.demand.Waited, g.meter.demand.HeldTime)
		}
	})
}

func TestAHeldRequestIsGivenUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(routeTo())
		began := time.Now()
		if _, err := enterGate(t.Context(), g); !errors.Is(err, errHeldTooLong) || time.Since(began) != 20*time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		if g.queue.Len() != 0 || g.meter.demand.Held != 0 {
			t.Error("it is still in the queue")
		}
	})
}

func TestAClientThatLeavesIsTakenOutOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(routeTo())
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := enterGate(ctx, g); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if g.queue.Len() != 0 || g.meter.demand.Held != 0 || g.meter.demand.HeldTime != time.Second {
			t.Errorf("left %d in the queue, %+v", g.queue.Len(), g.meter.demand)
		}
	})
}

func TestTheQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route := routeTo()
		route.HoldLimit = 3
		g := newTestGate(route)
		for range 3 {
			go enterGate(t.Context(), g)
		}
		synctest.Wait()
		if _, err := enterGate(t.Context(), g); !errors.Is(err, errQueueFull) {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Minute)
	})
}

func TestABackendThatBecomesReadyWakesTheHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(routeTo())
		time.AfterFunc(time.Second, func() {
			route := routeTo(inState(springtide.BackendRetiring, readyBackend("a", "a:1")), readyBackend("b", "b:1"))
			route.Group = groupOf(2)
			g.apply(route, time.Now())
		})
		began := time.Now()
		l, err := enterGate(t.Context(), g)
		if err != nil || l.backend.Instance != "b" || time.Since(began) != time.Second {
			t.Fatalf("got %+v, %v after %v", l, err, time.Since(began))
		}
		l.done()
		first, second := g.meters[groupOf(1)].demand, g.meters[groupOf(2)].demand
		if first.Held != 0 || second.Held != 0 || first.Arrived != 1 || second.HeldTime != time.Second {
			t.Errorf("the old group: %+v; the new group: %+v", first, second)
		}
	})
}

func TestAStoppedRouteLetsItsHeldRequestsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(routeTo())
		time.AfterFunc(time.Second, func() {
			route := routeTo()
			route.Stopped = true
			g.apply(route, time.Now())
		})
		if _, err := enterGate(t.Context(), g); !errors.Is(err, errStopped) {
			t.Errorf("got %v", err)
		}
		if _, err := enterGate(t.Context(), g); !errors.Is(err, errStopped) {
			t.Errorf("got %v", err)
		}
	})
}

func TestARequestKeepsItsPlaceWhenItComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route := routeTo(readyBackend("a", "a:1"))
		route.Concurrency = 1
		g := newTestGate(route)
		early := newTicket(g)
		failed, err := g.enter(t.Context(), early)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []string
		wait := func(name string, ticket *ticket) {
			l, err := g.enter(t.Context(), ticket)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			order = append(order, name)
			mu.Unlock()
			l.done()
		}
		time.Sleep(time.Millisecond)
		late := newTicket(g)
		go wait("late", late)
		synctest.Wait()
		g.failed(early, failed, &failure{cause: errStale, unsent: true})
		failed.done()
		go wait("early", early)
		synctest.Wait()
		mu.Lock()
		if len(order) != 0 {
			t.Errorf("%v were given an instance that cannot be reached", order)
		}
		mu.Unlock()
		time.Sleep(2 * avoidFor)
		synctest.Wait()
		if !slices.Equal(order, []string{"early", "late"}) {
			t.Errorf("served in the order %v", order)
		}
	})
}

func TestAnInstanceIsNotBlamedWhereTheEdgeHasNoSocketLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(routeTo(readyBackend("a", "a:1")))
		for range 2 * ejectAfter {
			lacking := newTicket(g)
			l, err := g.enter(t.Context(), lacking)
			if err != nil {
				t.Fatal(err)
			}
			g.failed(lacking, l, &failure{cause: fmt.Errorf("dial tcp a:1: %w", os.NewSyscallError("socket", syscall.EMFILE)), unsent: true})
			l.done()
		}
		began := time.Now()
		l, err := g.enter(t.Context(), newTicket(g))
		if err != nil {
			t.Fatal(err)
		}
		l.done()
		if waited := time.Since(began); waited != 0 {
			t.Errorf("another request waited for %s", waited)
		}
	})
}

func TestBusyTimeIsTheIntegralOfBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(routeTo(readyBackend("a", "a:1")))
		first, _ := enterGate(t.Context(), g)
		time.Sleep(time.Second)
		second, _ := enterGate(t.Context(), g)
		time.Sleep(2 * time.Second)
		first.done()
		time.Sleep(3 * time.Second)
		var report springtide.EdgeReport
		g.report(&report, time.Now(), 6*time.Second)
		if d := report.Demand[0]; d.BusyTime != (1+4+3)*time.Second || d.Busy != 1 || d.Interval != 6*time.Second || d.Arrived != 2 {
			t.Errorf("reported %+v", d)
		}
		time.Sleep(time.Second)
		second.done()
		report = springtide.EdgeReport{}
		g.report(&report, time.Now(), time.Second)
		if d := report.Demand[0]; d.BusyTime != time.Second || d.Busy != 0 || d.Arrived != 0 || len(report.Instances) != 0 {
			t.Errorf("then reported %+v, %+v", d, report.Instances)
		}
	})
}

func TestStreamsThatCountAsRequestsAreReportedAsSuch(t *testing.T) {
	g := newTestGate(routeTo(readyBackend("a", "a:1")))
	g.route.FinishStreams = true
	l, err := enterGate(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	l.answer(http.StatusOK, time.Millisecond, true, time.Now())
	var report springtide.EdgeReport
	g.report(&report, time.Now(), time.Second)
	if load := report.Instances[0]; load.Requests != 1 || load.Streams != 0 || load.Lasting != 1 {
		t.Errorf("reported %+v", load)
	}
	l.done()
	if i := g.instances["a"]; i.requests != 0 || i.lasting != 0 {
		t.Errorf("%d are left, %d lasting", i.requests, i.lasting)
	}
}

func TestAnInstanceIsNeverGivenMoreThanItsConcurrency(t *testing.T) {
	e := startEdge(t)
	const concurrency = 4
	var most [3]atomic.Int64
	var backends []springtide.Backend
	for i := range most {
		var now atomic.Int64
		full, fill := make(chan struct{}), new(sync.Once) // closed once it has as many as it may
		backends = append(backends, serveInstance(t, fmt.Sprint("web-1-", i), func(w http.ResponseWriter, _ *http.Request) {
			n := now.Add(1)
			defer now.Add(-1)
			for seen := most[i].Load(); n > seen && !most[i].CompareAndSwap(seen, n); seen = most[i].Load() {
			}
			if n == concurrency {
				fill.Do(func() { close(full) })
			}
			select {
			case <-full:
			case <-time.After(30 * time.Second):
			}
			time.Sleep(2 * time.Millisecond) // the work
			io.WriteString(w, "done")
		}))
	}
	route := routeTo(backends...)
	route.Concurrency = concurrency
	e.route(t, route)
	client := e.client(t, true)
	var wait sync.WaitGroup
	for range 60 {
		wait.Go(func() {
			for range 5 {
				if response, body := get(t, client, "/"); response.StatusCode != 200 || body != "done" {
					t.Errorf("got %d %q", response.StatusCode, body)
				}
			}
		})
	}
	wait.Wait()
	for i := range most {
		if n := most[i].Load(); n != concurrency {
			t.Errorf("instance %d had %d at a time, want %d", i, n, concurrency)
		}
	}
	eventually(t, "all to be reported", func() bool {
		d := e.control.demand(groupOf(1))
		return d.Completed == 300 && d.Waited > 0 && d.Busy == 0 && d.Held == 0
	})
}

func TestARequestThatNobodyCanServeIsUnavailable(t *testing.T) {
	e := startEdge(t)
	route := routeTo()
	route.HoldFor = 50 * time.Millisecond
	e.route(t, route)
	client := e.client(t, true)
	if response, body := get(t, client, "/"); response.StatusCode != 503 || response.Header.Get("Retry-After") != "5" {
		t.Errorf("held: got %d %q", response.StatusCode, body)
	}
	route.Stopped = true
	route.HoldFor = time.Hour
	e.route(t, route)
	if response, body := get(t, client, "/"); response.StatusCode != 503 || response.Header.Get("Retry-After") != "30" {
		t.Errorf("stopped: got %d %q", response.StatusCode, body)
	}
	eventually(t, "the refusals to be reported", func() bool {
		d := e.control.demand(groupOf(1))
		return d.Refused == 2 && d.Arrived == 2 && d.Waited == 1
	})
}

func TestAHeldRequestIsReported(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo())
	go func() {
		request, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+testHost, nil)
		if response, err := e.client(t, true).Do(request); err == nil {
			response.Body.Close()
		}
	}()
	eventually(t, "the request to be reported", func() bool { return e.control.demand(groupOf(1)).Held == 1 })
}

func BenchmarkGate(b *testing.B) {
	g := newTestGate(routeTo(readyBackend("a", "a:1"), readyBackend("b", "b:1"), readyBackend("c", "c:1")))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l, err := enterGate(context.Background(), g)
			if err != nil {
				b.Error(err)
				return
			}
			l.answer(200, time.Millisecond, false, time.Now())
			l.done()
		}
	})
}
