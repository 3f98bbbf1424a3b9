package edge

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/springtide/springtide/internal/message"
)

// refuse gives an answer of the edge's own. The client may come again after so
// many seconds; 0: it makes no difference. Why is told to the access log, and to
// the client as far as it is about its own request.
func (e *edge) refuse(x *exchange, status, retryAfter int, format string, args ...any) {
	page := ""
	if x.protection != nil {
		page = x.protection.pages[status]
	}
	e.refuseWith(x, status, retryAfter, page, fmt.Sprintf(format, args...))
}

// refuseWith is refuse with a page; empty: the edge's own.
func (e *edge) refuseWith(x *exchange, status, retryAfter int, page, why string) {
	x.refused = why
	body, kind := errorBody(x, status, page, why)
	e.reply(x, status, refuseFields(kind, retryAfter), body)
}

// reply sends a whole answer.
func (e *edge) reply(x *exchange, status int, fields message.Fields, text string) {
	err := x.begin(&answer{
		Response: message.Response{Status: status, Fields: fields},
		length:   int64(len(text)), declared: int64(len(text)), leaving: e.draining.Load(),
	})
	if err == nil && x.request.Method != http.MethodHead {
		err = x.say([]byte(text))
	}
	if err == nil {
		err = x.client.end(nil)
	}
	x.aborted = x.aborted || err != nil
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
	path := x.request.Target
	if path == "*" {
		path = "/"
	}
	e.reply(x, http.StatusPermanentRedirect, message.Fields{{Name: "Location", Value: "https://" + authority + path}}, "")
}
