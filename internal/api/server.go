package api

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// finishWithin is how long requests may go on once a server is to end.
const finishWithin = 10 * time.Second

// Options configure a [Server].
type Options struct {
	// Platform is what is served. Needed.
	Platform Platform
	// Logger is needed.
	Logger *slog.Logger
	// Metrics answers /metrics on the Unix socket and where ServeMetrics
	// listens. nil: there is none.
	Metrics http.Handler
	// InstanceTokens is needed for ServeInstances.
	InstanceTokens InstanceTokens
	// Available says why a request cannot be served just now. nil: all can be.
	Available func(*http.Request) error
	// Recordings is the folder that keeps what was shown in shells. Needed.
	Recordings string
	// Registry is what images are pulled from, below /v2/ where tokens are served.
	Registry Registry
}

// Server serves the API on any number of listeners.
type Server struct {
	platform       Platform
	logger         *slog.Logger
	metrics        http.Handler
	available      func(*http.Request) error
	instanceTokens InstanceTokens
	recordings     string
	registry       Registry
	// api is made for the first request: a platform that nobody asks does not
	// keep the schemas in memory.
	api func() http.Handler
}

// New makes a server.
func New(options Options) *Server {
	s := &Server{
		platform:       options.Platform,
		logger:         options.Logger,
		metrics:        options.Metrics,
		available:      options.Available,
		instanceTokens: options.InstanceTokens,
		recordings:     options.Recordings,
		registry:       options.Registry,
	}
	s.api = sync.OnceValue(s.handler)
	return s
}

// ServeOwner serves whoever can open the socket as the owner of the platform,
// until ctx ends. It closes the listener.
func (s *Server) ServeOwner(ctx context.Context, listener net.Listener) error {
	return s.serve(ctx, listener, s.around(trustOwner, s.metrics))
}

// ServeTokens serves whoever has a token over TLS, until ctx ends. It closes the
// listener.
func (s *Server) ServeTokens(ctx context.Context, listener net.Listener, config *tls.Config) error {
	config = config.Clone()
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	config.NextProtos = []string{"h2", "http/1.1"}
	return s.serve(ctx, tls.NewListener(listener, config), s.withRegistry(s.around(s.authenticate, nil)))
}

// ServeMetrics serves /metrics and /healthz to anybody, so it refuses a public
// address. It serves until ctx ends, and closes the listener.
func (s *Server) ServeMetrics(ctx context.Context, listener net.Listener) error {
	if err := CheckPrivate(listener.Addr()); err != nil {
		listener.Close()
		return err
	}
	nothing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { writeError(w, noRoute(r)) })
	return s.serve(ctx, listener, s.common(withHealth(withPath("/metrics", s.metrics, nothing))))
}

// CheckPrivate refuses an address for metrics that the world may reach.
func CheckPrivate(address net.Addr) error { return checkPrivate("metrics", address) }

func checkPrivate(what string, address net.Addr) error {
	if tcp, ok := address.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() && !tcp.IP.IsPrivate() {
		return springtide.Errorf(springtide.Invalid, "%s would be public on %s", what, address).
			WithHint("listen on a loopback or private address")
	}
	return nil
}

// around is the way of a request to the API: who asks is told by identify.
// Health needs no identity, nor do the metrics where they are served.
func (s *Server) around(identify func(http.Handler) http.Handler, metrics http.Handler) http.Handler {
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.api().ServeHTTP(w, r) })
	return s.common(withHealth(withPath("/metrics", metrics, chain(api, speakVersion, identify, s.refuseUnavailable, limitBodies))))
}

// refuseUnavailable refuses what cannot be served just now. It ends the connection: a
// new one may lead to a server that can.
func (s *Server) refuseUnavailable(next http.Handler) http.Handler {
	if s.available == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.available(r); err != nil {
			w.Header().Set("Connection", "close")
			writeError(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) common(handler http.Handler) http.Handler {
	return chain(handler, nameRequests, logAccess(s.logger), recoverPanics(s.logger))
}

// withPath answers one path apart from the others. A nil handler answers nothing.
func withPath(path string, handler, others http.Handler) http.Handler {
	if handler == nil {
		return others
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			handler.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}

// withHealth answers /healthz: the API accepts requests.
func withHealth(others http.Handler) http.Handler {
	return withPath("/healthz", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	}), others)
}

// serve accepts until ctx ends. Then streams end at once, other requests have
// finishWithin.
func (s *Server) serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(base, servingKey{}, ctx)
		},
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	finish, done := context.WithTimeout(context.WithoutCancel(ctx), finishWithin)
	defer done()
	if err := server.Shutdown(finish); err != nil {
		cancel()
		server.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type servingKey struct{}

// whileServing gives the context of a request that goes on for long: it ends
// with the request, and when the server is to end.
func whileServing(request context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(request)
	if serving, ok := request.Value(servingKey{}).(context.Context); ok {
		stop := context.AfterFunc(serving, cancel)
		return ctx, func() { stop(); cancel() }
	}
	return ctx, cancel
}
