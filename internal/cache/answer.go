package cache

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/springtide/springtide/internal/message"
)

// Answer is what to send to a client, from what is stored.
type Answer struct {
	// Status is 200 or another one that was stored, 206, 304, 416 or 504.
	Status int
	// Body is what to send after the head; of an answer to HEAD it is empty.
	Body Body

	cache  *Cache
	entry  *entry // nil: the answer is the cache's own
	coding *body  // nil: what is kept in slices
	// tagCoding is the coding whose tag a 304 repeats.
	tagCoding string
	// age and ttl are in seconds; note is what Cache-Status says after the name.
	age, ttl int64
	note     string
	// length is of the whole body, part what of it a 206 has.
	length   int64
	part     span
	boundary string
}

// Stored says that the answer is of a stored response, and not of the cache's own.
func (a *Answer) Stored() bool { return a.entry != nil }

// Length is what Content-Length says: how long the body is, to HEAD the one that GET
// would get; -1 where nothing is said.
func (a *Answer) Length() int64 {
	if a.Status == http.StatusNotModified || a.Status == http.StatusNoContent {
		return -1
	}
	return a.length
}

// AppendHead appends the answer's field lines for HTTP/1.1, without the status line
// and without the empty line at the end. It has a Content-Length where there is one.
func (a *Answer) AppendHead(dst []byte) []byte {
	if a.coding != nil && a.Status == a.entry.status {
		dst = append(dst, a.coding.head...)
	} else {
		a.eachStored(func(name, value string) { dst = appendLine(dst, name, value) })
	}
	if a.Status != http.StatusNotModified && a.Status != http.StatusNoContent {
		dst = append(appendNumber(append(dst, "Content-Length: "...), a.length), "\r\n"...)
	}
	if a.entry != nil {
		dst = append(appendNumber(append(dst, "Age: "...), a.age), "\r\n"...)
	}
	dst = append(dst, "Cache-Status: "...)
	return append(a.appendStatus(dst), "\r\n"...)
}

// AppendFields appends the same fields as AppendHead one by one. They are valid as
// long as they are needed.
func (a *Answer) AppendFields(dst message.Fields) message.Fields {
	dst = a.AppendStored(dst)
	if a.Status != http.StatusNotModified && a.Status != http.StatusNoContent {
		dst = append(dst, message.Field{Name: "Content-Length", Value: strconv.FormatInt(a.length, 10)})
	}
	if a.entry != nil {
		dst = append(dst, message.Field{Name: "Age", Value: strconv.FormatInt(a.age, 10)})
	}
	return append(dst, message.Field{Name: "Cache-Status", Value: string(a.appendStatus(nil))})
}

// AppendStored appends those of the fields that are the same in each such answer.
func (a *Answer) AppendStored(dst message.Fields) message.Fields {
	a.eachStored(func(name, value string) { dst = append(dst, message.Field{Name: name, Value: value}) })
	return dst
}

// Prepared gives what encode makes of the fields that are the same in each such
// answer, made once for each stored response, and has the others appended to
// changing: a writer of HTTP/2 keeps a header block that way. It is only for answers
// with the whole body as it is stored, which ok says.
func (a *Answer) Prepared(encode func(message.Fields) []byte, changing message.Fields) (block []byte, rest message.Fields, ok bool) {
	if a.coding == nil || a.Status != a.entry.status {
		return nil, changing, false
	}
	kept := a.coding.block.Load()
	if kept == nil {
		var fields message.Fields
		a.eachStored(func(name, value string) { fields = append(fields, message.Field{Name: name, Value: value}) })
		if a.Status != http.StatusNoContent {
			fields = append(fields, message.Field{Name: "Content-Length", Value: strconv.FormatInt(a.length, 10)})
		}
		made := encode(fields)
		kept = &made
		a.coding.block.Store(kept)
	}
	changing = append(changing, message.Field{Name: "Age", Value: strconv.FormatInt(a.age, 10)})
	return *kept, append(changing, message.Field{Name: "Cache-Status", Value: string(a.appendStatus(nil))}), true
}

// eachStored gives the fields that are the same in each answer with this status.
func (a *Answer) eachStored(yield func(name, value string)) {
	if a.entry == nil {
		return
	}
	coding := a.tagCoding
	if a.coding != nil {
		coding = a.coding.coding
	}
	a.entry.eachField(coding, func(name, value string) {
		switch {
		case a.Status == http.StatusNotModified && (describesContent(name) || a.entry.etag != "" && equalFold(name, "Last-Modified")):
		case a.Status == http.StatusRequestedRangeNotSatisfiable && isOfContent(name):
		case a.boundary != "" && equalFold(name, "Content-Type"):
		default:
			yield(name, value)
		}
	})
	switch {
	case a.Status == http.StatusRequestedRangeNotSatisfiable:
		yield("Content-Range", "bytes */"+strconv.FormatInt(a.part.to, 10))
	case a.boundary != "":
		yield("Content-Type", "multipart/byteranges; boundary="+a.boundary)
	case a.Status == http.StatusPartialContent:
		yield("Content-Range", string(appendContentRange(nil, a.part, a.part.length(a))))
	}
}

