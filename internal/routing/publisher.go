package routing

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// edgeLostAfter is how long an edge whose connection broke is still believed
// to serve by the last table it acknowledged, unless [Options.LostAfter] says otherwise.
const edgeLostAfter = 2 * time.Second

// Versions numbers the tables. Implemented by the store.
type Versions interface {
	NextTableVersion(ctx context.Context) (int64, error)
}

// Certificates gives certificates for host names. Implemented by
// cert.Authority.
type Certificates interface {
	Certificate(names []string) (springtide.Certificate, error)
}

// Options configure a Publisher. All are needed, but for those with a default.
type Options struct {
	// Routes gives the wanted routes, without their backends. It is a function
	// because those who know them need the engine, which needs the publisher.
	Routes       func(ctx context.Context) ([]springtide.Route, error)
	Versions     Versions
	Certificates Certificates
	// Public gives certificates that go before those, and answers to challenges;
	// nil: there are none.
	Public func() ([]springtide.Certificate, []springtide.Challenge)
	// Purges gives what edges are to forget of their caches, as the store has it; nil: nothing.
	Purges func(ctx context.Context) (since int64, purges []springtide.Purge, err error)
	// TicketKeys gives the keys for TLS session tickets, the newest first.
	TicketKeys func(now time.Time) [][32]byte
	// Report is called with every report of every edge, Published with the version
	// of every new table, Connected with the names of the edges whenever one comes
	// or goes. They must not block.
	Report    func(springtide.EdgeReport)
	Published func(version int64)
	Connected func(edges []string)
	// LostAfter is how long an edge may take to come back to this control plane, or to
	// the next one. Default: 2 s.
	LostAfter time.Duration
	Logger    *slog.Logger
}

// Publisher makes and publishes the routing table. It implements engine.Router.
type Publisher struct {
	options Options
	refresh chan struct{}

	making sync.Mutex // one table is made at a time, of what is known by then
	// issued are the certificates of the newest table, by the route's hosts, and
	// incomplete says that one of them is missing or old; guarded by making.
	issued     map[string]springtide.Certificate
	incomplete bool

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever anything below changes
	serving time.Time     // since when edges can connect; zero: they cannot yet
	// wishes counts the changes that a table is wanted for, made those that the
	// newest table is made of.
	wishes, made int64
	// ahead is the highest version that an edge has said to have.
	ahead    int64
	snapshot *springtide.Snapshot
	letGo    map[springtide.InstanceID]springtide.BackendState
	edition  *edition // of the newest table
	edges    map[string]*edge
}

// edge is one edge process as the control plane knows it.
type edge struct {
	connections  int
	acknowledged int64
	sequence     int64 // of its last report
	leaving      bool
	lost         time.Time // when its last connection broke
	loads        map[springtide.InstanceID]springtide.InstanceLoad
	faults       []springtide.CertificateFault
}

// New makes a Publisher; Run makes it work.
func New(options Options) *Publisher {
	options.LostAfter = cmp.Or(options.LostAfter, edgeLostAfter)
	return &Publisher{
		options: options,
		refresh: make(chan struct{}, 1),
		changed: make(chan struct{}),
		letGo:   make(map[springtide.InstanceID]springtide.BackendState),
		edition: &edition{},
		edges:   make(map[string]*edge),
	}
}

// Observe takes what the engine observes. The first table is made when both
// the instances and the wanted routes are known: an incomplete one would take
// traffic away from what runs.
func (p *Publisher) Observe(snapshot springtide.Snapshot) {
	p.mu.Lock()
	p.snapshot = &snapshot
	alive := make(map[springtide.InstanceID]bool, len(snapshot.Instances))
	for _, instance := range snapshot.Instances {
		alive[instance.ID] = true
	}
	for id := range p.letGo {
		if !alive[id] {
			delete(p.letGo, id)
		}
	}
	p.mu.Unlock()
	p.Refresh()
}

// Refresh makes the table anew, because the wanted routes have changed.
func (p *Publisher) Refresh() {
	select {
	case p.refresh <- struct{}{}:
	default:
	}
}

// Run publishes until ctx ends. A table that cannot be made is logged and tried
// again; the edges go on by the one they have.
func (p *Publisher) Run(ctx context.Context) error {
	rotation := time.NewTicker(time.Hour) // certificates and ticket keys are renewed
	defer rotation.Stop()
	for {
		var retry <-chan time.Time
		complete, err := p.publish(ctx, p.wish())
		if err != nil && ctx.Err() == nil {
			p.options.Logger.Error("the routing table could not be made", "error", err)
		}
		if err != nil || !complete {
			retry = time.After(time.Second)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.refresh:
		case <-rotation.C:
		case <-retry:
		}
	}
}

// wish numbers a change, from now on part of every table that is made.
func (p *Publisher) wish() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wishes++
	return p.wishes
}

