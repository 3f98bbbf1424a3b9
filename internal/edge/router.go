package edge

import (
	"crypto/rand"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/springtide/springtide"
)

// router finds the gate for a host in the table in force.
type router struct {
	table  atomic.Pointer[table]
	bell   *bell
	logger *slog.Logger

	mu    sync.Mutex // held while a table is applied and while a report is made
	gates map[gateKey]*gate
	keys  [][32]byte
	// sessionKey is for routes that bring none: sessions last as long as this edge.
	sessionKey []byte
	// setTicketKeys are tls.Config.SetSessionTicketKeys, of each that is served by.
	setTicketKeys []func([][32]byte)
	reported      time.Time
}

// gateKey is what stays the same of a route from release to release.
type gateKey struct {
	environment springtide.EnvironmentID
	process     springtide.ProcessName
}

// table is what a [springtide.Table] became. It is immutable.
type table struct {
	version      int64
	hosts        map[string]*gate
	certificates *certificates
	challenges   *challenges
}

func newRouter(bell *bell, logger *slog.Logger) *router {
	r := &router{
		bell: bell, logger: logger, sessionKey: []byte(rand.Text()),
		gates: map[gateKey]*gate{}, reported: time.Now(),
	}
	r.table.Store(&table{certificates: &certificates{}, challenges: &challenges{}})
	return r
}

// find gives the gate for a host, nil if no route names it.
func (r *router) find(host string) *gate {
	hosts := r.table.Load().hosts
	if g := hosts[host]; g != nil && !strings.HasPrefix(host, "*") { // nobody is called so
		return g
	}
	var room [128]byte
	if g := hosts[string(appendWildcard(room[:0], host))]; g != nil {
		return g
	}
	return hosts["*"]
}

// version gives that of the table in force; 0 if there is none.
func (r *router) version() int64 { return r.table.Load().version }

// apply puts a table in force. When it returns, every request that arrives is
// routed by it, and a request that was routed by the one before is counted on
// its instance. It reports false for a table that is not newer.
func (r *router) apply(next springtide.Table) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if next.Version <= r.version() {
		return false
	}
	compiled := &table{
		version: next.Version, hosts: map[string]*gate{},
		certificates: newCertificates(next.Certificates, r.table.Load().certificates, r.logger),
		challenges:   newChallenges(next.Challenges, r.logger),
	}
	kept := map[*gate]bool{}
	var routes []springtide.Route
	var gates []*gate
	for _, route := range next.Routes {
		if len(route.SessionKey) == 0 {
			route.SessionKey = r.sessionKey
		}
		key := gateKey{route.Environment, route.Group.Process}
		g := r.gates[key]
		if g == nil {
			g = newGate(r.bell, r.logger)
			r.gates[key] = g
		}
		if kept[g] {
			r.logger.Error("two routes for one process: the first counts", "environment", route.Environment.String(), "process", string(route.Group.Process))
		} else {
			kept[g] = true
			routes, gates = append(routes, route), append(gates, g)
		}
		for _, host := range route.Hosts {
			host = hostOf(host)
			if other := compiled.hosts[host]; other != nil && other != g {
				r.logger.Error("a host is routed twice: the first route counts", "host", host)
				continue
			}
			compiled.hosts[host] = g
		}
	}
	if len(next.TicketKeys) > 0 && !slices.Equal(next.TicketKeys, r.keys) {
		r.keys = slices.Clone(next.TicketKeys)
		for _, set := range r.setTicketKeys {
			set(r.keys)
		}
	}
	// New gates are filled before the table names them; old ones change at once
	// for all that holds a reference.
	now := time.Now()
	for i, g := range gates {
		g.apply(routes[i], now)
	}
	r.table.Store(compiled)
	for _, g := range r.gates {
		if !kept[g] {
			g.remove(now)
		}
	}
	r.bell.urgent()
	return true
}

// report gives what is open and what was counted since the last report.
func (r *router) report(now time.Time) springtide.EdgeReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	report := springtide.EdgeReport{Acknowledged: r.version()}
	interval := now.Sub(r.reported)
	for key, g := range r.gates {
		if g.report(&report, now, interval) {
			delete(r.gates, key)
		}
	}
	r.reported = now
	return report
}

// putBack takes demand that could not be reported into the next report.
func (r *router) putBack(demand []springtide.Demand) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var longest time.Duration
	for i := range demand {
		group := demand[i].Group
		longest = max(longest, demand[i].Interval)
		if g := r.gates[gateKey{group.Environment, group.Process}]; g != nil {
			g.putBack(&demand[i])
		}
	}
	r.reported = r.reported.Add(-longest)
}

// shareTicketKeys has the keys of the tables set, beginning with those in force.
func (r *router) shareTicketKeys(set func([][32]byte)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setTicketKeys = append(r.setTicketKeys, set)
	if len(r.keys) > 0 {
		set(r.keys)
	}
}

// longestDrain gives the longest that a process is given of which something is open.
func (r *router) longestDrain() (longest time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.gates {
		longest = max(longest, g.drain())
	}
	return longest
}

// end ends what is open: streams only, or all of it.
func (r *router) end(cause error, streamsOnly bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.gates {
		g.end(cause, streamsOnly)
	}
}

// hostOf gives the name in a Host header: lower-case, without port and final dot.
func hostOf(header string) string {
	host := header
	if strings.HasPrefix(host, "[") || strings.Count(host, ":") == 1 {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// wildcardOf gives the wildcard that a name falls under: its first label
// replaced by a star. Empty for a name of one label.
func wildcardOf(host string) string { return string(appendWildcard(nil, host)) }

func appendWildcard(to []byte, host string) []byte {
	first, rest, ok := strings.Cut(host, ".")
	if !ok || first == "" || first == "*" || rest == "" {
		return to
	}
	return append(append(to, "*."...), rest...)
}
