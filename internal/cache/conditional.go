package cache

import (
	"strings"
	"time"

	"github.com/springtide/springtide/internal/message"
)

// strongTag says whether an entity tag is a strong one (RFC 9110, section 8.8.3).
func strongTag(tag string) bool { return len(tag) > 1 && tag[0] == '"' }

// opaque is a tag without what says that it is weak.
func opaque(tag string) string { return strings.TrimPrefix(tag, "W/") }

// codedTag is the tag of a representation that was coded here: it is another
// representation, so a strong tag has to be another tag (RFC 9110, section 8.8.3.3).
func codedTag(tag, coding string) string {
	if end := len(tag) - 1; end > 0 && tag[end] == '"' && coding != "" {
		return tag[:end] + "-" + coding + `"`
	}
	return tag
}

// plainTag takes off what codedTag put on, and gives the coding; of what it did not
// put anything on it gives no coding.
func plainTag(tag string) (plain, coding string) {
	for _, coding := range codings {
		if rest, found := strings.CutSuffix(tag, "-"+coding+`"`); found {
			return rest + `"`, coding
		}
	}
	return tag, ""
}

// matchTag looks a response's tag up in If-None-Match by weak comparison, and gives
// the coding that the client has it in.
func matchTag(fields message.Fields, tag string) (coding string, found bool) {
	for line := range fields.All("If-None-Match") {
		if strings.Trim(line, " \t") == "*" {
			return "", true
		}
		for rest := line; rest != ""; {
			var candidate string
			candidate, rest = nextTag(rest)
			if candidate == "" || tag == "" {
				continue
			}
			if opaque(candidate) == opaque(tag) {
				return "", true
			}
			if plain, coding := plainTag(opaque(candidate)); coding != "" && plain == opaque(tag) {
				return coding, true
			}
		}
	}
	return "", false
}

// nextTag takes the first entity tag off a list. A comma may be within one.
func nextTag(list string) (tag, rest string) {
	list = strings.TrimLeft(list, " \t,")
	weak := 0
	if strings.HasPrefix(list, "W/") {
		weak = 2
	}
	if len(list) > weak && list[weak] == '"' {
		if end := strings.IndexByte(list[weak+1:], '"'); end >= 0 {
			end += weak + 2
			return list[:end], list[end:]
		}
	}
	_, rest, _ = strings.Cut(list, ",")
	return "", rest
}

// notModified evaluates a request's precondition on a response (RFC 9111, section
// 4.3.2): whether the client has it, and in which coding.
func notModified(a *asked, request, response message.Fields, received int64) (coding string, same bool) {
	if a.ifNoneMatch {
		return matchTag(request, response.Get("ETag"))
	}
	if a.ifModifiedSince == "" {
		return "", false
	}
	since, ok := parseDate(a.ifModifiedSince)
	if !ok {
		return "", false
	}
	modified, ok := parseDate(response.Get("Last-Modified"))
	if !ok {
		modified, ok = parseDate(response.Get("Date"))
	}
	if !ok {
		modified = time.Unix(0, received)
	}
	return "", !modified.After(since)
}

// sameRepresentation evaluates If-Range by strong comparison (RFC 9110, section
// 13.1.5): whether ranges are of what the client has, and in which coding that is.
func sameRepresentation(ifRange, tag, modified, date string) (coding string, same bool) {
	if strings.HasPrefix(ifRange, `"`) {
		if plain, coding := plainTag(ifRange); coding != "" && plain == tag {
			return coding, true
		}
		return "", strongTag(tag) && ifRange == tag
	}
	return "", ifRange != "" && ifRange == modified && strongDate(modified, date)
}
