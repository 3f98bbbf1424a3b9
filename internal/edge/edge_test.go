package edge

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/socket"
)

const testHost = "demo.localhost"

var testEnvironment = springtide.EnvironmentID{App: "demo", Name: springtide.Production}

func groupOf(release int) springtide.GroupID {
	return springtide.GroupID{Environment: testEnvironment, Release: release, Process: springtide.Web}
}

// testEdge is an edge over real sockets, with a control plane to steer it.
type testEdge struct {
	control *testControl
	folder  string
	https   net.Listener // kept open as the supervisor does
	http    net.Listener
	udp     Listener // beside https, and kept open too
	process *testProcess
	roots   *x509.CertPool
}

// testProcess is one run of the edge; a second one may share its listeners.
type testProcess struct {
	drain, finish chan struct{}
	cancel        context.CancelFunc // ends it at once
	ended         chan struct{}
	err           error
}

func startEdge(t *testing.T, change ...func(*Options)) *testEdge {
	t.Helper()
	e := &testEdge{folder: t.TempDir()}
	e.control = startControl(t, e.folder)
	e.https, e.udp = listenBoth(t)
	e.http = listenLocal(t)
	e.roots = x509.NewCertPool()
	e.roots.AppendCertsFromPEM([]byte(testCertificate(t).Chain))
	e.process = e.start(t, change...)
	return e
}

func (e *testEdge) start(t *testing.T, change ...func(*Options)) *testProcess {
	t.Helper()
	ready, said, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	p := &testProcess{drain: make(chan struct{}), finish: make(chan struct{}), ended: make(chan struct{})}
	limit := newerTableTimeout
	if e.control.tells() { // so it is worth waiting for
		limit = 30 * time.Second
	}
	options := Options{
		DataFolder: e.folder, FirstTableLimit: limit, Ready: said, Drain: p.drain, Finish: p.finish,
		Listeners: []Listener{{HTTPS, duplicate(t, e.https)}, {HTTP, duplicate(t, e.http)}, {QUIC, copied(t, e.udp.File)}},
		Logger:    slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, f := range change {
		f(&options)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() {
		defer close(p.ended)
		p.err = Run(ctx, options)
	}()
	t.Cleanup(func() {
		cancel()
		<-p.ended
		if p.err != nil {
			t.Errorf("the edge ended with %v", p.err)
		}
	})
	if line, err := bufio.NewReader(ready).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the edge said %q, %v; want ready", line, err)
	}
	return p
}

// testWriter logs until the test is over.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Logf("edge: %s", strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

func listenLocal(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

// listenBoth listens by TCP and by UDP, at a port that nobody has by either.
func listenBoth(t *testing.T) (net.Listener, Listener) {
	t.Helper()
	for {
		listener := listenLocal(t)
		https := Listener{HTTPS, duplicate(t, listener)}
		udp, err := Beside(https)
		https.File.Close()
		if err == nil {
			t.Cleanup(func() { udp.File.Close() })
			return listener, udp
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
		listener.Close()
	}
}

// duplicate gives a duplicate of the socket, as SCM_RIGHTS does. (The File
// method would make it blocking, for all that share it.)
func duplicate(t *testing.T, listener net.Listener) *os.File {
	t.Helper()
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return copyOf(t, raw)
}

func copyOf(t *testing.T, raw syscall.RawConn) *os.File {
	t.Helper()
	var copied int
	var dupErr error
	if err := raw.Control(func(fd uintptr) { copied, dupErr = syscall.Dup(int(fd)) }); err != nil || dupErr != nil {
		t.Fatal(err, dupErr)
	}
	syscall.CloseOnExec(copied)
	return os.NewFile(uintptr(copied), "listener")
}

// copied gives a duplicate of a file.
func copied(t *testing.T, file *os.File) *os.File {
	t.Helper()
	raw, err := file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return copyOf(t, raw)
}

// client gives an HTTP client whose every connection goes to the edge.
func (e *testEdge) client(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if strings.Contains(t.Name(), overHTTP3) {
		client.Transport = e.http3(t)
	} else {
		client.Transport = e.transport(t, http2)
	}
	return client
}

// overHTTP3 is in the names of tests whose clients speak HTTP/3.
const overHTTP3 = "HTTP/3"

// http3 gives a transport that speaks HTTP/3.
func (e *testEdge) http3(t *testing.T) *http3.Transport {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	connections := &quic.Transport{Conn: socket}
	to := net.UDPAddrFromAddrPort(e.https.Addr().(*net.TCPAddr).AddrPort())
	transport := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: e.roots}, DisableCompression: true,
		Dial: func(ctx context.Context, _ string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
			return connections.Dial(ctx, to, tlsConfig, config)
		},
	}
	t.Cleanup(func() {
		transport.Close()
		connections.Close()
		socket.Close()
	})
	return transport
}

func (e *testEdge) transport(t *testing.T, http2 bool) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	transport := &http.Transport{
		Protocols: protocols, DisableCompression: true, MaxIdleConnsPerHost: 100, ExpectContinueTimeout: 10 * time.Second,
		TLSClientConfig: &tls.Config{RootCAs: e.roots},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := e.https
			if strings.HasSuffix(address, ":80") {
				to = e.http
			}
			return new(net.Dialer).DialContext(ctx, network, to.Addr().String())
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// dial opens a TLS connection to speak HTTP/1.1 by hand.
func (e *testEdge) dial(t *testing.T) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", e.https.Addr().String(), &tls.Config{RootCAs: e.roots, ServerName: testHost})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func both(t *testing.T, test func(t *testing.T, http2 bool)) {
	t.Run("HTTP/1.1", func(t *testing.T) { test(t, false) })
	t.Run("HTTP/2", func(t *testing.T) { test(t, true) })
	t.Run(overHTTP3, func(t *testing.T) { test(t, true) }) // see client
}

func get(t *testing.T, client *http.Client, path string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+testHost+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, client, request)
}

