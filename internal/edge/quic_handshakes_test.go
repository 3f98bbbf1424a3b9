package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/springtide/springtide"
)

// outsideSocket gives a UDP socket at an address of this machine that is not that of
// its loopback, of which nothing is counted.
func outsideSocket(t *testing.T) (*os.File, *net.UDPAddr) {
	t.Helper()
	route, err := net.Dial("udp", "203.0.113.1:9") // sends nothing
	if err != nil {
		t.Skip("this machine has no address but that of its loopback: ", err)
	}
	route.Close()
	at := &net.UDPAddr{IP: route.LocalAddr().(*net.UDPAddr).IP}
	conn, err := net.ListenUDP("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	file, err := conn.File()
	if err != nil {
		t.Fatal(err)
	}
	return file, conn.LocalAddr().(*net.UDPAddr)
}

// outside starts an edge that serves HTTP/3 there.
func outside(t *testing.T, handler http.HandlerFunc, change func(*Options)) (*testEdge, *net.UDPAddr) {
	t.Helper()
	file, at := outsideSocket(t)
	e := startEdge(t, func(o *Options) {
		o.Listeners[2].File.Close()
		o.Listeners[2].File = file
		change(o)
	})
	e.route(t, routeTo(serveInstance(t, "web-1-a", handler)))
	return e, at
}

// from gives what a client makes connections by, at its own address.
func from(t *testing.T, to *net.UDPAddr, wrap func(net.PacketConn) net.PacketConn) *quic.Transport {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: to.IP})
	if err != nil {
		t.Fatal(err)
	}
	client := &quic.Transport{Conn: wrap(socket)}
	t.Cleanup(func() {
		client.Close()
		socket.Close()
	})
	return client
}

func itself(conn net.PacketConn) net.PacketConn { return conn }

func (e *testEdge) overQUIC() *tls.Config {
	return &tls.Config{RootCAs: e.roots, ServerName: testHost, NextProtos: []string{http3.NextProtoH3}}
}

// deaf is a socket that says of what kind the packets are that come, and gives none.
type deaf struct {
	net.PacketConn
	kinds chan byte
}

func (d *deaf) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := d.PacketConn.ReadFrom(p)
		if err != nil {
			return n, from, err
		}
		select {
		case d.kinds <- p[0] & 0xf0:
		default:
		}
	}
}

func TestWhoHasManyHandshakesUnderWayOverQUICHasToShowThatHisAddressIsHisOwn(t *testing.T) {
	const retry = 0xf0 // a long header of that type (RFC 9000, section 17.2.5)
	e, to := outside(t, fine, func(*Options) {})
	for i := range trustedHandshakes + 1 {
		kinds := make(chan byte, 1)
		client := from(t, to, func(conn net.PacketConn) net.PacketConn { return &deaf{conn, kinds} })
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		go func() { _, _ = client.Dial(ctx, to, e.overQUIC(), nil) }()
		select {
		case kind := <-kinds:
			if (kind == retry) != (i == trustedHandshakes) {
				t.Errorf("handshake %d is answered by a packet of kind %#x", i+1, kind)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("handshake %d is not answered", i+1)
		}
	}
	conn, err := from(t, to, itself).Dial(t.Context(), to, e.overQUIC(), nil)
	if err != nil {
		t.Fatalf("who shows it is refused: %v", err)
	}
	_ = conn.CloseWithError(0, "")
}

func TestAClientHasSoManyHandshakesUnderWayOverQUIC(t *testing.T) {
	e := &edge{floods: newFloods(0, nil)}
	info := &quic.ClientInfo{RemoteAddr: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1)}, AddrVerified: true}
	var first *admission
	for i := range mostHandshakes {
		a, err := e.newAdmission(info)
		if err != nil {
			t.Fatalf("handshake %d: %v", i+1, err)
		}
		first = a
	}
	if _, err := e.newAdmission(info); !errors.Is(err, errHandshakes) {
		t.Errorf("one more: %v", err)
	}
	if _, err := e.newAdmission(&quic.ClientInfo{RemoteAddr: &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2)}}); err != nil {
		t.Errorf("another's: %v", err)
	}
	first.shake()
	first.account() // counts once
	if _, err := e.newAdmission(info); err != nil {
		t.Errorf("when one is over: %v", err)
	}
	if _, err := e.newAdmission(info); !errors.Is(err, errHandshakes) {
		t.Errorf("one more then: %v", err)
	}
}