// describesContent says whether a field is about a body, and not sent without one
// (RFC 9110, section 15.4.5).
func describesContent(name string) bool {
	if len(name) < len("Content-Type") || !equalFold(name[:8], "Content-") {
		return false
	}
	return equalFold(name, "Content-Type") || equalFold(name, "Content-Range") ||
		equalFold(name, "Content-Encoding") || equalFold(name, "Content-Language")
}

// isOfContent says whether a field is about what is stored, and not about the answer that
// there is no such range of it. How long that is fresh is so, too: another cache might
// give it to those who ask for the whole.
func isOfContent(name string) bool {
	return describesContent(name) || equalFold(name, "ETag") || equalFold(name, "Last-Modified") || equalFold(name, "Cache-Control") ||
		equalFold(name, "Expires") || slices.ContainsFunc(targets[:], func(target string) bool { return equalFold(target, name) })
}

// appendStatus appends the value of Cache-Status (RFC 9211): what caches before this
// one said, and then this one.
func (a *Answer) appendStatus(dst []byte) []byte {
	if a.entry != nil && a.entry.cacheStatus != "" {
		dst = append(append(dst, a.entry.cacheStatus...), ", "...)
	}
	dst = append(append(dst, a.cache.options.Name...), a.note...)
	if a.entry != nil {
		dst = appendNumber(append(dst, "; ttl="...), a.ttl)
	}
	return dst
}

// answer makes what is sent of a stored response to a request: the whole, a part of
// it, or that the client has it already.
func (c *Cache) answer(now int64, e *entry, a *asked, request *message.Request, rules *Rules, note string) Answer {
	age := e.age(now)
	answer := Answer{
		Status: e.status, cache: c, entry: e, note: note,
		age: int64(age / time.Second), ttl: int64((e.lifetime - age) / time.Second),
	}
	success := e.status >= 200 && e.status < 300
	if success && (a.ifNoneMatch || a.ifModifiedSince != "") {
		if coding, same := notModified(a, request.Fields, e.fields, e.record.received); same {
			answer.Status, answer.tagCoding = http.StatusNotModified, coding
			return answer
		}
	}
	specs, isRange := []spec(nil), false
	if a.ranges != "" && e.status == http.StatusOK {
		specs, isRange = parseRange(a.ranges)
	}
	tagCoding := ""
	if isRange && a.ifRange != "" {
		tagCoding, isRange = sameRepresentation(a.ifRange, e.etag, e.modified, e.fields.Get("Date"))
	}
	if e.object == 0 {
		codes := a.codes
		if a.control.noTransform { // RFC 9111, section 5.2.1.6
			codes = ""
		}
		answer.coding = c.coded(e, codes, isRange, tagCoding)
		if isRange && answer.coding.coding != tagCoding {
			isRange = false
		}
		answer.length = int64(len(answer.coding.bytes))
		answer.Body.bytes = answer.coding.bytes
	} else {
		answer.length = e.length
		answer.Body = Body{cache: c, entry: e, request: cloneRequest(request), rules: rules, pieces: []piece{{span: span{0, e.length}}}}
	}
	if isRange {
		answer.cut(resolve(specs, answer.length))
	}
	if a.head {
		answer.Body = Body{}
	}
	return answer
}

// cut makes an answer with the whole body one with parts of it.
func (a *Answer) cut(spans []span) {
	whole := a.length
	if len(spans) == 0 {
		a.Status, a.length, a.part = http.StatusRequestedRangeNotSatisfiable, 0, span{0, whole}
		a.Body, a.coding = Body{}, nil
		return
	}
	if !worthwhile(spans, whole) {
		return
	}
	a.Status, a.part = http.StatusPartialContent, spans[0]
	if len(spans) == 1 {
		a.length = spans[0].to - spans[0].from
		if a.coding != nil {
			a.Body.bytes = a.Body.bytes[spans[0].from:spans[0].to]
		} else {
			a.Body.pieces = []piece{{span: spans[0]}}
		}
		return
	}
	a.Body.pieces, a.boundary = layOut(spans, whole, a.entry.fields.Get("Content-Type"))
	a.length = 0
	for i, p := range a.Body.pieces {
		if p.literal == nil && a.coding != nil {
			a.Body.pieces[i].literal = a.coding.bytes[p.from:p.to]
		}
		a.length += p.length()
	}
	a.Body.bytes = nil
}

// length is how long the whole is that the part of an answer belongs to.
func (s span) length(a *Answer) int64 {
	if a.coding != nil {
		return int64(len(a.coding.bytes))
	}
	return a.entry.length
}
