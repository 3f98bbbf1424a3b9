package message

import (
	"bytes"
	"net/http"
)

// ResponseHead is a [Response] as it came over HTTP/1.
type ResponseHead struct {
	Response
	Framing
	// Minor is the version's second digit: 0 or 1.
	Minor  int
	Reason string
	// Options are as in [RequestHead].
	Options []string
	// Upgrade is the protocol that the sender goes on with; "" if none.
	Upgrade string

	control control
}

// Parse reads a head that [HeadEnd] found, of the answer to a request of the
// given method, as [RequestHead.Parse] does.
func (r *ResponseHead) Parse(head []byte, method string) error {
	r.control.reset()
	r.Response = Response{Fields: r.Fields[:0]}
	end := bytes.IndexByte(head, '\n')
	if end < 1 || head[end-1] != '\r' {
		return bad("the status line does not end with CR LF")
	}
	if err := r.readLine(head[:end-1]); err != nil {
		return err
	}
	var err error
	if r.Fields, err = readFields(head[end+1:], r.Fields, &r.control); err != nil {
		return err
	}
	return r.conclude(method)
}

// readLine reads the status line. The space behind the status may be missing if
// there is no reason.
func (r *ResponseHead) readLine(line []byte) error {
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' {
		return bad("the status line has no proper version")
	}
	r.Minor = int(line[7] - '0')
	status, ok := digits(text(line[9:12]))
	if !ok || status < 100 || status > 599 || len(line) > 12 && line[12] != ' ' {
		return bad("the status line has no proper status")
	}
	r.Status, r.Reason = int(status), ""
	if len(line) > 13 {
		if !isText(line[13:]) {
			return bad("the status line has a control character")
		}
		r.Reason = text(line[13:])
	}
	return nil
}

// conclude makes of the fields what they mean together (RFC 9112, section 6.3).
func (r *ResponseHead) conclude(method string) error {
	c := &r.control
	r.Declared, r.Options, r.Upgrade = c.length, c.options, ""
	if c.upgrade {
		r.Upgrade = c.protocol
	}
	r.Persistent = !c.close && (r.Minor > 0 || c.keepAlive)
	switch {
	case c.unexpected:
		return bad("the Transfer-Encoding is not known")
	case c.chunked && c.length >= 0:
		return bad("there are both Transfer-Encoding and Content-Length")
	case c.chunked && r.Minor == 0:
		return bad("HTTP/1.0 has no Transfer-Encoding")
	case method == http.MethodHead || !HasBody(r.Status):
		r.Length = 0
	case c.chunked:
		r.Length = Chunked
	case c.length >= 0:
		r.Length = c.length
	default:
		r.Length, r.Persistent = UntilClose, false
	}
	return nil
}

// HasBody says that answers of this status have one, if not to HEAD.
func HasBody(status int) bool {
	return status >= http.StatusOK && status != http.StatusNoContent && status != http.StatusNotModified
}
