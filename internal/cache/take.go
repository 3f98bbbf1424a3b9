package cache

import (
	"net/http"
	"strconv"
	"time"

	"github.com/springtide/springtide/internal/message"
)

// Next is what to do with a response.
type Next int

// What can be done.
const (
	// Relay the response: send the head of the outcome, and of the body what it says.
	Relay Next = iota
	// Serve the outcome's answer; the rest of the response is to be thrown away.
	Serve
	// Again: forward what Request gives now, and take the response to that.
	Again
	// Break the connection to the client off: what it has got a part of is no more.
	Break
)

// Outcome says what to do with the response to a fetch.
type Outcome struct {
	Do     Next
	Answer Answer // of Serve
	// Status and Fields are the head to relay, with the Content-Length if there is
	// one; fields of the connection are left to the edge. There is none (status 0)
	// where the head has been sent: the fetch came from [Body.Next].
	Status int
	Fields message.Fields
	// Skip bytes of the body, then Length, go to the client; less than 0: all.
	Skip, Length int64
	// Store, if it is not nil, is given every byte of the body, and then Commit if the
	// body ended as it should, or else Abort. What the client does not get is read too.
	Store *Writer
	// Rest, if it is not nil, is sent after that.
	Rest *Body
}

// Take takes the head of the final response to a fetch; interim ones (1xx) are not for
// the cache. The outcome's fields are put into room, whose content is lost.
func (f *Fetch) Take(now time.Time, response *message.Response, room message.Fields) Outcome {
	at := now.UnixNano()
	room = room[:0]
	switch {
	case f.asItIs:
	case f.slices:
		if outcome, settled := f.takeSlices(response, room); settled {
			return outcome
		}
	case f.stored != nil && response.Status == http.StatusNotModified:
		return f.takeNotModified(at, response)
	case f.stored != nil && unavailable(response.Status):
		note := "; fwd=stale; fwd-status=" + strconv.Itoa(response.Status) + "; detail=stale-if-error"
		if answer, ok := f.instead(at, func(e *entry) time.Duration { return e.ifError }, note); ok {
			f.End()
			return Outcome{Do: Serve, Answer: answer}
		}
	case f.ranged && response.Status == http.StatusPartialContent:
		return f.takePartial(at, response, room)
	}
	f.observe(at, response)
	return f.relay(at, response, room)
}

// unavailable are the statuses that stale-if-error is about (RFC 5861, section 4).
func unavailable(status int) bool {
	return status == 500 || status == 502 || status == 503 || status == 504
}

// takeNotModified freshens what was validated (RFC 9111, section 4.3.4).
func (f *Fetch) takeNotModified(now int64, response *message.Response) Outcome {
	e := f.stored
	if !identifies(response.Fields, e) {
		return f.again()
	}
	e = f.freshen(e, response.Fields, now)
	f.End()
	f.cache.count.revalidated.Add(1)
	return Outcome{Do: Serve, Answer: f.cache.answer(now, e, &f.asked, f.request, f.rules, "; fwd="+f.reason+"; fwd-status=304")}
}

// freshen updates a stored response, and gives what it has become. What must not be
// stored of the newer is for the one who asked alone.
func (f *Fetch) freshen(e *entry, fields message.Fields, now int64) *entry {
	r := e.freshen(storedFields(fields, httpDate(now)), f.began, now)
	if varies := specificationOf(r.fields, f.rule); varies != r.specification {
		r.specification, r.selecting = varies, string(appendSelecting(nil, f.request.Fields, varies))
	}
	updated := newEntry(e.id, r)
	control, _ := governing(updated.fields)
	switch {
	case control.noStore && !control.mustUnderstand, control.private, variesUnseen(updated.fields), len(r.selecting) > longestSelecting:
		f.cache.forget(e)
	case f.asked.control.noStore, f.asked.authorized && !f.rule.Authorized && !control.isForAll():
	default:
		f.cache.publish(updated, f.primary, f.invalidation)
	}
	return updated
}

