package edge

import (
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cache"
	"github.com/springtide/springtide/internal/message"
)

// errTaken ends an answer whose body nobody wants: something else is sent.
var errTaken = errors.New("the answer is not passed on")

// taking stands before a client while something is fetched for the cache, which
// gets all of it and says what the client gets. Implements client.
type taking struct {
	client
	x     *exchange
	fetch *cache.Fetch
	// status is that of the instance's answer, outcome what the cache made of it.
	status  int
	outcome cache.Outcome
	// at is how much of the body has come, sent how much of it the client got.
	at, sent int64
	// served says that the client has its part: the rest is only for the cache.
	served bool
	room   [16]message.Field
}

// take passes a request on as the cache wants it, again if it says so. An error
// means that there was no answer.
func (e *edge) take(t *taking, g *gate) (*gate, error) {
	x := t.x
	for {
		t.outcome, t.at, t.served = cache.Outcome{}, 0, false
		x.client, x.onward, x.covered = t, t.fetch.Request().Fields, t.fetch.Covered(time.Now())
		at, err := e.pass(x, g)
		t.leave()
		if err != nil {
			return at, err
		}
		x.bytes = t.sent
		switch {
		case t.outcome.Do != cache.Relay:
			x.aborted = false // it is the instance's answer that was broken off
		case x.aborted && t.served && !x.abandoned(nil): // and so it is here
			x.aborted = t.outcome.Rest == nil && t.client.end(nil) != nil
		}
		if t.outcome.Do != cache.Again {
			return at, nil
		}
	}
}

// leave lets the exchange have its client back. What did not come whole is not stored.
func (t *taking) leave() {
	t.x.client, t.x.onward, t.x.covered = t.client, nil, false
	if t.outcome.Store != nil {
		t.outcome.Store.Abort()
		t.outcome.Store = nil
	}
}

// begin implements client.
func (t *taking) begin(a *answer) error {
	t.status = a.Status
	t.outcome = t.fetch.Take(time.Now(), &a.Response, t.room[:0])
	o := &t.outcome
	if o.Do != cache.Relay {
		t.x.begun.Store(false)
		if a.length == 0 {
			return nil
		}
		return errTaken
	}
	if o.Store != nil && isEventStream(a.Fields) {
		o.Store.Abort() // it has no end
		o.Store = nil
	}
	t.x.cached = springtide.CachePass
	fields := o.Fields
	if o.Store != nil {
		t.x.cached = springtide.CacheMiss
	} else {
		fields = t.x.withCookie(fields)
	}
	t.x.status = o.Status
	changed := *a
	changed.Response = message.Response{Status: o.Status, Fields: fields}
	if o.Status != a.Status {
		changed.reason = ""
	}
	changed.declared = -1
	if length, err := strconv.ParseInt(o.Fields.Get("Content-Length"), 10, 64); err == nil {
		changed.declared = length
	}
	switch {
	case o.Status == http.StatusNotModified:
		changed.length = 0
	case changed.declared >= 0 && a.length != 0:
		changed.length = changed.declared
	}
	t.x.protection.dress(t.x, &changed)
	return t.client.begin(&changed)
}

// Write implements client: the cache gets all, the client its part.
func (t *taking) Write(p []byte) (int, error) {
	o := &t.outcome
	if o.Store != nil {
		o.Store.Write(p)
	}
	from, to := t.at, t.at+int64(len(p))
	t.at = to
	from = max(from, o.Skip)
	if o.Length >= 0 {
		to = min(to, o.Skip+o.Length)
	}
	if from < to {
		n, err := t.client.Write(p[int64(len(p))-(t.at-from) : int64(len(p))-(t.at-to)])
		t.sent += int64(n)
		if err != nil {
			return 0, err
		}
	}
	if o.Length < 0 || t.at < o.Skip+o.Length || t.served {
		return len(p), nil
	}
	if err := t.client.flush(); err != nil {
		return 0, err
	}
	t.served = true
	return len(p), nil
}

// end implements client.
func (t *taking) end(trailer message.Fields) error {
	o := &t.outcome
	if o.Do != cache.Relay {
		return nil
	}
	if o.Store != nil {
		o.Store.Commit()
		o.Store = nil
	}
	if o.Rest != nil {
		return nil
	}
	return t.client.end(trailer)
}

// splice implements splicer, for what the cache does not keep.
func (t *taking) splice(from *net.TCPConn, bytes int64) (int64, bool, error) {
	client, ok := t.client.(splicer)
	if o := &t.outcome; !ok || o.Store != nil || o.Do != cache.Relay || o.Skip > 0 || o.Length >= 0 {
		return 0, false, nil
	}
	n, able, err := client.splice(from, bytes)
	t.sent += n
	return n, able, err
}
