package edge

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/springtide/springtide/internal/http2"
	"github.com/springtide/springtide/internal/message"
)

// lane is the client's side of an exchange over HTTP/2. Implements
// http2.Exchange.
type lane struct {
	stream *http2.Stream
	edge   *edge
	x      exchange
	gone   context.CancelCauseFunc
	left   int64 // of the answer's body; -1: nobody knows
	bare   bool  // the answer has no body
	block  [512]byte
}

// open makes the exchange of a request.
func (s *session) open(stream *http2.Stream) http2.Exchange {
	l := &lane{stream: stream, edge: s.edge}
	x, head := &l.x, &stream.Head
	x.ctx, l.gone = context.WithCancelCause(context.Background())
	x.client, x.protocol, x.started = l, "HTTP/2.0", time.Now()
	x.address, x.port = s.address, s.port
	x.request = head.Request
	x.request.Scheme = "https"
	x.length, x.declared, x.expects = head.Length, head.Declared, head.Continue
	if body, whole := stream.Whole(); whole {
		x.length, x.whole, x.expects = int64(len(body)), body, false
		if len(body) > 0 {
			x.declared = x.length
		}
		x.received.Store(true)
	}
	if x.declared < 0 && x.length == 0 {
		switch head.Method {
		case http.MethodPost, http.MethodPut, http.MethodPatch:
			x.declared = 0
		}
	}
	x.id, x.host = requestID(head.Fields), hostOf(head.Host)
	return l
}

// inlineRoom is how many bytes a refusal has at most.
const inlineRoom = 16 << 10

// Begin implements http2.Exchange: it refuses what asks no instance.
func (l *lane) Begin() bool {
	e, x := l.edge, &l.x
	unknown := x.request.Method != http.MethodConnect && len(e.options.TrustedProxies) == 0 && e.router.find(x.host) == nil
	if l.stream.Fault == nil && !unknown || len(x.host) > inlineRoom/8 || l.stream.Room() < inlineRoom {
		return false
	}
	defer l.gone(errClientGone)
	defer e.finish(x)
	if !l.refuse() {
		e.refuseUnknown(x)
	}
	return true
}

// Serve implements http2.Exchange.
func (l *lane) Serve() {
	defer l.gone(errClientGone)
	if l.stream.Fault == nil {
		l.edge.apps(&l.x)
		return
	}
	defer l.edge.finish(&l.x)
	l.refuse()
}

// refuse answers what is no proper request.
func (l *lane) refuse() bool {
	fault := l.stream.Fault
	if fault != nil {
		l.x.request.Method, l.x.host = "-", ""
		l.edge.refuse(&l.x, fault.Status, 0, "%s", fault.Reason)
	}
	return fault != nil
}

// Gone implements http2.Exchange.
func (l *lane) Gone() {
	l.gone(errClientGone)
	l.x.end(errClientGone)
}

// Look implements http2.Exchange.
func (l *lane) Look(now time.Duration) { l.x.late.check(int64(now), l.x.tooLate) }

// Read implements client.
func (l *lane) Read(p []byte) (int, error) {
	n, err := l.stream.Read(p)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && l.x.ctx.Err() != nil {
		err = errors.Join(errClientGone, err)
	}
	return n, err
}

func (l *lane) stopReading() { l.stream.StopReading() }

func (l *lane) trailer() message.Fields { return l.stream.Trailer() }

// inform implements client.
func (l *lane) inform(status int, fields message.Fields, options []string) error {
	block := http2.AppendStatus(l.block[:0], status)
	return l.stream.Inform(appendBlock(block, fields, options))
}

// appendBlock appends the fields that are for the client.
func appendBlock(to []byte, fields message.Fields, options []string) []byte {
	for i := range fields {
		name := fields[i].Name
		if isHopByHop(name) && !strings.EqualFold(name, "Trailer") || isNamed(name, options) ||
			len(name) == 12 && strings.EqualFold(name, "X-Request-ID") {
			continue
		}
		to = http2.AppendField(to, name, fields[i].Value)
	}
	return to
}

// begin implements client.
func (l *lane) begin(a *answer) error {
	l.bare, l.left = l.x.request.Method == http.MethodHead || !message.HasBody(a.Status), a.length
	block := appendBlock(http2.AppendStatus(l.block[:0], a.Status), a.Fields, a.options)
	if !a.Fields.Has("Date") {
		block = http2.AppendField(block, "date", *l.edge.clock.date.Load())
	}
	if a.declared >= 0 && (a.Status == http.StatusNotModified || message.HasBody(a.Status)) {
		block = http2.AppendLength(block, a.declared)
	}
	block = http2.AppendField(block, "x-request-id", a.id)
	if other := l.edge.quic.announcement(a); other != "" {
		block = http2.AppendField(block, "alt-svc", other)
	}
	return l.stream.Begin(block, l.bare || a.length == 0)
}

// Write implements client.
func (l *lane) Write(p []byte) (int, error) {
	if l.bare || len(p) == 0 {
		return len(p), nil
	}
	if l.left > 0 {
		l.left = max(0, l.left-int64(len(p)))
	}
	return l.stream.Send(p, l.left == 0)
}

func (l *lane) flush() error { return l.stream.Flush() }

// end implements client.
func (l *lane) end(trailer message.Fields) error {
	var block []byte
	if len(trailer) > 0 {
		block = appendBlock(l.block[:0], trailer, nil)
	}
	return l.stream.End(block)
}

// tunnel implements client: over HTTP/2 there are none.
func (l *lane) tunnel() (net.Conn, []byte, error) { return nil, nil, errNonsense }
