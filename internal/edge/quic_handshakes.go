package edge

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// How many handshakes over QUIC a client may have under way. quic-go computes them side
// by side, so that they are bounded, where those over TCP are computed one at a time.
const (
	// trustedHandshakes are those of who has not shown that his address is his own.
	trustedHandshakes = 8
	mostHandshakes    = 32
)

var errHandshakes = errors.New("the client has too many handshakes under way")

// handshakes knows how many each client has under way over QUIC.
type handshakes struct {
	mu   sync.Mutex
	open map[netip.Addr]int
}

// begin counts one more, unless there are as many as there may be.
func (h *handshakes) begin(client netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[client] >= mostHandshakes {
		return false
	}
	if h.open == nil {
		h.open = map[netip.Addr]int{}
	}
	h.open[client]++
	return true
}

func (h *handshakes) end(client netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[client]--; h.open[client] <= 0 {
		delete(h.open, client)
	}
}

func (h *handshakes) of(client netip.Addr) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open[client]
}

// admission is a QUIC connection from before its handshake until its end.
type admission struct {
	edge *edge
	// client is not valid where connections of many clients come from.
	client netip.Addr
	// shown says that the address is the client's own, asked that something was.
	shown, asked atomic.Bool
	shaken       sync.Once
}

// admissionKey is that of a connection's admission in its context.
type admissionKey struct{}

// newAdmission lets a handshake begin, unless the client has too many under way.
func (e *edge) newAdmission(info *quic.ClientInfo) (*admission, error) {
	a := &admission{edge: e, client: e.clientByUDP(info.RemoteAddr)}
	a.shown.Store(info.AddrVerified)
	if a.client.IsValid() && !e.quic.handshakes.begin(a.client) {
		e.floods.refused.Add(1)
		return nil, errHandshakes
	}
	return a, nil
}

// shake notes that the handshake is over.
func (a *admission) shake() {
	a.shaken.Do(func() {
		if a.client.IsValid() {
			a.edge.quic.handshakes.end(a.client)
		}
	})
}

// account notes that the connection has ended. Nobody is refused for who uses his address.
func (a *admission) account() {
	a.shake()
	switch {
	case !a.client.IsValid(), a.asked.Load():
	case a.shown.Load():
		a.edge.floods.owes(a.client, idleDebt)
	default:
		a.edge.floods.doubts(a.client, idleDebt)
	}
}

// Close implements io.Closer. The connection is closed as a quicVisitor, or with
// the transport.
func (a *admission) Close() error { return nil }

// suspects says whether a client has to show first that his address is his own.
func (e *edge) suspects(from net.Addr) bool {
	client := e.clientByUDP(from)
	return client.IsValid() && (e.quic.handshakes.of(client) >= trustedHandshakes || e.floods.doubts(client, 0))
}

// clientByUDP gives the client at an address, if it is one client's.
func (e *edge) clientByUDP(from net.Addr) netip.Addr {
	udp, ok := from.(*net.UDPAddr)
	if !ok {
		return netip.Addr{}
	}
	address := udp.AddrPort().Addr().Unmap().WithZone("")
	if !e.counts(address) {
		return netip.Addr{}
	}
	return clientOf(address)
}

// reject has a request not be served: its client may send it again (RFC 9114, section 4.1.1).
func reject(w any) {
	const why = quic.StreamErrorCode(http3.ErrCodeRequestRejected)
	if taken, ok := w.(http3.HTTPStreamer); ok {
		stream := taken.HTTPStream()
		stream.CancelRead(why)
		stream.CancelWrite(why)
	}
}
