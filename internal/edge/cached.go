package edge

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cache"
)

// othersFetch is how long a request waits for what another one is fetching.
const othersFetch = 5 * time.Second

// cacheResults counts what the cache had to do with the requests of a gate: hits are
// many, and take no lock.
type cacheResults struct {
	hits   atomic.Int64
	mu     sync.Mutex
	others map[springtide.CacheResult]int
}

func (r *cacheResults) count(result springtide.CacheResult) {
	if result == springtide.CacheHit {
		r.hits.Add(1)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.others == nil {
		r.others = map[springtide.CacheResult]int{}
	}
	r.others[result]++
}

// move adds the counts to a meter's, and begins anew.
func (r *cacheResults) move(to *meter) {
	if to == nil {
		return
	}
	if hits := r.hits.Swap(0); hits > 0 {
		to.cached(springtide.CacheHit, int(hits))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for result, count := range r.others {
		to.cached(result, count)
	}
	clear(r.others)
}

// cacheRules gives what the cache has to know of a route; nil if nothing is to
// come from the cache.
func cacheRules(route *springtide.Route) *cache.Rules {
	if len(route.Cache) == 0 || route.Stopped {
		return nil
	}
	return &cache.Rules{
		Scope: route.Environment.String(), List: route.Cache,
		Tags: []string{fmt.Sprintf("release-%d", route.Group.Release)},
	}
}

// serveCached answers a request by what is stored, or has what it fetches stored.
// What is stored asks no instance, so the gate has no part in it: it is no demand.
func (e *edge) serveCached(x *exchange, g *gate) bool {
	rules := g.cached.Load()
	if rules == nil || x.forAppAlone() {
		return false
	}
	x.found = found{g, rules, e.cache.Lookup(x.started, &x.request, rules, 0)}
	e.goOn(x)
	return true
}

// forAppAlone says that a GET or HEAD means something that the cache does not see: it has
// a body, maybe of a length that nobody declares, or asks for another protocol.
func (x *exchange) forAppAlone() bool {
	return (x.length != 0 || x.upgrade != "") && (x.request.Method == http.MethodGet || x.request.Method == http.MethodHead)
}

// goOn answers a request by what the cache says of it, however long that takes.
func (e *edge) goOn(x *exchange) {
	g, rules, verdict := x.found.gate, x.found.rules, &x.found.verdict
	defer func() {
		g.results.count(x.cached)
		x.found = found{} // a connection that waits for its next request holds nothing of the cache
	}()
	x.cached = springtide.CacheHit
	for waited := 1; verdict.Do == cache.Wait; waited++ {
		x.cached = springtide.CacheCollapsed
		select {
		case <-verdict.Wait:
		case <-time.After(othersFetch):
			waited = cache.MostWaits
		case <-x.ctx.Done():
			x.status, x.aborted = statusClientGone, true
			return
		}
		*verdict = e.cache.Lookup(time.Now(), &x.request, rules, waited)
	}
	if verdict.Do == cache.Forward {
		x.cached = springtide.CachePass
		e.fetchCached(x, g, verdict.Fetch)
		return
	}
	if verdict.Fetch != nil {
		x.cached = springtide.CacheStale
		go e.refresh(newErrand(e.errands, x, verdict.Fetch, nobody{}), g)
	}
	e.sendStored(x, g, &verdict.Answer)
}

// found is what the cache says of a request.
type found struct {
	gate    *gate
	rules   *cache.Rules
	verdict cache.Verdict
}

// atOnce answers a request if that takes no waiting and no more than room bytes of
// body: by what is stored, or by a refusal. If it does not, serve goes on where it
// has come to.
func (e *edge) atOnce(x *exchange, g *gate, room int64) bool {
	rules, p := g.cached.Load(), g.protection.Load()
	if x.forAppAlone() || p.maintenance != nil || len(p.pages) > 0 || publicFiles(g.files.Load(), x.request.Target) != nil {
		return false
	}
	if e.guard(x, g) {
		e.log.write(x, time.Now())
		return true
	}
	if rules == nil {
		return false
	}
	x.found = found{g, rules, e.cache.Lookup(x.started, &x.request, rules, 0)}
	verdict := &x.found.verdict
	all, ok := verdict.Answer.Body.Bytes()
	if verdict.Do != cache.Send || verdict.Fetch != nil || !ok || int64(len(all)) > room {
		return false
	}
	defer e.finish(x)
	e.goOn(x)
	return true
}

// fetchCached passes a request on for the cache, and answers by what that makes
// of the response.
func (e *edge) fetchCached(x *exchange, g *gate, fetch *cache.Fetch) {
	defer fetch.End()
	t := &taking{client: x.client, x: x, fetch: fetch}
	defer t.leave()
	at, err := e.take(t, g)
	if err != nil {
		if answer, ok := e.insteadOf(x, fetch, err); ok {
			x.cached = springtide.CacheStale
			e.sendStored(x, g, &answer)
			return
		}
		e.refuseAfter(x, at, err)
		return
	}
	switch {
	case x.aborted:
	case t.outcome.Do == cache.Break:
		x.aborted = true
	case t.outcome.Do == cache.Serve:
		x.cached = springtide.CacheRevalidated
		if t.status != http.StatusNotModified {
			x.cached = springtide.CacheStale
		}
		e.sendStored(x, g, &t.outcome.Answer)
	case t.outcome.Rest != nil:
		e.sendRest(x, g, t.outcome.Rest)
	}
}

// insteadOf gives what is stale in place of an answer that no instance gave.
func (e *edge) insteadOf(x *exchange, fetch *cache.Fetch, err error) (cache.Answer, bool) {
	if x.abandoned(err) {
		return cache.Answer{}, false
	}
	return fetch.Fail(time.Now())
}

// sendStored sends an answer of the cache's.
func (e *edge) sendStored(x *exchange, g *gate, stored *cache.Answer) {
	if err := x.beginStored(stored, e.draining.Load()); err != nil {
		x.aborted = true
		return
	}
	if x.request.Method == http.MethodHead {
		x.aborted = x.client.end(nil) != nil
		return
	}
	e.sendRest(x, g, &stored.Body)
}

// sendRest sends a body from the cache, and ends the answer.
func (e *edge) sendRest(x *exchange, g *gate, body *cache.Body) {
	err := e.sayStored(x, g, body)
	if err == nil {
		err = x.client.end(nil)
	}
	x.aborted = x.aborted || err != nil
}

// sayStored writes a body from the cache. What of it has gone meanwhile is fetched
// from an instance.
func (e *edge) sayStored(x *exchange, g *gate, body *cache.Body) error {
	if all, ok := body.Bytes(); ok {
		return x.sayKept(all)
	}
	for {
		part, err := body.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case part.Wait != nil:
			if err := x.client.flush(); err != nil {
				return err
			}
			select {
			case <-part.Wait:
			case <-time.After(othersFetch):
			case <-x.ctx.Done():
				return errClientGone
			}
		case part.Fetch != nil:
			err = e.fetchPart(x, g, part.Fetch)
		default:
			err = x.say(part.Bytes)
		}
		if err != nil {
			return err
		}
	}
}
