package edge

import (
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// appendLine appends a line of the access log, an object in JSON:
//
//	time, request_id, host, method, path, protocol, status, bytes, duration_ms,
//	held_ms, cache, instance, app, environment, release, client, user_agent, refused, incomplete
//
// What is empty of the last ten is left out, but for the client. The query is
// never there: it may hold secrets. Refused is why the edge answered by itself.
// Incomplete says that the answer broke off, or that the client did.
func appendLine(to []byte, x *exchange, now time.Time) []byte {
	group := x.backend.Group
	to = append(to, `{"time":"`...)
	to = x.started.UTC().AppendFormat(to, time.RFC3339Nano)
	to = append(to, '"')
	to = appendText(to, "request_id", x.id)
	to = appendText(to, "host", x.host)
	to = appendText(to, "method", x.request.Method)
	to = appendText(to, "path", pathOf(x.request.Target))
	to = appendText(to, "protocol", x.protocol)
	to = appendNumber(to, "status", int64(x.status))
	to = appendNumber(to, "bytes", x.bytes)
	to = appendMilliseconds(to, "duration_ms", now.Sub(x.started))
	if x.held > 0 {
		to = appendMilliseconds(to, "held_ms", x.held)
	}
	for _, pair := range [...]struct{ name, value string }{
		{"cache", string(x.cached)},
		{"instance", string(x.backend.Instance)},
		{"app", string(group.Environment.App)},
		{"environment", string(group.Environment.Name)},
	} {
		if pair.value != "" {
			to = appendText(to, pair.name, pair.value)
		}
	}
	if group.Release != 0 {
		to = appendNumber(to, "release", int64(group.Release))
	}
	to = appendText(to, "client", x.address)
	if agent := x.request.Fields.Get("User-Agent"); agent != "" {
		to = appendText(to, "user_agent", agent)
	}
	if x.refused != "" {
		to = appendText(to, "refused", x.refused)
	}
	if x.aborted {
		to = append(to, `,"incomplete":true`...)
	}
	return append(to, '}')
}

// pathOf gives the decoded path of a target.
func pathOf(target string) string {
	path, _, _ := strings.Cut(target, "?")
	if strings.IndexByte(path, '%') >= 0 {
		if decoded, err := url.PathUnescape(path); err == nil {
			return decoded
		}
	}
	return path
}

func appendNumber(to []byte, name string, value int64) []byte {
	to = append(append(append(to, `,"`...), name...), `":`...)
	return strconv.AppendInt(to, value, 10)
}

func appendMilliseconds(to []byte, name string, d time.Duration) []byte {
	to = append(append(append(to, `,"`...), name...), `":`...)
	return strconv.AppendFloat(to, float64(d.Microseconds())/1000, 'f', -1, 64)
}

// appendText appends a string. What is not UTF-8 becomes the replacement character.
func appendText(to []byte, name, value string) []byte {
	to = append(append(append(to, `,"`...), name...), `":"`...)
	plain := 0 // from where on nothing had to be escaped
	for i := 0; i < len(value); {
		c := value[i]
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(value[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		} else if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		to = append(to, value[plain:i]...)
		switch {
		case c == '"' || c == '\\':
			to = append(to, '\\', c)
		case c < utf8.RuneSelf:
			to = append(to, `\u00`...)
			to = append(to, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		default:
			to = append(to, `\ufffd`...)
		}
		i += size
		plain = i
	}
	return append(append(to, value[plain:]...), '"')
}
