package edge

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
)

func TestTheFirstReportNamesTheTableInForce(t *testing.T) {
	e := startEdge(t)
	e.control.await(t, "a report", func(reports []springtide.EdgeReport) bool { return len(reports) > 0 })
	if first := e.control.seen()[0]; first.Acknowledged != 0 || !strings.HasPrefix(first.Edge, "edge-") || len(first.Edge) < 20 {
		t.Errorf("the first report is %+v", first)
	}
}

func TestAnIdleEdgeKeepsQuiet(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	get(t, e.client(t, true), "/")
	eventually(t, "the demand", func() bool { return e.control.demand(groupOf(1)).Completed == 1 })
	before := 0
	eventually(t, "a second without a report", func() bool { // what happened may still be told of in the first
		before = len(e.control.seen())
		time.Sleep(time.Second)
		return len(e.control.seen()) == before
	})
	e.control.await(t, "a sign of life", func(reports []springtide.EdgeReport) bool { return len(reports) > before })
}

func TestReportsComeEveryTenthOfASecondUnderLoad(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	client := e.client(t, true)
	began, before, reports := time.Now(), len(e.control.seen()), 0
	eventually(t, "twenty reports", func() bool {
		get(t, client, "/")
		reports = len(e.control.seen()) - before
		return reports >= 20
	})
	if took := time.Since(began); reports > int(took/reportInterval)+10 {
		t.Errorf("there were %d reports within %v", reports, took)
	}
}

func TestAReportIsAsQuickAsItIsUrgent(t *testing.T) {
	for name, test := range map[string]struct {
		ring func(*bell)
		want time.Duration
	}{
		"nothing":          {func(*bell) {}, heartbeat},
		"a change":         {(*bell).changed, reportInterval},
		"a held request":   {(*bell).urgent, hurryInterval},
		"one, then other":  {func(b *bell) { b.changed(); time.AfterFunc(50*time.Millisecond, b.urgent) }, 50 * time.Millisecond},
		"a change of late": {func(b *bell) { time.AfterFunc(time.Second, b.changed) }, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &feed{bell: newBell()}
				began := time.Now()
				test.ring(f.bell)
				f.wait(t.Context(), began, nil)
				if took := time.Since(began); took != test.want {
					t.Errorf("it waited %v, want %v", took, test.want)
				}
			})
		})
	}
}

func TestTheEdgeServesAndCountsWhileTheControlPlaneIsAway(t *testing.T) {
	e := startEdge(t, func(o *Options) { o.Logger = testLogger() })
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	client := e.client(t, true)
	e.control.stop()
	for range 50 {
		if response, _ := get(t, client, "/"); response.StatusCode != 200 {
			t.Fatalf("got %d", response.StatusCode)
		}
	}
	e.control.listen(t)
	eventually(t, "what happened meanwhile to be reported", func() bool {
		d := e.control.demand(groupOf(1))
		return d.Completed >= 49 && d.Completed <= 50 // a report may have been lost with the connection
	})
	e.route(t, routeTo())
}

func TestAControlPlaneThatDoesNotReadBlocksNobody(t *testing.T) {
	e := startEdge(t, func(o *Options) { o.Logger = testLogger() })
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	e.control.mu.Lock()
	e.control.deaf = true
	e.control.mu.Unlock()
	client := e.client(t, true)
	for range 300 {
		began := time.Now()
		if response, _ := get(t, client, "/"); response.StatusCode != 200 || time.Since(began) > reportTimeout*4/5 {
			t.Fatalf("got %d after %v", response.StatusCode, time.Since(began))
		}
	}
}

func TestDemandThatCouldNotBeSentIsSentLater(t *testing.T) {
	r := newRouter(newBell(), testLogger())
	r.apply(springtide.Table{Version: 1, Routes: []springtide.Route{routeTo(readyBackend("a", "a:1"))}})
	g := r.find(testHost)
	serveOne := func() {
		l, err := enterGate(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		l.answer(http.StatusInternalServerError, time.Millisecond, false, time.Now())
		l.done()
	}
	serveOne()
	began := r.reported
	now := began.Add(time.Second)
	r.putBack(r.report(now).Demand)
	serveOne()
	report := r.report(now.Add(time.Second))
	if d := report.Demand[0]; d.Arrived != 2 || d.Completed != 2 || d.Failed != 2 || d.Latencies.Count() != 2 || d.Interval != 2*time.Second {
		t.Errorf("reported %+v", d)
	}
	if again := r.report(now.Add(2 * time.Second)); len(again.Demand) != 0 {
		t.Errorf("reported twice: %+v", again.Demand)
	}
}

func TestAGroupThatIsGoneIsForgotten(t *testing.T) {
	r := newRouter(newBell(), testLogger())
	for i := range 50 {
		route := routeTo(readyBackend("web-"+strconv.Itoa(i), "a:1"))
		route.Group = groupOf(i)
		r.apply(springtide.Table{Version: int64(i + 1), Routes: []springtide.Route{route}})
		l, err := enterGate(t.Context(), r.find(testHost))
		if err != nil {
			t.Fatal(err)
		}
		l.done()
		r.report(time.Now())
		r.report(time.Now())
	}
	g := r.find(testHost)
	if len(g.meters) > 2 || len(g.instances) > 1 {
		t.Errorf("%d meters and %d instances are kept", len(g.meters), len(g.instances))
	}
	r.apply(springtide.Table{Version: 100})
	r.report(time.Now())
	r.report(time.Now())
	if len(r.gates) != 0 {
		t.Errorf("%d gates are kept", len(r.gates))
	}
}

func TestTheFeedTakesChangesAndNoneOfATableThatItHasNot(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	var got []springtide.Table
	f := &feed{apply: func(table springtide.Table) { got = append(got, table) }, told: make(chan struct{}, 1)}
	go io.WriteString(theirs, `{"version":7,"routes":[{"hosts":["a"]},{"hosts":["b"]}],"purges_since":3}
{"version":9,"since":7,"changed":{"1":{"hosts":["c"]}}}
{"version":12,"since":11,"changed":{}}
`)
	err := f.listen(ours)
	if err == nil || !strings.Contains(err.Error(), "there is table 9") {
		t.Errorf("got %v", err)
	}
	if len(got) != 2 || got[0].Routes[1].Hosts[0] != "b" || got[1].Version != 9 || got[1].PurgesSince != 3 || got[1].Routes[0].Hosts[0] != "a" || got[1].Routes[1].Hosts[0] != "c" {
		t.Errorf("got %+v", got)
	}
}
