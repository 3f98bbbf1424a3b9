package peer

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

const (
	// Silence is how long nothing may be heard on a connection.
	Silence = 5 * time.Second
	// beatEvery is how often an end says that it is there.
	beatEvery   = time.Second
	writeWithin = 10 * time.Second
	dialWithin  = 3 * time.Second
)

// beat is nothing between two lines of JSON.
var beat = []byte("\n")

// connection is one on which both ends are heard of. Deadlines of reading are its own.
type connection struct {
	*tls.Conn
	closed chan struct{}
	once   sync.Once
}

func alive(conn *tls.Conn) *connection {
	c := &connection{Conn: conn, closed: make(chan struct{})}
	go c.beat()
	return c
}

func (c *connection) beat() {
	ticks := time.NewTicker(beatEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-c.closed:
			return
		}
		// Each call writes all it was given before another one does.
		if _, err := c.Write(beat); err != nil {
			return
		}
	}
}

// Read implements net.Conn, without the beats.
func (c *connection) Read(p []byte) (int, error) {
	for {
		if err := c.SetReadDeadline(time.Now().Add(Silence)); err != nil {
			return 0, err
		}
		if n, err := c.Conn.Read(p); n != len(beat) || p[0] != beat[0] || err != nil {
			return n, err
		}
	}
}

// Write implements net.Conn.
func (c *connection) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.NetConn().Close() // a farewell would wait for an end that may be gone
}

// Dialer gives what connects to a control plane at an address, HOST:PORT.
func Dialer(address string, token Token) (func(context.Context) (net.Conn, error), error) {
	config, err := token.config(edges, controlPlane)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialWithin)
		defer cancel()
		dialer := tls.Dialer{Config: config}
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		return alive(conn.(*tls.Conn)), nil
	}, nil
}

// Listen gives the connections of edges on a listener. Who has no token is told so
// at the first Read.
func Listen(listener net.Listener, token Token) (net.Listener, error) {
	config, err := token.config(controlPlane, edges)
	return door{listener, config}, err
}

type door struct {
	net.Listener
	config *tls.Config
}

// Accept implements net.Listener.
func (d door) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return alive(tls.Server(conn, d.config)), nil
}
