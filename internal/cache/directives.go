package cache

import (
	"strings"

	"github.com/springtide/springtide/internal/message"
)

// absent is a directive that is not there.
const absent = -1

// longest is the number of seconds that any greater one is taken for (RFC 9111, section 1.2.2).
const longest = 1 << 31

// directives are those of Cache-Control that mean something to a shared cache, of
// requests and of responses (RFC 9111, section 5.2; RFC 5861). Numbers are seconds,
// or [absent].
type directives struct {
	maxAge, sharedMaxAge, minFresh, maxStale int64
	staleWhileRevalidate, staleIfError       int64

	noStore, noCache, private, public, mustRevalidate, proxyRevalidate bool
	mustUnderstand, noTransform, onlyIfCached                          bool
	// noCacheFields and privateFields are what no-cache="..." and private="..." name.
	noCacheFields, privateFields []string
	// present says that there was any such field.
	present bool
}

func noDirectives() directives {
	return directives{
		maxAge: absent, sharedMaxAge: absent, minFresh: absent, maxStale: absent,
		staleWhileRevalidate: absent, staleIfError: absent,
	}
}

// parseDirectives reads all lines of a Cache-Control field.
func parseDirectives(fields message.Fields, name string) directives {
	d := noDirectives()
	for i := range fields {
		if equalFold(fields[i].Name, name) {
			d.read(fields[i].Value)
		}
	}
	return d
}

// read adds one line's directives. Of a repeated directive the first counts
// (section 4.2.1); quoted and unquoted arguments mean the same (section 5.2).
func (d *directives) read(line string) {
	d.present = true
	for line != "" {
		var name, argument string
		var valid bool
		name, argument, valid, line = nextDirective(line)
		if name != "" {
			d.set(name, argument, valid)
		}
	}
}

// nextDirective takes the first member off a comma-separated line. It is not valid
// if there is something else than a directive between the commas.
func nextDirective(line string) (name, argument string, valid bool, rest string) {
	line = strings.TrimLeft(line, " \t,")
	end := 0
	for end < len(line) && isToken(line[end]) {
		end++
	}
	name, rest, valid = line[:end], line[end:], true
	if strings.HasPrefix(rest, "=\"") {
		argument, rest, valid = quoted(rest[1:])
	} else if strings.HasPrefix(rest, "=") {
		end = 1
		for end < len(rest) && isToken(rest[end]) {
			end++
		}
		argument, rest = rest[1:end], rest[end:]
		valid = argument != ""
	}
	rest = strings.TrimLeft(rest, " \t")
	if rest == "" || rest[0] == ',' {
		return name, argument, valid, rest
	}
	// What is left up to the comma belongs to nothing.
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case ',':
			return name, argument, false, rest[i:]
		case '"':
			_, after, _ := quoted(rest[i:])
			i = len(rest) - len(after) - 1
		}
	}
	return name, argument, false, ""
}

// quoted reads a quoted-string (RFC 9110, section 5.6.4) at the beginning of text.
func quoted(text string) (value, rest string, valid bool) {
	escaped := false
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			value = text[1:i]
			if escaped {
				value = unescape(value)
			}
			return value, text[i+1:], true
		}
	}
	return text[1:], "", false
}

func unescape(text string) string {
	var plain strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		plain.WriteByte(text[i])
	}
	return plain.String()
}

func (d *directives) set(name, argument string, valid bool) {
	switch {
	case equalFold(name, "max-age"):
		lifetime(&d.maxAge, argument, valid)
	case equalFold(name, "s-maxage"):
		lifetime(&d.sharedMaxAge, argument, valid)
	case equalFold(name, "min-fresh"):
		extension(&d.minFresh, argument, valid)
	case equalFold(name, "max-stale") && argument == "" && valid:
		d.maxStale = longest
	case equalFold(name, "max-stale"):
		extension(&d.maxStale, argument, valid)
	case equalFold(name, "stale-while-revalidate"):
		extension(&d.staleWhileRevalidate, argument, valid)
	case equalFold(name, "stale-if-error"):
		extension(&d.staleIfError, argument, valid)
	case equalFold(name, "no-store"):
		d.noStore = true
	case equalFold(name, "no-cache"):
		restrict(&d.noCache, &d.noCacheFields, argument, valid)
	case equalFold(name, "private"):
		restrict(&d.private, &d.privateFields, argument, valid)
	case equalFold(name, "public"):
		d.public = true
	case equalFold(name, "must-revalidate"):
		d.mustRevalidate = true
	case equalFold(name, "proxy-revalidate"):
		d.proxyRevalidate = true
	case equalFold(name, "must-understand"):
		d.mustUnderstand = true
	case equalFold(name, "no-transform"):
		d.noTransform = true
	case equalFold(name, "only-if-cached"):
		d.onlyIfCached = true
	}
}

// lifetime sets how long something is fresh. What makes no sense is not fresh at
// all (section 4.2.1).
func lifetime(target *int64, argument string, valid bool) {
	if *target != absent {
		return
	}
	*target = 0
	if seconds, ok := parseSeconds(argument); ok && valid {
		*target = seconds
	}
}

// extension sets what allows more than there would be otherwise, and is ignored
// where it makes no sense.
func extension(target *int64, argument string, valid bool) {
	if seconds, ok := parseSeconds(argument); ok && valid && *target == absent {
		*target = seconds
	}
}

// restrict sets a directive that is about the whole response, or about the fields
// that its argument names.
func restrict(whole *bool, names *[]string, argument string, valid bool) {
	count := 0
	for name := range strings.SplitSeq(argument, ",") {
		if name = strings.Trim(name, " \t"); name != "" {
			*names = append(*names, name)
			count++
		}
	}
	if count == 0 || !valid {
		*whole = true
	}
}

// parseSeconds reads delta-seconds: digits only.
func parseSeconds(text string) (int64, bool) {
	if text == "" {
		return 0, false
	}
	var seconds int64
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
		if seconds = seconds*10 + int64(text[i]-'0'); seconds > longest {
			seconds = longest
		}
	}
	return seconds, true
}

// isToken says whether a byte may be in a token (RFC 9110, section 5.6.2).
func isToken(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c > ' ' && c < 0x7f && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// equalFold compares names of fields and tokens, which are ASCII.
func equalFold(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }
