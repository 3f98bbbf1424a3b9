package edge

import (
	"io"
	"net/http"
	"testing"

	"github.com/springtide/springtide"
)

func TestPublicFilesAreFoundByWholeSegmentsOfTheDecodedPath(t *testing.T) {
	all := []springtide.PublicFiles{{Prefix: "/media", Folder: "short"}, {Prefix: "/media/large", Folder: "long"}, {Prefix: "/a b", Folder: "space"}}
	for target, want := range map[string]string{
		"/media": "short", "/media/": "short", "/media/x?y": "short", "/media?x": "short", "/media/large/x": "long", "/media/larger": "short", "/mediate": "", "/": "",
		"/%6dedia/x": "short", "/a%20b/c": "space", "/x/../media/y": "short", "/media/../x": "", "/media/%2e%2e/x": "", "/media%2Fx": "short", "//media/x": "short", "*": "", "/Media/x": "",
	} {
		got := ""
		if files := publicFiles(&all, target); files != nil {
			got = files.Folder
		}
		if got != want {
			t.Errorf("%s is in %q, want %q", target, got, want)
		}
	}
}

func FuzzPublicFiles(f *testing.F) {
	f.Add("/media/%2e./x")
	all := []springtide.PublicFiles{{Prefix: "/media", Folder: "media"}}
	f.Fuzz(func(t *testing.T, target string) {
		if files := publicFiles(&all, target); files != nil && (target == "" || target[0] != '/') {
			t.Errorf("%q is among the files", target)
		}
	})
}

func TestPublicFilesAreServedWithoutAnInstance(t *testing.T) {
	e := startEdge(t)
	files := serveInstance(t, "files", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get(springtide.FolderHeader)+" "+r.RequestURI)
	})
	app := serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "the app "+r.Header.Get(springtide.FolderHeader))
	})
	for _, backends := range [][]springtide.Backend{{app}, nil} {
		route := routeTo(backends...)
		route.Files = []springtide.PublicFiles{{Prefix: "/media", Folder: "demo/production/media", Address: files.Address}}
		e.route(t, route)
		both(t, func(t *testing.T, http2 bool) {
			for path, want := range map[string]string{"/media/a%20b?c": "demo/production/media /media/a%20b?c", "/other": "the app "} {
				if path == "/other" && len(backends) == 0 {
					continue
				}
				request, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+testHost+path, nil)
				request.Header.Set(springtide.FolderHeader, "another/production/secrets")
				if response, body := do(t, e.client(t, http2), request); response.StatusCode != 200 || body != want {
					t.Errorf("%s: %d %q, want %q", path, response.StatusCode, body, want)
				}
			}
		})
	}
	if d := e.control.demand(groupOf(1)); d.Waited != 0 {
		t.Errorf("a file was waited for: %+v", d)
	}
}
