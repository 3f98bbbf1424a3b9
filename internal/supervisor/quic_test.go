package supervisor

import (
	"log/slog"
	"net"
	"testing"

	"github.com/springtide/springtide/internal/edge"
)

// listening gives a supervisor with a socket for HTTPS.
func listening(t *testing.T, address string) *Supervisor {
	t.Helper()
	listeners, _, err := listen(t.Context(), []Address{{edge.HTTPS, address}, {edge.HTTP, "127.0.0.1:0"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &Supervisor{options: Options{Logger: slog.New(slog.DiscardHandler)}, listeners: listeners}
	t.Cleanup(func() { closeAll(s.listeners) })
	return s
}

func TestHTTP3HasASocketBesideEachForHTTPSThatIsKept(t *testing.T) {
	s := listening(t, "127.0.0.1:0")
	same := s.listenQUIC(nil)
	for len(s.listeners) < 3 { // by UDP the port is another program's
		s = listening(t, "127.0.0.1:0")
		same = s.listenQUIC(nil)
	}
	if same {
		t.Error("a new socket counts as one that was held")
	}
	held, others := apart(s.listeners)
	if len(held) != 1 || len(others) != 2 || !beside(others[0].File, held[0].File) {
		t.Fatalf("it listens on %v", s.listeners)
	}
	s.listeners = others
	if !s.listenQUIC(held) || len(s.listeners) != 3 || s.listeners[2].File != held[0].File {
		t.Errorf("it did not keep its socket: %v", s.listeners)
	}
	s.listeners, s.options.NoHTTP3 = others, true
	if s.listenQUIC(held) || len(s.listeners) != 2 || held[0].File.Close() == nil {
		t.Error("a socket that is not wanted is kept")
	}
}

func TestWithoutUDPThereIsTCPAllTheSame(t *testing.T) {
	s := listening(t, "127.0.0.1:0")
	bound, err := net.FileListener(s.listeners[0].File)
	if err != nil {
		t.Fatal(err)
	}
	defer bound.Close()
	// If it cannot be had, it is another program's, which is as good.
	if taken, err := net.ListenPacket("udp", bound.Addr().String()); err == nil {
		defer taken.Close()
	}
	if !s.listenQUIC(nil) || len(s.listeners) != 2 {
		t.Errorf("it listens on %v", s.listeners)
	}
}