func do(t *testing.T, client *http.Client, request *http.Request) (*http.Response, string) {
	t.Helper()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("read the body of %s: %v", request.URL, err)
	}
	return response, string(body)
}

// serveInstance starts an instance and gives it as a ready backend.
func serveInstance(t *testing.T, id string, handler http.HandlerFunc) springtide.Backend {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return readyBackend(id, server.Listener.Addr().String())
}

// rawInstance starts an instance that speaks by hand: one call per connection.
func rawInstance(t *testing.T, id string, talk func(conn net.Conn, requests *bufio.Reader)) springtide.Backend {
	t.Helper()
	listener := listenLocal(t)
	var open sync.WaitGroup
	t.Cleanup(open.Wait)
	t.Cleanup(func() { listener.Close() })
	open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer conn.Close()
				talk(conn, bufio.NewReader(conn))
			})
		}
	})
	return readyBackend(id, listener.Addr().String())
}

// deadAddress gives an address that refuses connections.
func deadAddress(t *testing.T) string {
	t.Helper()
	address, _ := deadSocket(t)
	return address
}

// deadSocket gives the socket, too, that has the address and does not listen: a port
// that is free would be anybody's.
func deadSocket(t *testing.T) (address string, file *os.File) {
	t.Helper()
	descriptor, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file = os.NewFile(uintptr(descriptor), "socket")
	t.Cleanup(func() { file.Close() })
	if err := syscall.Bind(descriptor, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(descriptor)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*syscall.SockaddrInet4).Port)), file
}

func readyBackend(id, address string) springtide.Backend {
	return springtide.Backend{Instance: springtide.InstanceID(id), Group: groupOf(1), Address: address, State: springtide.BackendReady}
}

func inState(state springtide.BackendState, backend springtide.Backend) springtide.Backend {
	backend.State = state
	return backend
}

func routeTo(backends ...springtide.Backend) springtide.Route {
	return springtide.Route{
		Hosts: []string{testHost}, Environment: testEnvironment, Group: groupOf(1), Backends: backends,
		HoldFor: 20 * time.Second, HoldLimit: 1000,
	}
}

// route publishes a table of one route and waits until it is in force.
func (e *testEdge) route(t *testing.T, route springtide.Route) {
	t.Helper()
	e.publish(t, springtide.Table{Routes: []springtide.Route{route}, Certificates: []springtide.Certificate{testCertificate(t)}})
}

func (e *testEdge) publish(t *testing.T, table springtide.Table) {
	t.Helper()
	version := e.control.publish(table)
	e.control.await(t, "the table to be acknowledged", func(reports []springtide.EdgeReport) bool {
		return len(reports) > 0 && reports[len(reports)-1].Acknowledged >= version
	})
}

