package edge

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cache"
	"github.com/springtide/springtide/internal/socket"
)

// The edge's own limits.
const (
	newerTableTimeout = 250 * time.Millisecond
	finishLimit       = 4 * time.Second // of the 5 s that there are after SIGQUIT
)

// Options are what [Run] needs.
type Options struct {
	// DataFolder is where run/ and edge/ are. An edge with Tables may do without:
	// then it writes no access log.
	DataFolder string
	// Tables are what is to be served, where no control plane says so; the first
	// is waited for. May be nil.
	Tables <-chan springtide.Table
	// Control connects to the control plane. Default: by the socket in the data folder.
	Control func(context.Context) (net.Conn, error)
	// Listeners are the sockets to accept on. Run closes them.
	Listeners []Listener
	// Ready gets "ready\n" and is closed once connections are accepted. May be nil.
	Ready *os.File
	// Drain, once closed, makes the edge accept nothing more and end when its
	// connections have ended. May be nil.
	Drain <-chan struct{}
	// Finish, once closed, makes the edge end politely within 5 s. May be nil.
	Finish <-chan struct{}
	// FirstTableLimit is how long an edge that has no table waits for one before it
	// accepts connections, to refuse them. Default: 10 s.
	FirstTableLimit time.Duration
	// DrainLimit is how long draining may take, where no process of which something is
	// open is given longer: see [springtide.Route.Drain]. Default: 1 h.
	DrainLimit time.Duration
	// IdleLimit is how long an idle connection is kept while draining. Default: 60 s.
	IdleLimit time.Duration
	// MaxConnections is how many client connections may be open. Default: 20,000, but
	// no more than what the limit of open files is enough for: two for each.
	MaxConnections int
	// MaxConnectionsPerAddress is how many of them an IPv4 address, or a /64 of IPv6,
	// may have; see [caps]. Default: 1,000.
	MaxConnectionsPerAddress int
	// RefuseFloods is how long a client is refused at most whose connections are ended
	// for floods; 0: it is not.
	RefuseFloods time.Duration
	// TrustedProxies are believed what they say of a request's origin, ProxyProtocol
	// says that their connections begin with a header of the PROXY protocol.
	TrustedProxies []netip.Prefix
	ProxyProtocol  bool
	// CacheMemory and CacheDisk bound the cache's tiers, in bytes. Default: 256 MiB, and
	// 10 GiB, but no more than a tenth of the disk. There is none on disk without DataFolder.
	CacheMemory, CacheDisk int64
	// Logger gets what an operator should know. Default: discard.
	Logger *slog.Logger
}

