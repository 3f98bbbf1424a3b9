package cache

import (
	"slices"
	"strings"

	"github.com/springtide/springtide/internal/message"
)

// asked is what of a request's head is the cache's business, read in one pass.
type asked struct {
	control directives
	// head says that the method is HEAD; pass, that the cache has nothing to give.
	head, pass bool
	// safe says that the method changes nothing (RFC 9110, section 9.2.1).
	safe                                    bool
	authorized, cookies                     bool
	ifNoneMatch                             bool
	ifModifiedSince, ifRange, ranges, codes string
	// why is the reason to pass, as Cache-Status says it (RFC 9211, section 2.2).
	why string
}

// ask reads a request. Its fields stay with the request.
func ask(request *message.Request, a *asked) {
	a.control = noDirectives()
	pragma := false
	for i := range request.Fields {
		name, value := request.Fields[i].Name, request.Fields[i].Value
		switch len(name) {
		case 5:
			if equalFold(name, "Range") {
				a.ranges = joined(a.ranges, value) // several are not understood
			}
		case 6:
			a.cookies = a.cookies || equalFold(name, "Cookie")
			pragma = pragma || equalFold(name, "Pragma") && strings.Contains(value, "no-cache")
		case 7:
			a.pass = a.pass || equalFold(name, "Upgrade")
		case 8:
			if equalFold(name, "If-Range") {
				a.ifRange = joined(a.ifRange, value)
			}
			a.pass = a.pass || equalFold(name, "If-Match") // only the origin may evaluate it: RFC 9111, section 4.3.2
		case 10: // the app will not see what the cache does: another's variant could be forged
			a.pass = a.pass || equalFold(name, "Connection") && hides(request.Fields, value)
		case 13:
			if equalFold(name, "Cache-Control") {
				a.control.read(value)
			}
			a.ifNoneMatch = a.ifNoneMatch || equalFold(name, "If-None-Match")
			a.authorized = a.authorized || equalFold(name, "Authorization")
		case 14: // a body of a GET means something to nobody but the app
			a.pass = a.pass || equalFold(name, "Content-Length") && value != "0"
		case 15:
			if equalFold(name, "Accept-Encoding") {
				a.codes = joined(a.codes, value)
			}
		case 17:
			if equalFold(name, "If-Modified-Since") {
				a.ifModifiedSince = joined(a.ifModifiedSince, value)
			}
			a.pass = a.pass || equalFold(name, "Transfer-Encoding")
		case 19:
			a.pass = a.pass || equalFold(name, "If-Unmodified-Since")
		}
	}
	if pragma && !a.control.present {
		a.control.noCache = true // as it was for caches before Cache-Control: section 5.4
	}
	if a.pass {
		a.why = "request"
	}
	a.method(request.Method)
	if a.ifNoneMatch {
		a.ifModifiedSince = "" // RFC 9110, section 13.1.3
	}
}

// hides says that Connection names fields of a request, which are not forwarded then
// (RFC 9110, section 7.6.1).
func hides(fields message.Fields, connection string) bool {
	if equalFold(connection, "keep-alive") || equalFold(connection, "close") {
		return false
	}
	for option := range strings.SplitSeq(connection, ",") {
		option = strings.Trim(option, " \t")
		known := slices.ContainsFunc(hopByHop, func(name string) bool { return equalFold(name, option) })
		if !known && fields.Has(option) {
			return true
		}
	}
	return false
}

// method takes in what a method means to the cache.
func (a *asked) method(method string) {
	switch method {
	case "GET":
		a.safe = true
	case "HEAD":
		a.safe, a.head = true, true
		a.ranges = "" // only GET has ranges: RFC 9110, section 14.2
	case "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY":
		a.safe, a.pass, a.why = true, true, "method"
	default:
		a.pass, a.why = true, "method"
	}
}

func joined(a, b string) string {
	if a == "" {
		return b
	}
	return a + "," + b
}