// identifies says whether a response is about a stored one: by its strong validator, a
// weak one, or, without any, because only that was asked about.
func identifies(fields message.Fields, e *entry) bool {
	tag, modified := fields.Get("ETag"), fields.Get("Last-Modified")
	switch {
	case strongTag(tag):
		return tag == e.etag
	case tag != "":
		return opaque(tag) == opaque(e.etag)
	case modified != "" && e.modified != "":
		return modified == e.modified
	}
	return true
}

// again has the client's own request forwarded: what is stored is of no use.
func (f *Fetch) again() Outcome {
	if f.stored != nil {
		f.cache.forget(f.stored)
	}
	f.stored, f.slices, f.ranged, f.asItIs, f.leading = nil, false, false, true, nil
	return Outcome{Do: Again}
}

// takePartial takes whole slices of a body that nothing was known of.
func (f *Fetch) takePartial(now int64, response *message.Response, room message.Fields) Outcome {
	got, length, ok := parseContentRange(response.Fields.Get("Content-Range"))
	specs, _ := parseRange(f.asked.ranges)
	wanted := resolve(specs, length)
	if ok && len(wanted) == 0 { // it was not known how short the body is
		wanted = []span{{got.from, got.from}}
	}
	if !ok || got.from > wanted[0].from || got.to < wanted[0].to {
		return f.again()
	}
	outcome := Outcome{
		Status: http.StatusPartialContent, Skip: wanted[0].from - got.from, Length: wanted[0].to - wanted[0].from,
		Store: f.begin(now, response, got, length),
	}
	if outcome.Store == nil {
		f.End()
	}
	outcome.Fields = f.head(now, response.Fields, room, outcome.Length, outcome.Store != nil, func(name string) bool {
		return equalFold(name, "Content-Range") || outcome.Length == 0 && isOfContent(name)
	})
	extent := "bytes */" + strconv.FormatInt(length, 10)
	if outcome.Length > 0 {
		extent = string(appendContentRange(nil, wanted[0], length))
	} else {
		outcome.Status = http.StatusRequestedRangeNotSatisfiable
	}
	outcome.Fields = append(outcome.Fields, message.Field{Name: "Content-Range", Value: extent})
	return outcome
}

// takeSlices takes slices that a stored body lacks, if they are of that.
func (f *Fetch) takeSlices(response *message.Response, room message.Fields) (Outcome, bool) {
	e := f.stored
	got, length, ok := parseContentRange(response.Fields.Get("Content-Range"))
	same := ok && response.Status == http.StatusPartialContent && length == e.length && got.from == f.fetched.from &&
		got.to >= f.window.to && identifies(response.Fields, e)
	switch {
	case same:
		outcome := Outcome{Skip: f.window.from - got.from, Length: f.window.to - f.window.from, Store: f.resume(got)}
		if f.leading != nil {
			outcome.Status, outcome.Fields, outcome.Rest = f.leading.Status, f.leading.AppendFields(room), &f.leading.Body
		}
		return outcome, true
	case f.leading == nil:
		f.cache.forget(e)
		f.End()
		return Outcome{Do: Break}, true
	case response.Status == http.StatusOK: // it has changed: this is the new one
		f.stored, f.slices, f.ranged, f.leading = nil, false, false, nil
		f.purged = f.cache.purges.number.Load()
		return Outcome{}, false
	case response.Status < 500:
		return f.again(), true
	}
	return Outcome{}, false
}

// observe has the cache learn from a response that is not stored.
func (f *Fetch) observe(now int64, response *message.Response) {
	status := response.Status
	switch {
	case !f.asked.safe && status >= 200 && status < 400: // RFC 9111, section 4.4
		f.cache.invalidate(f.key, f.rules, response.Fields)
	case f.asked.head && !f.asked.pass && status == http.StatusOK:
		f.observeHead(now, response)
	}
}

// observeHead freshens a stored response by one to HEAD, or has it forgotten if that
// is not of the same representation (section 4.3.5).
func (f *Fetch) observeHead(now int64, response *message.Response) {
	e, _, _ := f.cache.choose(f.request.Fields, &f.key, f.primary)
	if e == nil || e.status != http.StatusOK {
		return
	}
	length := response.Fields.Get("Content-Length")
	size, known := parsePosition(length)
	if identifies(response.Fields, e) && response.Fields.Has("ETag") == (e.etag != "") && (length == "" || known && size == e.size()) {
		f.freshen(e, response.Fields, now)
		return
	}
	f.cache.forget(e)
}

