package state

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/test/story"
)

// fetch makes a request as a browser does, and gives the answer with its body.
func (s *shelf) fetch(method, at, body string, header ...string) (*http.Response, string) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, at, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := s.client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response, string(text)
}

func TestFilesThatArePublicAreServedByTheEdgeAndSignedOnesToo(t *testing.T) {
	p := story.Platform(t)
	s := attic(t, p, "attic", "{ uploads: { path: /data/uploads, public: /media, signed: true } }")
	s.ask("PUT", "/kept/cat.txt", "0123456789")
	s.ask("PUT", "/direct/.hidden", "hidden")
	whole, text := s.fetch("GET", s.url+"/media/cat.txt", "")
	if whole.StatusCode != http.StatusOK || text != "0123456789" || whole.Header.Get("Cache-Control") == "" || whole.Header.Get("Last-Modified") == "" {
		t.Fatalf("got %s %v %q", whole.Status, whole.Header, text)
	}
	if part, text := s.fetch("GET", s.url+"/media/cat.txt", "", "Range", "bytes=2-4"); part.StatusCode != http.StatusPartialContent || text != "234" {
		t.Errorf("got %s %q", part.Status, text)
	}
	if same, text := s.fetch("GET", s.url+"/media/cat.txt", "", "If-None-Match", whole.Header.Get("ETag")); same.StatusCode != http.StatusNotModified || text != "" {
		t.Errorf("got %s %q", same.Status, text)
	}
	for _, path := range []string{"/media", "/media/", "/media/.hidden", "/media/a%2f..%2f.hidden", "/media/missing"} {
		if answer, text := s.fetch("GET", s.url+path, "", springtide.FolderHeader, "attic/production/uploads"); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s %q", path, answer.Status, text)
		}
	}
	if _, text := s.fetch("GET", s.url+"/media/..%2f.uploads/settings.json", ""); text != "the app" {
		t.Errorf("out of the prefix there is %q", text)
	}
	if answer, _ := s.fetch("DELETE", s.url+"/media/cat.txt", ""); answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("got %s", answer.Status)
	}
	if _, text := s.fetch("GET", s.url+"/mediaeval", ""); text != "the app" {
		t.Errorf("got %q", text)
	}
	if put, text := s.fetch("PUT", s.ask("GET", "/signed/put/from%20a%20browser", ""), "sent"); put.StatusCode != http.StatusOK {
		t.Errorf("got %s %q", put.Status, text)
	}
	if got, text := s.fetch("GET", s.ask("GET", "/signed/get/from%20a%20browser", ""), ""); got.StatusCode != http.StatusOK || text != "sent" {
		t.Errorf("got %s %q", got.Status, text)
	}
	if got, text := s.fetch("GET", s.url+"/uploads/cat.txt", ""); got.StatusCode != http.StatusForbidden {
		t.Errorf("without a signature: %s %q", got.Status, text)
	}
	s.describe("attic", "{ uploads: /data/uploads }")
	s.tide("deploy")
	if _, text := s.fetch("GET", s.url+"/media/cat.txt", ""); text != "the app" {
		t.Errorf("no longer public: %q", text)
	}
}
