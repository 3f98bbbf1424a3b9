package cache

import (
	"crypto/rand"
	"math"
	"strconv"
	"strings"
)

// mostRanges is how many ranges a request may name. More are not worth the work
// (RFC 9110, section 14.2), and are ignored.
const mostRanges = 16

// span is a part of a body: from the first byte to before the last.
type span struct{ from, to int64 }

// spec is one range as it was asked for: last is -1 where there is no end, first
// is -1 where the last bytes are meant.
type spec struct{ first, last int64 }

// parseRange reads a Range of bytes (RFC 9110, section 14.1.2). What it does not
// understand is to be ignored.
func parseRange(value string) ([]spec, bool) {
	unit, set, found := strings.Cut(value, "=")
	if !found || !equalFold(unit, "bytes") {
		return nil, false
	}
	var specs []spec
	for part := range strings.SplitSeq(set, ",") {
		part = strings.Trim(part, " \t")
		if part == "" {
			continue
		}
		first, last, found := strings.Cut(part, "-")
		one := spec{first: -1, last: -1}
		var ok, both bool
		if first != "" {
			one.first, ok = parsePosition(first)
			both = ok
		}
		if last != "" {
			one.last, ok = parsePosition(last)
			both = both && ok
		}
		if !found || !ok || first != "" && last != "" && (!both || one.first > one.last) || len(specs) == mostRanges {
			return nil, false
		}
		specs = append(specs, one)
	}
	return specs, len(specs) > 0
}

func parsePosition(text string) (int64, bool) {
	value, err := strconv.ParseUint(text, 10, 63)
	if err != nil && len(text) > 0 && strings.Trim(text, "0123456789") == "" {
		return math.MaxInt64, true // beyond any body
	}
	return int64(value), err == nil
}

// resolve gives the parts of a body of a length that are meant. None can be
// satisfied if there are none.
func resolve(specs []spec, length int64) []span {
	var spans []span
	for _, one := range specs {
		s := span{one.first, length}
		switch {
		case one.first < 0 && one.last == 0, one.first >= length:
			continue
		case one.first < 0:
			s.from = max(0, length-one.last)
		case one.last >= 0 && one.last < length-1:
			s.to = one.last + 1
		}
		if s.from < s.to {
			spans = append(spans, s)
		}
	}
	return spans
}

// worthwhile says whether several ranges are less than the whole: who asks for
// ranges that overlap wants to make work (RFC 9110, section 17.15).
func worthwhile(spans []span, length int64) bool {
	var sum int64
	for _, s := range spans {
		sum += s.to - s.from
	}
	return len(spans) == 1 || sum < length
}

func appendContentRange(dst []byte, s span, length int64) []byte {
	dst = appendNumber(append(dst, "bytes "...), s.from)
	dst = appendNumber(append(dst, '-'), s.to-1)
	return appendNumber(append(dst, '/'), length)
}

// parseContentRange reads "bytes 0-99/1234". A length that is not known is no use.
func parseContentRange(value string) (s span, length int64, ok bool) {
	rest, found := strings.CutPrefix(value, "bytes ")
	positions, total, hasTotal := strings.Cut(rest, "/")
	first, last, hasLast := strings.Cut(positions, "-")
	from, okFrom := parsePosition(first)
	to, okTo := parsePosition(last)
	length, okLength := parsePosition(total)
	ok = found && hasTotal && hasLast && okFrom && okTo && okLength && from <= to && to < length
	return span{from, to + 1}, length, ok
}

// layOut lays several ranges out as multipart/byteranges (RFC 9110, section 14.6).
func layOut(spans []span, length int64, contentType string) (pieces []piece, boundary string) {
	boundary = rand.Text()
	for i, s := range spans {
		var head []byte
		if i > 0 {
			head = append(head, "\r\n"...)
		}
		head = append(head, "--"+boundary+"\r\n"...)
		if contentType != "" {
			head = appendLine(head, "Content-Type", contentType)
		}
		head = append(appendContentRange(append(head, "Content-Range: "...), s, length), "\r\n\r\n"...)
		pieces = append(pieces, piece{literal: head}, piece{span: s})
	}
	return append(pieces, piece{literal: []byte("\r\n--" + boundary + "--\r\n")}), boundary
}
