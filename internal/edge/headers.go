package edge

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// hopByHop are the fields that concern one connection only.
var hopByHop = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Proxy-Authenticate": true,
	"Proxy-Authorization": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// ours are the fields that the edge itself vouches for: what a client claims in
// them is dropped. Some servers cannot tell "X_Forwarded_For" from
// "X-Forwarded-For", so that is dropped too.
var ours = map[string]bool{
	"X-Forwarded-For": true, "X-Forwarded-Proto": true, "X-Forwarded-Host": true, "X-Forwarded-Port": true,
	"X-Forwarded-Server": true, "X-Real-Ip": true, "Forwarded": true, "X-Request-Id": true, "Proxy": true,
}

// copyFields copies the fields that go on, without those that the Connection
// field names.
func copyFields(to, from http.Header, skip func(name string) bool) {
	named := connectionOptions(from)
	for name, values := range from {
		if hopByHop[name] || named[name] || skip(name) {
			continue
		}
		to[name] = values
	}
}

func connectionOptions(header http.Header) map[string]bool {
	var named map[string]bool
	for _, value := range header["Connection"] {
		for option := range strings.SplitSeq(value, ",") {
			option = textproto.TrimString(option)
			if option == "" || strings.EqualFold(option, "keep-alive") || strings.EqualFold(option, "close") {
				continue
			}
			if named == nil {
				named = map[string]bool{}
			}
			named[textproto.CanonicalMIMEHeaderKey(option)] = true
		}
	}
	return named
}

func claimed(name string) bool {
	if strings.Contains(name, "_") {
		name = textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	return ours[name]
}

// outgoingHeader makes the header that an instance gets.
func outgoingHeader(x *exchange) http.Header {
	r := x.request
	header := make(http.Header, len(r.Header)+8)
	copyFields(header, r.Header, claimed)
	if httpguts.HeaderValuesContainsToken(r.Header["Te"], "trailers") {
		header.Set("Te", "trailers")
	}
	if protocol := upgradeOf(r.Header); protocol != "" && r.ProtoMajor == 1 {
		header.Set("Connection", "Upgrade")
		header.Set("Upgrade", protocol)
	}
	if _, ok := header["User-Agent"]; !ok {
		header["User-Agent"] = nil // or net/http sends its own
	}
	header.Set("X-Forwarded-For", clientAddress(r))
	header.Set("X-Forwarded-Host", r.Host)
	header.Set("X-Forwarded-Proto", "http")
	if r.TLS != nil {
		header.Set("X-Forwarded-Proto", "https")
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if _, port, err := net.SplitHostPort(local.String()); err == nil {
			header.Set("X-Forwarded-Port", port)
		}
	}
	header.Set("X-Request-Id", x.id)
	return header
}

// upgradeOf gives the protocol that a message wants to go on with; empty if
// none. HTTP/2 without TLS is not gone along with: the edge would no longer see
// the requests.
func upgradeOf(header http.Header) string {
	if !httpguts.HeaderValuesContainsToken(header["Connection"], "Upgrade") {
		return ""
	}
	protocol := header.Get("Upgrade")
	if strings.EqualFold(protocol, "h2c") || !visible(protocol) {
		return ""
	}
	return protocol
}

// clientAddress gives the client's IP address.
func clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// outgoingURL gives the target that an instance gets: as the client wrote it,
// byte for byte where net/url allows it.
func outgoingURL(r *http.Request, address string) *url.URL {
	target := &url.URL{Scheme: "http", Host: address, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if path == "*" || strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") {
		target.Opaque = path
	}
	return target
}

// requestID gives the client's own request ID if it is sane, else a new one.
func requestID(header http.Header) string {
	if id := header.Get("X-Request-Id"); id != "" && len(id) <= 128 && visible(id) {
		return id
	}
	var id [16]byte
	binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	return hex.EncodeToString(id[:])
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
