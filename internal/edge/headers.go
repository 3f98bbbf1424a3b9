package edge

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"strings"
	"unsafe"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// isHopByHop says that a field concerns one connection only, or says how long
// the body is, which the edge does itself.
func isHopByHop(name string) bool {
	switch len(name) {
	case 2:
		return strings.EqualFold(name, "TE")
	case 7:
		return strings.EqualFold(name, "Trailer") || strings.EqualFold(name, "Upgrade")
	case 10:
		return strings.EqualFold(name, "Connection") || strings.EqualFold(name, "Keep-Alive")
	case 14:
		return strings.EqualFold(name, "Content-Length")
	case 16:
		return strings.EqualFold(name, "Proxy-Connection")
	case 17:
		return strings.EqualFold(name, "Transfer-Encoding")
	case 18:
		return strings.EqualFold(name, "Proxy-Authenticate")
	case 19:
		return strings.EqualFold(name, "Proxy-Authorization")
	}
	return false
}

// isClaim says that a field is one that the edge itself vouches for: what a
// client claims in it is dropped. Some servers cannot tell "X_Forwarded_For" from
// "X-Forwarded-For", nor "Transfer_Encoding" from what frames a body, so those are
// dropped too.
func isClaim(name string) bool {
	if strings.IndexByte(name, '_') >= 0 {
		if name = strings.ReplaceAll(name, "_", "-"); isHopByHop(name) || isHearsay(name) {
			return true
		}
	}
	switch len(name) {
	case 5:
		return strings.EqualFold(name, "Proxy")
	case 9:
		return strings.EqualFold(name, "Forwarded") || strings.EqualFold(name, "X-Real-IP")
	case 10:
		return strings.EqualFold(name, springtide.FolderHeader)
	case 12:
		return strings.EqualFold(name, "X-Request-ID")
	case 15:
		return strings.EqualFold(name, "X-Forwarded-For")
	case 16:
		return strings.EqualFold(name, "X-Forwarded-Host") || strings.EqualFold(name, "X-Forwarded-Port")
	case 17:
		return strings.EqualFold(name, "X-Forwarded-Proto")
	case 18:
		return strings.EqualFold(name, "X-Forwarded-Server")
	}
	return false
}

// isHearsay says that a field is of those by which proxies tell what they know, of which
// frameworks believe many. Only a trusted proxy's are passed on.
func isHearsay(name string) bool {
	const prefix = "X-Forwarded-"
	return len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

// isNamed says that the Connection field names a field.
func isNamed(name string, options []string) bool {
	for _, option := range options {
		if strings.EqualFold(option, name) {
			return true
		}
	}
	return false
}

// appendRequest appends the head that an instance gets, and the body if all of
// it is there. The target is as the client wrote it.
func appendRequest(to []byte, x *exchange, folder string) []byte {
	r, fields := &x.request, x.request.Fields
	if x.onward != nil {
		fields = x.onward
	}
	to = append(append(append(to, r.Method...), ' '), r.Target...)
	to = append(append(append(to, " HTTP/1.1\r\nHost: "...), r.Host...), "\r\n"...)
	te := false
	for i := range fields {
		name, value := fields[i].Name, fields[i].Value
		switch {
		case len(name) == 2 && strings.EqualFold(name, "TE"):
			te = te || hasTrailers(value)
		case len(name) == 4 && strings.EqualFold(name, "Host"), len(name) == 6 && strings.EqualFold(name, "Expect") && !x.expects:
		case len(name) == 7 && strings.EqualFold(name, "Trailer") && x.length == message.Chunked:
			to = message.AppendField(to, name, value)
		case isHopByHop(name), isClaim(name), isNamed(name, x.options), !x.from.proxy && isHearsay(name):
		default:
			to = message.AppendField(to, name, value)
		}
	}
	switch {
	case x.upgrade != "":
		to = message.AppendField(to, "Connection", "Upgrade")
		to = message.AppendField(to, "Upgrade", x.upgrade)
	case te:
		to = append(to, "Connection: TE\r\nTE: trailers\r\n"...)
	}
	to = message.AppendField(to, "X-Forwarded-For", x.address)
	to = message.AppendField(to, "X-Forwarded-Host", r.Host)
	to = message.AppendField(to, "X-Forwarded-Proto", r.Scheme)
	to = message.AppendField(to, "X-Forwarded-Port", x.port)
	to = message.AppendField(to, "X-Request-Id", x.id)
	if folder != "" {
		to = message.AppendField(to, springtide.FolderHeader, folder)
	}
	switch {
	case x.length == message.Chunked:
		to = append(to, "Transfer-Encoding: chunked\r\n"...)
	case x.declared >= 0:
		to = appendLength(to, x.declared)
	}
	return append(append(to, "\r\n"...), x.whole...)
}

func appendLength(to []byte, length int64) []byte {
	to = strconv.AppendInt(append(to, "Content-Length: "...), length, 10)
	return append(to, "\r\n"...)
}

// hasTrailers says that the sender of a TE field takes trailers.
func hasTrailers(value string) bool {
	for coding := range strings.SplitSeq(value, ",") {
		if strings.EqualFold(strings.Trim(coding, " \t"), "trailers") {
			return true
		}
	}
	return false
}

// passable gives the fields of a trailer that may be passed on: none that frames
// or routes a message, or that the edge vouches for (RFC 9110, section 6.5.1).
func passable(trailer message.Fields) message.Fields {
	kept := trailer[:0]
	for _, field := range trailer {
		if !isHopByHop(field.Name) && !isClaim(field.Name) && !isHearsay(field.Name) && !strings.EqualFold(field.Name, "Host") && !strings.EqualFold(field.Name, "Content-Encoding") &&
			!strings.EqualFold(field.Name, "Authorization") && !strings.EqualFold(field.Name, "Set-Cookie") && !strings.EqualFold(field.Name, "Content-Type") {
			kept = append(kept, field)
		}
	}
	return kept
}

// upgradeOf gives the protocol that a message wants to go on with; empty if
// none. HTTP/2 without TLS is not gone along with: the edge would no longer see
// the requests.
func upgradeOf(protocol string) string {
	if strings.EqualFold(protocol, "h2c") || !visible(protocol) {
		return ""
	}
	return protocol
}

// identify gives the request the client's own ID if it is sane, else a new one,
// which is valid as long as the request.
func (x *exchange) identify() {
	if x.id = x.request.Fields.Get("X-Request-ID"); x.id != "" && len(x.id) <= 128 && visible(x.id) {
		return
	}
	var id [16]byte
	binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	hex.Encode(x.digits[:], id[:])
	x.id = unsafe.String(&x.digits[0], len(x.digits))
}

// visible says that a string is of visible ASCII characters only.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
