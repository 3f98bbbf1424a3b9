package cache

import (
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// Fetch is one request that is forwarded, and what its response does to the cache.
// Whoever is given one calls Request, forwards that, and then Take or Fail; and End
// in any case.
type Fetch struct {
	cache       *Cache
	request     *message.Request
	rules       *Rules
	rule        *springtide.CacheRule
	asked       asked
	key         key
	primary, id uint64
	// began is when, in nanoseconds since 1970; purged and invalidation are the last
	// purge and the last invalidation before that.
	began                int64
	purged, invalidation uint64
	reason               string
	flights              []*flight
	// asItIs says that the request is forwarded with its own preconditions and ranges.
	asItIs bool
	// stored is validated, or has a part of its body fetched (slices).
	stored *entry
	slices bool
	// fetched is what is asked for of a body; to is -1 where it has no end. Window is
	// what of it is for the client, and rest what comes after it.
	ranged  bool
	fetched span
	window  span
	leading *Answer
}

// fetch makes the fetch for a lookup.
func (l *looking) fetch(reason string, stored *entry, flight *flight) *Fetch {
	f := &Fetch{
		cache: l.c, request: l.request, rules: l.rules, rule: l.rule, asked: l.a, key: l.key, primary: l.primary, id: l.id,
		began: l.now, purged: l.c.purges.number.Load(), invalidation: l.c.change(l.primary).invalidation.Load(),
		reason: reason, stored: stored,
	}
	if flight != nil {
		f.flights = append(f.flights, flight)
	}
	if l.a.ranges != "" && stored == nil && !l.a.pass {
		f.align()
	}
	if l.a.head && stored == nil {
		f.asItIs = true
	}
	return f
}

// align has a single range of a body that nothing is known of fetched in whole
// slices. Whatever else is asked for goes to the app as it is.
func (f *Fetch) align() {
	specs, ok := parseRange(f.asked.ranges)
	if !ok || len(specs) != 1 || specs[0].first < 0 || specs[0].first > f.cache.options.MaxObject ||
		f.asked.ifRange != "" || f.asked.ifNoneMatch || f.asked.ifModifiedSince != "" || f.asked.control.noStore {
		f.asItIs = true
		return
	}
	f.ranged = true
	f.fetched = span{specs[0].first / sliceSize * sliceSize, -1}
	if specs[0].last >= 0 && specs[0].last < f.cache.options.MaxObject {
		f.fetched.to = (specs[0].last/sliceSize + 1) * sliceSize
	}
}

// fetch makes the fetch of the slices that a piece of a body lacks, as many as follow
// each other. Flight is that of the first.
func (b *Body) fetch(p *piece, first *flight, leads bool) *Fetch {
	const most = 64
	c, e := b.cache, b.entry
	number := p.from / sliceSize
	rule := b.rules.match(b.request.Target)
	f := &Fetch{
		cache: c, request: b.request, rules: b.rules, rule: rule, key: e.key, primary: e.key.hash(c.seed), id: e.id,
		began: time.Now().UnixNano(), purged: e.purged, reason: "partial", stored: e, slices: true, ranged: true,
	}
	f.invalidation = c.change(f.primary).invalidation.Load()
	if leads {
		f.flights = append(f.flights, first)
	}
	last := number + 1
	for last*sliceSize < p.to && last-number < most && !c.hasSlice(e.object, last) {
		flight, leads := c.flights.join(sliceKey{e.object, last}.hash())
		if !leads {
			break
		}
		f.flights = append(f.flights, flight)
		last++
	}
	f.fetched = span{number * sliceSize, min(last*sliceSize, e.length)}
	f.window = span{p.from, min(p.to, f.fetched.to)}
	p.from = f.window.to
	return f
}

// lead makes a fetch of slices the one that a request's answer begins with.
func (f *Fetch) lead(l *looking, answer Answer) {
	answer.note = "; fwd=partial"
	f.leading, f.asked, f.rule, f.request = &answer, l.a, l.rule, l.request
}

// inBackground frees a fetch from the request that it was made for.
func (f *Fetch) inBackground() {
	f.request = cloneRequest(f.request)
	f.key = f.key.clone()
	f.asked = asked{}
	f.request.Method = "GET"
	ask(f.request, &f.asked)
	f.asked.ifNoneMatch, f.asked.ifModifiedSince, f.asked.ranges, f.asked.ifRange = false, "", "", ""
}

// cloneRequest copies a request out of the buffer that it was read into.
func cloneRequest(r *message.Request) *message.Request {
	copied := &message.Request{
		Method: strings.Clone(r.Method), Scheme: strings.Clone(r.Scheme), Host: strings.Clone(r.Host), Target: strings.Clone(r.Target),
		Fields: make(message.Fields, len(r.Fields)),
	}
	for i, field := range r.Fields {
		copied.Fields[i] = message.Field{Name: strings.Clone(field.Name), Value: strings.Clone(field.Value)}
	}
	return copied
}

// Request gives the request to forward: the client's, but with the preconditions and
// ranges that the cache needs in place of its own (RFC 9111, section 4.3.1). It may
// share the client's fields.
func (f *Fetch) Request() message.Request {
	r := *f.request
	if f.asItIs {
		return r
	}
	validates := f.stored != nil && !f.slices
	own := f.asked.ifNoneMatch || f.asked.ifModifiedSince != "" || f.asked.ranges != "" || f.asked.ifRange != ""
	if !own && !validates && !f.ranged {
		return r
	}
	r.Fields = make(message.Fields, 0, len(f.request.Fields)+2)
	for _, field := range f.request.Fields {
		switch {
		case equalFold(field.Name, "If-None-Match"), equalFold(field.Name, "If-Modified-Since"),
			equalFold(field.Name, "Range"), equalFold(field.Name, "If-Range"):
		default:
			r.Fields = append(r.Fields, field)
		}
	}
	if validates {
		if f.stored.etag != "" {
			r.Fields = append(r.Fields, message.Field{Name: "If-None-Match", Value: f.stored.etag})
		}
		if f.stored.modified != "" {
			r.Fields = append(r.Fields, message.Field{Name: "If-Modified-Since", Value: f.stored.modified})
		}
	}
	if f.ranged {
		wanted := appendNumber(append(appendNumber([]byte("bytes="), f.fetched.from), '-'), f.fetched.to-1)
		if f.fetched.to < 0 {
			wanted = append(appendNumber([]byte("bytes="), f.fetched.from), '-')
		}
		r.Fields = append(r.Fields, message.Field{Name: "Range", Value: string(wanted)})
	}
	if f.slices {
		validator := f.stored.etag
		if validator == "" {
			validator = f.stored.modified
		}
		r.Fields = append(r.Fields, message.Field{Name: "If-Range", Value: validator})
	}
	return r
}

// Fail says that there was no answer. Something stale may be sent instead, if that is
// allowed (section 4.2.4).
func (f *Fetch) Fail(now time.Time) (Answer, bool) {
	defer f.End()
	return f.instead(now.UnixNano(), func(e *entry) time.Duration { return e.disconnected }, "; fwd=stale; detail=no-answer")
}

// instead gives what is stale for an answer that is none, if it may be that stale.
func (f *Fetch) instead(now int64, limit func(*entry) time.Duration, note string) (Answer, bool) {
	if !f.allows(now, limit) {
		return Answer{}, false
	}
	f.cache.count.stale.Add(1)
	return f.cache.answer(now, f.stored, &f.asked, f.request, f.rules, note), true
}

// Covered says that something stale may be sent if there is no answer.
func (f *Fetch) Covered(now time.Time) bool {
	return f.allows(now.UnixNano(), func(e *entry) time.Duration { return e.disconnected })
}

// allows says that what is stored may be sent as stale as it is.
func (f *Fetch) allows(now int64, limit func(*entry) time.Duration) bool {
	e := f.stored
	if e == nil || f.slices || e.validate || e.strict || f.asked.control.noCache {
		return false
	}
	allowed := limit(e)
	if f.asked.control.staleIfError != absent && e.disconnected >= 0 {
		allowed = max(allowed, seconds(f.asked.control.staleIfError))
	}
	stale := e.age(now) - e.lifetime
	return (stale < allowed || stale <= 0) && f.cache.complete(e)
}

// End ends the fetch: who waits for it goes on. It may be called several times.
func (f *Fetch) End() {
	for _, flight := range f.flights {
		f.cache.flights.land(flight)
	}
	f.flights = nil
}
