package backlog

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// Depth is how many messages a queue has.
type Depth struct {
	// Waiting can be taken, UnderWay were taken and are not done. Where nobody knows
	// the latter it is 0.
	Waiting, UnderWay int
}

// Reader looks at one queue. It may be used by several at the same time.
type Reader struct {
	queue springtide.OutsideQueue
	// value gives a variable of the app.
	value func(name string) string
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	http  *http.Client
	// roots are whose certificates of Redis are accepted; nil: those of the machine.
	roots *x509.CertPool
}

// New gives a reader of a queue. The values are variables of the app, of which one
// may say where the queue is; dial decides what may be connected to.
func New(queue springtide.OutsideQueue, values map[string]string, dial func(ctx context.Context, network, address string) (net.Conn, error)) *Reader {
	return &Reader{
		queue: queue, value: func(name string) string { return values[name] }, dial: dial,
		http: &http.Client{
			Transport:     &http.Transport{DialContext: dial, ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close lets go of connections that are kept.
func (r *Reader) Close() { r.http.CloseIdleConnections() }

// Read looks at the queue. Errors name the queue, and no password.
func (r *Reader) Read(ctx context.Context) (depth Depth, err error) {
	switch r.queue.Kind {
	case springtide.OutsideRedis, springtide.OutsideCelery:
		depth, err = r.redis(ctx)
	case springtide.OutsideSQS:
		depth, err = r.sqs(ctx)
	case springtide.OutsideHTTP:
		depth.Waiting, err = r.endpoint(ctx)
	default:
		err = springtide.Errorf(springtide.Invalid, "%q is no kind of queue", r.queue.Kind)
	}
	if err != nil {
		return Depth{}, springtide.Errorf(springtide.Unavailable, "%s: %w", r.queue, err)
	}
	return depth, nil
}

// url gives where the queue is.
func (r *Reader) url() (string, error) {
	if strings.Contains(r.queue.URL, "://") {
		return r.queue.URL, nil
	}
	if value := r.value(r.queue.URL); value != "" {
		return value, nil
	}
	return "", springtide.Errorf(springtide.NotFound, "the app has no variable %s, which is to say where it is", r.queue.URL)
}
