package edge

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/message"
)

// The limits of HTTP/3. How much a connection may send before it is read bounds
// what one client can have the edge keep, in bytes.
const (
	streamLimit           = 100 // requests at a time on a connection
	streamWindow          = 1 << 20
	connectionWindow      = 2 << 20
	firstStreamWindow     = 256 << 10
	firstConnectionWindow = 512 << 10
	clientControlStreams  = 8
	alternativeServiceAge = 24 * time.Hour
	unverifiedPerSecond   = 200 // new connections, before addresses are verified first
	unverifiedBurst       = 400
	busyLeaveLimit        = 10 * time.Second // from which on GOAWAY interrupts, too
	lingerAfterGoAway     = 2 * time.Second
	http3NoError          = quic.ApplicationErrorCode(http3.ErrCodeNoError)
	quicKeyLength         = 32
	quicKeyFile           = "quic.key"
	quicPurposeReset      = "stateless reset"
	quicPurposeToken      = "address token"
)

var errNoRoom = errors.New("there is no room for one more connection")

// quicServer serves HTTP/3.
type quicServer struct {
	doors      []*quicDoor
	tls        *tls.Config
	handshakes handshakes
	// announced is what clients of TCP are told; "" where it is not served.
	announced string
}

// announcement gives what a client of TCP is told; "" where the instance tells it
// something of the kind, or the edge wants its connections to end.
func (s *quicServer) announcement(a *answer) string {
	if s.announced == "" || a.leaving || a.Fields.Has("Alt-Svc") {
		return ""
	}
	return s.announced
}

func (s *quicServer) close() {
	for _, door := range s.doors {
		door.close()
	}
}

// quicDoor takes the QUIC connections of one UDP socket.
type quicDoor struct {
	edge      *edge
	socket    *quicSocket
	links     *quicLinks // nil without a data folder
	transport *quic.Transport
	listener  *quic.Listener
}

// ListenBeside adds a UDP socket for HTTP/3 to each socket for HTTPS. Where that is
// not possible TCP serves alone.
func ListenBeside(listeners []Listener, logger *slog.Logger) []Listener {
	all := slices.Clone(listeners)
	for _, listener := range listeners {
		if listener.Name != HTTPS {
			continue
		}
		udp, err := Beside(listener)
		if err != nil {
			logger.Warn("HTTP/3 is not served", "error", err)
			continue
		}
		all = append(all, udp)
	}
	return all
}

// Beside opens the UDP socket for HTTP/3 at the address of a socket for HTTPS.
func Beside(https Listener) (Listener, error) {
	listener, err := net.FileListener(https.File)
	if err != nil {
		return Listener{}, err
	}
	defer listener.Close()
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return Listener{}, springtide.Errorf(springtide.Invalid, "listener %s is no TCP socket", https.Name)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: address.IP, Port: address.Port, Zone: address.Zone})
	if err != nil {
		return Listener{}, err
	}
	defer conn.Close() // what is kept is a duplicate, and non-blocking
	raw, err := conn.SyscallConn()
	if err != nil {
		return Listener{}, err
	}
	descriptor := -1
	var duplicateErr error
	err = raw.Control(func(fd uintptr) { descriptor, duplicateErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, duplicateErr); err != nil {
		return Listener{}, err
	}
	return Listener{Name: QUIC, File: os.NewFile(uintptr(descriptor), QUIC)}, nil
}

// acceptQUIC begins to serve HTTP/3 on all UDP sockets. Where that fails TCP serves
// on: every client can do without.
func (e *edge) acceptQUIC() {
	e.quic.tls = newQUICTLSConfig(e.router)
	e.router.shareTicketKeys(e.quic.tls.SetSessionTicketKeys)
	for _, listener := range e.options.Listeners {
		if listener.Name != QUIC {
			continue
		}
		door, err := e.openQUIC(listener)
		if err != nil {
			e.options.Logger.Warn("HTTP/3 is not served", "error", err)
			continue
		}
		e.quic.doors = append(e.quic.doors, door)
		e.serving.Go(door.attend)
	}
	if len(e.quic.doors) > 0 && !e.options.ProxyProtocol { // a proxy before the edge has TCP alone
		e.quic.announced = alternativeService(e.httpsPort)
	}
}

