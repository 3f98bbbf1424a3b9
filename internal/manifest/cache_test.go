package manifest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

const cached = `app: shop
processes: { web: ./web }
cache:
  - { match: "/assets/*", ttl: 1y, stale: 1d, identity: true }
  - { match: "/api/*", bypass: true }
  - { match: "/list", cookies: [lang], ignore_query: ["utm_*"], per_release: true, drop_set_cookie: true, authorized: true, ignore_reload: true }
  - "*.png"
environments:
  staging: { cache: ["*"] }
  raw: { cache: [] }
`

func TestRulesOfTheCacheAreTheReleases(t *testing.T) {
	m := parse(t, cached)
	want := []springtide.CacheRule{
		{Match: "/assets/*", TTL: 365 * 24 * time.Hour, Stale: 24 * time.Hour, Identity: true},
		{Match: "/api/*", Bypass: true},
		{
			Match: "/list", Cookies: []string{"lang"}, IgnoreQuery: []string{"utm_*"}, PerRelease: true,
			DropSetCookie: true, Authorized: true, IgnoreReload: true,
		},
		{Match: "*.png"},
	}
	if diff := cmp.Diff(want, m.App(springtide.Production).Cache); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]springtide.CacheRule{{Match: "*"}}, m.App("staging").Cache); diff != "" {
		t.Error(diff)
	}
	if rules := m.App("raw").Cache; len(rules) != 0 {
		t.Errorf("there is a cache that was taken away: %v", rules)
	}
	var said []string
	for _, change := range Difference(m.App(springtide.Production), m.App("staging")) {
		said = append(said, change.String())
	}
	if all := strings.Join(said, "\n"); !strings.Contains(all, "- cache: /assets/* identity ttl 365d stale 1d (routing only)") || !strings.Contains(all, "+ cache: * (routing only)") {
		t.Errorf("what changes:\n%s", all)
	}
}
