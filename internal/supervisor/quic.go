package supervisor

import (
	"net"
	"os"
	"slices"

	"github.com/springtide/springtide/internal/edge"
)

// listenQUIC adds a UDP socket for HTTP/3 beside each socket for HTTPS: one of
// those that are held, which it closes otherwise, or a new one. Where that is not
// possible TCP serves alone. It tells whether all of them were held.
func (s *Supervisor) listenQUIC(held []edge.Listener) (same bool) {
	same, held = true, slices.Clone(held)
	for _, https := range slices.Clone(s.listeners) {
		if https.Name != edge.HTTPS || s.options.NoHTTP3 {
			continue
		}
		if at := slices.IndexFunc(held, func(udp edge.Listener) bool { return beside(https.File, udp.File) }); at >= 0 {
			s.listeners = append(s.listeners, held[at])
			held = slices.Delete(held, at, at+1)
			continue
		}
		opened, err := edge.Beside(https)
		if err != nil {
			s.options.Logger.Warn("HTTP/3 is not served", "error", err)
			continue
		}
		s.listeners, same = append(s.listeners, opened), false
	}
	closeAll(held)
	return same && len(held) == 0
}

// beside reports whether a UDP socket has the address of a TCP socket.
func beside(tcp, udp *os.File) bool {
	listener, err := net.FileListener(tcp)
	if err != nil {
		return false
	}
	defer listener.Close()
	conn, err := net.FilePacketConn(udp)
	if err != nil {
		return false
	}
	defer conn.Close()
	return conn.LocalAddr().String() == listener.Addr().String()
}

// apart gives what is QUIC's and what is not.
func apart(listeners []edge.Listener) (quic, others []edge.Listener) {
	for _, listener := range listeners {
		if listener.Name == edge.QUIC {
			quic = append(quic, listener)
		} else {
			others = append(others, listener)
		}
	}
	return quic, others
}
