package edge

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/springtide/springtide"
)

// spoil has an instance fail so many requests that were begun now.
func spoil(g *gate, id springtide.InstanceID, times int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for range times {
		g.blame(g.instances[id], "it answered 502", time.Now(), time.Now())
	}
}

func (g *gate) isEjected(id springtide.InstanceID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.instances[id].ejected()
}

func TestAnEjectedInstanceComesBackByATrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newTestGate(routeTo(readyBackend("bad", "a:1"), readyBackend("good", "b:1")))
		spoil(g, "bad", ejectAfter-1)
		if g.isEjected("bad") {
			t.Fatal("it is ejected before its time")
		}
		spoil(g, "bad", 1)
		asked := func() (bad int) {
			for range 20 {
				l, err := enterGate(t.Context(), g)
				if err != nil {
					t.Fatal(err)
				}
				if l.backend.Instance == "bad" {
					bad++
				}
				defer l.done()
			}
			return bad
		}
		if n := asked(); n != 0 || !g.isEjected("bad") {
			t.Fatalf("it was given %d requests while it was ejected", n)
		}
		time.Sleep(firstEjection * 6 / 5)
		if n := asked(); n != 1 {
			t.Fatalf("on trial it was given %d requests at a time", n)
		}
		spoil(g, "bad", 1)
		time.Sleep(firstEjection * 6 / 5)
		if n := asked(); n != 0 {
			t.Errorf("it failed its trial, and was given %d requests before twice the time was over", n)
		}
		time.Sleep(2 * firstEjection)
		g.mu.Lock()
		g.instances["bad"].succeeded(time.Now(), time.Now())
		g.mu.Unlock()
		if n := asked(); n < 5 || g.isEjected("bad") {
			t.Errorf("it passed its trial, and was given %d of 20 requests", n)
		}
	})
}

func TestWhereAllFailNobodyIsEjected(t *testing.T) {
	g := newTestGate(routeTo(readyBackend("a", "a:1"), readyBackend("b", "b:1"), readyBackend("c", "c:1")))
	for range 3 * ejectAfter {
		for _, id := range []springtide.InstanceID{"a", "b", "c"} {
			spoil(g, id, 1)
		}
	}
	for _, id := range []springtide.InstanceID{"a", "b", "c"} {
		if g.isEjected(id) {
			t.Errorf("%s is ejected though the others fail too", id)
		}
	}
}

func TestHalfOfTheInstancesAlwaysStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []springtide.InstanceID{"a", "b", "c", "d", "e", "f", "g"}[:rapid.IntRange(1, 7).Draw(t, "instances")]
		g := newTestGate(routeTo())
		var there []springtide.InstanceID
		place := func() {
			var backends []springtide.Backend
			there = there[:0]
			for _, id := range names {
				if rapid.Bool().Draw(t, string(id)) {
					backends = append(backends, readyBackend(string(id), string(id)+":1"))
					there = append(there, id)
				}
			}
			g.apply(routeTo(backends...), time.Now())
		}
		place()
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if rapid.IntRange(0, 9).Draw(t, "table") == 0 || len(there) == 0 {
				place()
			} else if id := rapid.SampledFrom(there).Draw(t, "instance"); rapid.Bool().Draw(t, "fails") {
				spoil(g, id, ejectAfter)
			} else {
				g.instances[id].succeeded(time.Now(), time.Now())
			}
			ejected := 0
			for _, id := range there {
				if g.isEjected(id) {
					ejected++
				}
			}
			if 2*ejected > len(there) || ejected == len(there) && ejected > 0 {
				t.Fatalf("%d of %d are ejected", ejected, len(there))
			}
		}
	})
}

func TestARestartedInstanceBeginsWithoutBlame(t *testing.T) {
	bad, good := readyBackend("bad", "a:1"), readyBackend("good", "b:1")
	g := newTestGate(routeTo(bad, good))
	spoil(g, "bad", ejectAfter)
	g.apply(routeTo(good, bad), time.Now())
	if !g.isEjected("bad") {
		t.Error("a table that changes nothing has taken it back")
	}
	g.apply(routeTo(inState(springtide.BackendRetiring, bad), good), time.Now())
	g.apply(routeTo(bad, good), time.Now())
	if g.isEjected("bad") {
		t.Error("it is ejected for what it did before it was started anew")
	}
}

