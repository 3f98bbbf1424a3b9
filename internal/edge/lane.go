package edge

import (
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/springtide/springtide/internal/cache"
	"github.com/springtide/springtide/internal/http2"
	"github.com/springtide/springtide/internal/message"
)

// lane is the client's side of an exchange over HTTP/2. Implements
// http2.Exchange.
type lane struct {
	stream *http2.Stream
	edge   *edge
	teller *teller
	x      exchange
	here   *presence
	left   int64 // of the answer's body; -1: nobody knows
	bare   bool  // the answer has no body
	block  [512]byte
	others [2]message.Field // room for those of a stored answer that are not prepared
}

// open makes the exchange of a request.
func (s *session) open(stream *http2.Stream, used http2.Exchange) http2.Exchange {
	s.visitor.asked = true
	l, again := used.(*lane)
	if again {
		l.here = l.here.renewed()
	} else {
		l = &lane{stream: stream, edge: s.edge, teller: &s.teller, here: new(presence)}
	}
	x, head := &l.x, &stream.Head
	*x = exchange{
		client: l, ctx: l.here, protocol: "HTTP/2.0", started: time.Now(), address: s.address, port: s.port,
		interrupt: x.interrupt, guarded: guarded{fields: x.fields, stored: x.stored},
	}
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
	x.host = hostOf(head.Host)
	x.identify()
	return l
}

// inlineRoom is how many bytes a refusal has at most.
const inlineRoom = 16 << 10

// Begin implements http2.Exchange: it answers what asks no instance.
func (l *lane) Begin() http2.Progress {
	e, x, room := l.edge, &l.x, l.stream.Reserve()
	if room < inlineRoom || len(x.host) > inlineRoom/8 {
		return http2.Waiting
	}
	if l.stream.Fault == nil {
		if x.request.Method == http.MethodConnect || x.countsForwards() || len(e.options.TrustedProxies) > 0 {
			return http2.Waiting
		}
		if x.gate = e.router.find(x.host); x.gate != nil {
			if e.atOnce(x, x.gate, room) {
				return http2.Answered
			}
			return l.ahead(x.gate)
		}
	}
	defer e.finish(x)
	if !l.refuse() {
		e.refuseUnknown(x)
	}
	return http2.Answered
}

// Serve implements http2.Exchange.
func (l *lane) Serve() {
	if l.stream.Fault == nil && !l.x.arrived {
		l.edge.apps(&l.x)
		return
	}
	defer l.edge.finish(&l.x)
	if l.refuse() {
		return
	}
	if g, err := l.edge.pass(&l.x, l.x.gate); err != nil {
		l.edge.refuseAfter(&l.x, g, err)
	}
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
	l.here.end()
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
	return l.stream.Begin(l.endHead(block, a), l.bare || a.length == 0)
}

// endHead appends what the edge says itself.
func (l *lane) endHead(block []byte, a *answer) []byte {
	block = http2.AppendField(block, "x-request-id", a.id)
	if other := l.edge.quic.announcement(a); other != "" {
		block = http2.AppendField(block, "alt-svc", other)
	}
	return block
}

// beginStored implements preparer.
func (l *lane) beginStored(a *answer, stored *cache.Answer) error {
	l.bare, l.left = l.x.request.Method == http.MethodHead || !message.HasBody(a.Status), a.declared
	block := http2.AppendStatus(l.block[:0], a.Status)
	prepared, others, ok := stored.Prepared(encodeFields, l.others[:0])
	if ok {
		block = append(block, prepared...)
	} else {
		others = stored.AppendFields(l.others[:0])
	}
	block = appendBlock(appendBlock(block, others, nil), a.Fields, nil)
	if a.declared >= 0 {
		block = http2.AppendLength(block, a.declared)
	}
	return l.stream.Begin(l.endHead(block, a), l.bare || a.declared == 0)
}

func encodeFields(fields message.Fields) []byte { return appendBlock(nil, fields, nil) }

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
