package postgres

import (
	"os"
	"testing"
)

// Server is a cluster that belongs to a test: what fails ends the test. From a
// goroutine other than the test's use the Cluster's own methods.
type Server struct {
	*Cluster
	t testing.TB
}

// Start runs a server until the test is over. Where PostgreSQL is missing the
// test fails and says which package to install.
func Start(t testing.TB, options ...Options) *Server {
	t.Helper()
	folder, err := os.MkdirTemp("", "postgres-") // t.TempDir lets no other user in, and its paths are long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	var o Options
	if len(options) > 0 {
		o = options[0]
	}
	cluster, err := New(folder, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cluster.Stop() })
	return &Server{cluster, t}
}

// URL gives the address of a database, which is created if it is missing.
func (s *Server) URL(database string) string {
	s.t.Helper()
	address, err := s.Cluster.URL(s.t.Context(), database)
	s.must(err)
	return address
}

// Restart stops the server and starts it again.
func (s *Server) Restart(mode Mode) { s.t.Helper(); s.must(s.Cluster.Restart(mode)) }

// Kill ends all its processes at once, as a power cut would.
func (s *Server) Kill() { s.t.Helper(); s.must(s.Cluster.Kill()) }

// Start runs the server again after it was stopped or killed.
func (s *Server) Start() { s.t.Helper(); s.must(s.Cluster.Start()) }

// Stop stops the server, if it runs.
func (s *Server) Stop() { s.t.Helper(); s.must(s.Cluster.Stop()) }

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
