package routing

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/socket"
)

var production = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}

func group(generation int) springtide.GroupID {
	return springtide.GroupID{Environment: production, Release: generation, Process: springtide.Web, Generation: generation}
}

func ready(id springtide.InstanceID, generation int) springtide.Instance {
	return springtide.Instance{ID: id, Group: group(generation), State: springtide.InstanceReady, Address: "127.0.0.1:1", Ready: time.Unix(1, 0)}
}

// world is the rest of the platform as the publisher sees it.
type world struct {
	mu      sync.Mutex
	active  int
	version atomic.Int64
	made    atomic.Int64 // how often the routes were asked for
	others  []string     // hosts of further routes; none with a "!" gets a certificate
}

func (w *world) Routes(context.Context) ([]springtide.Route, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made.Add(1)
	routes := []springtide.Route{{Hosts: []string{"quiz.localhost"}, Environment: production, Group: group(w.active)}}
	for _, host := range w.others {
		routes = append(routes, springtide.Route{Hosts: []string{host}})
	}
	return routes, nil
}

func (w *world) NextTableVersion(context.Context) (int64, error) { return w.version.Add(1), nil }

func (w *world) Certificate(names []string) (springtide.Certificate, error) {
	if strings.Contains(names[0], "!") {
		return springtide.Certificate{}, errors.New("not a host name")
	}
	return springtide.Certificate{Names: names, Chain: "chain", Key: "key"}, nil
}

func (w *world) activate(generation int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.active = generation
}

