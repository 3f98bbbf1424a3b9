package edge

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide/internal/message"
)

// stream is the client's side of an exchange over HTTP/2, which net/http speaks.
type stream struct {
	exchange *exchange
	writer   http.ResponseWriter
	control  *http.ResponseController
	request  *http.Request
}

// newExchange makes the exchange of a request that net/http took.
func newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	s := &stream{writer: w, control: http.NewResponseController(w), request: r}
	x := &exchange{
		client: s, ctx: r.Context(), length: r.ContentLength, declared: -1, protocol: r.Proto, started: time.Now(),
		request: message.Request{Method: r.Method, Scheme: "http", Host: strings.ToLower(r.Host), Target: r.RequestURI},
	}
	s.exchange = x
	if r.TLS != nil {
		x.request.Scheme = "https"
	}
	for name, values := range r.Header {
		for _, value := range values {
			x.request.Fields = append(x.request.Fields, message.Field{Name: name, Value: value})
		}
	}
	if r.Trailer != nil {
		for name := range r.Trailer {
			x.request.Fields = append(x.request.Fields, message.Field{Name: "Trailer", Value: name})
		}
	}
	switch {
	case r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0:
		x.length = 0
		x.received.Store(true)
		if r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
			x.declared = 0
		}
	case r.ContentLength > 0:
		x.declared = r.ContentLength
	default:
		x.length = message.Chunked
	}
	x.address = hostPart(r.RemoteAddr)
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		_, x.port, _ = net.SplitHostPort(local.String())
	}
	x.id, x.host = requestID(x.request.Fields), hostOf(r.Host)
	return x
}

func hostPart(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// serveStream serves a request over HTTP/2.
func (e *edge) serveStream(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r)
	s := x.client.(*stream)
	e.clock.watch(s)
	stop := context.AfterFunc(x.ctx, func() { x.end(errClientGone) })
	defer func() {
		stop()
		e.clock.forget(s)
		if x.aborted {
			panic(http.ErrAbortHandler) // net/http resets the stream
		}
	}()
	e.apps(x)
}

// look implements watched.
func (s *stream) look(now int64) { s.exchange.late.check(now, s.exchange.tooLate) }

// Read implements client.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.request.Body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = errors.Join(errClientGone, err)
	}
	return n, err
}

func (s *stream) stopReading() { _ = s.control.SetReadDeadline(longAgo) }

func (s *stream) trailer() message.Fields {
	var fields message.Fields
	for name, values := range s.request.Trailer {
		for _, value := range values {
			fields = append(fields, message.Field{Name: name, Value: value})
		}
	}
	return fields
}

// inform implements client.
func (s *stream) inform(status int, fields message.Fields, options []string) error {
	if status == http.StatusContinue {
		return nil // net/http says so by itself, when the body is read
	}
	s.copy(fields, options)
	s.writer.WriteHeader(status)
	clear(s.writer.Header())
	return nil
}

// copy makes a header that outlives the buffer that the fields are in.
func (s *stream) copy(fields message.Fields, options []string) {
	header := s.writer.Header()
	for _, field := range fields {
		if isHopByHop(field.Name) && !strings.EqualFold(field.Name, "Trailer") || isNamed(field.Name, options) {
			continue
		}
		header.Add(strings.Clone(field.Name), strings.Clone(field.Value))
	}
}

// begin implements client.
func (s *stream) begin(a *answer) error {
	header := s.writer.Header()
	clear(header)
	s.copy(a.Fields, a.options)
	if !a.Fields.Has("Content-Type") {
		header["Content-Type"] = nil // or net/http guesses one
	}
	if a.declared >= 0 && a.length >= 0 {
		header.Set("Content-Length", strconv.FormatInt(a.declared, 10))
	}
	header.Set("X-Request-Id", a.id)
	if a.leaving {
		header.Set("Connection", "close") // net/http makes it a GOAWAY
	}
	s.writer.WriteHeader(a.Status)
	return nil
}

// Write implements client.
func (s *stream) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return s.writer.Write(p)
}

func (s *stream) flush() error { return s.control.Flush() }

// end implements client.
func (s *stream) end(trailer message.Fields) error {
	for _, field := range trailer {
		s.writer.Header().Add(http.TrailerPrefix+field.Name, field.Value)
	}
	return nil
}

// tunnel implements client: over HTTP/2 there are none.
func (s *stream) tunnel() (net.Conn, []byte, error) { return nil, nil, errNonsense }
