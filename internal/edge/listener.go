package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/springtide/springtide"
)

// The names of listeners.
const (
	HTTPS = "https" // TLS; serves the apps
	HTTP  = "http"  // plain; redirects to HTTPS
	Plain = "plain" // plain; serves the apps: somebody else has TLS, or nobody needs it
	QUIC  = "quic"  // a UDP socket, beside one for HTTPS; serves the apps by HTTP/3
)

// Listener is a listening TCP socket, or a UDP socket, that the edge was given.
// Others hold duplicates of it, so it is closed and never shut down.
type Listener struct {
	// Name is [HTTPS], [HTTP], [Plain] or [QUIC].
	Name string
	File *os.File
}

// InheritedListeners gives the listening sockets that $TIDE_LISTENERS names:
// "https=3,http=4", name and file descriptor.
func InheritedListeners(getenv func(string) string) ([]Listener, error) {
	pairs, err := parseListeners(getenv("TIDE_LISTENERS"))
	if err != nil {
		return nil, err
	}
	listeners := make([]Listener, 0, len(pairs))
	for _, pair := range pairs {
		option, want := syscall.SO_ACCEPTCONN, 1
		if pair.name == QUIC {
			option, want = syscall.SO_TYPE, syscall.SOCK_DGRAM
		}
		if got, err := syscall.GetsockoptInt(pair.descriptor, syscall.SOL_SOCKET, option); err != nil || got != want {
			return nil, springtide.Errorf(springtide.Invalid, "TIDE_LISTENERS: file descriptor %d (%s) is not a listening socket", pair.descriptor, pair.name).
				WithHint("the edge is started by tide serve")
		}
		syscall.CloseOnExec(pair.descriptor)
		listeners = append(listeners, Listener{pair.name, os.NewFile(uintptr(pair.descriptor), pair.name)})
	}
	return listeners, nil
}

// Listen opens listening sockets: "https://127.0.0.1:8443" has TLS,
// "http://127.0.0.1:8080" has none and serves the apps all the same. The address
// is one of this machine; without it, all of them.
func Listen(addresses []string) (_ []Listener, err error) {
	var listeners []Listener
	defer func() {
		if err != nil {
			for _, listener := range listeners {
				listener.File.Close()
			}
		}
	}()
	for _, address := range addresses {
		scheme, authority, _ := strings.Cut(address, "://")
		name := map[string]string{"https": HTTPS, "http": Plain}[scheme]
		host, port, splitErr := net.SplitHostPort(authority)
		if _, addressErr := netip.ParseAddr(host); name == "" || splitErr != nil || port == "" || host != "" && addressErr != nil {
			return nil, springtide.Errorf(springtide.Invalid, "%q is nothing to listen on", address).WithHint("write it like https://127.0.0.1:8443 or http://127.0.0.1:8080")
		}
		socket, err := net.Listen("tcp", authority)
		if err != nil {
			return nil, springtide.Errorf(springtide.Unavailable, "%s: %w", address, err)
		}
		file, err := socket.(*net.TCPListener).File()
		socket.Close()
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, Listener{Name: name, File: file})
	}
	return listeners, nil
}

// InheritedReady gives the pipe that $TIDE_READY names, nil if it names none.
func InheritedReady(getenv func(string) string) (*os.File, error) {
	value := getenv("TIDE_READY")
	if value == "" {
		return nil, nil
	}
	descriptor, err := parseDescriptor(value)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "TIDE_READY: %w", err)
	}
	syscall.CloseOnExec(descriptor)
	return os.NewFile(uintptr(descriptor), "ready"), nil
}

type inherited struct {
	name       string
	descriptor int
}

func parseListeners(value string) ([]inherited, error) {
	if value == "" {
		return nil, springtide.Errorf(springtide.Invalid, "there is no routing table, and no supervisor that gives one").
			WithHint("give --table FILE; an edge without one is started by tide serve")
	}
	var pairs []inherited
	for entry := range strings.SplitSeq(value, ",") {
		name, number, _ := strings.Cut(entry, "=")
		if name != HTTPS && name != HTTP && name != QUIC {
			return nil, springtide.Errorf(springtide.Invalid, "TIDE_LISTENERS: %q: want https=N, http=N or quic=N", entry)
		}
		descriptor, err := parseDescriptor(number)
		if err != nil {
			return nil, springtide.Errorf(springtide.Invalid, "TIDE_LISTENERS: %q: %w", entry, err)
		}
		for _, pair := range pairs {
			if pair.descriptor == descriptor {
				return nil, springtide.Errorf(springtide.Invalid, "TIDE_LISTENERS: file descriptor %d is named twice", descriptor)
			}
		}
		pairs = append(pairs, inherited{name, descriptor})
	}
	return pairs, nil
}

func parseDescriptor(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 20)
	if err != nil || n < 3 {
		return 0, fmt.Errorf("%q is not the number of an inherited file", s)
	}
	return int(n), nil
}

// door accepts connections from one listening socket, as long as there is room.
type door struct {
	net.Listener
	name   string
	raw    syscall.RawConn
	room   *room
	crowd  crowd
	once   sync.Once
	closed chan struct{}
}

