package cache

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// key is what a request must have in common with a stored response (RFC 9111,
// section 2), besides the fields that Vary names.
type key struct {
	// scope keeps environments apart: a host may move from one to another.
	scope, scheme, host, target string
}

// hash gives a key's number. It is no proof: who finds something by it compares keys.
func (k *key) hash(seed uint64) uint64 {
	for _, part := range [...]string{k.scope, k.scheme, k.host, k.target} {
		seed = xxh3.HashStringSeed(part, seed)
	}
	return seed
}

func (k *key) clone() key {
	return key{strings.Clone(k.scope), strings.Clone(k.scheme), strings.Clone(k.host), strings.Clone(k.target)}
}

// path is the target without its query.
func (k *key) path() string {
	plain, _, _ := strings.Cut(k.target, "?")
	return plain
}

// Rules say how what belongs to one route is cached. They do not change once they
// are in use.
type Rules struct {
	// Scope keeps what is stored apart from that of other routes, and is what a
	// [springtide.Purge] is about: "app/environment".
	Scope string
	// List has the manifest's rules; the first that matches counts.
	List []springtide.CacheRule
	// Tags are added to those of every response that is stored, such as the
	// release that has the traffic.
	Tags []string

	none springtide.CacheRule
}

// tagged says that a response was stored with the tags that there are now.
func (r *Rules) tagged(e *entry) bool {
	for _, tag := range r.Tags {
		if !slices.Contains(e.tags, tag) {
			return false
		}
	}
	return true
}

// ambiguous is the rule for paths of which it is not clear which rule is meant.
var ambiguous = springtide.CacheRule{Bypass: true}

// match gives the rule for a path: an empty one if there is none. Apps differ in what
// they make of dots, double slashes and slashes that are encoded. Where that makes a
// difference the cache keeps out of it: otherwise "/assets/..%2Faccount" would have
// somebody's account stored by the rule for assets.
func (r *Rules) match(target string) *springtide.CacheRule {
	if len(r.List) == 0 {
		return &r.none
	}
	plain, _, _ := strings.Cut(target, "?")
	unclear, encoded := peculiar(plain)
	cleaned := plain
	if encoded {
		if decoded, err := url.PathUnescape(plain); err == nil {
			plain, _ = url.PathUnescape(encodedSlashes.Replace(plain))
			unclear, cleaned = true, decoded
		}
	}
	rule := r.first(plain)
	if unclear && r.first(clean(cleaned)) != rule {
		return &ambiguous
	}
	return rule
}

// peculiar says whether a path has dots or double slashes, and whether it has something
// encoded. Few have, and paths are short: one look at each byte is the cheapest.
func peculiar(plain string) (unclear, encoded bool) {
	for i := range len(plain) {
		switch plain[i] {
		case '%':
			encoded = true
		case '/', '.':
			unclear = unclear || i > 0 && plain[i-1] == '/'
		}
	}
	return unclear, encoded
}

// encodedSlashes keeps slashes encoded when the rest is decoded.
var encodedSlashes = strings.NewReplacer("%2f", "%252f", "%2F", "%252f", "%5c", "%255c", "%5C", "%255c")

// clean is a path as an app sees it that takes dots and double slashes away.
func clean(plain string) string {
	cleaned := path.Clean(strings.ReplaceAll(plain, `\`, "/"))
	if strings.HasSuffix(plain, "/") && cleaned != "/" {
		cleaned += "/"
	}
	return cleaned
}

func (r *Rules) first(plain string) *springtide.CacheRule {
	for i := range r.List {
		if matches(r.List[i].Match, plain) {
			return &r.List[i]
		}
	}
	return &r.none
}

// matches says whether a text is what a pattern describes, in which each "*"
// stands for any characters.
func matches(pattern, text string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == text
	}
	text, found := strings.CutPrefix(text, head)
	if !found {
		return false
	}
	for {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(text, part)
		}
		at := strings.Index(text, part)
		if at < 0 {
			return false
		}
		text, rest = text[at+len(part):], after
	}
}

// keyOf gives the key of a request; its strings may be the request's.
func keyOf(request *message.Request, rules *Rules, rule *springtide.CacheRule) key {
	k := key{scope: rules.Scope, scheme: request.Scheme, host: authority(request.Scheme, request.Host), target: request.Target}
	if len(rule.IgnoreQuery) > 0 {
		k.target = withoutQuery(k.target, rule.IgnoreQuery)
	}
	return k
}

// authority is a host without the port that is meant anyhow (RFC 9110, section 4.2.3).
func authority(scheme, host string) string {
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// withoutQuery takes the named parameters out of a target's query.
func withoutQuery(target string, ignored []string) string {
	plain, query, has := strings.Cut(target, "?")
	if !has {
		return target
	}
	var kept []string
	for parameter := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(parameter, "=")
		if !slices.ContainsFunc(ignored, func(pattern string) bool { return matches(pattern, name) }) {
			kept = append(kept, parameter)
		}
	}
	if len(kept) == 0 {
		return plain
	}
	return plain + "?" + strings.Join(kept, "&")
}
