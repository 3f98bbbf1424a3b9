package message

import (
	"bytes"
	"net/http"
	"strings"
)

// RequestHead is a [Request] as it came over HTTP/1.
type RequestHead struct {
	Request
	Framing
	// Minor is the version's second digit: 0 or 1.
	Minor int
	// Options are what the Connection field names besides close, keep-alive and
	// upgrade: the fields that are for this connection only.
	Options []string
	// Upgrade is the protocol that the sender would rather go on with; "" if none.
	Upgrade string
	// Continue says that the client waits for a sign before it sends the body.
	Continue bool
	// Secure says that the target names the scheme https, which it need not.
	Secure bool

	control control
}

// Parse reads a head that [HeadEnd] found, by RFC 9112 and without tolerance:
// what could be read in two ways is an [Error]. The strings are part of head, and
// what an earlier call gave is overwritten. Scheme is left to the caller.
func (r *RequestHead) Parse(head []byte) error {
	r.control.reset()
	r.Request = Request{Fields: r.Fields[:0]}
	end := bytes.IndexByte(head, '\n')
	if end < 1 || head[end-1] != '\r' {
		return bad("the request line does not end with CR LF")
	}
	target, err := r.readLine(head[:end-1])
	if err != nil {
		return err
	}
	if r.Fields, err = readFields(head[end+1:], r.Fields, &r.control); err != nil {
		return err
	}
	if err := r.readTarget(target); err != nil {
		return err
	}
	return r.conclude()
}

// readLine reads the request line: method, target, version.
func (r *RequestHead) readLine(line []byte) (target []byte, err error) {
	space := bytes.IndexByte(line, ' ')
	if space < 0 || !isToken(line[:space]) {
		return nil, bad("the request line has no method")
	}
	if space > methodLimit {
		return nil, &Error{http.StatusNotImplemented, "the method is not known"}
	}
	r.Method = text(line[:space])
	target = line[space+1:]
	if space = bytes.IndexByte(target, ' '); space < 0 {
		return nil, bad("the request line has no version")
	}
	version := target[space+1:]
	target = target[:space]
	switch {
	case string(version) == "HTTP/1.1":
		r.Minor = 1
	case string(version) == "HTTP/1.0":
		r.Minor = 0
	case len(version) == 8 && string(version[:5]) == "HTTP/" && version[6] == '.' && isDigit(version[5]) && isDigit(version[7]):
		return nil, &Error{http.StatusHTTPVersionNotSupported, "only HTTP/1.0 and HTTP/1.1 are spoken so"}
	default:
		return nil, bad("the request line has no proper version")
	}
	if len(target) > TargetLimit {
		return nil, &Error{http.StatusRequestURITooLong, "the request's target is too long"}
	}
	return target, nil
}

// readTarget reads the target in its four forms (RFC 9112, section 3.2), and
// the host.
func (r *RequestHead) readTarget(target []byte) error {
	host := r.control.host
	switch {
	case r.control.hosts > 1:
		return bad("there are several Host fields")
	case r.control.hosts == 0 && r.Minor > 0:
		return bad("there is no Host field")
	case r.control.hosts == 1 && !isAuthority(host):
		return bad("the Host field is not the name of a host")
	case !isTarget(target):
		return bad("the request's target is not proper")
	}
	r.Target, r.Secure = text(target), false
	switch {
	case r.Method == http.MethodConnect:
		if !isAuthority(r.Target) || !strings.Contains(r.Target, ":") {
			return bad("CONNECT has no host and port")
		}
		host, r.Target = r.Target, ""
	case r.Target == "*":
		if r.Method != http.MethodOptions {
			return bad("only OPTIONS is for the server as a whole")
		}
	case r.Target[0] != '/':
		authority, rest, ok := absolute(r.Target)
		if !ok || !isAuthority(authority) || r.control.hosts == 1 && !strings.EqualFold(authority, host) {
			return bad("the request's target is not proper, or not of its host")
		}
		r.Secure = len(r.Target) > 4 && r.Target[4]|0x20 == 's'
		host, r.Target = authority, rest
		if rest == "" && r.Method == http.MethodOptions {
			r.Target = "*"
		} else if rest == "" || rest[0] == '?' {
			r.Target = "/" + rest
		}
	}
	r.Host = strings.ToLower(host)
	path, _, _ := strings.Cut(r.Target, "?")
	if !isEncoded(path) {
		return bad("the request's path is not encoded properly")
	}
	return nil
}

