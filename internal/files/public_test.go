package files

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

func servePublic(t *testing.T, store *Store) func(path string, headers ...string) (*http.Response, string) {
	t.Helper()
	server := httptest.NewServer(NewPublic(store, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	return func(path string, headers ...string) (*http.Response, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set(springtide.FolderHeader, "shop/production/uploads")
		for i := 0; i < len(headers); i += 2 {
			request.Header.Set(headers[i], headers[i+1])
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer, string(text)
	}
}

func TestAPublicFileIsServedWholeInRangesAndNotAgain(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{Public: "/media"})
	put(t, folder, "a/cat.png", "0123456789")
	fetch := servePublic(t, store)
	whole, text := fetch("/media/a/cat.png")
	if whole.StatusCode != 200 || text != "0123456789" || whole.Header.Get("Content-Type") != "image/png" || whole.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("got %v %q", whole, text)
	}
	if part, text := fetch("/media/a/cat.png", "Range", "bytes=2-4"); part.StatusCode != 206 || text != "234" || part.Header.Get("Content-Range") != "bytes 2-4/10" {
		t.Errorf("got %v %q", part, text)
	}
	if beyond, _ := fetch("/media/a/cat.png", "Range", "bytes=10-"); beyond.StatusCode != 416 {
		t.Errorf("got %v", beyond)
	}
	etag := whole.Header.Get("ETag")
	if same, text := fetch("/media/a/cat.png", "If-None-Match", etag); same.StatusCode != 304 || text != "" {
		t.Errorf("got %v %q", same, text)
	}
	if same, _ := fetch("/media/a/cat.png", "If-Modified-Since", whole.Header.Get("Last-Modified")); same.StatusCode != 304 {
		t.Errorf("got %v", same)
	}
	if err := os.WriteFile(direct(store, "a/cat.png"), []byte("abcdefghij"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, text := fetch("/media/a/cat.png", "If-None-Match", etag); changed.StatusCode != 200 || text != "abcdefghij" {
		t.Errorf("got %v %q", changed, text)
	}
	if mixed, text := fetch("/media/a/cat.png", "If-Range", etag, "Range", "bytes=2-4"); mixed.StatusCode != 200 || text != "abcdefghij" {
		t.Errorf("got %v %q", mixed, text)
	}
}

func TestWhatWouldRunInABrowserIsDownloaded(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{Public: "/media"})
	fetch := servePublic(t, store)
	for name, runs := range map[string]bool{"a.html": true, "a.HTM": true, "a.svg": true, "a.xml": true, "a.xhtml": true, "a.png": false, "a.pdf": false, "a": false, "a.unknown": false} {
		put(t, folder, name, "<script>alert(1)</script>")
		answer, _ := fetch("/media/" + name)
		if attached := answer.Header.Get("Content-Disposition") == "attachment"; attached != runs || answer.StatusCode != 200 {
			t.Errorf("%s: %v", name, answer.Header)
		}
		if answer.Header.Get("X-Content-Type-Options") != "nosniff" || strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") && !runs {
			t.Errorf("%s: %v", name, answer.Header)
		}
	}
}

func TestWhatIsNotPublicIsNotThere(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{Public: "/media"})
	for _, name := range []string{"a/b", ".env", ".git/config", "a/.hidden"} {
		put(t, folder, name, "x")
	}
	if err := os.Symlink("/etc/passwd", direct(store, "link")); err != nil {
		t.Fatal(err)
	}
	fetch := servePublic(t, store)
	for _, path := range []string{
		"/", "/media", "/media/", "/media/a", "/media/a/", "/media/.env", "/media/.git/config", "/media/a/.hidden", "/media/link",
		"/other/a/b", "/mediaa/b", "/a/b", "/media/missing", "/media/a/../.env", "/media/%2e%2e/.uploads/settings.json", "/media//a/b", "/media/a%00b",
	} {
		if answer, text := fetch(path); answer.StatusCode != 404 || strings.Contains(text, "root:") {
			t.Errorf("%s: %v %q", path, answer.Status, text)
		}
	}
	for _, header := range []string{"", "shop", "shop/production", "shop/production/missing", "../../x", "shop/production/uploads/a"} {
		if answer, _ := fetch("/media/a/b", springtide.FolderHeader, header); answer.StatusCode != 404 {
			t.Errorf("%q: %v", header, answer.Status)
		}
	}
	if err := store.Publish(shop, map[springtide.FilesName]springtide.Files{"uploads": {Path: "/data/uploads"}}); err != nil {
		t.Fatal(err)
	}
	if answer, _ := fetch("/media/a/b"); answer.StatusCode != 404 {
		t.Errorf("no longer public: %v", answer.Status)
	}
}

func TestOnlyReadingIsPublic(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{Public: "/media"})
	put(t, folder, "a", "x")
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		request := httptest.NewRequest(method, "/media/a", nil)
		request.Header.Set(springtide.FolderHeader, "shop/production/uploads")
		answer := httptest.NewRecorder()
		NewPublic(store, slog.New(slog.DiscardHandler)).ServeHTTP(answer, request)
		if answer.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, answer.Code)
		}
	}
}

func TestAPrefixIsServedUntilNoReleaseHasIt(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{Public: "/media"})
	put(t, folder, "cat", "meow")
	fetch := servePublic(t, store)
	served := func() string {
		found := ""
		for _, prefix := range []string{"/media", "/m"} {
			if answer, _ := fetch(prefix + "/cat"); answer.StatusCode == 200 {
				found += prefix
			}
		}
		return found
	}
	wanted := map[springtide.FilesName]springtide.Files{"uploads": {Path: "/data/uploads", Public: "/m"}}
	if err := store.Provision(t.Context(), shop, wanted, os.Geteuid()); err != nil {
		t.Fatal(err)
	}
	if got := served(); got != "/media/m" {
		t.Errorf("while two releases are there %q is served", got)
	}
	if err := store.Publish(shop, wanted); err != nil {
		t.Fatal(err)
	}
	if got := served(); got != "/m" {
		t.Errorf("afterwards %q is served", got)
	}
	if err := store.Publish(shop, nil); err != nil {
		t.Fatal(err)
	}
	if got := served(); got != "" {
		t.Errorf("nothing is public, and %q is served", got)
	}
}
