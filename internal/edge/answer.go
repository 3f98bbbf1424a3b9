package edge

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
)

// refuse gives an answer of the edge's own. The client may come again after so
// many seconds; 0: it makes no difference.
func (e *edge) refuse(x *exchange, status, retryAfter int, format string, args ...any) {
	text := fmt.Sprintf("%d %s: %s\nrequest %s\n", status, http.StatusText(status), fmt.Sprintf(format, args...), x.id)
	header := x.writer.Header()
	clear(header)
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(text)))
	if retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	e.head(x, status)
	if x.request.Method != http.MethodHead {
		n, err := x.writer.Write([]byte(text))
		x.bytes += int64(n)
		x.aborted = x.aborted || err != nil
	}
}

// head sends the head of the final answer.
func (e *edge) head(x *exchange, status int) {
	header := x.writer.Header()
	header.Set("X-Request-Id", x.id)
	if e.draining.Load() {
		header.Set("Connection", "close") // over HTTP/2 net/http makes it a GOAWAY
	}
	if x.request.ProtoMajor == 1 && x.body != nil && !x.body.complete() {
		header.Set("Connection", "close") // the rest of the body must not be taken for a request
	}
	x.status, x.begun = status, true
	x.writer.WriteHeader(status)
}

func (e *edge) refuseUnknown(x *exchange) {
	if e.router.version() == 0 {
		e.refuse(x, http.StatusServiceUnavailable, 1, "the edge has not been told yet what to serve")
		return
	}
	e.refuse(x, http.StatusNotFound, 0, "no app is served at %q", x.host)
}

// refuseHeld answers a request that got no instance.
func (e *edge) refuseHeld(x *exchange, g *gate, why error) {
	g.count((*meter).refused)
	route := g.current()
	switch {
	case errors.Is(why, errStopped):
		e.refuse(x, http.StatusServiceUnavailable, 30, "%s is stopped", route.Environment)
	case errors.Is(why, errQueueFull):
		e.refuse(x, http.StatusServiceUnavailable, 5, "%d requests already wait for an instance of %s", route.HoldLimit, route.Environment)
	case errors.Is(why, errHeldTooLong):
		e.refuse(x, http.StatusServiceUnavailable, 5, "no instance of %s was free within %s", route.Environment, route.HoldFor)
	default:
		e.refuse(x, http.StatusServiceUnavailable, 1, "%v", why)
	}
}

// refuseFailed answers a request whose instance did not.
func (e *edge) refuseFailed(x *exchange, g *gate, f *failure) {
	g.count((*meter).refused)
	if f.timedOut() {
		e.refuse(x, http.StatusGatewayTimeout, 5, "instance %s did not answer in time", x.backend.Instance)
		return
	}
	e.refuse(x, http.StatusBadGateway, 1, "instance %s gave no proper answer", x.backend.Instance)
}

// redirect sends the client to the same place over TLS.
func (e *edge) redirect(x *exchange) {
	authority := x.host
	if net.ParseIP(authority) != nil && net.ParseIP(authority).To4() == nil {
		authority = "[" + authority + "]"
	}
	if e.httpsPort != "" && e.httpsPort != "443" {
		authority += ":" + e.httpsPort
	}
	path := x.request.URL.RequestURI()
	if path == "*" {
		path = "/"
	}
	x.writer.Header().Set("Location", "https://"+authority+path)
	x.writer.Header().Set("Content-Length", "0")
	e.head(x, http.StatusPermanentRedirect)
}
