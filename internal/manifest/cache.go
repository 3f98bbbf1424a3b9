package manifest

import (
	"fmt"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// cacheSection is one rule of the cache, written as a pattern of paths or in full.
type cacheSection struct {
	At position `json:"-"`

	Match         set[cachedPaths] `json:"match,omitempty" jsonschema_description:"Paths for which it holds, where * stands for any characters: /assets/*. The first rule that matches a path counts. A rule can be written as this alone."`
	Bypass        set[truth]       `json:"bypass,omitempty" jsonschema_description:"Whether nothing is stored, or served from the cache. Default: false."`
	TTL           set[duration]    `json:"ttl,omitempty" jsonschema:"minimum=1s,maximum=10y" jsonschema_description:"How long a good answer is fresh, whatever it says itself, unless it is private or says no-store or no-cache. Default: as it says."`
	Stale         set[duration]    `json:"stale,omitempty" jsonschema:"minimum=1s,maximum=10y" jsonschema_description:"How long after that it may be served while a new one is fetched, or while the app fails. Default: as it says."`
	PerRelease    set[truth]       `json:"per_release,omitempty" jsonschema_description:"Whether what one release has answered is not served any more once another one has the traffic. Default: false."`
	Cookies       []set[keyName]   `json:"cookies,omitempty" jsonschema_description:"Cookies whose values distinguish answers."`
	IgnoreQuery   []set[keyName]   `json:"ignore_query,omitempty" jsonschema_description:"Parameters of the query that do not distinguish answers, where * stands for any characters: utm_*."`
	DropSetCookie set[truth]       `json:"drop_set_cookie,omitempty" jsonschema_description:"Whether an answer that sets cookies is stored, without them. Default: false, it is not stored."`
	Authorized    set[truth]       `json:"authorized,omitempty" jsonschema_description:"Whether answers to requests with Authorization are stored, and served to everybody. Default: false."`
	IgnoreReload  set[truth]       `json:"ignore_reload,omitempty" jsonschema_description:"Whether a reload is answered by what is stored. Default: false, what clients ask of caches is done."`
	Identity      set[truth]       `json:"identity,omitempty" jsonschema_description:"Whether nothing is compressed by the edge. Default: false."`
}

func (s *cacheSection) shorthand() scalarField { return &s.Match }

// mostCacheRules bounds what each request may be compared with.
const mostCacheRules = 100

// cachedPaths is a path in which "*" stands for any characters.
type cachedPaths string

func (v *cachedPaths) parse(n *node) error {
	if n.kind != text {
		return fmt.Errorf("want paths like \"/assets/*\", got %s", n.shown())
	}
	if !strings.HasPrefix(n.text, "/") && !strings.HasPrefix(n.text, "*") || len(n.text) > 500 || strings.ContainsAny(n.text, "?#") {
		return fmt.Errorf("%q is no path: it begins with a slash or a star, and has no query, like /assets/*", shorten(n.text))
	}
	*v = cachedPaths(n.text)
	return nil
}

func (v *cachedPaths) write() (string, bool) { return string(*v), false }

// keyName is the name of a cookie or of a parameter.
type keyName string

func (v *keyName) parse(n *node) error {
	if n.text == "" || len(n.text) > 200 || strings.ContainsAny(n.text, " \t\",;=&?#") {
		return fmt.Errorf("want a name, got %s", n.shown())
	}
	*v = keyName(n.text)
	return nil
}

func (v *keyName) write() (string, bool) { return string(*v), false }

// cache gives the rules by which edges keep answers.
func (r *resolver) cache(d *document) []springtide.CacheRule {
	var rules []springtide.CacheRule
	for i, s := range d.Cache {
		at := fmt.Sprintf("cache[%d]", i)
		if s == nil || !s.Match.IsSet {
			if !r.problems.about(at) && (s == nil || !s.Match.attempted()) {
				where := d.At
				if s != nil {
					where = s.At
				}
				r.problems.add(where, "%s.match is missing: say for which paths it holds, like /assets/*", at)
			}
			continue
		}
		rule := springtide.CacheRule{
			Match: string(s.Match.Value), Bypass: bool(s.Bypass.Value),
			TTL: time.Duration(s.TTL.Value), Stale: time.Duration(s.Stale.Value), PerRelease: bool(s.PerRelease.Value),
			Cookies: keyNames(s.Cookies), IgnoreQuery: keyNames(s.IgnoreQuery),
			DropSetCookie: bool(s.DropSetCookie.Value), Authorized: bool(s.Authorized.Value),
			IgnoreReload: bool(s.IgnoreReload.Value), Identity: bool(s.Identity.Value),
		}
		alone := springtide.CacheRule{Match: rule.Match, Bypass: true}
		if rule.Bypass && ruleText(rule) != ruleText(alone) {
			r.problems.add(s.At, "%s: bypass has nothing stored, so that nothing else can be said of it", at)
		}
		rules = append(rules, rule)
	}
	if len(rules) > mostCacheRules {
		r.problems.add(d.Cache[mostCacheRules].At, "cache: has more than %d rules", mostCacheRules)
	}
	return rules
}

func keyNames(written []set[keyName]) []string {
	var names []string
	for _, name := range written {
		names = append(names, string(name.Value))
	}
	return names
}

// cached compares rules of the cache.
func (d *difference) cached(from, to []springtide.CacheRule) {
	written := func(rules []springtide.CacheRule) []string {
		var all []string
		for _, rule := range rules {
			all = append(all, ruleText(rule))
		}
		return all
	}
	d.list("cache", effectRoutes, written(from), written(to))
}

// ruleText gives a rule as one line.
func ruleText(rule springtide.CacheRule) string {
	text := rule.Match
	for _, one := range []struct {
		key string
		is  bool
	}{
		{"bypass", rule.Bypass},
		{"per_release", rule.PerRelease},
		{"drop_set_cookie", rule.DropSetCookie},
		{"authorized", rule.Authorized},
		{"ignore_reload", rule.IgnoreReload},
		{"identity", rule.Identity},
	} {
		if one.is {
			text += " " + one.key
		}
	}
	if rule.TTL > 0 {
		text += " ttl " + formatDuration(rule.TTL)
	}
	if rule.Stale > 0 {
		text += " stale " + formatDuration(rule.Stale)
	}
	if len(rule.Cookies) > 0 {
		text += " cookies " + strings.Join(rule.Cookies, " ")
	}
	if len(rule.IgnoreQuery) > 0 {
		text += " ignore_query " + strings.Join(rule.IgnoreQuery, " ")
	}
	return text
}
