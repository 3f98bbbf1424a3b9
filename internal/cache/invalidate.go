package cache

import (
	"net/url"
	"strings"

	"github.com/springtide/springtide/internal/message"
)

// invalidate has what is stored for a target not served again, and what a response to
// an unsafe request names in Location and Content-Location of the same origin
// (RFC 9111, section 4.4).
func (c *Cache) invalidate(k key, rules *Rules, fields message.Fields) {
	c.invalidateKey(&k)
	for _, name := range [...]string{"Location", "Content-Location"} {
		if target, ok := sameOrigin(&k, fields.Get(name)); ok {
			other := k
			if rule := rules.match(target); len(rule.IgnoreQuery) > 0 {
				target = withoutQuery(target, rule.IgnoreQuery)
			}
			other.target = target
			c.invalidateKey(&other)
		}
	}
}

func (c *Cache) invalidateKey(k *key) {
	primary := k.hash(c.seed)
	change := c.change(primary)
	change.mu.Lock()
	defer change.mu.Unlock()
	change.invalidation.Add(1)
	c.remove(primary)
}

// sameOrigin resolves a reference, and gives its target if it is of the same origin.
func sameOrigin(k *key, reference string) (string, bool) {
	if reference == "" {
		return "", false
	}
	base, err := url.Parse(k.scheme + "://" + k.host + k.target)
	if err != nil {
		return "", false
	}
	to, err := base.Parse(reference)
	if err != nil || to.Scheme != base.Scheme || !strings.EqualFold(authority(to.Scheme, to.Host), k.host) {
		return "", false
	}
	return to.RequestURI(), true
}
