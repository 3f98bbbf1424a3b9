package load

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// transports are the connections that requests share.
type transports struct {
	keepAlive, fresh *http.Transport
	multiplexed      []*http.Transport
	next             atomic.Uint32
}

func newTransports(o Options) *transports {
	t := &transports{keepAlive: newTransport(o, false), fresh: newTransport(o, false)}
	t.fresh.DisableKeepAlives = true
	for range o.Connections {
		t.multiplexed = append(t.multiplexed, newTransport(o, true))
	}
	return t
}

// newTransport makes one that speaks either HTTP/1.1 or HTTP/2, never both.
func newTransport(o Options, http2 bool) *http.Transport {
	dialer := &net.Dialer{Timeout: o.Timeout} // who waits for an answer waits for its connection
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, or(o.Dial, address))
		},
		TLSClientConfig:     &tls.Config{RootCAs: o.CA, ClientSessionCache: tls.NewLRUClientSessionCache(64)},
		TLSHandshakeTimeout: o.Timeout,
		Protocols:           protocols,
		MaxIdleConns:        0,
		MaxIdleConnsPerHost: o.Open,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
		ReadBufferSize:      16 << 10,
	}
}

// of gives the transport for a connection; HTTP/2 takes turns.
func (t *transports) of(c Connection) http.RoundTripper {
	switch c {
	case Fresh:
		return t.fresh
	case Multiplexed:
		return t.multiplexed[int(t.next.Add(1))%len(t.multiplexed)]
	default:
		return t.keepAlive
	}
}

func (t *transports) close() {
	t.keepAlive.CloseIdleConnections()
	t.fresh.CloseIdleConnections()
	for _, one := range t.multiplexed {
		one.CloseIdleConnections()
	}
}
