package edge

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// RFC 9110, section 7.6.2.
func TestMaxForwardsIsCountedDown(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		e := startEdge(t)
		e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Header.Get("Max-Forwards"))
		})))
		client := e.client(t, http2)
		for method, want := range map[string]string{http.MethodOptions: "6", http.MethodTrace: "6", http.MethodGet: "7"} {
			request, err := http.NewRequestWithContext(t.Context(), method, "https://demo.localhost/", nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Max-Forwards", "7")
			if _, got := do(t, client, request); got != want {
				t.Errorf("%s: %q, want %q", method, got, want)
			}
		}
	})
}

// RFC 9110, section 7.4.
func TestWhatThereIsByHTTPSIsNotServedWithoutTLS(t *testing.T) {
	address := startPlain(t, serveInstance(t, "a", echoBody).Address)
	for target, want := range map[string]string{"https://a/": "421 ", "HTTPS://a/": "421 ", "http://a/": "200 ", "/": "200 "} {
		_, answers := talk(t, address, "GET "+target+" HTTP/1.1\r\nHost: a\r\n\r\n")
		if got := heard(t, answers); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %s", target, got, want)
		}
	}
}
