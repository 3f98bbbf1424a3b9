package apitest

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/socket"
)

// Server is a platform that is served.
type Server struct {
	*Platform
	// Data is its data folder.
	Data string
	// Address is where it is served over TLS.
	Address string
	// Instances is where it is served to instances, over plain HTTP.
	Instances string
	stop      context.CancelFunc
	ended     chan error
	serving   int
}

// Serve serves the platform on the socket of a data folder, and with config also
// over TLS on a loopback address.
func Serve(p *Platform, data string, config *tls.Config) (*Server, error) {
	private, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return serve(p, data, private, config)
}

// ServeInstancesOn is Serve with a listener for instances.
func ServeInstancesOn(p *Platform, data string, listener net.Listener) (*Server, error) {
	return serve(p, data, listener, nil)
}

func serve(p *Platform, data string, private net.Listener, config *tls.Config) (*Server, error) {
	err := os.MkdirAll(filepath.Join(data, "run"), 0o700)
	var listener net.Listener
	if err == nil {
		listener, err = socket.Listen(filepath.Join(data, "run", "api.sock"))
	}
	if err != nil {
		return nil, errors.Join(err, private.Close())
	}
	server := api.New(api.Options{
		Platform:       p.API(),
		Logger:         slog.New(slog.DiscardHandler),
		InstanceTokens: p.book,
		Recordings:     filepath.Join(data, "shells"),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("tide_up 1\n"))
		}),
	})
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{Platform: p, Data: data, stop: stop, ended: make(chan error, 3), serving: 1}
	go func() { s.ended <- server.ServeOwner(ctx, listener) }()
	s.Instances = private.Addr().String()
	s.serving++
	go func() { s.ended <- server.ServeInstances(ctx, private) }()
	if config != nil {
		public, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.Close()
			return nil, err
		}
		s.Address = public.Addr().String()
		s.serving++
		go func() { s.ended <- server.ServeTokens(ctx, public, config) }()
	}
	return s, nil
}

// Close ends the server and gives the first error.
func (s *Server) Close() error {
	s.stop()
	var first error
	for ; s.serving > 0; s.serving-- {
		if err := <-s.ended; first == nil {
			first = err
		}
	}
	s.Wait()
	return first
}