func TestConnectionsOverQUICOnWhichNothingIsAskedForAddUp(t *testing.T) {
	file, to := outsideSocket(t)
	options := Options{Tables: make(chan springtide.Table), Listeners: []Listener{{QUIC, file}}, RefuseFloods: 30 * time.Second, Logger: testLogger()}
	if err := options.Validate(); err != nil {
		t.Fatal(err)
	}
	e, err := newEdge(options)
	if err != nil {
		t.Fatal(err)
	}
	e.router.apply(springtide.Table{Version: 1, Certificates: []springtide.Certificate{testCertificate(t)}})
	e.acceptQUIC()
	t.Cleanup(func() {
		e.closeAll()
		e.serving.Wait()
		e.forwarder.pool.close()
	})
	began := time.Now()
	owed := func(more time.Duration) time.Duration { // as of then, so that what time pays off does not matter
		return e.floods.debts.owe(bucket{client: clientOf(to.AddrPort().Addr().Unmap())}, more, floodCredit+options.RefuseFloods, began)
	}
	client := from(t, to, itself)
	dial := func() error {
		conn, err := client.Dial(t.Context(), to, &tls.Config{InsecureSkipVerify: true, ServerName: testHost, NextProtos: []string{http3.NextProtoH3}}, nil)
		if err == nil {
			_ = conn.CloseWithError(0, "")
		}
		return err
	}
	before := owed(floodCredit - 10*idleDebt)
	for made := time.Duration(1); made <= 5; made++ {
		if err := dial(); err != nil {
			t.Fatalf("connection %d: %v", made, err)
		}
		eventually(t, "it to count", func() bool { return owed(0) >= before+made*idleDebt })
	}
	owed(floodCredit)
	if refused, _ := errors.AsType[*quic.TransportError](dial()); refused == nil || refused.ErrorCode != quic.ConnectionRefused {
		t.Errorf("who owes too much hears %v", refused)
	}
	if told := e.report(time.Now()).Floods.Refused; told == 0 {
		t.Error("it is not told")
	}
}

func TestRequestsOverHTTP3CountAmongThoseOfAClient(t *testing.T) {
	arrived, answer := make(chan struct{}, 2*streamsPerConnection), make(chan struct{})
	e, to := outside(t, func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-answer
	}, func(o *Options) { o.MaxConnectionsPerAddress = 1 })
	client := from(t, to, itself)
	conn, err := client.Dial(t.Context(), to, e.overQUIC(), nil)
	if err != nil {
		t.Fatal(err)
	}
	open := (&http3.Transport{DisableCompression: true}).NewClientConn(conn)
	ask := func(path string) error {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+testHost+path, nil)
		if err != nil {
			return err
		}
		response, err := open.RoundTrip(request)
		if err == nil {
			response.Body.Close()
		}
		return err
	}
	answered := make(chan error, streamsPerConnection)
	for i := range streamsPerConnection {
		go func() { answered <- ask("/" + strconv.Itoa(i)) }()
		<-arrived
	}
	fault, _ := errors.AsType[*http3.Error](ask("/more"))
	if fault == nil || fault.ErrorCode != http3.ErrCodeRequestRejected {
		t.Errorf("one more has %v", fault)
	}
	close(answer)
	for range streamsPerConnection {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "another to be served", func() bool { return ask("/then") == nil }) // an answer is sent before its request counts no more
}