// conclude makes of the fields what they mean together.
func (r *RequestHead) conclude() error {
	c := &r.control
	r.Length, r.Declared, r.Options, r.Upgrade = max(c.length, 0), c.length, c.options, ""
	if c.chunked || c.unexpected {
		switch {
		case r.Minor == 0:
			return bad("HTTP/1.0 has no Transfer-Encoding")
		case c.length >= 0:
			return bad("there are both Transfer-Encoding and Content-Length")
		case c.unexpected:
			return &Error{http.StatusNotImplemented, "this Transfer-Encoding is not known"}
		}
		r.Length = Chunked
	}
	r.Persistent = !c.close && (r.Minor > 0 || c.keepAlive)
	if c.upgrade && r.Minor > 0 {
		r.Upgrade = c.protocol
	}
	r.Continue = false
	if c.expect != "" && r.Minor > 0 {
		if !strings.EqualFold(c.expect, "100-continue") {
			return &Error{http.StatusExpectationFailed, "this expectation is not known"}
		}
		r.Continue = r.Length != 0
	}
	return nil
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// isTarget says that the target is of visible characters only. Those beyond
// ASCII pass, since browsers of old sent them; a fragment is not for a server.
func isTarget(target []byte) bool {
	return len(target) > 0 && isText(target) && bytes.IndexByte(target, '\t') < 0 && bytes.IndexByte(target, '#') < 0
}

// isEncoded says that each percent sign has two hexadecimal digits.
func isEncoded(path string) bool {
	for {
		i := strings.IndexByte(path, '%')
		if i < 0 {
			return true
		}
		if len(path) < i+3 || hexadecimal(path[i+1]) < 0 || hexadecimal(path[i+2]) < 0 {
			return false
		}
		path = path[i+3:]
	}
}

func hexadecimal(b byte) int {
	switch {
	case isDigit(b):
		return int(b - '0')
	case b >= 'a' && b <= 'f':
		return int(b-'a') + 10
	case b >= 'A' && b <= 'F':
		return int(b-'A') + 10
	}
	return -1
}

// absolute takes a target in absolute form apart.
func absolute(target string) (authority, rest string, ok bool) {
	scheme, behind, ok := strings.Cut(target, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", "", false
	}
	end := strings.IndexAny(behind, "/?")
	if end < 0 {
		end = len(behind)
	}
	return behind[:end], behind[end:], true
}

// IsAuthority says that s is what a Host field may have: a name or an IP address,
// with a port if it has one.
func IsAuthority(s string) bool { return isAuthority(s) }

// isAuthority says that s is a host, with a port if it has one: a name, or an
// IP address, that of version 6 in brackets (RFC 3986, section 3.2).
func isAuthority(s string) bool {
	var host, port string
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 3 || end+1 < len(s) && s[end+1] != ':' {
			return false
		}
		for _, c := range []byte(s[1:end]) {
			if c != ':' && c != '.' && hexadecimal(c) < 0 {
				return false
			}
		}
		port = strings.TrimPrefix(s[end+1:], ":")
	} else {
		host, port, _ = strings.Cut(s, ":")
		if host == "" {
			return false
		}
	}
	for i := range len(host) {
		if c := host[i]; !isLetter(c) && !isDigit(c) && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	for i := range len(port) {
		if !isDigit(port[i]) {
			return false
		}
	}
	return len(port) <= 5
}

func isLetter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }
