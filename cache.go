package springtide

import "time"

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
