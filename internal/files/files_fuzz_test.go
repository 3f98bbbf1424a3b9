package files

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

// FuzzAnyNameIsRefusedOrStaysInTheFolder writes whatever name there may be.
func FuzzAnyNameIsRefusedOrStaysInTheFolder(f *testing.F) {
	for _, name := range []string{"a", "a/b", "..", "../a", "a/../b", "/a", "a//b", "a/", "\x00", "link/x", "ü", "\xff", "a/./b"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		store, folder := newFolder(t, springtide.Files{})
		outside := t.TempDir()
		if err := os.Symlink(outside, direct(store, "link")); err != nil {
			t.Fatal(err)
		}
		_, err := folder.Put(t.Context(), name, strings.NewReader("x"), PutOptions{Size: 1})
		if entries, _ := os.ReadDir(outside); len(entries) > 0 {
			t.Fatalf("%q went out of the folder", name)
		}
		beside, globErr := filepath.Glob(filepath.Join(filepath.Dir(store.tree(uploads)), "*"))
		if globErr != nil || len(beside) != 2 { // the tree, and what the platform keeps
			t.Fatalf("%q: beside the folder are %v", name, beside)
		}
		if err != nil {
			if springtide.KindOf(err) == springtide.Internal {
				t.Errorf("%q: %v", name, err)
			}
			return
		}
		if text := get(t, folder, name); text != "x" {
			t.Errorf("%q holds %q", name, text)
		}
		page, err := folder.List(t.Context(), ListOptions{})
		if err != nil || len(page.Entries) != 1 || page.Entries[0].Name != name {
			t.Errorf("%q is listed as %+v, %v", name, page.Entries, err)
		}
	})
}

// FuzzARangeGivesAPartOfTheFileOrIsRefused sends whatever range there may be.
func FuzzARangeGivesAPartOfTheFileOrIsRefused(f *testing.F) {
	for _, text := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=9-3", "bytes=0-0,2-3", "bytes=99999999999999999999-", "lines=1-2", "bytes=--1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		store, folder := newFolder(t, springtide.Files{Public: "/media"})
		const content = "0123456789abcdef"
		put(t, folder, "a", content)
		request := httptest.NewRequest(http.MethodGet, "/media/a", nil)
		request.Header = http.Header{springtide.FolderHeader: {"shop/production/uploads"}, "Range": {text}}
		answer := httptest.NewRecorder()
		NewPublic(store, slog.New(slog.DiscardHandler)).ServeHTTP(answer, request)
		body := answer.Body.String()
		switch answer.Code {
		case http.StatusOK:
			if body != content {
				t.Errorf("%q gave %q", text, body)
			}
		case http.StatusPartialContent:
			if !strings.HasPrefix(answer.Header().Get("Content-Type"), "multipart/") && !strings.Contains(content, body) {
				t.Errorf("%q gave %q", text, body)
			}
		case http.StatusRequestedRangeNotSatisfiable:
		default:
			t.Errorf("%q: %d", text, answer.Code)
		}
	})
}
