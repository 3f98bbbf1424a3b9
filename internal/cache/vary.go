package cache

import (
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// longestSelecting bounds the values that distinguish the variants of a resource.
const longestSelecting = 4096

// parseVary gives the names in Vary in lower case, sorted, each once; {"*"} where
// it is among them.
func parseVary(fields message.Fields) []string {
	var names []string
	for line := range fields.All("Vary") {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.ToLower(strings.Trim(name, " \t")); name != "" {
				names = append(names, name)
			}
		}
	}
	if slices.Contains(names, "*") {
		return []string{"*"}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// keyed are fields that are in the key of a response anyhow. Unseen are those that the
// edge makes up for the app, so that the cache does not see what a response depends on.
var (
	keyed  = []string{"host", "x-forwarded-host", "x-forwarded-proto"}
	unseen = []string{"*", "x-forwarded-for", "x-forwarded-port", "x-request-id"}
)

// variesUnseen says that a response matches no other request: section 4.1.
func variesUnseen(fields message.Fields) bool {
	return slices.ContainsFunc(parseVary(fields), func(name string) bool { return slices.Contains(unseen, name) })
}

// cookiePrefix marks a cookie among the names of a specification, which a rule put there.
const cookiePrefix = "cookie:"

// specificationOf joins all that distinguishes the responses to requests.
func specificationOf(fields message.Fields, rule *springtide.CacheRule) string {
	names := slices.DeleteFunc(parseVary(fields), func(name string) bool { return slices.Contains(keyed, name) })
	for _, cookie := range rule.Cookies {
		names = append(names, cookiePrefix+cookie)
	}
	return strings.Join(names, ",")
}

// variantNumber gives the number that a variant of a resource is found by.
func variantNumber(primary, epoch uint64, specification string, selecting []byte) uint64 {
	return xxh3.HashSeed(selecting, xxh3.HashStringSeed(specification, primary^epoch))
}

func appendCookie(dst []byte, fields message.Fields, name string) []byte {
	for line := range fields.All("Cookie") {
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.Trim(pair, " \t")
			if value, found := strings.CutPrefix(pair, name+"="); found {
				return append(append(dst, '='), value...)
			}
		}
	}
	return dst
}

// appendSelecting appends the values that a request has for the fields of a
// specification (names joined by commas), so that two requests match if and only if
// the results are the same (RFC 9111, section 4.1): lines are combined, white space
// around commas is dropped, and fields of which it is known that case or order mean
// nothing are put in one form.
func appendSelecting(dst []byte, fields message.Fields, specification string) []byte {
	for rest, more := specification, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, ",")
		if cookie, is := strings.CutPrefix(name, cookiePrefix); is {
			dst = append(appendCookie(dst, fields, cookie), '\n')
			continue
		}
		begin, lines := len(dst), 0
		for i := range fields {
			if !equalFold(fields[i].Name, name) {
				continue
			}
			if lines++; lines > 1 {
				dst = append(dst, ',')
			}
			dst = appendList(dst, fields[i].Value)
		}
		switch {
		case lines == 0: // absent matches only absent
			dst = append(dst, 0)
		case name == "accept-encoding" || name == "accept-language" || name == "accept" || name == "accept-charset":
			dst = append(dst[:begin], preferences(dst[begin:])...)
		}
		dst = append(dst, '\n')
	}
	return dst
}

// appendList appends a value without the white space around its commas.
func appendList(dst []byte, value string) []byte {
	begin, inQuotes := len(dst), false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case inQuotes && c == '\\' && i+1 < len(value):
			dst = append(dst, c)
			i++
			c = value[i]
		case c == '"':
			inQuotes = !inQuotes
		case inQuotes:
		case c == ',':
			dst = trimSpace(dst, begin)
		case (c == ' ' || c == '\t') && (len(dst) == begin || dst[len(dst)-1] == ','):
			continue
		}
		dst = append(dst, c)
	}
	return trimSpace(dst, begin)
}

// trimSpace takes white space off the end, but not beyond a position.
func trimSpace(text []byte, begin int) []byte {
	for len(text) > begin && (text[len(text)-1] == ' ' || text[len(text)-1] == '\t') {
		text = text[:len(text)-1]
	}
	return text
}

// mostPreferences is how many members a list may have that is put in order.
const mostPreferences = 24

// preferences gives one form to a list of choices with weights, in place: in lower
// case, without white space, sorted. Their order means nothing (RFC 9110, section 12.4.2).
func preferences(value []byte) []byte {
	var members [mostPreferences][2]int
	count, end := 0, 0
	members[0][0] = 0
	for _, c := range value {
		switch {
		case c == ' ' || c == '\t':
			continue
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c == ',':
			if count == mostPreferences-1 {
				return value
			}
			members[count][1] = end
			count++
			members[count][0] = end + 1
		}
		value[end] = c
		end++
	}
	members[count][1] = end
	value = value[:end]
	var room [256]byte
	if end > len(room) {
		return value
	}
	ordered := members[:count+1]
	for i := range ordered { // a few: they are inserted one by one
		for at := i; at > 0 && string(value[ordered[at][0]:ordered[at][1]]) < string(value[ordered[at-1][0]:ordered[at-1][1]]); at-- {
			ordered[at], ordered[at-1] = ordered[at-1], ordered[at]
		}
	}
	sorted := room[:0]
	for i, member := range ordered {
		if i > 0 {
			sorted = append(sorted, ',')
		}
		sorted = append(sorted, value[member[0]:member[1]]...)
	}
	copy(value, sorted)
	return value
}