// newDoor duplicates the socket: closing the door closes the duplicate only.
func newDoor(listener Listener, room *room, logger *slog.Logger) (*door, error) {
	accepting, err := net.FileListener(listener.File)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "listener %s: %w", listener.Name, err)
	}
	socket, ok := accepting.(*net.TCPListener)
	if !ok {
		accepting.Close()
		return nil, springtide.Errorf(springtide.Invalid, "listener %s is no TCP socket", listener.Name)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		accepting.Close()
		return nil, springtide.Errorf(springtide.Invalid, "listener %s: %w", listener.Name, err)
	}
	d := &door{Listener: accepting, name: listener.Name, raw: raw, room: room, closed: make(chan struct{})}
	d.crowd.logger = logger.With("listener", listener.Name, "limit", cap(room.places))
	d.crowd.keepSpare()
	return d, nil
}

// Accept waits for a connection that there is room for. Where there is none for a
// while, connections are refused; for a moment they wait in the kernel.
func (d *door) Accept() (net.Conn, error) {
	for {
		placed, err := d.crowd.await(d.room, d.closed)
		if err != nil {
			return nil, err
		}
		accepted, err := d.accept()
		if placed && accepted == nil {
			d.room.giveBack()
		}
		switch {
		case errors.Is(err, net.ErrClosed):
			d.crowd.spare.Close()
			return nil, err
		case err != nil:
			return nil, err
		case accepted == nil: // there was no file for it
		case placed || d.room.take():
			v := &visitor{wire: accepted, room: d.room, client: endOf(accepted.RemoteAddr()), local: endOf(accepted.LocalAddr())}
			d.room.enter(v)
			return v, nil
		default:
			d.crowd.refuse(accepted, d.name)
		}
	}
}

// accept accepts a connection; nil if it had to be closed at once.
func (d *door) accept() (*wire, error) {
	// Any process that shares the socket can make it blocking by accident (Go
	// does when it hands a net.Listener's file to a child). Then accepting could
	// not be ended but by one more connection.
	err := d.raw.Control(func(descriptor uintptr) { _ = syscall.SetNonblock(int(descriptor), true) })
	if err != nil {
		return nil, err
	}
	conn, err := d.Listener.Accept()
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return nil, d.crowd.turnAway(d.Listener, err)
	}
	if err != nil {
		return nil, err
	}
	return newWire(conn.(*net.TCPConn)) // newDoor looked
}

// Close makes Accept return; what it had accepted is served.
func (d *door) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.Listener.Close()
}

// room counts the open connections, those of WebSockets included.
type room struct {
	places chan struct{}

	mu   sync.Mutex
	open map[io.Closer]struct{}
	// left gets a value when a connection ended.
	left chan struct{}
}

func newRoom(places int) *room {
	return &room{places: make(chan struct{}, places), open: map[io.Closer]struct{}{}, left: make(chan struct{}, 1)}
}

// take takes a place, if there is one.
func (r *room) take() bool {
	select {
	case r.places <- struct{}{}:
		return true
	default:
		return false
	}
}

func (r *room) giveBack() { <-r.places }

// enter counts a connection that has a place.
func (r *room) enter(conn io.Closer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[conn] = struct{}{}
}

func (r *room) leave(conn io.Closer) {
	r.mu.Lock()
	delete(r.open, conn)
	r.mu.Unlock()
	notify(r.left)
}

// empty says that nothing is open.
func (r *room) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open) == 0
}

// closeAll ends what is left without ceremony.
func (r *room) closeAll() {
	r.mu.Lock()
	open := slices.Collect(maps.Keys(r.open))
	r.mu.Unlock()
	for _, conn := range open {
		_ = conn.Close()
	}
}

// visitor is one client's connection.
type visitor struct {
	*wire
	room *room
	once sync.Once
	// client and local are the connection's ends, or what the PROXY protocol says
	// that they are.
	client, local netip.AddrPort
	guest         *guest
	asked         bool // for anything, by now
	computing     bool // its handshake, in its guest's turn
}

// Read implements net.Conn.
func (v *visitor) Read(p []byte) (int, error) {
	if v.computing && v.guest != nil {
		v.guest.handshake.Unlock()
		defer v.guest.handshake.Lock()
	}
	return v.wire.Read(p)
}

// handshake secures the connection. The handshakes of one client are computed one at a
// time: who begins a thousand has one processor compute them, and nobody else waits.
func (v *visitor) handshake(conn *tls.Conn) error {
	if v.guest != nil {
		v.guest.handshake.Lock()
		defer v.guest.handshake.Unlock()
		if v.guest.caps.floods.refuses(v.guest.client) {
			return errFloods
		}
	}
	v.computing = true
	defer func() { v.computing = false }()
	return conn.HandshakeContext(context.Background())
}

var errFloods = errors.New("the client floods")

// refuse closes a connection without a word, and the kernel forgets it at once.
func (v *visitor) refuse() {
	_ = v.SetLinger(0)
	v.Close()
}

// RemoteAddr implements net.Conn.
func (v *visitor) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(v.client) }

// LocalAddr implements net.Conn.
func (v *visitor) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(v.local) }

// Close closes the connection and gives its place back.
func (v *visitor) Close() error {
	err := v.wire.Close()
	v.once.Do(func() {
		v.guest.leave()
		v.room.giveBack()
		v.room.leave(v)
	})
	return err
}

// notify leaves a value in a channel of capacity 1, unless there is one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
