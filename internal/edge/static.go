package edge

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/springtide/springtide"
)

// What a route of a static table has where it does not say so.
const (
	staticHoldFor   = 10 * time.Second
	staticHoldLimit = 1000
)

// staticTable is a routing table as people write it, in JSON.
type staticTable struct {
	// Version has to grow from one reading to the next; 0: each reading is newer.
	Version      int64               `json:"version"`
	Routes       []staticRoute       `json:"routes"`
	Certificates []staticCertificate `json:"certificates"`
}

type staticRoute struct {
	// Hosts as in [springtide.Route]; none: every host that no other route names.
	Hosts []string `json:"hosts"`
	// Backends are addresses, "127.0.0.1:9000".
	Backends      []string `json:"backends"`
	Concurrency   int      `json:"concurrency"`
	HoldFor       duration `json:"hold_for"`
	HoldLimit     int      `json:"hold_limit"`
	AnswerWithin  duration `json:"answer_within"`
	TryWithin     duration `json:"try_within"`
	SlowStart     duration `json:"slow_start"`
	FinishStreams bool     `json:"finish_streams"`
	// Cache are the rules of the cache; none: nothing is cached.
	Cache []staticCacheRule `json:"cache"`
	// Sticky has a client's requests go to one backend.
	Sticky *staticSticky `json:"sticky"`
	staticProtection
}

// staticSticky is a [springtide.Sticky], and the secret that its cookies are made
// with: of several edges the same one. Without a secret they are good until the
// edge ends.
type staticSticky struct {
	Cookie string   `json:"cookie"`
	For    duration `json:"for"`
	Secret string   `json:"secret"`
}

// staticCacheRule is a [springtide.CacheRule].
type staticCacheRule struct {
	Match         string   `json:"match"`
	Bypass        bool     `json:"bypass"`
	TTL           duration `json:"ttl"`
	Stale         duration `json:"stale"`
	Cookies       []string `json:"cookies"`
	IgnoreQuery   []string `json:"ignore_query"`
	DropSetCookie bool     `json:"drop_set_cookie"`
	Authorized    bool     `json:"authorized"`
	IgnoreReload  bool     `json:"ignore_reload"`
	Identity      bool     `json:"identity"`
}

// staticCertificate names two PEM files, seen from the table's folder.
type staticCertificate struct {
	Chain string `json:"chain"`
	Key   string `json:"key"`
}

// duration is written "30s".
type duration time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (d *duration) UnmarshalJSON(data []byte) error {
	var text string
	err := json.Unmarshal(data, &text)
	if err == nil {
		var length time.Duration
		if length, err = time.ParseDuration(text); err == nil && length >= 0 {
			*d = duration(length)
			return nil
		}
	}
	return errors.New(string(data) + ` is no duration: write it like "30s"`)
}

// ReadTable reads a static routing table from a JSON file; docs/edge.md
// describes it. A table without a version gets the given one. Errors are of kind
// Invalid and name file and line.
func ReadTable(path string, version int64) (springtide.Table, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return springtide.Table{}, springtide.Errorf(springtide.Invalid, "the routing table cannot be read: %w", err)
	}
	var static staticTable
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&static)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something behind the table")
		}
	}
	if err != nil {
		line := 1 + bytes.Count(text[:min(decoder.InputOffset(), int64(len(text)))], []byte("\n"))
		if syntax, is := errors.AsType[*json.SyntaxError](err); is {
			line = 1 + bytes.Count(text[:min(syntax.Offset, int64(len(text)))], []byte("\n"))
		}
		return springtide.Table{}, springtide.Errorf(springtide.Invalid, "%s:%d: %s", path, line, strings.TrimPrefix(err.Error(), "json: "))
	}
	table, err := static.table(filepath.Dir(path))
	if err != nil {
		return springtide.Table{}, springtide.Errorf(springtide.Invalid, "%s: %w", path, err)
	}
	if table.Version == 0 {
		table.Version = version
	}
	return table, nil
}

// Alone is [Main] without a control plane, on the static routing table in a file
// (see [ReadTable]). SIGHUP has the file read again: what is wrong with it then
// is logged, and the table in force stays.
func Alone(ctx context.Context, path string, options Options) error {
	version := int64(1)
	first, err := ReadTable(path, version)
	if err != nil {
		return err
	}
	if len(first.Certificates) == 0 && slices.ContainsFunc(options.Listeners, func(l Listener) bool { return l.Name == HTTPS }) {
		return springtide.Errorf(springtide.Invalid, "%s has no certificate for HTTPS", path).
			WithHint(`name one: "certificates": [{"chain": "chain.pem", "key": "key.pem"}]`)
	}
	tables := make(chan springtide.Table, 1)
	tables <- first
	options.Tables = tables
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		inForce := first
		for {
			select {
			case <-again:
			case <-ended:
				return
			}
			table, err := ReadTable(path, version+1)
			if err != nil {
				options.Logger.Error("the table in force stays", "error", err)
				continue
			}
			version = max(version+1, table.Version)
			letFinish(&table, &inForce)
			select {
			case tables <- table:
			case <-ended:
				return
			}
		}
	}()
	return Main(ctx, options)
}

// mostFinishing is how many backends that a route names no more are remembered.
const mostFinishing = 1000

// letFinish adds the backends that the table in force names and a new one does not:
// they are given nothing more, and finish what they have. The new one is in force then.
func letFinish(table, inForce *springtide.Table) {
	if table.Version <= inForce.Version {
		return // it is going to be refused
	}
	for i := range table.Routes {
		route := &table.Routes[i]
		at := slices.IndexFunc(inForce.Routes, func(r springtide.Route) bool { return r.Group == route.Group })
		if at < 0 {
			continue
		}
		for _, backend := range inForce.Routes[at].Backends {
			named := slices.ContainsFunc(route.Backends, func(b springtide.Backend) bool { return b.Instance == backend.Instance })
			if !named && len(route.Backends) < mostFinishing {
				backend.State = springtide.BackendRetiring
				route.Backends = append(route.Backends, backend)
			}
		}
	}
	*inForce = *table
}

