package call

import (
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

func FuzzCall(f *testing.F) {
	for _, seed := range []string{
		`{"url":"/tasks"}`, `{"url":"https://api.example.com/x","method":"PUT","headers":{"A":"b"},"body":{"c":1},"rate":2}`,
		`{"url":"http://a@b/"}`, `{"url":"/\\evil"}`, `{"url":"//x"}`, `{"url":"/x","headers":{"A":"\r\n"}}`,
	} {
		f.Add([]byte(seed))
	}
	caller := New(Options{})
	f.Fuzz(func(t *testing.T, payload []byte) {
		asked, err := decode(payload)
		if err != nil {
			if springtide.KindOf(err) != springtide.Invalid {
				t.Fatalf("%s: %v", payload, err)
			}
			return
		}
		// What was taken in can be sent, and says no more than it was given.
		where, err := parse(asked.URL)
		if err != nil || (where.Host == "") != strings.HasPrefix(asked.URL, "/") {
			t.Fatalf("%s: %v, %v", payload, where, err)
		}
		if where.Host == "" {
			where, err = parse("http://app.example" + asked.URL)
			if err != nil || where.Host != "app.example" {
				t.Fatalf("%s leads to %v, %v", payload, where, err)
			}
		}
		request, err := caller.request(t.Context(), springtide.Run{ID: "run"}, asked, target{method: asked.Method, url: where})
		if err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		var wire strings.Builder
		if err := request.Write(&wire); err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		head, _, _ := strings.Cut(wire.String(), "\r\n\r\n")
		if lines, most := strings.Count(head, "\r\n"), len(asked.Headers)+10; lines > most {
			t.Fatalf("%s makes %d lines: %s", payload, lines, head)
		}
	})
}
