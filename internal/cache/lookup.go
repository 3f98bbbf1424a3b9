package cache

import (
	"net/http"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// Do says what to do about a request.
type Do int

// What can be done.
const (
	// Forward it as the Fetch says, and give the response to the Fetch.
	Forward Do = iota
	// Send the Answer. If there is a Fetch too, it is to be carried out beside that
	// (stale-while-revalidate), and what it relays is to be read and thrown away.
	Send
	// Wait until the channel is closed, as long as seems good, and look again.
	Wait
)

// Verdict is what [Cache.Lookup] says.
type Verdict struct {
	Do     Do
	Answer Answer
	Fetch  *Fetch
	Wait   <-chan struct{}
}

// MostWaits is how often a request is told to wait at most: whoever it waits for may
// be left by the client whose request it is.
const MostWaits = 4

// Lookup looks a request up. Waited is how often it was told to wait before; with
// [MostWaits] it is not again. The request must stay as it is until its Fetch has ended;
// an Answer needs it no more.
func (c *Cache) Lookup(now time.Time, request *message.Request, rules *Rules, waited int) Verdict {
	rule := rules.match(request.Target)
	look := looking{c: c, now: now.UnixNano(), request: request, rules: rules, rule: rule, key: keyOf(request, rules, rule), waited: waited}
	a := &look.a
	ask(request, a)
	if rule.IgnoreReload {
		noStore := a.control.noStore
		a.control = noDirectives()
		a.control.noStore = noStore
	}
	if rule.Bypass && !a.pass {
		a.pass, a.why = true, "bypass"
	}
	look.primary = look.key.hash(c.seed)
	if a.pass && a.control.onlyIfCached {
		return look.refuse()
	}
	if a.pass {
		c.count.passed.Add(1)
		return look.pass(a.why)
	}
	e, id, known := c.choose(request.Fields, &look.key, look.primary)
	look.id = id
	if e != nil && rule.PerRelease && !rules.tagged(e) {
		c.forget(e)
		e = nil
	}
	if e == nil {
		return look.miss(known)
	}
	return look.found(e)
}

// choose gives the stored response that a request may be answered with (RFC 9111,
// section 4.1), the newest by its Date if there are several. Without one it gives the number
// that a fetch is for, and whether the resource has other variants.
func (c *Cache) choose(fields message.Fields, k *key, primary uint64) (e *entry, id uint64, varies bool) {
	e = c.find(primary)
	if e == nil || e.key != *k {
		return nil, primary, false
	}
	if len(e.variants) == 0 {
		return e, primary, false
	}
	var room [512]byte
	var newest *entry
	for i, specification := range e.variants {
		selecting := appendSelecting(room[:0], fields, specification)
		at := variantNumber(primary, e.epoch, specification, selecting)
		if i == 0 {
			id = at
		}
		variant := c.find(at)
		if variant != nil && variant.key == *k && variant.specification == specification && variant.selecting == string(selecting) &&
			(newest == nil || variant.isNewer(newest)) {
			newest = variant
		}
	}
	if newest != nil {
		id = newest.id
	}
	return newest, id, true
}

// looking is one lookup under way.
type looking struct {
	c           *Cache
	now         int64
	a           asked
	request     *message.Request
	rules       *Rules
	rule        *springtide.CacheRule
	key         key
	primary, id uint64
	waited      int
}

// found decides what a stored response is good for (RFC 9111, section 4).
func (l *looking) found(e *entry) Verdict {
	switch l.usable(e) {
	case fresh:
		if l.waited > 0 { // RFC 9211, section 2.6
			return l.send(e, "; fwd=miss; collapsed")
		}
		return l.send(e, "; hit")
	case staleMeanwhile:
		l.c.count.stale.Add(1)
		verdict := l.send(e, "; hit; detail=stale-while-revalidate")
		if verdict.Do != Send {
			return verdict
		}
		if flight, leads := l.c.flights.join(l.id); leads {
			verdict.Fetch = l.fetch("stale", e, flight)
			verdict.Fetch.inBackground()
		}
		return verdict
	case staleAllowed:
		l.c.count.stale.Add(1)
		return l.send(e, "; hit; detail=stale")
	}
	if l.a.control.onlyIfCached {
		return l.refuse()
	}
	reason := "stale"
	if l.a.control.noCache || l.a.control.maxAge != absent && e.age(l.now) < e.lifetime {
		reason = "request"
	}
	if l.a.authorized || l.a.control.noStore || l.a.control.noCache || e.validate || e.lifetime == 0 { // another's validation is no use
		return l.alone(reason, e)
	}
	return l.lead(reason, e)
}

// use is what may be done with a stored response.
type use int

const (
	unusable use = iota
	fresh
	staleMeanwhile
	staleAllowed
)

// usable says whether a stored response may be used without being validated
// (RFC 9111, sections 4.2.4 and 5.2.1; RFC 5861, section 3).
func (l *looking) usable(e *entry) use {
	control := &l.a.control
	age := e.age(l.now)
	if e.validate || e.guessed && l.a.cookies || control.noCache || control.maxAge != absent && age > seconds(control.maxAge) {
		return unusable
	}
	left := e.lifetime - age
	if control.minFresh != absent && left < seconds(control.minFresh) {
		return unusable
	}
	stale := unusable
	switch {
	case left > 0:
		return fresh
	case control.maxStale != absent && -left <= seconds(control.maxStale) && !e.strict && e.disconnected >= 0:
		stale = staleAllowed
	case -left < e.whileRevalidate && control.maxAge == absent: // who says max-age wants nothing stale: section 5.2.1.1
		stale = staleMeanwhile
	}
	if stale != unusable && !l.c.complete(e) { // what it lacks cannot be had any more if the app has another by now
		return unusable
	}
	return stale
}

// send answers by what is stored. Of a body in slices the first must be there.
func (l *looking) send(e *entry, note string) Verdict {
	answer := l.c.answer(l.now, e, &l.a, l.request, l.rules, note)
	if e.object == 0 || l.a.head || len(answer.Body.pieces) == 0 || answer.Body.pieces[0].literal != nil {
		l.c.count.hits.Add(1)
		return Verdict{Do: Send, Answer: answer}
	}
	first := &answer.Body.pieces[0]
	if !e.strong && !l.c.complete(e) {
		l.c.forget(e)
		return l.miss(false)
	}
	if data, ok := l.c.slice(e.object, first.from/sliceSize); ok {
		answer.Body.kept = data
		l.c.count.hits.Add(1)
		return Verdict{Do: Send, Answer: answer}
	}
	if l.a.control.onlyIfCached {
		return l.refuse()
	}
	part, err := answer.Body.Next()
	switch {
	case err != nil:
		return l.miss(false)
	case part.Wait != nil: // it is on its way
		l.c.count.collapsed.Add(1)
		answer.Body.alone = false
	case part.Fetch != nil:
		part.Fetch.lead(l, answer)
		return Verdict{Do: Forward, Fetch: part.Fetch}
	}
	first.from -= int64(len(part.Bytes)) // if it has come meanwhile
	return Verdict{Do: Send, Answer: answer}
}

// miss has a response fetched, once for all who want it now.
func (l *looking) miss(varies bool) Verdict {
	if l.a.control.onlyIfCached {
		return l.refuse()
	}
	l.c.count.misses.Add(1)
	reason := "uri-miss"
	if varies {
		reason = "vary-miss"
	}
	if l.c.lastUnstored(l.primary).Load() == l.primary {
		verdict := l.alone(reason, nil)
		verdict.Fetch.asItIs = true
		return verdict
	}
	// What is not going to be shared is nothing to wait for.
	if l.a.head || l.a.authorized || l.a.control.noStore || l.a.ranges != "" {
		return l.alone(reason, nil)
	}
	return l.lead(reason, nil)
}

// lead has the first who comes fetch, and the others wait.
func (l *looking) lead(reason string, stored *entry) Verdict {
	flight, leads := l.c.flights.join(l.id)
	if leads {
		return Verdict{Do: Forward, Fetch: l.fetch(reason, stored, flight)}
	}
	if l.waited >= MostWaits {
		return l.alone(reason, stored)
	}
	l.c.count.collapsed.Add(1)
	return Verdict{Do: Wait, Wait: flight.done}
}

// alone has this request forwarded, whoever else may be at it.
func (l *looking) alone(reason string, stored *entry) Verdict {
	return Verdict{Do: Forward, Fetch: l.fetch(reason, stored, nil)}
}

// pass has the request forwarded as it is.
func (l *looking) pass(reason string) Verdict {
	f := l.fetch(reason, nil, nil)
	f.asItIs = true
	return Verdict{Do: Forward, Fetch: f}
}

// refuse is the answer where only what is stored was wanted (section 5.2.1.7).
func (l *looking) refuse() Verdict {
	return Verdict{Do: Send, Answer: Answer{Status: http.StatusGatewayTimeout, cache: l.c, note: "; detail=only-if-cached"}}
}

// complete says whether all of a body is stored.
func (c *Cache) complete(e *entry) bool {
	for number := int64(0); number*sliceSize < e.length; number++ {
		if !c.hasSlice(e.object, number) {
			return false
		}
	}
	return true
}
