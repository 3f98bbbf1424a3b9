package edge

import (
	"io"
	"net/http"
	"testing"
)

func TestARequestIsAnsweredOverHTTP3(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Length", http.StatusText(200))
		io.WriteString(w, r.Method+" "+r.Header.Get("X-Forwarded-Proto")+" "+string(body)+" "+r.Header.Get("Transfer-Encoding"))
	})))
	t.Run(overHTTP3, func(t *testing.T) {
		response, body := get(t, e.client(t, false), "/")
		if response.Proto != "HTTP/3.0" || body != "GET https  " {
			t.Errorf("got %s %q", response.Proto, body)
		}
	})
	response, _ := get(t, e.client(t, true), "/")
	t.Log(response.Header)
}