func start(t *testing.T) (*Publisher, *world, string) {
	t.Helper()
	w := &world{active: 1}
	p := New(Options{
		Routes: w.Routes, Versions: w, Certificates: w, Logger: slog.New(slog.DiscardHandler),
		TicketKeys: func(time.Time) [][32]byte { return nil },
		Report:     func(springtide.EdgeReport) {}, Published: func(int64) {}, Connected: func([]string) {},
	})
	p.serving = time.Now().Add(-time.Minute) // edges from before have had the time to connect
	path := filepath.Join(t.TempDir(), "feed.sock")
	listener, err := socket.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	running.Go(func() { p.Serve(ctx, listener) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return p, w, path
}

// fakeEdge is an edge that does only what a test tells it to.
type fakeEdge struct {
	t    *testing.T
	name string
	conn net.Conn
	in   *bufio.Reader
}

func connect(t *testing.T, path, name string) *fakeEdge {
	t.Helper()
	e := dialFeed(t, path, name)
	e.report(0)
	return e
}

// dialFeed gives an edge that has said nothing yet.
func dialFeed(t *testing.T, path, name string) *fakeEdge {
	t.Helper()
	conn, err := socket.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &fakeEdge{t: t, name: name, conn: conn, in: bufio.NewReader(conn)}
}

func (e *fakeEdge) report(acknowledged int64, loads ...springtide.InstanceLoad) {
	e.t.Helper()
	report := springtide.EdgeReport{Edge: e.name, Acknowledged: acknowledged, Instances: loads}
	if err := json.NewEncoder(e.conn).Encode(report); err != nil {
		e.t.Fatal(err)
	}
}

func (e *fakeEdge) table() springtide.Table {
	e.t.Helper()
	return e.change().Table
}

func (e *fakeEdge) change() springtide.TableChange {
	e.t.Helper()
	e.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	line, err := e.in.ReadBytes('\n')
	if err != nil {
		e.t.Fatal(err)
	}
	var change springtide.TableChange
	if err := json.Unmarshal(line, &change); err != nil {
		e.t.Fatal(err)
	}
	return change
}

func TestAReportThatIsTwiceOrLateIsNotPassedOn(t *testing.T) {
	var passed []int
	p := New(Options{Report: func(report springtide.EdgeReport) { passed = append(passed, report.Demand[0].Arrived) }})
	for _, told := range []struct {
		edge     string
		sequence int64
		arrived  int
	}{
		{"a", 1, 1}, {"a", 3, 2}, {"a", 3, 2}, {"a", 2, 9}, {"b", 1, 3}, {"a", 4, 4}, {"", 0, 5}, {"", 0, 5},
	} {
		p.take(springtide.EdgeReport{Edge: told.edge, Sequence: told.sequence, Demand: []springtide.Demand{{Arrived: told.arrived}}})
	}
	if want := []int{1, 2, 3, 4, 5, 5}; !slices.Equal(passed, want) {
		t.Errorf("%v were passed on, want %v", passed, want)
	}
}

func states(table springtide.Table) map[springtide.InstanceID]springtide.BackendState {
	found := make(map[springtide.InstanceID]springtide.BackendState)
	for _, route := range table.Routes {
		for _, backend := range route.Backends {
			found[backend.Instance] = backend.State
		}
	}
	return found
}

func TestNoTableIsMadeBeforeTheInstancesAreKnown(t *testing.T) {
	p, _, path := start(t)
	e := connect(t, path, "edge-1")
	p.Refresh()
	e.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if line, err := e.in.ReadBytes('\n'); err == nil {
		t.Fatalf("the edge was sent %s", line)
	}
	e.in.Reset(e.conn)
	p.Observe(springtide.Snapshot{Instances: []springtide.Instance{ready("a", 1)}})
	if got := states(e.table())["a"]; got != springtide.BackendReady {
		t.Fatalf("instance a is %q", got)
	}
}

func TestOnlyReadyInstancesOfTheActiveGroupAreGivenRequests(t *testing.T) {
	p, w, path := start(t)
	starting := ready("b", 1)
	starting.State, starting.Ready = springtide.InstanceStarting, time.Time{}
	unhealthy := ready("c", 1)
	unhealthy.State = springtide.InstanceUnhealthy
	crashed := ready("d", 1)
	crashed.State = springtide.InstanceCrashed
	p.Observe(springtide.Snapshot{Instances: []springtide.Instance{ready("a", 1), starting, unhealthy, crashed, ready("next", 2)}})
	e := connect(t, path, "edge-1")
	first := states(e.table())
	if len(first) != 2 || first["a"] != springtide.BackendReady || first["c"] != springtide.BackendRetiring {
		t.Fatalf("before the switch: %v", first)
	}
	w.activate(2)
	p.Refresh()
	second := states(e.table())
	if second["a"] != springtide.BackendRetiring || second["next"] != springtide.BackendReady {
		t.Fatalf("after the switch: %v", second)
	}
}

func TestAnInstanceThatIsLostIsSaidToBeUnlessItsStreamsAreToEnd(t *testing.T) {
	p, _, path := start(t)
	lost, unhealthy := ready("lost", 1), ready("unhealthy", 1)
	lost.State, lost.Lost, unhealthy.State = springtide.InstanceUnhealthy, true, springtide.InstanceUnhealthy
	p.Observe(springtide.Snapshot{Instances: []springtide.Instance{ready("a", 1), lost, unhealthy}})
	e := connect(t, path, "edge-1")
	told := states(e.table())
	if told["a"] != springtide.BackendReady || told["lost"] != springtide.BackendLost || told["unhealthy"] != springtide.BackendRetiring {
		t.Errorf("the edge was told %v", told)
	}
	go p.LetGo(t.Context(), "unhealthy")
	go p.LetGo(t.Context(), "lost")
	go p.CloseStreams(t.Context(), "a")
	for told["a"] != springtide.BackendClosing {
		told = states(e.table())
		if told["lost"] != springtide.BackendLost || told["unhealthy"] != springtide.BackendRetiring {
			t.Fatalf("the edge was told %v", told)
		}
	}
	go p.CloseStreams(t.Context(), "lost")
	if told = states(e.table()); told["lost"] != springtide.BackendClosing {
		t.Errorf("the edge was told %v", told)
	}
}

func TestAnInstanceWithoutStreamsIsTheLessLoaded(t *testing.T) {
	p, _, path := start(t)
	one, two := connect(t, path, "edge-1"), connect(t, path, "edge-2")
	until := time.Now().Add(time.Hour).Round(0)
	one.report(0, springtide.InstanceLoad{Instance: "a", Requests: 50}, springtide.InstanceLoad{Instance: "b", Requests: 1, Lasting: 1})
	two.report(0, springtide.InstanceLoad{Instance: "c", Streams: 1}, springtide.InstanceLoad{Instance: "a", Ejected: until, Failing: "it answered 502"})
	for p.Load("a") == 0 || p.Load("c") == 0 || p.Seen("a").Ejected.IsZero() {
		time.Sleep(time.Millisecond)
	}
	if a, b, c := p.Load("a"), p.Load("b"), p.Load("c"); a >= b || a >= c {
		t.Errorf("50 requests weigh %d, a stream that is a request %d, a stream %d", a, b, c)
	}
	if seen := p.Seen("a"); !seen.Ejected.Equal(until) || seen.Failing == "" || seen.Requests != 50 {
		t.Errorf("what is seen of it: %+v", seen)
	}
}

func TestAnInstanceIsLetGoOnceEveryEdgeAcknowledgedAndItsRequestsEnded(t *testing.T) {
	p, _, path := start(t)
	p.Observe(springtide.Snapshot{Instances: []springtide.Instance{ready("a", 1)}})
	one, two := connect(t, path, "edge-1"), connect(t, path, "edge-2")
	one.report(one.table().Version, springtide.InstanceLoad{Instance: "a", Requests: 1, Streams: 1})
	two.report(two.table().Version)
	for p.Load("a") != 1+streamWeight {
		time.Sleep(time.Millisecond)
	}

	done := make(chan error, 1)
	go func() { done <- p.LetGo(t.Context(), "a") }()
	version := one.table().Version
	two.table()
	still := func(when string) {
		t.Helper()
		select {
		case err := <-done:
			t.Fatalf("let go %s: %v", when, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	one.report(version, springtide.InstanceLoad{Instance: "a", Requests: 1, Streams: 1})
	still("though edge-2 has not acknowledged")
	two.report(version)
	still("though a request is open")
	one.report(version, springtide.InstanceLoad{Instance: "a", Streams: 1})
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	go func() { done <- p.CloseStreams(t.Context(), "a") }()
	closing := one.table()
	if states(closing)["a"] != springtide.BackendClosing {
		t.Fatalf("the edge was told %v", states(closing))
	}
	one.report(closing.Version, springtide.InstanceLoad{Instance: "a", Streams: 1})
	two.report(two.table().Version)
	still("though a stream is open")
	one.report(closing.Version)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestAnEdgeThatLostItsConnectionIsWaitedForUntilItIsGivenUp(t *testing.T) {
	p, _, path := start(t)
	p.Observe(springtide.Snapshot{Instances: []springtide.Instance{ready("a", 1)}})
	gone, stays := connect(t, path, "edge-1"), connect(t, path, "edge-2")
	gone.report(gone.table().Version)
	stays.report(stays.table().Version)
	began := time.Now()
	gone.conn.Close()

	done := make(chan error, 1)
	go func() { done <- p.LetGo(t.Context(), "a") }()
	stays.report(stays.table().Version)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(began); waited < edgeLostAfter/2 {
		t.Fatalf("let go after %s: the lost edge may still serve by its old table", waited)
	}
}

func TestLettingGoEndsWithItsContext(t *testing.T) {
	p, _, path := start(t)
	p.Observe(springtide.Snapshot{Instances: []springtide.Instance{ready("a", 1)}})
	connect(t, path, "edge-1").table()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.LetGo(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func TestNothingNewIsPublishedWhenNothingChanged(t *testing.T) {
	p, _, path := start(t)
	snapshot := springtide.Snapshot{Instances: []springtide.Instance{ready("a", 1)}}
	p.Observe(snapshot)
	e := connect(t, path, "edge-1")
	version := e.table().Version
	p.Observe(snapshot)
	if _, err := p.publish(t.Context(), p.wish()); err != nil {
		t.Fatal(err)
	}
	if p.version() != version {
		t.Fatalf("version %d became %d", version, p.version())
	}
}

func TestNothingIsLetGoBeforeTheFirstTableIsMade(t *testing.T) {
	p, _, path := start(t)
	done, before := make(chan error, 1), p.wished()
	go func() { done <- p.LetGo(t.Context(), "a") }()
	for p.wished() == before {
		time.Sleep(time.Millisecond)
	}
	e := connect(t, path, "edge-1")
	e.report(7) // by the table of an earlier control plane
	select {
	case err := <-done:
		t.Fatalf("let go although the edge still routes to it: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	p.Observe(springtide.Snapshot{Instances: []springtide.Instance{ready("a", 1)}})
	table := e.table()
	if states(table)["a"] != springtide.BackendRetiring {
		t.Fatalf("the edge was told %v", states(table))
	}
	e.report(table.Version)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestAnEdgeThatComesBackAfterAnotherIsWaitedFor(t *testing.T) {
	p, _, path := start(t)
	serves := func(since time.Time) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.serving = since
	}
	serves(time.Now().Add(time.Hour)) // the second edge has all the time to connect again
	p.Observe(springtide.Snapshot{Instances: []springtide.Instance{ready("a", 1)}})
	one := connect(t, path, "edge-1")
	one.report(one.table().Version)
	done := make(chan error, 1)
	go func() { done <- p.LetGo(t.Context(), "a") }()
	one.report(one.table().Version)
	two := connect(t, path, "edge-2")
	two.report(two.table().Version, springtide.InstanceLoad{Instance: "a", Requests: 1})
	for p.Load("a") == 0 {
		time.Sleep(time.Millisecond)
	}
	serves(time.Now())
	select {
	case err := <-done:
		t.Fatalf("let go although edge-2 has a request open: %v", err)
	case <-time.After(edgeLostAfter + 200*time.Millisecond):
	}
	two.report(p.version())
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestAnEdgeWithATableOfALostStoreGetsTheNewOnes(t *testing.T) {
	p, _, path := start(t)
	p.Observe(springtide.Snapshot{Instances: []springtide.Instance{ready("a", 1)}})
	early := connect(t, path, "edge-1")
	if version := early.table().Version; version != 1 {
		t.Fatalf("version %d", version)
	}
	late := &fakeEdge{t: t, name: "edge-2"}
	conn, err := socket.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	late.conn, late.in = conn, bufio.NewReader(conn)
	late.report(5000)
	if version := late.table().Version; version <= 5000 {
		t.Fatalf("version %d would be taken for an old one", version)
	}
}

func TestAHostWithoutACertificateDoesNotKeepTheOthersFromTheirs(t *testing.T) {
	p, w, path := start(t)
	w.mu.Lock()
	w.others = []string{"not!a!host"}
	w.mu.Unlock()
	p.Observe(springtide.Snapshot{Instances: []springtide.Instance{ready("a", 1)}})
	table := connect(t, path, "edge-1").table()
	if len(table.Routes) != 2 || len(table.Certificates) != 1 || table.Certificates[0].Names[0] != "quiz.localhost" {
		t.Fatalf("%d routes, %d certificates", len(table.Routes), len(table.Certificates))
	}
}

func TestManyInstancesAreLetGoWithFewTables(t *testing.T) {
	p, w, path := start(t)
	var snapshot springtide.Snapshot
	const many = 200
	for i := range many {
		snapshot.Instances = append(snapshot.Instances, ready(springtide.InstanceID(fmt.Sprintf("web-%d", i)), 1))
	}
	p.Observe(snapshot)
	e := connect(t, path, "edge-1")
	e.report(e.table().Version)
	p.making.Lock() // the first table takes its time
	before, wished := w.made.Load(), p.wished()
	var letGo sync.WaitGroup
	for _, instance := range snapshot.Instances {
		letGo.Go(func() {
			if err := p.LetGo(t.Context(), instance.ID); err != nil {
				t.Error(err)
			}
		})
	}
	for p.wished() < wished+many {
		time.Sleep(time.Millisecond)
	}
	p.making.Unlock()
	all := make(chan struct{})
	go func() { letGo.Wait(); close(all) }()
	for retiring := 0; retiring < many; {
		table := e.table()
		retiring = 0
		for _, state := range states(table) {
			if state == springtide.BackendRetiring {
				retiring++
			}
		}
		e.report(table.Version)
	}
	<-all
	if made := w.made.Load() - before; made > 3 {
		t.Errorf("%d tables were made for %d instances", made, many)
	}
}

func (p *Publisher) wished() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wishes
}

func TestAConnectionThatSaysNonsenseIsClosed(t *testing.T) {
	_, _, path := start(t)
	before := openFiles(t)
	for range 20 {
		conn, err := socket.Dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("nonsense\n")); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("it is still open: %v", err)
		}
		conn.Close()
	}
	if after := openFiles(t); after > before+5 {
		t.Errorf("%d open files became %d", before, after)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// version gives the version of the newest table; 0 before the first.
func (p *Publisher) version() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.edition.table.Version
}

func TestPublicCertificatesGoBeforeTheOthersAndChallengesReachTheEdges(t *testing.T) {
	p, _, path := start(t)
	var mu sync.Mutex
	var challenges []springtide.Challenge
	p.options.Public = func() ([]springtide.Certificate, []springtide.Challenge) {
		mu.Lock()
		defer mu.Unlock()
		return []springtide.Certificate{{Names: []string{"quiz.localhost"}, Chain: "public"}}, challenges
	}
	p.Observe(springtide.Snapshot{})
	e := connect(t, path, "edge-1")
	table := e.table()
	e.report(table.Version)
	if len(table.Certificates) != 2 || table.Certificates[0].Chain != "public" {
		t.Errorf("certificates: %v", table.Certificates)
	}
	mu.Lock()
	challenges = []springtide.Challenge{{Host: "quiz.example.com", Token: "token", Answer: "answer"}}
	mu.Unlock()
	settled := make(chan error, 1)
	go func() { settled <- p.Settle(t.Context()) }()
	table = e.table()
	if len(table.Challenges) != 1 || table.Challenges[0] != challenges[0] {
		t.Errorf("challenges: %v", table.Challenges)
	}
	select {
	case err := <-settled:
		t.Fatalf("settled before the edge had it: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	e.report(table.Version)
	if err := <-settled; err != nil {
		t.Fatal(err)
	}
}
