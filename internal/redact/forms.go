package redact

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// forms gives all that a value may look like: the needles to look for. None has
// a line feed in it.
func forms(value []byte) [][]byte {
	var found [][]byte
	add := func(needle []byte) {
		if len(needle) >= Shortest {
			found = append(found, needle)
		}
	}
	for line := range bytes.FieldsFuncSeq(value, func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = bytes.TrimSpace(line)
		if len(line) < Shortest {
			continue
		}
		add(bytes.Clone(line))
		for _, also := range []string{"", "<>&", "/"} {
			add(quoted(line, also))
		}
		for _, kept := range keptInURLs() {
			for _, digits := range []string{"0123456789ABCDEF", "0123456789abcdef"} {
				add(escaped(line, kept, digits))
			}
		}
	}
	if value = bytes.TrimSpace(value); len(value) < Shortest {
		return found
	}
	for before := range 3 {
		inner := inBase64(value, before)
		add(inner)
		add(forURLs(inner))
	}
	// Programs break long base64 into lines of either length.
	whole := inBase64(value, 0)
	for _, width := range []int{64, 76} {
		for rest := whole; len(whole) > width && len(rest) > 0; rest = rest[min(width, len(rest)):] {
			add(rest[:min(width, len(rest))])
		}
	}
	return found
}

// inBase64 gives the digits that the value has where so many bytes, of three,
// come before it: only those that are the same whatever is around it.
func inBase64(value []byte, before int) []byte {
	text := base64.RawStdEncoding.EncodeToString(append(make([]byte, before), value...))
	return []byte(text[(8*before+5)/6 : 8*(before+len(value))/6])
}

// forURLs gives base64 in the alphabet for URLs.
func forURLs(digits []byte) []byte {
	return []byte(strings.NewReplacer("+", "-", "/", "_").Replace(string(digits)))
}

// keptInURLs gives the sets of characters that libraries leave as they are,
// besides letters, digits and "-._~". A space that is kept becomes a plus.
func keptInURLs() []string {
	return []string{"", " ", "/", "!'()*", "$&+:=@", "$&+,;=", "!#$&'()*+,/:;=?@"}
}

// escaped gives the text as it is in a URL.
func escaped(text []byte, kept, digits string) []byte {
	var b []byte
	for _, c := range text {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0:
			b = append(b, c)
		case strings.IndexByte(kept, c) < 0:
			b = append(b, '%', digits[c>>4], digits[c&15])
		case c == ' ':
			b = append(b, '+')
		default:
			b = append(b, c)
		}
	}
	return b
}

// quoted gives the text as it is in a string of JSON; some libraries escape more
// than they must.
func quoted(text []byte, also string) []byte {
	const digits = "0123456789abcdef"
	var b []byte
	for _, c := range text {
		switch {
		case c == '"' || c == '\\' || c == '/' && also == "/":
			b = append(b, '\\', c)
		case c == '\t':
			b = append(b, '\\', 't')
		case c < ' ' || strings.IndexByte(also, c) >= 0:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}