// trialsSince is how many requests an instance can have got that was ejected then.
func trialsSince(ejected time.Time) int64 {
	return int64(time.Since(ejected) / (firstEjection * 4 / 5))
}

func TestAnInstanceThatFailsIsEjectedAndReported(t *testing.T) {
	e := startEdge(t)
	var asked atomic.Int64
	var well atomic.Bool
	bad := serveInstance(t, "web-1-bad", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if !well.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	e.route(t, routeTo(bad, serveInstance(t, "web-1-a", fine), serveInstance(t, "web-1-b", fine)))
	client := e.client(t, true)
	// One that seems slow gets none for a moment, and one that is ejected for seconds.
	var ejected time.Time // or a little before
	for more, deadline := 20, time.Now().Add(time.Minute); more > 0 && time.Now().Before(deadline); {
		if asked.Load() < ejectAfter {
			ejected = time.Now()
		}
		if response, body := get(t, client, "/"); response.StatusCode != http.StatusOK {
			t.Fatalf("got %d %q", response.StatusCode, body)
		}
		if asked.Load() >= ejectAfter {
			more--
		}
	}
	if n, trials := asked.Load(), trialsSince(ejected); n < ejectAfter || n > ejectAfter+trials {
		t.Errorf("it was asked %d times, %d of them on trial", n, trials)
	}
	e.control.await(t, "the ejection to be reported", func(reports []springtide.EdgeReport) bool {
		told := slices.ContainsFunc(reports, func(report springtide.EdgeReport) bool {
			return slices.ContainsFunc(report.Instances, func(load springtide.InstanceLoad) bool {
				return load.Instance == "web-1-bad" && load.Ejected.After(ejected) && load.Failing == "it answered 503"
			})
		})
		return told && e.control.demand(groupOf(1)).Ejected > 0
	})
	well.Store(true)
	eventually(t, "it to be taken back", func() bool {
		get(t, client, "/")
		return asked.Load() > ejectAfter && e.control.load("web-1-bad").Ejected.IsZero()
	})
}

func TestWhatMustNotBeRepeatedIsAnsweredByWhoGotIt(t *testing.T) {
	e := startEdge(t)
	bad := serveInstance(t, "web-1-bad", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "not now")
	})
	e.route(t, routeTo(bad, serveInstance(t, "web-1-good", fine)))
	client := e.client(t, false)
	refused := 0
	var ejected time.Time // or a little before
	for more, deadline := 20, time.Now().Add(time.Minute); more > 0 && time.Now().Before(deadline); {
		if refused < ejectAfter {
			ejected = time.Now()
		}
		request, _ := http.NewRequestWithContext(t.Context(), "POST", "https://"+testHost, nil)
		switch response, body := do(t, client, request); {
		case response.StatusCode == http.StatusServiceUnavailable && body == "not now":
			refused++
		case response.StatusCode != http.StatusOK:
			t.Fatalf("got %d %q", response.StatusCode, body)
		}
		if refused >= ejectAfter {
			more--
		}
	}
	if trials := trialsSince(ejected); refused < ejectAfter || refused > ejectAfter+int(trials) {
		t.Errorf("%d requests met it, %d of them on trial", refused, trials)
	}
}

func TestAnAnswerOfFailureIsPassedOnWhereNobodyElseCanBeAsked(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "77")
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "my own page")
	})))
	response, body := get(t, e.client(t, true), "/")
	if response.StatusCode != http.StatusServiceUnavailable || body != "my own page" || response.Header.Get("Retry-After") != "77" {
		t.Errorf("got %d %q %v", response.StatusCode, body, response.Header)
	}
}

func TestAnInstanceThatIsTooSlowForItsTryIsLeftForAnother(t *testing.T) {
	e := startEdge(t)
	var stuck atomic.Int64
	slow := rawInstance(t, "web-1-slow", func(conn net.Conn, requests *bufio.Reader) {
		if _, err := http.ReadRequest(requests); err == nil {
			stuck.Add(1)
			io.Copy(io.Discard, conn) // until the edge gives up
		}
	})
	route := routeTo(slow, serveInstance(t, "web-1-good", fine))
	route.TryWithin = 8 * time.Second // of which the other needs little, on any machine
	e.route(t, route)
	client := e.client(t, true)
	for stuck.Load() == 0 {
		if response, body := get(t, client, "/"); response.StatusCode != http.StatusOK {
			t.Fatalf("got %d %q", response.StatusCode, body)
		}
	}
}
