package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

func TestHTTP3IsAnnouncedOverTCPUntilTheEdgeLeaves(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/own" {
			w.Header().Set("Alt-Svc", "clear")
		}
	})))
	_, port, _ := net.SplitHostPort(e.https.Addr().String())
	for path, want := range map[string]string{"/": `h3=":` + port + `"; ma=86400`, "/own": "clear"} {
		both(t, func(t *testing.T, http2 bool) {
			response, _ := get(t, e.client(t, http2), path)
			if response.ProtoMajor == 3 {
				want = strings.TrimPrefix(want, `h3=":`+port+`"; ma=86400`) // it knows
			}
			if got := strings.Join(response.Header.Values("Alt-Svc"), ", "); got != want {
				t.Errorf("%s over %s says %q, want %q", path, response.Proto, got, want)
			}
		})
	}
	kept := e.client(t, false)
	get(t, kept, "/")
	close(e.process.drain)
	e.control.await(t, "the edge to be leaving", func(reports []springtide.EdgeReport) bool { return reports[len(reports)-1].Leaving })
	if response, _ := get(t, kept, "/"); response.Header.Get("Alt-Svc") != "" {
		t.Error("an edge that leaves announces HTTP/3")
	}
}

func TestTheAccessLogNamesHTTP3(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	get(t, &http.Client{Transport: e.http3(t)}, "/seen")
	eventually(t, "its line", func() bool {
		lines, _ := os.ReadFile(filepath.Join(e.folder, "edge", "access.log"))
		return strings.Contains(string(lines), `"path":"/seen","protocol":"HTTP/3.0"`) && strings.Contains(string(lines), `"client":"127.0.0.1"`)
	})
}

func TestARequestOverHTTP3IsJudgedAsStrictlyAsOthers(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	client := &http.Client{Transport: e.http3(t)}
	for target, want := range map[string]int{"/x?y": 200, "/x HTTP/1.1 y": 400, "/x#y": 400, "/" + strings.Repeat("x", message.TargetLimit): 414} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+testHost, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.URL.Opaque = target
		if response, _ := do(t, client, request); response.StatusCode != want {
			t.Errorf("%.40q is answered with %d, want %d", target, response.StatusCode, want)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+testHost, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "a,b"
	if response, _ := do(t, client, request); response.StatusCode != http.StatusBadRequest {
		t.Errorf("a host that is no name is answered with %d", response.StatusCode)
	}
}

func TestASessionOverHTTP3IsResumedOnAnotherEdge(t *testing.T) {
	e := startEdge(t)
	e.publish(t, springtide.Table{
		Routes:       []springtide.Route{routeTo(serveInstance(t, "web-1-a", fine))},
		Certificates: []springtide.Certificate{testCertificate(t)}, TicketKeys: [][32]byte{{1}},
	})
	sessions := tls.NewLRUClientSessionCache(4)
	visit := func() bool {
		t.Helper()
		transport := e.http3(t)
		transport.TLSClientConfig.ClientSessionCache = sessions
		response, _ := get(t, &http.Client{Transport: transport}, "/")
		eventually(t, "a ticket", func() bool { // of which the answer does not wait for
			_, ok := sessions.Get(testHost)
			return ok
		})
		transport.Close()
		return response.TLS.DidResume
	}
	visit()
	e.start(t)
	close(e.process.drain)
	<-e.process.ended
	if !visit() {
		t.Error("the session was not resumed on the next edge")
	}
}

func TestTheClientsOfAnEdgeThatWasKilledHearItFromTheNext(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	killed := startProcess(t, e)
	e.process.cancel()
	<-e.process.ended
	transport := e.http3(t)
	client := &http.Client{Transport: transport}
	var connection *quic.Conn // the newest
	dial := transport.Dial
	transport.Dial = func(ctx context.Context, address string, tlsConfig *tls.Config, config *quic.Config) (_ *quic.Conn, err error) {
		connection, err = dial(ctx, address, tlsConfig, config)
		return connection, err
	}
	get(t, client, "/")
	first := connection
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed.Wait()
	startProcess(t, e)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // of 30 s that it would wait by itself
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+testHost, nil)
	// If it has heard it by then, it asks on another connection.
	if response, err := client.Do(request); err == nil {
		response.Body.Close()
	}
	select { // its streams hear it before its context does
	case <-first.Context().Done():
	case <-ctx.Done():
	}
	if _, reset := errors.AsType[*quic.StatelessResetError](context.Cause(first.Context())); !reset {
		t.Errorf("it heard %v", context.Cause(first.Context()))
	}
	get(t, client, "/")
}

func TestConnectionsByUDPAndTCPShareTheRoom(t *testing.T) {
	e := startEdge(t, func(o *Options) { o.MaxConnections = 3 }) // each of the others waits with one
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	first := e.http3(t)
	get(t, &http.Client{Transport: first}, "/")
	another := func() bool {
		transport := e.http3(t)
		defer transport.Close()
		response, err := (&http.Client{Transport: transport}).Get("https://" + testHost)
		if err == nil {
			response.Body.Close()
		}
		return err == nil
	}
	eventually(t, "a second connection to be refused", func() bool { return !another() })
	first.Close()
	eventually(t, "room for another", another)
}

func TestTheServerThatHasTheUDPPortKeepsIt(t *testing.T) {
	https, _ := listenBoth(t) // which has it
	file := duplicate(t, https)
	defer file.Close()
	if all := ListenBeside([]Listener{{HTTPS, file}}, testLogger()); len(all) != 1 {
		t.Errorf("it listens on %v", all)
	}
}

// stalled is a client that takes nothing, until a deadline ends the waiting.
type stalled struct {
	http.ResponseWriter
	late chan struct{}
}

func (s *stalled) Write([]byte) (int, error) {
	<-s.late
	return 0, os.ErrDeadlineExceeded
}

func (s *stalled) SetWriteDeadline(time.Time) error {
	close(s.late)
	return nil
}

func TestAClientThatTakesNothingOfAStreamIsGivenUpAtTheLimit(t *testing.T) {
	writer := &stalled{late: make(chan struct{})}
	s := &stream{exchange: &exchange{}, clock: newClock(), writer: writer, control: http.NewResponseController(writer)}
	ended := make(chan error, 1)
	go func() {
		_, err := s.Write([]byte("x"))
		ended <- err
	}()
	eventually(t, "the write", func() bool { return s.writing.due.Load() != 0 })
	limit := s.writing.due.Load()
	s.look(limit - 1)
	select {
	case err := <-ended:
		t.Fatalf("it ended before its time: %v", err)
	default:
	}
	s.look(limit)
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it ended with %v", err)
	}
}
