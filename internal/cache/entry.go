package cache

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/springtide/springtide/internal/message"
)

// sliceSize is the length of the pieces that larger bodies are kept in.
const sliceSize = 1 << 20

// record is what is kept of a response, as it is written to disk.
type record struct {
	key key
	// specification has the names of Vary, selecting the values that the request
	// had for them.
	specification, selecting string
	// variants are the specifications that a resource's responses are found by, the
	// newest first. A record that has some is no response but a signpost, and epoch
	// has them found by no other.
	variants []string
	epoch    uint64
	status   int
	fields   message.Fields
	// requested and received are nanoseconds since 1970.
	requested, received int64
	// ttl and stale are those of the rule that it was stored under.
	ttl, stale time.Duration
	tags       []string
	// purged is the number of the last purge that was before the request.
	purged uint64
	// identity says that nothing may be compressed.
	identity bool
	// bodies has the body as it came, and then its other codings; empty where the
	// body is in slices.
	bodies []body
	// object and length are of a body that is kept in slices.
	object uint64
	length int64
}

// body is a body in one coding: "" as it came.
type body struct {
	coding string
	bytes  []byte
	// head has the field lines for HTTP/1.1 that are the same in each answer.
	head []byte
	// block is the head as another protocol's writer keeps it.
	block *atomic.Pointer[[]byte]
}

// entry is a record made ready for use. It never changes but for what is atomic.
type entry struct {
	record
	freshness
	id uint64

	etag, modified string
	// strong says that etag or modified may be used to put parts together.
	strong bool
	// status fields that caches before this one added.
	cacheStatus  string
	compressible bool
	// checked is the number of the last purge that the entry is known to have survived.
	checked atomic.Uint64
	// wanted has a bit for each coding that was asked for.
	wanted atomic.Uint32
}

func newEntry(id uint64, r record) *entry {
	e := &entry{record: r, id: id}
	e.checked.Store(r.purged)
	if e.isSignpost() {
		return e
	}
	e.freshness = newFreshness(&r)
	e.etag, e.modified = r.fields.Get("ETag"), r.fields.Get("Last-Modified")
	e.strong = strongTag(e.etag) || e.etag == "" && strongDate(e.modified, r.fields.Get("Date"))
	e.cacheStatus = strings.Join(slices.Collect(r.fields.All("Cache-Status")), ", ")
	e.compressible = r.object == 0 && !r.identity && compressible(r.status, r.fields, e.size())
	e.bodies = slices.Clone(e.bodies)
	for i := range e.bodies {
		e.bodies[i].head = e.appendStored(nil, e.bodies[i].coding)
		e.bodies[i].block = new(atomic.Pointer[[]byte])
	}
	return e
}

// isSignpost says that there is no response in the entry.
func (e *entry) isSignpost() bool { return len(e.variants) > 0 }

// isNewer compares responses by their Date, as section 4.1 has it; of the same second the
// one counts that came later.
func (e *entry) isNewer(than *entry) bool {
	return e.date > than.date || e.date == than.date && e.record.received > than.record.received
}

// size is the length of the body as it came.
func (e *entry) size() int64 {
	if e.object != 0 {
		return e.length
	}
	if len(e.bodies) == 0 {
		return 0
	}
	return int64(len(e.bodies[0].bytes))
}

// weight is what the entry takes of memory, about.
func (e *entry) weight() uint32 {
	size := 700 + len(e.key.target) + len(e.selecting)
	for _, field := range e.fields {
		size += 32 + len(field.Name) + len(field.Value)
	}
	for _, coded := range e.bodies {
		size += len(coded.bytes) + cap(coded.head)
	}
	return uint32(size)
}

// eachField gives the fields of an answer in a coding, but for its length, age and
// status of caches.
func (e *entry) eachField(coding string, yield func(name, value string)) {
	varies := false
	for _, field := range e.fields {
		name, value := field.Name, field.Value
		switch len(name) {
		case 3:
			if equalFold(name, "Age") {
				continue
			}
		case 4:
			if coding != "" && equalFold(name, "ETag") {
				value = codedTag(value, coding)
			}
			if e.compressible && equalFold(name, "Vary") {
				varies = varies || strings.Contains(strings.ToLower(value), "accept-encoding")
			}
		case 9, 11, 12, 13, 17, 24:
			if equalFold(name, "Cache-Status") || isInternal(name) {
				continue
			}
			if coding != "" && equalFold(name, "Accept-Ranges") {
				continue
			}
		}
		yield(name, value)
	}
	if coding != "" {
		yield("Content-Encoding", coding)
	}
	if e.compressible && !varies {
		yield("Vary", "Accept-Encoding")
	}
}

func isInternal(name string) bool {
	return slices.ContainsFunc(internalFields, func(own string) bool { return equalFold(own, name) })
}

func (e *entry) appendStored(dst []byte, coding string) []byte {
	e.eachField(coding, func(name, value string) { dst = appendLine(dst, name, value) })
	return dst
}

func appendLine(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// tagsOf gives the tags of a response: those of the rules and those it names itself,
// separated by commas (Cache-Tag) or white space (Surrogate-Key).
func tagsOf(fields message.Fields, rules *Rules) []string {
	tags := slices.Clone(rules.Tags)
	for _, name := range [...]string{"Cache-Tag", "Surrogate-Key"} {
		for line := range fields.All(name) {
			for tag := range strings.FieldsFuncSeq(line, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' }) {
				tags = append(tags, strings.Clone(tag))
			}
		}
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// freshen gives the record that a stored response becomes by one that said it had
// not changed (RFC 9111, section 3.2): each field of the newer takes the place of
// the older, but for those that describe the body as it is stored.
func (e *entry) freshen(update message.Fields, requested, received int64) record {
	r := e.record
	r.requested, r.received = requested, received
	r.fields = make(message.Fields, 0, len(e.fields)+4)
	for _, field := range e.fields {
		if describesBody(field.Name) || !update.Has(field.Name) && !equalFold(field.Name, "Age") && !equalFold(field.Name, "Cache-Status") {
			r.fields = append(r.fields, field)
		}
	}
	for _, field := range update {
		if !describesBody(field.Name) {
			r.fields = append(r.fields, field)
		}
	}
	return r
}

func describesBody(name string) bool {
	return equalFold(name, "Content-Length") || equalFold(name, "Content-Encoding") || equalFold(name, "Content-Range") ||
		equalFold(name, "ETag")
}

// strongDate says whether a Last-Modified is a strong validator: the response is
// younger than it by more than what a clock can tell (RFC 9110, section 8.8.2.2).
func strongDate(modified, date string) bool {
	last, isDate := parseDate(modified)
	sent, hasDate := parseDate(date)
	return isDate && hasDate && sent.Sub(last) >= time.Minute
}

func appendNumber(dst []byte, number int64) []byte { return strconv.AppendInt(dst, number, 10) }
