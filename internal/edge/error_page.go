package edge

import (
	"html"
	"net/http"
	"strconv"
	"strings"

	"github.com/springtide/springtide/internal/message"
)

// publicText is what a client is told. What is wrong with its own request it may
// know; what is wrong behind the edge is for the access log.
func publicText(status int, reason string) string {
	switch status {
	case http.StatusTooManyRequests:
		return "There were too many requests. Try again later."
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return "The service cannot answer just now. Try again later."
	}
	return reason
}

// errorBody gives the body of an answer of the edge's own and its media type, as
// the client wants it: HTML, JSON or plain text. A page of the app's own is for
// whoever takes HTML at all; in it {request_id} stands for the request's ID.
func errorBody(x *exchange, status int, page, reason string) (body, kind string) {
	title, text := http.StatusText(status), publicText(status, reason)
	accept := strings.ToLower(x.request.Fields.Get("Accept"))
	wantsHTML := strings.Contains(accept, "text/html")
	id := html.EscapeString(x.id)
	switch {
	case page != "" && (wantsHTML || accept == "" || strings.Contains(accept, "*/*") && !strings.Contains(accept, "json")):
		return strings.ReplaceAll(page, "{request_id}", id), "text/html; charset=utf-8"
	case wantsHTML:
		return strings.NewReplacer("{status}", strconv.Itoa(status), "{title}", title, "{text}", html.EscapeString(text), "{request_id}", id).Replace(ownPage), "text/html; charset=utf-8"
	case strings.Contains(accept, "json"):
		made := appendNumber([]byte("{"), "status", int64(status))
		made[1] = ' ' // the comma before the first
		made = appendText(appendText(appendText(made, "title", title), "detail", text), "request_id", x.id)
		return string(append(made, " }\n"...)), "application/problem+json"
	}
	return strconv.Itoa(status) + " " + title + ": " + text + "\nrequest " + x.id + "\n", "text/plain; charset=utf-8"
}

const ownPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{status} {title}</title>
<style>body { font: 1rem/1.5 system-ui, sans-serif; margin: 15vh auto; max-width: 34rem; padding: 0 1rem } small { opacity: .6 }</style>
<h1>{title}</h1>
<p>{text}</p>
<p><small>{status}, request {request_id}</small></p>
</html>
`

// refuseFields are those of an answer of the edge's own.
func refuseFields(kind string, retryAfter int) message.Fields {
	fields := message.Fields{
		{Name: "Content-Type", Value: kind},
		{Name: "Cache-Control", Value: "no-store"},
		{Name: "Vary", Value: "Accept"},
		{Name: "X-Content-Type-Options", Value: "nosniff"},
	}
	if retryAfter > 0 {
		fields = append(fields, message.Field{Name: "Retry-After", Value: strconv.Itoa(retryAfter)})
	}
	return fields
}
