package springtide

import (
	"strings"
	"time"
)

// CacheRule says how edges cache what is under some paths of an app. The first
// rule of a list that matches a path counts; a path without one is cached as its
// responses say (RFC 9111).
type CacheRule struct {
	// Match is a path, in which each "*" stands for any characters.
	Match string `json:"match"`
	// Bypass says that nothing is stored or served from the cache.
	Bypass bool `json:"bypass,omitempty"`
	// TTL is how long a good response is fresh from when it arrived, whatever it
	// says itself; one that is private, no-store or no-cache stays so. 0: as it says.
	TTL time.Duration `json:"ttl,omitempty"`
	// Stale is how long after that it may be served while a new one is fetched, or
	// while the app fails, if the response does not say so itself.
	Stale time.Duration `json:"stale,omitempty"`
	// PerRelease says that what one release has answered is not served any more once
	// another one has the traffic.
	PerRelease bool `json:"per_release,omitempty"`
	// Cookies are names of cookies whose values distinguish responses.
	Cookies []string `json:"cookies,omitempty"`
	// IgnoreQuery are names of query parameters that do not distinguish responses;
	// "*" stands for all, and for any characters within a name.
	IgnoreQuery []string `json:"ignore_query,omitempty"`
	// DropSetCookie says that a response that sets cookies is stored, without them.
	DropSetCookie bool `json:"drop_set_cookie,omitempty"`
	// Authorized says that responses to requests with Authorization are stored
	// although they do not say that everybody may have them.
	Authorized bool `json:"authorized,omitempty"`
	// IgnoreReload says that what clients ask of caches is ignored: a reload is
	// answered by what is stored.
	IgnoreReload bool `json:"ignore_reload,omitempty"`
	// Identity says that nothing is compressed by the edge.
	Identity bool `json:"identity,omitempty"`
}

// Purge has edges forget what they keep of an environment's answers: what carries a
// tag, what is at a path or below one, or all of it.
type Purge struct {
	// Number grows from purge to purge, over all environments and restarts.
	Number      int64         `json:"number"`
	Environment EnvironmentID `json:"environment"`
	// Tag is one that answers carry (Cache-Tag, Surrogate-Key) or were given.
	Tag string `json:"tag,omitempty"`
	// Path is a path, whatever its query; one that ends with "*" is what paths begin with.
	Path string `json:"path,omitempty"`
}

// purgeLimit bounds a tag or a path, in bytes.
const purgeLimit = 2000

// Validate says what makes no sense; the error is of kind Invalid.
func (p Purge) Validate() error {
	switch {
	case p.Tag != "" && p.Path != "":
		return Errorf(Invalid, "a purge is of a tag, of a path, or of all").WithHint("purge them one after the other")
	case p.Path != "" && !strings.HasPrefix(p.Path, "/"):
		return Errorf(Invalid, "%q is no path", p.Path).WithHint("a path begins with a slash; a star at its end stands for all below: /assets/*")
	case strings.Contains(strings.TrimSuffix(p.Path, "*"), "*") || strings.ContainsAny(p.Path, "?#"):
		return Errorf(Invalid, "%q cannot be purged: a path has no query, and a star only at its end", p.Path).WithHint("like /assets/*")
	case strings.ContainsAny(p.Tag, " ,\t"):
		return Errorf(Invalid, "%q is several tags", p.Tag).WithHint("purge them one after the other")
	case len(p.Tag)+len(p.Path) > purgeLimit:
		return Errorf(Invalid, "what is to be purged is longer than %d bytes", purgeLimit)
	}
	return nil
}

// CacheResult is what the cache had to do with a request.
type CacheResult string

// The results.
const (
	CacheHit         CacheResult = "hit"
	CacheStale       CacheResult = "stale"       // what is stored was too old, and was sent all the same
	CacheCollapsed   CacheResult = "collapsed"   // another request fetched it
	CacheRevalidated CacheResult = "revalidated" // the app said that it has not changed
	CacheMiss        CacheResult = "miss"        // an instance answered, and it was stored
	CachePass        CacheResult = "pass"        // an instance answered, and it was not stored
)

// CacheResults gives all results, in the order in which people are told of them.
func CacheResults() []CacheResult {
	return []CacheResult{CacheHit, CacheStale, CacheCollapsed, CacheRevalidated, CacheMiss, CachePass}
}

// CacheSize is what the cache of an edge holds.
type CacheSize struct {
	// Memory and Disk are in bytes.
	Memory int64 `json:"memory"`
	Disk   int64 `json:"disk"`
	// Errors counts what could not be written to the disk.
	Errors int64 `json:"errors,omitempty"`
}
