package message

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"strings"
	"unsafe"
)

// The limits of a head.
const (
	HeadLimit   = 64 << 10 // bytes of it all
	TargetLimit = 16 << 10 // bytes of a request's target
	FieldLimit  = 200      // field lines
	methodLimit = 64       // bytes of a method; the longest registered one has 17
)

// HeadEnd finds where the head at the front of data ends, its empty line
// included (RFC 9112, section 2.1). It gives 0 if more of it is to come. The
// first from bytes were looked at by an earlier call.
func HeadEnd(data []byte, from int) (int, error) {
	for {
		n := bytes.IndexByte(data[from:], '\n')
		i := from + n
		switch {
		case n < 0 && len(data) < HeadLimit:
			return 0, nil
		case n < 0 || i >= HeadLimit:
			if bytes.IndexByte(data[:HeadLimit], '\n') < 0 {
				return 0, &Error{http.StatusRequestURITooLong, "the request line is too long"}
			}
			return 0, tooLarge("the head is too long")
		case i == 0 || data[i-1] != '\r':
			return 0, bad("a line does not end with CR LF")
		case i == 1 || data[i-2] == '\n':
			return i + 1, nil
		}
		from = i + 1
	}
}

// Framing is how a message's body is delimited (RFC 9112, section 6), and what
// becomes of the connection after it.
type Framing struct {
	// Length is the body's in bytes, or [Chunked] or [UntilClose].
	Length int64
	// Declared is the value of Content-Length; -1: there is none.
	Declared int64
	// Persistent says that the sender wants another message to follow.
	Persistent bool
}

// Lengths of bodies that are not known beforehand.
const (
	Chunked    int64 = -1 // the chunked coding says where it ends
	UntilClose int64 = -2 // the end of the connection does; of responses only
)

// control is what the fields of a head say about its own connection.
type control struct {
	length     int64 // of Content-Length; -1: none
	chunked    bool
	close      bool
	keepAlive  bool
	upgrade    bool // Connection has the option "upgrade"
	hosts      int
	host       string
	protocol   string // of Upgrade
	expect     string
	options    []string // the other options of Connection
	unexpected bool     // the coding is not one that is understood
}

// readFields reads the field lines of a head or of a trailer up to its empty
// line, which is there.
func readFields(data []byte, fields Fields, c *control) (Fields, error) {
	for {
		end := bytes.IndexByte(data, '\n')
		if end < 1 || data[end-1] != '\r' {
			return fields, bad("a line does not end with CR LF")
		}
		line := data[:end-1]
		data = data[end+1:]
		if len(line) == 0 {
			if len(data) > 0 {
				return fields, bad("the head has an empty line in its middle")
			}
			return fields, nil
		}
		if len(fields) >= FieldLimit {
			return fields, tooLarge("the head has too many fields")
		}
		field, err := readField(line)
		if err != nil {
			return fields, err
		}
		fields = append(fields, field)
		if c != nil {
			if err := c.note(field); err != nil {
				return fields, err
			}
		}
	}
}

// readField reads one field line (RFC 9112, section 5). Lines that are folded
// are refused.
func readField(line []byte) (Field, error) {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 || !isToken(line[:colon]) {
		return Field{}, bad("a field has no proper name")
	}
	value := line[colon+1:]
	for len(value) > 0 && isBlank(value[0]) {
		value = value[1:]
	}
	for len(value) > 0 && isBlank(value[len(value)-1]) {
		value = value[:len(value)-1]
	}
	if !isText(value) {
		return Field{}, bad("a field has a control character in its value")
	}
	return Field{Name: text(line[:colon]), Value: text(value)}, nil
}

// note remembers a field that is about the connection.
func (c *control) note(f Field) error {
	switch len(f.Name) {
	case 4:
		if strings.EqualFold(f.Name, "Host") {
			c.hosts++
			c.host = f.Value
		}
	case 6:
		if strings.EqualFold(f.Name, "Expect") {
			c.expect = f.Value
		}
	case 7:
		if strings.EqualFold(f.Name, "Upgrade") {
			c.protocol = f.Value
		}
	case 10:
		if strings.EqualFold(f.Name, "Connection") {
			c.noteOptions(f.Value)
		}
	case 14:
		if strings.EqualFold(f.Name, "Content-Length") {
			return c.noteLength(f.Value)
		}
	case 17:
		if strings.EqualFold(f.Name, "Transfer-Encoding") {
			return c.noteCoding(f.Value)
		}
	}
	return nil
}

// noteLength reads Content-Length: digits only, and equal if there are several
// (RFC 9110, section 8.6).
func (c *control) noteLength(value string) error {
	for member := range strings.SplitSeq(value, ",") {
		length, ok := digits(strings.Trim(member, " \t"))
		if !ok {
			return bad("Content-Length is not a number")
		}
		if c.length >= 0 && c.length != length {
			return bad("there are two different Content-Lengths")
		}
		c.length = length
	}
	return nil
}

// noteCoding reads Transfer-Encoding: "chunked", once. Other codings are not
// understood; "chunked" before the end tells nobody where the body ends.
func (c *control) noteCoding(value string) error {
	if c.chunked || c.unexpected {
		return bad("there are two Transfer-Encodings")
	}
	if strings.EqualFold(value, "chunked") {
		c.chunked = true
		return nil
	}
	c.unexpected = true
	for rest, more := value, true; more; {
		var member string
		member, rest, more = strings.Cut(rest, ",")
		if member = strings.Trim(member, " \t"); member == "" || more && strings.EqualFold(member, "chunked") {
			return bad("Transfer-Encoding is no list of codings that ends with chunked")
		}
	}
	return nil
}

func (c *control) noteOptions(value string) {
	for option := range strings.SplitSeq(value, ",") {
		option = strings.Trim(option, " \t")
		switch {
		case option == "":
		case strings.EqualFold(option, "close"):
			c.close = true
		case strings.EqualFold(option, "keep-alive"):
			c.keepAlive = true
		case strings.EqualFold(option, "upgrade"):
			c.upgrade = true
		default:
			c.options = append(c.options, option)
		}
	}
}

func (c *control) reset() { *c = control{length: -1, options: c.options[:0]} }

// text gives bytes as a string without a copy: it is valid as long as they are.
func text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}

func digits(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	n := int64(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

func isBlank(b byte) bool { return b == ' ' || b == '\t' }

// The characters of a token (RFC 9110, section 5.6.2), a bit for each.
const (
	tokenLow  = 0x03ff_6cfa_0000_0000 // digits and !#$%&'*+-.
	tokenHigh = 0x57ff_ffff_c7ff_fffe // letters and ^_`|~
)

func isToken(b []byte) bool {
	for _, c := range b {
		mask := uint64(tokenLow)
		if c >= 64 {
			mask = tokenHigh
		}
		if c >= 128 || mask&(1<<(c&63)) == 0 {
			return false
		}
	}
	return len(b) > 0
}

// isText says that there are no control characters but tabs.
func isText(b []byte) bool {
	for len(b) >= 8 {
		if suspicious(binary.LittleEndian.Uint64(b)) && !isPlain(b[:8]) {
			return false
		}
		b = b[8:]
	}
	return isPlain(b)
}

// suspicious says that one of eight bytes may be a control character.
func suspicious(eight uint64) bool {
	const ones, highs = 0x0101_0101_0101_0101, 0x8080_8080_8080_8080
	deletes := eight ^ 0x7f*ones
	return ((eight-0x20*ones)&^eight|(deletes-ones)&^deletes)&highs != 0
}

func isPlain(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