// relay passes a response on, and stores it if that is allowed.
func (f *Fetch) relay(now int64, response *message.Response, room message.Fields) Outcome {
	length := int64(-1)
	if value := response.Fields.Get("Content-Length"); value != "" {
		if size, ok := parsePosition(value); ok {
			length = size
		}
	}
	outcome := Outcome{Status: response.Status, Length: -1}
	if response.Status != http.StatusPartialContent {
		outcome.Store = f.begin(now, response, span{0, length}, length)
	}
	if outcome.Store == nil {
		f.unstored(response.Status)
	}
	if f.asItIs || f.asked.pass || response.Status != http.StatusOK {
		outcome.Fields = f.head(now, response.Fields, room, length, outcome.Store != nil, nil)
		return outcome
	}
	// The client's own preconditions and ranges were not forwarded.
	if _, same := notModified(&f.asked, f.request.Fields, response.Fields, now); same && (f.asked.ifNoneMatch || f.asked.ifModifiedSince != "") {
		outcome.Status, outcome.Length = http.StatusNotModified, 0
		outcome.Fields = f.head(now, response.Fields, room, noLength, outcome.Store != nil, describesContent)
		return outcome
	}
	part, partial := f.partOf(response.Fields, length)
	if partial {
		outcome.Status, outcome.Skip, outcome.Length = http.StatusPartialContent, part.from, part.to-part.from
		outcome.Fields = f.head(now, response.Fields, room, outcome.Length, outcome.Store != nil, nil)
		outcome.Fields = append(outcome.Fields, message.Field{Name: "Content-Range", Value: string(appendContentRange(nil, part, length))})
		return outcome
	}
	outcome.Fields = f.head(now, response.Fields, room, length, outcome.Store != nil, nil)
	return outcome
}

// partOf gives the part of a whole response that the client asked for.
func (f *Fetch) partOf(fields message.Fields, length int64) (span, bool) {
	specs, ok := parseRange(f.asked.ranges)
	if !ok || length < 0 {
		return span{}, false
	}
	if f.asked.ifRange != "" {
		if coding, same := sameRepresentation(f.asked.ifRange, fields.Get("ETag"), fields.Get("Last-Modified"), fields.Get("Date")); !same || coding != "" {
			return span{}, false
		}
	}
	parts := resolve(specs, length)
	if len(parts) != 1 {
		return span{}, false
	}
	return parts[0], true
}

// unstored lets those who wait, and those who come, know that there is nothing to wait
// for, and has what was validated forgotten if it was replaced.
func (f *Fetch) unstored(status int) {
	if f.stored != nil && !f.slices && status < 500 && !f.asked.head && f.asked.safe {
		f.cache.forget(f.stored)
	}
	if !f.asked.pass && !f.asked.head && !f.asked.authorized && !f.asked.control.noStore {
		f.cache.lastUnstored(f.primary).Store(f.primary)
	}
	f.End()
}

// noLength has a Content-Length left out.
const noLength = -2

// head gives the fields to relay. A length of -1 leaves that as it is.
func (f *Fetch) head(now int64, fields, room message.Fields, length int64, stored bool, without func(string) bool) message.Fields {
	status, dated := "", false
	for _, field := range fields {
		switch {
		case equalFold(field.Name, "Cache-Status"):
			status = joinedStatus(status, field.Value)
			continue
		case equalFold(field.Name, "Content-Length") && length != -1, isInternal(field.Name), without != nil && without(field.Name):
			continue
		case equalFold(field.Name, "Date"):
			dated = true
		}
		room = append(room, field)
	}
	if !dated {
		room = append(room, message.Field{Name: "Date", Value: httpDate(now)})
	}
	if length >= 0 {
		room = append(room, message.Field{Name: "Content-Length", Value: strconv.FormatInt(length, 10)})
	}
	own := f.cache.options.Name + "; fwd=" + f.reason
	if stored {
		own += "; stored"
	}
	return append(room, message.Field{Name: "Cache-Status", Value: joinedStatus(status, own)})
}

func joinedStatus(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

func httpDate(at int64) string { return time.Unix(0, at).UTC().Format(http.TimeFormat) }