// table makes the table that the edge knows.
func (s staticTable) table(folder string) (springtide.Table, error) {
	table := springtide.Table{Version: s.Version}
	switch {
	case s.Version < 0:
		return table, errors.New("version is negative")
	case len(s.Routes) == 0:
		return table, errors.New("there are no routes")
	}
	owner := map[string]int{}
	for i, route := range s.Routes {
		made, err := route.route(i + 1)
		if err == nil {
			err = route.protect(&made, folder)
		}
		if err != nil {
			return table, springtide.Errorf(springtide.Invalid, "route %d: %w", i+1, err)
		}
		for _, host := range made.Hosts {
			if other := owner[host]; other != 0 {
				return table, springtide.Errorf(springtide.Invalid, "route %d: %s has a route already, the %dth", i+1, host, other)
			}
			owner[host] = i + 1
		}
		table.Routes = append(table.Routes, made)
	}
	for _, named := range s.Certificates {
		certificate, err := named.certificate(folder)
		if err != nil {
			return table, err
		}
		table.Certificates = append(table.Certificates, certificate)
	}
	return table, nil
}

// route makes the route with that number.
func (s staticRoute) route(number int) (springtide.Route, error) {
	environment := springtide.EnvironmentID{App: "static", Name: "static"}
	group := springtide.GroupID{Environment: environment, Process: springtide.ProcessName("route-" + strconv.Itoa(number)), Release: 1}
	route := springtide.Route{
		Environment: environment, Group: group, Concurrency: s.Concurrency,
		HoldFor: time.Duration(s.HoldFor), HoldLimit: s.HoldLimit, AnswerWithin: time.Duration(s.AnswerWithin), FinishStreams: s.FinishStreams,
		TryWithin: time.Duration(s.TryWithin), SlowStart: time.Duration(s.SlowStart),
	}
	if route.HoldFor == 0 {
		route.HoldFor = staticHoldFor
	}
	if route.HoldLimit == 0 {
		route.HoldLimit = staticHoldLimit
	}
	if s.Concurrency < 0 || s.HoldLimit < 0 {
		return route, errors.New("a limit is negative")
	}
	if sticky := s.Sticky; sticky != nil {
		route.Sticky = &springtide.Sticky{Cookie: cmp.Or(sticky.Cookie, springtide.StickyCookie), For: time.Duration(sticky.For)}
		route.SessionKey = []byte(sticky.Secret)
		if !springtide.IsCookieName(route.Sticky.Cookie) {
			return route, springtide.Errorf(springtide.Invalid, "%q is no name of a cookie", sticky.Cookie)
		}
		if route.Sticky.For%time.Second != 0 {
			return route, springtide.Errorf(springtide.Invalid, "sticky lasts whole seconds, not %s", route.Sticky.For)
		}
	}
	for _, rule := range s.Cache {
		if !strings.HasPrefix(rule.Match, "/") && !strings.HasPrefix(rule.Match, "*") {
			return route, springtide.Errorf(springtide.Invalid, "a rule of the cache is for %q, which is no path: it begins with a slash or a star", rule.Match)
		}
		route.Cache = append(route.Cache, springtide.CacheRule{
			Match: rule.Match, Bypass: rule.Bypass, TTL: time.Duration(rule.TTL), Stale: time.Duration(rule.Stale),
			Cookies: rule.Cookies, IgnoreQuery: rule.IgnoreQuery, DropSetCookie: rule.DropSetCookie,
			Authorized: rule.Authorized, IgnoreReload: rule.IgnoreReload, Identity: rule.Identity,
		})
	}
	for _, host := range s.Hosts {
		if host == "" || hostOf(host) != strings.ToLower(host) {
			return route, springtide.Errorf(springtide.Invalid, "%q is no host name", host)
		}
		route.Hosts = append(route.Hosts, strings.ToLower(host))
	}
	if len(route.Hosts) == 0 {
		route.Hosts = []string{"*"}
	}
	if len(s.Backends) == 0 {
		return route, errors.New("it names no backend")
	}
	for _, address := range s.Backends {
		host, port, err := net.SplitHostPort(address)
		if number, portErr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || portErr != nil || number == 0 {
			return route, springtide.Errorf(springtide.Invalid, "backend %q is no address: write it like 127.0.0.1:9000", address)
		}
		route.Backends = append(route.Backends, springtide.Backend{
			Instance: springtide.InstanceID(address), Group: group, Address: address, State: springtide.BackendReady,
		})
	}
	return route, nil
}

// certificate reads the files, and whose certificate it is.
func (s staticCertificate) certificate(folder string) (springtide.Certificate, error) {
	read := func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(folder, name)
		}
		return os.ReadFile(name)
	}
	chain, err := read(s.Chain)
	if err != nil {
		return springtide.Certificate{}, err
	}
	key, err := read(s.Key)
	if err != nil {
		return springtide.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return springtide.Certificate{}, springtide.Errorf(springtide.Invalid, "certificate %s: %w", s.Chain, err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return springtide.Certificate{}, springtide.Errorf(springtide.Invalid, "certificate %s: %w", s.Chain, err)
	}
	names := leaf.DNSNames
	for _, address := range leaf.IPAddresses {
		names = append(names, address.String())
	}
	return springtide.Certificate{Names: names, Chain: string(chain), Key: string(key)}, nil
}
