package cache

import (
	"slices"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// heuristic are the statuses whose responses may be stored although they do not
// say so (RFC 9110, section 15.1).
var heuristic = []int{200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501}

// timeToLive are the statuses that a rule's TTL is about: an error is not kept for
// as long as what it took the place of.
var timeToLive = []int{200, 203, 204, 206, 300, 301, 308}

// understood are the statuses whose caching requirements are known here
// (RFC 9111, section 5.2.2.3).
var understood = []int{
	200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 304, 305, 307, 308,
	400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 426,
	500, 501, 502, 503, 504, 505,
}

// hopByHop are fields that are about a connection, a proxy or a request, and never stored
// (RFC 9111, section 3.1; RFC 9110, section 7.6.1).
var hopByHop = []string{
	"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
	"proxy-authenticate", "proxy-authentication-info", "proxy-authorization",
	"x-request-id", // each request has one of its own
}

// cookieFields set cookies, which are never for everybody.
var cookieFields = []string{"set-cookie", "set-cookie2"}

// internalFields are spoken between an app and its caches.
var internalFields = []string{"cache-tag", "surrogate-key", "surrogate-control", "springtide-cache-control"}

// storable says whether a response to a GET may be stored (RFC 9111, section 3).
func storable(asked *asked, rule *springtide.CacheRule, response *message.Response) bool {
	control, isTargeted := governing(response.Fields)
	status := response.Status
	known := slices.Contains(understood, status)
	switch {
	case status < 200 || status == 304, asked.head || asked.pass || asked.control.noStore:
		return false
	case status == 416 && asked.ranges != "": // it is about the range, which is no part of the key
		return false
	case control.mustUnderstand && !known:
		return false
	case control.noStore && !control.mustUnderstand: // who understands may ignore it: section 5.2.2.3
		return false
	case control.private:
		return false
	case asked.authorized && !rule.Authorized && !control.isForAll():
		return false
	case setsCookies(response.Fields, &control) && !rule.DropSetCookie:
		return false
	case variesUnseen(response.Fields):
		return false
	}
	explicit := isExplicit(response.Fields, &control, isTargeted) || rule.TTL > 0 && slices.Contains(timeToLive, status)
	return explicit || (control.public || slices.Contains(heuristic, status)) && !asked.cookies
}

// isForAll says that the response to a request with Authorization may be given to others
// (section 3.5).
func (d *directives) isForAll() bool {
	return d.public || d.mustRevalidate || d.sharedMaxAge != absent
}

// setsCookies says whether a cookie is set for more than the one who asked:
// private="set-cookie" and no-cache="set-cookie" keep it out of the cache.
func setsCookies(fields message.Fields, control *directives) bool {
	named := func(name string) bool { return equalFold(name, "Set-Cookie") }
	return (fields.Has("Set-Cookie") || fields.Has("Set-Cookie2")) &&
		!slices.ContainsFunc(control.privateFields, named) && !slices.ContainsFunc(control.noCacheFields, named)
}

// worthStoring says whether a response can be used again at all: it is fresh for a
// while, or can be validated, or served stale. One that says nothing but what it could
// be validated by is most often made for one client.
func worthStoring(e *entry) bool {
	return e.lifetime > e.initialAge || !e.guessed && (e.etag != "" || e.modified != "") || e.whileRevalidate > 0 || e.ifError > 0
}

// storedFields copies the fields of a response that may be stored (section 3.1),
// and adds the Date if there is none (RFC 9110, section 6.6.1).
func storedFields(fields message.Fields, date string) message.Fields {
	control, _ := governing(fields)
	var listed []string
	for line := range fields.All("Connection") {
		for name := range strings.SplitSeq(line, ",") {
			listed = append(listed, strings.Trim(name, " \t"))
		}
	}
	dropped := slices.Concat(listed, hopByHop, cookieFields, control.privateFields, control.noCacheFields)
	kept := make(message.Fields, 0, len(fields)+1)
	for _, field := range fields {
		named := func(name string) bool { return equalFold(name, field.Name) }
		if !slices.ContainsFunc(dropped, named) && !equalFold(field.Name, "Content-Length") {
			kept = append(kept, message.Field{Name: strings.Clone(field.Name), Value: strings.Clone(field.Value)})
		}
	}
	if !kept.Has("Date") {
		kept = append(kept, message.Field{Name: "Date", Value: date})
	}
	return kept
}