var testCertificate = func() func(testing.TB) springtide.Certificate {
	make := sync.OnceValues(func() (springtide.Certificate, error) {
		return certify("localhost", testHost, "*.demo.localhost", "other.localhost")
	})
	return func(t testing.TB) springtide.Certificate {
		t.Helper()
		certificate, err := make()
		if err != nil {
			t.Fatal(err)
		}
		return certificate
	}
}()

// certify makes a self-signed certificate.
func certify(names ...string) (springtide.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return springtide.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	chain, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return springtide.Certificate{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	return springtide.Certificate{
		Names: names,
		Chain: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain})),
		Key:   string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}, err
}

// testControl is a control plane: it sends tables and collects reports.
type testControl struct {
	folder   string
	listener net.Listener

	mu      sync.Mutex
	table   springtide.Table
	reports []springtide.EdgeReport
	open    map[net.Conn]int64 // the version each was sent
	deaf    bool               // reads nothing
	stopped bool
}

func startControl(t *testing.T, folder string) *testControl {
	t.Helper()
	c := &testControl{folder: folder, open: map[net.Conn]int64{}}
	if err := os.MkdirAll(filepath.Join(folder, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.listen(t)
	t.Cleanup(c.stop)
	return c
}

func (c *testControl) listen(t *testing.T) {
	t.Helper()
	listener, err := socket.Listen(filepath.Join(c.folder, "run", "feed.sock"))
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.listener, c.stopped = listener, false
	c.mu.Unlock()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go c.attend(conn)
		}
	}()
}

func (c *testControl) attend(conn net.Conn) {
	reports := json.NewDecoder(conn)
	for first := true; ; first = false {
		c.mu.Lock()
		deaf := c.deaf
		c.mu.Unlock()
		if deaf {
			return // without closing it
		}
		var report springtide.EdgeReport
		if err := reports.Decode(&report); err != nil {
			conn.Close()
			return
		}
		c.mu.Lock()
		c.reports = append(c.reports, report)
		if first {
			c.open[conn] = report.Acknowledged
			c.send()
		}
		c.mu.Unlock()
	}
}

// send gives every edge the newest table.
func (c *testControl) send() {
	for conn, version := range c.open {
		if version < c.table.Version {
			c.open[conn] = c.table.Version
			if json.NewEncoder(conn).Encode(c.table) != nil {
				delete(c.open, conn)
			}
		}
	}
}

func (c *testControl) publish(table springtide.Table) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	table.Version = c.table.Version + 1
	c.table = table
	c.send()
	return table.Version
}

// tells says that there is a table, and that an edge which asks is given it.
func (c *testControl) tells() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.table.Version > 0 && !c.stopped && !c.deaf
}

func (c *testControl) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.listener.Close()
	for conn := range c.open {
		conn.Close()
	}
	clear(c.open)
}

func (c *testControl) seen() []springtide.EdgeReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.reports)
}

func (c *testControl) await(t *testing.T, what string, met func([]springtide.EdgeReport) bool) {
	t.Helper()
	eventually(t, what, func() bool { return met(c.seen()) })
}

// demand adds up what was reported of a group.
func (c *testControl) demand(group springtide.GroupID) springtide.Demand {
	total := springtide.Demand{Group: group}
	m := &meter{}
	for _, report := range c.seen() {
		total.Held, total.Busy, total.Streams = 0, 0, 0
		for _, d := range report.Demand {
			if d.Group == group {
				m.putBack(&d)
				total.Held, total.Busy, total.Streams = d.Held, d.Busy, d.Streams
			}
		}
	}
	held, busy, streams := total.Held, total.Busy, total.Streams
	total = m.demand
	total.Held, total.Busy, total.Streams = held, busy, streams
	return total
}

// load gives what the last report says is open on an instance.
func (c *testControl) load(id string) springtide.InstanceLoad {
	reports := c.seen()
	if len(reports) > 0 {
		for _, load := range reports[len(reports)-1].Instances {
			if load.Instance == springtide.InstanceID(id) {
				return load
			}
		}
	}
	return springtide.InstanceLoad{Instance: springtide.InstanceID(id)}
}

// eventually polls a condition.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !met(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func testLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }
