package http2

import "strconv"

// AppendStatus begins the header block of an answer (RFC 7541).
func AppendStatus(to []byte, status int) []byte {
	switch status {
	case 200:
		return append(to, 0x80|8)
	case 204:
		return append(to, 0x80|9)
	case 206:
		return append(to, 0x80|10)
	case 304:
		return append(to, 0x80|11)
	case 404:
		return append(to, 0x80|13)
	}
	return strconv.AppendInt(append(to, 8, 3), int64(status), 10)
}

// AppendField appends a field to a header block. The name may be in any case.
func AppendField(to []byte, name, value string) []byte {
	start := len(to)
	to = appendInteger(append(to, 0), 0x7f, len(name))
	text := len(to)
	for i := range len(name) {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		to = append(to, c)
	}
	if index := staticName(string(to[text:])); index > 0 {
		to = appendInteger(to[:start], 0x0f, index)
	}
	return append(appendInteger(to, 0x7f, len(value)), value...)
}

// AppendLength appends Content-Length.
func AppendLength(to []byte, length int64) []byte {
	var digits [20]byte
	number := strconv.AppendInt(digits[:0], length, 10)
	to = appendInteger(to, 0x0f, 28)
	return append(appendInteger(to, 0x7f, len(number)), number...)
}

// appendInteger appends a number whose first byte has room up to the given one.
func appendInteger(to []byte, room, n int) []byte {
	if n < room {
		return append(to, byte(n))
	}
	to = append(to, byte(room))
	for n -= room; n >= 0x80; n >>= 7 {
		to = append(to, byte(n)|0x80)
	}
	return append(to, byte(n))
}

// staticName gives the index of a field's name in HPACK's static table; 0: it is
// not there (RFC 7541, appendix A).
func staticName(name string) int {
	switch name {
	case "accept-ranges":
		return 18
	case "access-control-allow-origin":
		return 20
	case "age":
		return 21
	case "allow":
		return 22
	case "cache-control":
		return 24
	case "content-disposition":
		return 25
	case "content-encoding":
		return 26
	case "content-language":
		return 27
	case "content-length":
		return 28
	case "content-location":
		return 29
	case "content-range":
		return 30
	case "content-type":
		return 31
	case "date":
		return 33
	case "etag":
		return 34
	case "expires":
		return 36
	case "last-modified":
		return 44
	case "link":
		return 45
	case "location":
		return 46
	case "retry-after":
		return 53
	case "server":
		return 54
	case "set-cookie":
		return 55
	case "strict-transport-security":
		return 56
	case "vary":
		return 59
	case "via":
		return 60
	case "www-authenticate":
		return 61
	}
	return 0
}