// openQUIC begins to serve HTTP/3 on a UDP socket.
func (e *edge) openQUIC(listener Listener) (_ *quicDoor, err error) {
	d := &quicDoor{edge: e}
	if d.socket, err = newQUICSocket(listener.File); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	key, err := e.quicKey()
	if err != nil {
		return nil, err
	}
	if e.options.DataFolder != "" {
		if d.links, err = linkQUIC(d.socket, filepath.Join(e.options.DataFolder, "run")); err != nil {
			return nil, err
		}
	}
	unverified := rate.NewLimiter(unverifiedPerSecond, unverifiedBurst)
	reset, token := quic.StatelessResetKey(deriveKey(key, quicPurposeReset)), quic.TokenGeneratorKey(deriveKey(key, quicPurposeToken))
	d.transport = &quic.Transport{
		Conn: d.socket, ConnectionIDGenerator: d.socket.number, StatelessResetKey: &reset, TokenGeneratorKey: &token,
		VerifySourceAddress: func(from net.Addr) bool { return e.suspects(from) || !unverified.Allow() },
		ConnContext:         d.admit,
	}
	d.listener, err = d.transport.Listen(e.quic.tls, &quic.Config{
		HandshakeIdleTimeout: headerTimeout / 2, MaxIdleTimeout: idleTimeout,
		InitialStreamReceiveWindow: firstStreamWindow, MaxStreamReceiveWindow: streamWindow,
		InitialConnectionReceiveWindow: firstConnectionWindow, MaxConnectionReceiveWindow: connectionWindow,
		MaxIncomingStreams: streamLimit, MaxIncomingUniStreams: clientControlStreams,
	})
	return d, err
}

// quicKey gives the key that all edges on a data folder have in common: by it one
// of them tells the clients of another that died that their connection is gone.
func (e *edge) quicKey() ([]byte, error) {
	key := make([]byte, quicKeyLength)
	_, _ = rand.Read(key) // never fails
	if e.options.DataFolder == "" {
		return key, nil
	}
	path := filepath.Join(e.options.DataFolder, "edge", quicKeyFile)
	if kept, err := os.ReadFile(path); err == nil && len(kept) == quicKeyLength {
		return kept, nil
	}
	return key, durable.WriteFile(path, key, 0o600)
}

func deriveKey(key []byte, purpose string) (derived [sha256.Size]byte) {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(purpose))
	copy(derived[:], mac.Sum(nil))
	return derived
}

// admit takes a place for a connection, or refuses it. What was read before a
// younger edge did is served while this one drains: the client cannot know.
func (d *quicDoor) admit(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	if client := d.edge.clientByUDP(info.RemoteAddr); client.IsValid() && d.edge.floods.refuses(client) {
		return nil, errFloods
	}
	a, err := d.edge.newAdmission(info)
	if err != nil {
		return nil, err
	}
	if d.edge.draining.Load() && !d.socket.resting() || !d.edge.room.take() {
		a.shake()
		return nil, errNoRoom
	}
	d.edge.room.enter(a)
	context.AfterFunc(ctx, func() {
		a.account()
		d.edge.room.giveBack()
		d.edge.room.leave(a)
	})
	return context.WithValue(ctx, admissionKey{}, a), nil
}

// attend takes connections until the door is closed.
func (d *quicDoor) attend() {
	for {
		conn, err := d.listener.Accept(context.Background())
		if err != nil {
			return
		}
		d.edge.serving.Go(func() { d.edge.serveQUIC(conn) })
	}
}

