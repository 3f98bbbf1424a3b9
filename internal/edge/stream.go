package edge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide/internal/message"
)

// probeTimeout is how long a request that does not say how long its body is may
// take to show that it has none.
const probeTimeout = 200 * time.Millisecond

// stream is the client's side of an exchange over HTTP/3, which quic-go speaks.
type stream struct {
	exchange *exchange
	clock    *clock
	writer   http.ResponseWriter
	control  *http.ResponseController
	request  *http.Request
	// reading and writing ring when the client takes too long.
	reading, writing alarm
	patience         time.Duration // what is left of it, see bodyTimeout
	progress         int
}

// newExchange makes the exchange of a request that quic-go took.
func newExchange(w http.ResponseWriter, r *http.Request, clock *clock) *exchange {
	s := &stream{clock: clock, writer: w, control: http.NewResponseController(w), request: r, patience: bodyTimeout}
	started := time.Now()
	s.probe()
	x := &exchange{
		client: s, ctx: r.Context(), length: r.ContentLength, declared: -1, protocol: "HTTP/3.0", started: started,
		request: message.Request{Method: r.Method, Scheme: "https", Host: strings.ToLower(r.Host), Target: r.RequestURI},
		expects: strings.EqualFold(r.Header.Get("Expect"), "100-continue"),
	}
	s.exchange = x
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
	x.host = hostOf(r.Host)
	x.identify()
	return x
}

func hostPart(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// probe finds out whether a request has a body, which QUIC tells no sooner than
// with its end. Those that usually have one may wait for the answer before they
// send it.
func (s *stream) probe() {
	r := s.request
	if r.ContentLength >= 0 || r.Body == nil || r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch || r.Method == http.MethodConnect {
		return
	}
	first := make([]byte, 1)
	_ = s.control.SetReadDeadline(time.Now().Add(probeTimeout))
	n, err := r.Body.Read(first)
	_ = s.control.SetReadDeadline(time.Time{})
	if n == 0 && errors.Is(err, io.EOF) && len(r.Trailer) == 0 {
		r.ContentLength = 0
		return
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(first[:n]), r.Body), r.Body}
}

// serveStream serves a request over HTTP/3.
func (e *edge) serveStream(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r, e.clock)
	s := x.client.(*stream)
	e.clock.watch(s)
	stop := context.AfterFunc(x.ctx, func() { x.end(errClientGone) })
	defer func() {
		stop()
		e.clock.forget(s)
		if x.aborted {
			panic(http.ErrAbortHandler) // quic-go resets the stream
		}
	}()
	if fault, ok := errors.AsType[*message.Error](judge(r)); ok {
		defer e.finish(x)
		x.request.Method, x.host = "-", ""
		e.refuse(x, max(fault.Status, http.StatusBadRequest), 0, "%s", fault.Reason)
		return
	}
	e.apps(x)
}

// judge judges a request as strictly as one over HTTP/2: quic-go takes targets that have
// spaces in them, which would be another request line over HTTP/1.
func judge(r *http.Request) error {
	var head message.StreamHead
	line := [...]message.Field{{Name: ":method", Value: r.Method}, {Name: ":authority", Value: r.Host}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: r.RequestURI}}
	said := line[:]
	if r.Method == http.MethodConnect {
		said = said[:2]
	}
	for _, field := range said {
		if err := head.Add(field.Name, field.Value); err != nil {
			return err
		}
	}
	for name, values := range r.Header {
		for _, value := range values {
			if err := head.Add(strings.ToLower(name), value); err != nil {
				return err
			}
		}
	}
	return head.Conclude(false)
}

// look implements watched.
func (s *stream) look(now int64) {
	s.reading.check(now, s.stopReading)
	s.writing.check(now, func() { _ = s.control.SetWriteDeadline(longAgo) })
	s.exchange.late.check(now, s.exchange.tooLate)
}

// Read implements client, with the patience that is left.
func (s *stream) Read(p []byte) (int, error) {
	began := s.clock.elapsed.Load()
	if !s.exchange.begun.Load() {
		s.reading.set(began + int64(s.patience))
	}
	n, err := s.request.Body.Read(p)
	if s.reading.stop() {
		if n == 0 {
			return 0, os.ErrDeadlineExceeded
		}
		_ = s.control.SetReadDeadline(time.Time{}) // it came at the last moment
	}
	s.patience -= time.Duration(s.clock.elapsed.Load() - began)
	if s.progress += n; s.progress >= bodyProgress {
		s.patience, s.progress = bodyTimeout, 0
	}
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
		header["Content-Type"] = nil // or quic-go guesses one
	}
	if a.declared >= 0 && a.length >= 0 {
		header.Set("Content-Length", strconv.FormatInt(a.declared, 10))
	}
	header.Set("X-Request-Id", a.id)
	s.writer.WriteHeader(a.Status)
	return nil
}

// Write implements client.
func (s *stream) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.writing.set(s.clock.after(writeTimeout))
	defer s.writing.stop()
	return s.writer.Write(p)
}

func (s *stream) flush() error {
	s.writing.set(s.clock.after(writeTimeout))
	defer s.writing.stop()
	return s.control.Flush()
}

// end implements client.
func (s *stream) end(trailer message.Fields) error {
	for _, field := range trailer {
		s.writer.Header().Add(http.TrailerPrefix+field.Name, field.Value)
	}
	// Or quic-go says that an answer whose length is not known has none.
	return s.flush()
}

// tunnel implements client: there are none.
func (s *stream) tunnel() (net.Conn, []byte, error) { return nil, nil, errNonsense }
