package message

import (
	"net/http"
	"strings"
	"unsafe"
)

// StreamHead is a [RequestHead] that comes field by field, over HTTP/2 or HTTP/3:
// what HTTP/1 has in its request line is in fields whose names begin with a colon
// (RFC 9113, section 8.3). It is read as strictly. Minor is 1, Options and
// Upgrade are empty.
type StreamHead struct {
	RequestHead

	scheme, authority, path    string
	method, schemes, hosts, at bool // which of them there were
	plain                      bool // a field without a colon was there
	crumbs                     []string
}

// Add takes the next field. An [Error] without a status says that the message is
// malformed (RFC 9113, section 8.1.1), so that there is nobody to answer.
func (h *StreamHead) Add(name, value string) error {
	if strings.HasPrefix(name, ":") {
		return h.addPseudo(name, value)
	}
	if !h.plain {
		h.plain = true
		h.control.reset()
	}
	if err := checkStreamField(name, value); err != nil {
		return err
	}
	if len(h.Fields)+len(h.crumbs) >= FieldLimit {
		return tooLarge("the head has too many fields")
	}
	if name == "cookie" { // may come in pieces (RFC 9113, section 8.2.3)
		h.crumbs = append(h.crumbs, value)
		return nil
	}
	field := Field{Name: name, Value: value}
	h.Fields = append(h.Fields, field)
	return h.control.note(field)
}

func (h *StreamHead) addPseudo(name, value string) error {
	to, seen := (*string)(nil), (*bool)(nil)
	switch name {
	case ":method":
		to, seen = &h.Method, &h.method
	case ":scheme":
		to, seen = &h.scheme, &h.schemes
	case ":authority":
		to, seen = &h.authority, &h.hosts
	case ":path":
		to, seen = &h.path, &h.at
	default:
		return malformed("a field with a colon is not known")
	}
	if h.plain || *seen {
		return malformed("a field with a colon is out of place")
	}
	*to, *seen = value, true
	return nil
}

// Conclude makes of the fields what they mean together, with errors like Add's.
// Ended says that there is no body.
func (h *StreamHead) Conclude(ended bool) error {
	if !h.plain {
		h.control.reset()
	}
	if len(h.crumbs) > 0 {
		h.Fields = append(h.Fields, Field{Name: "cookie", Value: strings.Join(h.crumbs, "; ")})
	}
	h.Minor = 1
	if err := h.place(); err != nil {
		return err
	}
	if err := h.conclude(); err != nil {
		return err
	}
	switch {
	case ended && h.Declared > 0:
		return malformed("there is no body of the length that is declared")
	case ended:
		h.Length = 0
	case h.Declared < 0:
		h.Length = Chunked
	}
	h.Continue = h.control.expect != "" && h.Length != 0
	return nil
}

// place reads method, scheme, host and path.
func (h *StreamHead) place() error {
	switch {
	case !h.method || !isToken(raw(h.Method)):
		return malformed("there is no method")
	case len(h.Method) > methodLimit:
		return &Error{http.StatusNotImplemented, "the method is not known"}
	case h.hosts && h.control.hosts == 1 && !strings.EqualFold(h.authority, h.control.host):
		return malformed("there are two different hosts")
	}
	if h.hosts && h.control.hosts <= 1 {
		h.control.hosts, h.control.host = 1, h.authority
	}
	if h.Method == http.MethodConnect {
		if h.schemes || h.at || !h.hosts {
			return malformed("CONNECT has a host and nothing else")
		}
		return h.readTarget(raw(h.authority))
	}
	switch {
	case !h.schemes || h.scheme != "https" && h.scheme != "http":
		return malformed("there is no proper scheme")
	case h.path == "" || h.path[0] != '/' && h.path != "*":
		return malformed("there is no proper path")
	case len(h.path) > TargetLimit:
		return &Error{http.StatusRequestURITooLong, "the request's target is too long"}
	}
	return h.readTarget(raw(h.path))
}

func malformed(reason string) error { return &Error{0, reason} }

// AddTrailer takes a field that came behind a body over HTTP/2 or HTTP/3.
func (f *Fields) AddTrailer(name, value string) error {
	if strings.HasPrefix(name, ":") {
		return malformed("a field with a colon is out of place")
	}
	if err := checkStreamField(name, value); err != nil {
		return err
	}
	if len(*f) >= FieldLimit {
		return tooLarge("the trailer has too many fields")
	}
	*f = append(*f, Field{Name: name, Value: value})
	return nil
}

// checkStreamField refuses what RFC 9113, section 8.2, does: names in upper case,
// white space around values, and fields about the connection.
func checkStreamField(name, value string) error {
	if !isToken(raw(name)) {
		return malformed("a field has no proper name")
	}
	for i := range len(name) {
		if c := name[i]; c >= 'A' && c <= 'Z' {
			return malformed("a field has a name in upper case")
		}
	}
	if value != "" && (isBlank(value[0]) || isBlank(value[len(value)-1])) || !isText(raw(value)) {
		return malformed("a field has no proper value")
	}
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return malformed("a field is about a connection of HTTP/1")
	case "te":
		if !strings.EqualFold(value, "trailers") {
			return malformed("TE is not trailers")
		}
	}
	return nil
}

// raw gives a string's bytes without a copy, to be read only.
func raw(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