// publish makes the table, unless one was made since the wish, and shows it to
// the edges if it differs from the last. Before the instances are known it does
// nothing. It tells whether all certificates are in it.
func (p *Publisher) publish(ctx context.Context, wish int64) (complete bool, err error) {
	p.making.Lock()
	defer p.making.Unlock()
	p.mu.Lock()
	wishes, made := p.wishes, p.made
	p.mu.Unlock()
	if made >= wish {
		return !p.incomplete, nil
	}
	routes, err := p.options.Routes(ctx)
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	if p.snapshot == nil {
		p.mu.Unlock()
		return true, nil
	}
	instances := make(map[springtide.EnvironmentID][]springtide.Instance)
	for _, instance := range p.snapshot.Instances {
		id := instance.Group.Environment
		instances[id] = append(instances[id], instance)
	}
	for i := range routes {
		routes[i].Backends = backends(routes[i], instances[routes[i].Environment], p.letGo)
	}
	newest, ahead := p.edition, p.ahead
	p.mu.Unlock()

	table := springtide.Table{Routes: routes, Certificates: p.certificates(routes), TicketKeys: p.options.TicketKeys(time.Now())}
	if p.options.Public != nil {
		certificates, challenges := p.options.Public()
		table.Certificates, table.Challenges = append(certificates, table.Certificates...), challenges
	}
	if p.options.Purges != nil {
		if table.PurgesSince, table.Purges, err = p.options.Purges(ctx); err != nil {
			return false, err
		}
	}
	next, differs, err := newest.next(table)
	if err != nil {
		return false, err
	}
	last := newest.table.Version
	if last > 0 && !differs && ahead <= last {
		p.mu.Lock()
		p.made = wishes
		p.notify()
		p.mu.Unlock()
		return !p.incomplete, nil
	}
	version := int64(0)
	for version <= max(last, ahead) { // an edge may come from before the store was lost
		if version, err = p.options.Versions.NextTableVersion(ctx); err != nil {
			return false, err
		}
	}
	next.number(version)
	p.mu.Lock()
	p.edition, p.made = next, wishes
	p.notify()
	p.mu.Unlock()
	p.options.Published(version)
	return !p.incomplete, nil
}

// certificates gives one for each route. Where none can be had the last one
// stays, or the route is without: the others must not suffer from it.
func (p *Publisher) certificates(routes []springtide.Route) []springtide.Certificate {
	var list []springtide.Certificate
	issued := make(map[string]springtide.Certificate, len(routes))
	p.incomplete = false
	for _, route := range routes {
		hosts := strings.Join(route.Hosts, " ")
		certificate, err := p.options.Certificates.Certificate(route.Hosts)
		if err != nil {
			p.incomplete = true
			p.options.Logger.Error("a certificate could not be made", "hosts", hosts, "error", err)
			var have bool
			if certificate, have = p.issued[hosts]; !have {
				continue
			}
		}
		issued[hosts] = certificate
		list = append(list, certificate)
	}
	p.issued = issued
	return list
}

// backends chooses what of a route's environment an edge gets to know: ready
// instances of the group that has the traffic, and every other one that may
// still have something open.
func backends(route springtide.Route, instances []springtide.Instance, letGo map[springtide.InstanceID]springtide.BackendState) []springtide.Backend {
	list := []springtide.Backend{}
	for _, instance := range instances {
		id := instance.Group
		if id.Process != route.Group.Process || instance.Address == "" || instance.Ready.IsZero() {
			continue
		}
		state := springtide.BackendRetiring
		switch instance.State {
		case springtide.InstanceReady:
			if id == route.Group {
				state = springtide.BackendReady
			} else if id.Generation > route.Group.Generation {
				continue // not switched to yet: it has nothing open
			}
		case springtide.InstanceUnhealthy, springtide.InstanceRetiring, springtide.InstanceStopping:
		default:
			continue
		}
		if forced, ok := letGo[instance.ID]; ok {
			state = forced
		}
		if instance.Lost && state == springtide.BackendRetiring {
			state = springtide.BackendLost
		}
		list = append(list, springtide.Backend{Instance: instance.ID, Group: id, Address: instance.Address, State: state})
	}
	return list
}

// notify wakes all that wait for a change. p.mu is held.
func (p *Publisher) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Edge is what is known of an edge that is connected.
type Edge struct {
	Name string
	// Acknowledged is the version of the table it has in force.
	Acknowledged int64
	// Leaving says that it takes no new connections.
	Leaving bool
	// Faults are the certificates that it does not serve.
	Faults []springtide.CertificateFault
}

// Edges lists the edges that are connected, in order of their names.
func (p *Publisher) Edges() []Edge {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []Edge
	for _, name := range slices.Sorted(maps.Keys(p.edges)) {
		if e := p.edges[name]; e.connections > 0 {
			list = append(list, Edge{name, e.acknowledged, e.leaving, e.faults})
		}
	}
	return list
}
