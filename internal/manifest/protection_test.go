package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

const guarded = `
app: shop
processes: { web: ./web }
rate_limits:
  - { match: /login, requests: 10, within: 1m, burst: 20 }
  - { per: token, requests: 5, within: 1s }
  - { match: "/api/*", per: token, header: x-key, requests: 1000, within: 1h }
max_body: 10MiB
headers: { x-frame-options: DENY, Server: "" }
error_pages: { 503: pages/503.html }
environments:
  staging:
    rate_limits: []
    max_body: 1GiB
    headers: { Server: mine }
    error_pages: { 502: pages/503.html }
`

func TestWhatProtectsAnAppIsReadWithItsDefaults(t *testing.T) {
	m := parse(t, guarded)
	want := springtide.Protection{
		RateLimits: []springtide.RateLimit{
			{Match: "/login", Per: springtide.RatePerClient, Requests: 10, Within: time.Minute, Burst: 20},
			{Match: "/*", Per: springtide.RatePerToken, Header: "Authorization", Requests: 5, Within: time.Second, Burst: 5},
			{Match: "/api/*", Per: springtide.RatePerToken, Header: "X-Key", Requests: 1000, Within: time.Hour, Burst: 1000},
		},
		MaxBody: 10 << 20, Headers: map[string]string{"X-Frame-Options": "DENY", "Server": ""},
	}
	production := m.App(springtide.Production).Protection
	if diff := cmp.Diff(want, production); diff != "" {
		t.Error(diff)
	}
	want = springtide.Protection{MaxBody: 1 << 30, Headers: map[string]string{"X-Frame-Options": "DENY", "Server": "mine"}}
	staging := m.App("staging").Protection
	if diff := cmp.Diff(want, staging); diff != "" {
		t.Error(diff)
	}
	changes := Difference(springtide.App{Protection: production}, springtide.App{Protection: staging})
	if len(changes) != 3 || changes[1].String() != "max_body: 10MiB → 1GiB (routing only)" {
		t.Errorf("the difference is %v", changes)
	}
}

func TestPagesAreReadFromTheAppsFolderAndFromNowhereElse(t *testing.T) {
	folder := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	for path, text := range map[string]string{
		filepath.Join(folder, FileName): guarded, filepath.Join(folder, "pages", "503.html"): "<p>soon", secret: "not for everybody",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	app, _, err := Load(folder, "staging")
	if err != nil || app.Protection.ErrorPages[503] != "<p>soon" || app.Protection.ErrorPages[502] != "<p>soon" {
		t.Fatalf("got %v, %v", app.Protection.ErrorPages, err)
	}
	page := filepath.Join(folder, "pages", "503.html")
	for what, spoil := range map[string]func() error{
		"a link that leads out": func() error { return os.Symlink(secret, page) },
		"a page that is too long": func() error {
			return os.WriteFile(page, make([]byte, springtide.PageLimit+1), 0o600)
		},
		"an empty page": func() error { return os.WriteFile(page, nil, 0o600) },
		"no page":       func() error { return nil },
	} {
		if err := os.Remove(page); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Load(folder, springtide.Production); springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), "tide.yaml:10") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestProtectionThatMakesNoSenseIsRefused(t *testing.T) {
	for written, says := range map[string]string{
		"rate_limits: [{ within: 1m }]":                             "requests is missing",
		"rate_limits: [{ requests: 1 }]":                            "within is missing",
		"rate_limits: [{ match: login, requests: 1, within: 1m }]":  "/login",
		"rate_limits: [{ match: '/a*', requests: 1, within: 1m }]":  "/api/*",
		"rate_limits: [{ per: me, requests: 1, within: 1m }]":       "me",
		"rate_limits: [{ header: X-Key, requests: 1, within: 1m }]": "per: token",
		"rate_limits: [{ requests: 0, within: 1m }]":                "too little",
		"rate_limits: [{ requests: 1, within: 1ms }]":               "too little",
		"headers: { Content-Length: 1 }":                            "the edge's own",
		"headers: { 'X Y': a }":                                     "the name of a header",
		"headers: { X-Y: \"a\\r\\nSet-Cookie: b\" }":                "line breaks",
		"error_pages: { 404: a.html }":                              "404",
		"error_pages: { 503: ../a.html }":                           "folder",
		"error_pages: { 503: /etc/passwd }":                         "folder",
		"max_body: 1":                                               "no unit",
	} {
		_, err := Parse(FileName, []byte("app: shop\nprocesses: { web: ./web }\n"+written+"\n"))
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "tide.yaml:3") {
			t.Errorf("%s: %v, want it to say %q", written, err, says)
		}
	}
}