// Validate fills in the defaults and reports what is missing.
func (o *Options) Validate() error {
	if o.DataFolder == "" && o.Tables == nil {
		return springtide.Errorf(springtide.Invalid, "the edge needs a data folder").WithHint("give --data")
	}
	if len(o.Listeners) == 0 {
		return springtide.Errorf(springtide.Invalid, "the edge needs a listening socket").WithHint("it is started by tide serve")
	}
	if o.CacheMemory < 0 || o.CacheDisk < 0 || o.FirstTableLimit < 0 || o.DrainLimit < 0 || o.IdleLimit < 0 || o.MaxConnections < 0 || o.MaxConnectionsPerAddress < 0 || o.RefuseFloods < 0 {
		return springtide.Errorf(springtide.Invalid, "the edge's limits cannot be negative")
	}
	if o.FirstTableLimit == 0 {
		o.FirstTableLimit = 10 * time.Second
	}
	if o.Control == nil {
		path := filepath.Join(o.DataFolder, "run", "feed.sock")
		o.Control = func(ctx context.Context) (net.Conn, error) { return socket.Dial(ctx, path) }
	}
	if o.DrainLimit == 0 {
		o.DrainLimit = time.Hour
	}
	if o.IdleLimit == 0 {
		o.IdleLimit = time.Minute
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = 20_000
	}
	if o.MaxConnectionsPerAddress == 0 {
		o.MaxConnectionsPerAddress = 1000
	}
	if o.ProxyProtocol && len(o.TrustedProxies) == 0 {
		return springtide.Errorf(springtide.Invalid, "nobody is trusted to speak the PROXY protocol").WithHint("name the proxies: --trusted-proxy 10.0.0.0/8")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// edge is one edge process.
type edge struct {
	options   Options
	name      string
	bell      *bell
	router    *router
	forwarder *forwarder
	cache     *cache.Cache
	// errands is what fetches for the cache end with.
	errands   context.Context //nolint:containedctx // it is the edge's own
	log       *accessLog
	kept      *tableFile // nil with Tables, and so are feed and handback
	feed      *feed
	room      *room
	caps      *caps
	floods    *floods
	rates     *rateTable
	doors     []*door
	quic      quicServer
	clock     *clock
	buffers   *buffers
	tls       *tls.Config
	crew      crew
	accepting sync.WaitGroup
	serving   sync.WaitGroup // the connections
	handback  *handback
	httpsPort string
	draining  atomic.Bool
}

// Run serves until it has drained or finished, or ctx ends, which closes
// everything at once.
func Run(ctx context.Context, options Options) error {
	if err := options.Validate(); err != nil {
		return err
	}
	e, err := newEdge(options)
	if err != nil {
		return err
	}

	// What works in the background outlives the connections.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	work.Go(func() { e.clock.run(background) })
	work.Go(func() { e.forwarder.parking.run(background) })
	work.Go(func() { _ = e.cache.Run(background) }) // it has no error
	errands, stopErrands := context.WithCancel(background)
	defer stopErrands()
	e.errands = errands
	if e.log != nil {
		work.Go(func() { e.log.run(background) })
	}
	if options.Tables != nil {
		e.router.apply(<-options.Tables)
		work.Go(func() { e.takeTables(background) })
	} else {
		work.Go(func() { e.kept.run(background) })
		if table, ok := e.kept.load(); ok {
			e.purge(&table)
			e.router.apply(table)
		}
		work.Go(func() { e.feed.run(background) })
		work.Go(e.handback.run) // also while it waits: a supervisor may be killed at any time
		e.awaitTable(ctx)
	}
	e.acceptQUIC()
	e.accept()
	if err := e.sayReady(); err != nil {
		options.Logger.Warn("nobody waited for the edge to be ready", "error", err)
	}
	options.Logger.Info("the edge serves", "edge", e.name, "table", e.router.version())
	e.serveUntilDrained(ctx)
	e.serving.Wait()
	e.forwarder.pool.close()
	e.crew.Close()
	return nil
}

// newEdge puts the parts together: listener → router → gate → balancer →
// forwarder → access log, with the feed beside them.
func newEdge(options Options) (_ *edge, err error) {
	e := &edge{options: options, name: "edge-" + rand.Text(), bell: newBell(), room: newRoom(affordable(options.MaxConnections, options.Logger))}
	e.router = newRouter(e.bell, options.Logger)
	e.clock, e.buffers = newClock(), newBuffers()
	e.floods, e.rates = newFloods(options.RefuseFloods, options.Logger), newRateTable()
	e.caps = newCaps(options.MaxConnectionsPerAddress, e.floods)
	if e.forwarder, err = newForwarder(e.clock, e.buffers, e.draining.Load); err != nil {
		return nil, err
	}
	e.clock.watch(e.forwarder.pool)
	e.clock.watch(&e.crew)
	if e.cache, err = openCache(&e.options); err != nil {
		return nil, err
	}
	if options.DataFolder != "" {
		for _, folder := range []string{"run", "edge"} {
			if err := os.MkdirAll(filepath.Join(options.DataFolder, folder), 0o700); err != nil {
				return nil, err
			}
		}
		e.log = newAccessLog(options.DataFolder, options.Logger)
	}
	if options.Tables == nil {
		e.kept = newTableFile(options.DataFolder, options.Logger)
		e.feed = &feed{
			dial: options.Control, bell: e.bell, logger: options.Logger,
			report: e.report, putBack: e.router.putBack, apply: e.apply, away: make(chan struct{}, 1), told: make(chan struct{}, 1),
		}
	}
	defer func() {
		if err != nil {
			e.closeDoors()
		}
	}()
	for _, listener := range options.Listeners {
		if listener.Name == QUIC {
			continue
		}
		door, err := newDoor(listener, e.room, options.Logger)
		if err != nil {
			return nil, err
		}
		e.doors = append(e.doors, door)
		if _, port, err := net.SplitHostPort(door.Addr().String()); err == nil && listener.Name == HTTPS && e.httpsPort == "" {
			e.httpsPort = port
		}
	}
	if options.Tables == nil {
		e.handback, err = newHandback(handbackPath(options.DataFolder), options.Listeners, options.Logger)
	}
	return e, err
}

// report is what the feed sends.
func (e *edge) report(now time.Time) springtide.EdgeReport {
	report := e.router.report(now)
	report.Edge = e.name
	report.Leaving = e.draining.Load()
	report.Cache, report.Floods = e.cacheSize(), e.floods.counts()
	for _, fault := range e.router.table.Load().certificates.faults {
		report.Faults = append(report.Faults, fault)
	}
	return report
}

// apply is what the feed does with a table.
func (e *edge) apply(table springtide.Table) {
	e.purge(&table)
	if e.router.apply(table) {
		if !e.draining.Load() { // then it is the successor's to keep
			e.kept.keep(table)
		}
	} else {
		e.bell.urgent() // it has been acknowledged, but the sender may not know
	}
}

// takeTables puts the tables in force that it is given, until ctx ends.
func (e *edge) takeTables(ctx context.Context) {
	for {
		select {
		case table := <-e.options.Tables:
			if !e.router.apply(table) {
				e.options.Logger.Error("the table is not newer than the one in force, which stays", "version", table.Version, "in force", e.router.version())
			}
		case <-ctx.Done():
			return
		}
	}
}

// awaitTable gives the control plane a moment to say what is new since the
// table that was kept, if it can be reached at all. Without such a table the edge
// knows of no app: connections wait in the kernel, or go to the edge before it.
func (e *edge) awaitTable(ctx context.Context) {
	away, limit := e.feed.away, newerTableTimeout
	if e.router.version() == 0 {
		e.options.Logger.Info("there is no routing table yet; waiting for the control plane's")
		away, limit = nil, e.options.FirstTableLimit
	}
	select {
	case <-away:
	case <-e.feed.told:
	case <-time.After(limit):
	case <-e.options.Drain:
	case <-e.options.Finish:
	case <-ctx.Done():
	}
}

// accept begins to serve on all listeners.
func (e *edge) accept() {
	e.tls = newTLSConfig(e.router)
	e.router.shareTicketKeys(e.tls.SetSessionTicketKeys)
	for _, door := range e.doors {
		e.accepting.Go(func() { e.attend(door) })
	}
}

func (e *edge) sayReady() error {
	if e.options.Ready == nil {
		return nil
	}
	_, err := e.options.Ready.WriteString("ready\n")
	return errors.Join(err, e.options.Ready.Close())
}