// close ends what is left of the door's connections without ceremony.
func (d *quicDoor) close() {
	if d.transport != nil {
		_ = d.transport.Close()
	}
	if d.links != nil {
		d.links.close()
	}
	_ = d.socket.Close()
}

// quicVisitor is one client's QUIC connection:
//
//	serving ── draining, and idle or busy for 10 s ──→ leaving (GOAWAY)
//	   └── idle for 2 min ──→ closed ←── idle for 2 s ────┘
type quicVisitor struct {
	conn   *quic.Conn
	server http3.Server // of this connection alone: each is to end in its own time
	edge   *edge
	guest  *guest
	asked  *atomic.Bool
	open   atomic.Int32 // requests whose head has come

	// Only the clock has these:
	leaving bool
	idleAt  int64 // since when there has been no request; 0: there is one
	drainAt int64 // since when the edge drains; 0: it does not
}

// serveQUIC serves a connection until its end.
func (e *edge) serveQUIC(conn *quic.Conn) {
	a := conn.Context().Value(admissionKey{}).(*admission)
	a.shown.Store(true)
	a.shake()
	v := &quicVisitor{conn: conn, edge: e, asked: &a.asked}
	if a.client.IsValid() {
		var ok bool
		if v.guest, ok = e.enterCap(a.client); !ok {
			_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "too many connections")
			return
		}
		defer v.guest.leave()
	}
	v.server = http3.Server{Handler: v, MaxHeaderBytes: message.HeadLimit}
	e.room.enter(v)
	e.clock.watch(v)
	defer func() {
		e.clock.forget(v)
		_ = v.Close()
		e.room.leave(v)
	}()
	_ = v.server.ServeQUICConn(conn) // what clients do wrong is theirs to know
}

// ServeHTTP serves one request.
func (v *quicVisitor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.asked.Store(true)
	if v.guest.Streams(0) {
		reject(w)
		return
	}
	v.guest.Streams(1)
	defer v.guest.Streams(-1)
	v.open.Add(1)
	defer v.open.Add(-1)
	v.edge.serveStream(w, r)
}

// look implements watched: it ends a connection that is idle, or whose edge drains.
func (v *quicVisitor) look(now int64) {
	switch {
	case v.open.Load() > 0:
		v.idleAt = 0
	case v.idleAt == 0:
		v.idleAt = now
	}
	if v.drainAt == 0 && v.edge.draining.Load() {
		v.drainAt = now
	}
	idle := time.Duration(0)
	if v.idleAt != 0 {
		idle = time.Duration(now - v.idleAt)
	}
	switch {
	case idle >= idleTimeout, v.leaving && idle >= lingerAfterGoAway:
		v.edge.serving.Go(func() { _ = v.Close() })
	case v.drainAt != 0 && !v.leaving && (v.idleAt != 0 || now-v.drainAt >= int64(busyLeaveLimit)):
		v.leaving, v.idleAt = true, 0
		// It ends when the connection does. What was on its way is rejected with
		// H3_REQUEST_REJECTED, which lets clients send it again (RFC 9114, 4.1.1).
		v.edge.serving.Go(func() { _ = v.server.Shutdown(context.Background()) })
	}
}

// closeIdle closes the connection unless there is a request on it.
func (v *quicVisitor) closeIdle() {
	if v.open.Load() == 0 {
		_ = v.Close()
	}
}

// Close ends the connection, and what is left on it.
func (v *quicVisitor) Close() error { return v.conn.CloseWithError(http3NoError, "") }

// newQUICTLSConfig makes the configuration of QUIC connections. Requests in the
// first flight (0-RTT), which anybody could send once more, are not taken.
func newQUICTLSConfig(router *router) *tls.Config {
	config := newTLSConfig(router)
	config.NextProtos = []string{http3.NextProtoH3}
	return config
}

// alternativeService is the field that tells clients of TCP about HTTP/3 (RFC 7838).
func alternativeService(port string) string {
	return `h3=":` + port + `"; ma=` + strconv.Itoa(int(alternativeServiceAge/time.Second))
}
