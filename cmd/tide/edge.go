package main

import (
	"bufio"
	"context"
	"math"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cli"
	"github.com/springtide/springtide/internal/edge"
	"github.com/springtide/springtide/internal/peer"
)

// edgeElsewhere is an edge whose control plane is on another machine. It accepts
// nothing before it has a routing table, so that whoever is in front sends clients
// to others.
func edgeElsewhere(ctx context.Context, o cli.EdgeOptions, options edge.Options) error {
	token, err := peer.ReadToken(o.Token)
	if err != nil {
		return err
	}
	if _, port, err := net.SplitHostPort(o.Control); err != nil || port == "" {
		return springtide.Errorf(springtide.Invalid, "--control %s is no address", o.Control).WithHint("write it like tide.example.com:7444")
	}
	if options.Control, err = peer.Dialer(o.Control, token); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return err
	}
	options.FirstTableLimit = math.MaxInt64
	if options.Listeners, err = edge.Listen(o.Listen); err != nil {
		return err
	}
	for n := range options.Listeners {
		if options.Listeners[n].Name == edge.Plain {
			options.Listeners[n].Name = edge.HTTP // as with tide serve: it redirects
		}
	}
	if o.HTTP3 {
		options.Listeners = edge.ListenBeside(options.Listeners, options.Logger)
	}
	if o.Health != "" {
		end, err := serveHealth(ctx, o.Health, &options)
		if err != nil {
			return err
		}
		defer end()
	}
	return edge.Main(ctx, options)
}

// serveHealth answers /healthz at an address: 200 once the edge accepts, 503 before.
func serveHealth(ctx context.Context, address string, options *edge.Options) (end func(), err error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, springtide.Errorf(springtide.Conflict, "cannot listen on %s: %w", address, err).WithHint("choose another address with --health")
	}
	ready, told, err := os.Pipe()
	if err != nil {
		listener.Close()
		return nil, err
	}
	options.Ready = told // which closes it
	var serves atomic.Bool
	go func() {
		defer ready.Close()
		_, err := bufio.NewReader(ready).ReadString('\n')
		serves.Store(err == nil)
	}()
	routes := http.NewServeMux()
	routes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !serves.Load() {
			http.Error(w, "there is no routing table yet", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	server := &http.Server{Handler: routes, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }()
	return func() { server.Close() }, nil
}
