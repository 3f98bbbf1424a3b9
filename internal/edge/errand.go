package edge

import (
	"context"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cache"
	"github.com/springtide/springtide/internal/message"
)

// errand is an exchange of the edge's own: it fetches something for the cache
// while, or after, a client has its answer.
type errand struct {
	exchange
	taking taking
}

// newErrand makes an errand for what a client has asked for, which outlives its
// request. The client is the one that gets the body.
func newErrand(ctx context.Context, x *exchange, fetch *cache.Fetch, client client) *errand {
	a := &errand{exchange: exchange{
		client: client, ctx: ctx, request: fetch.Request(), declared: -1, protocol: x.protocol,
		guarded: guarded{from: x.from}, address: strings.Clone(x.address), port: x.port, id: strings.Clone(x.id), host: strings.Clone(x.host), started: time.Now(),
	}}
	a.received.Store(true)
	a.taking = taking{client: client, x: &a.exchange, fetch: fetch}
	return a
}

// look implements watched.
func (a *errand) look(now int64) { a.late.check(now, a.tooLate) }

// run carries an errand out.
func (e *edge) run(a *errand, g *gate) error {
	defer a.taking.fetch.End()
	defer a.taking.leave()
	e.clock.watch(a)
	defer e.clock.forget(a)
	defer context.AfterFunc(a.ctx, func() { a.end(errClientGone) })()
	_, err := e.take(&a.taking, g)
	return err
}

// refresh has something stale fetched anew. Its client has what was stale.
func (e *edge) refresh(a *errand, g *gate) {
	defer func() {
		if fault := recover(); fault != nil {
			e.options.Logger.Error("a fetch for the cache panicked", "request", a.id, "host", a.host, "fault", fault, "stack", string(debug.Stack()))
		}
	}()
	_ = e.run(a, g) // what is stale is there until it is too old
}

// fetchPart has what a body lacks fetched, and sent to the client.
func (e *edge) fetchPart(x *exchange, g *gate, fetch *cache.Fetch) error {
	a := newErrand(x.ctx, x, fetch, part{to: x})
	err := e.run(a, g)
	if err == nil && (a.aborted || a.taking.outcome.Do != cache.Relay) {
		err = springtide.Errorf(springtide.Unavailable, "what the body lacks cannot be had any more")
	}
	return err
}

// part is the client of an errand that fetches a part of a client's answer.
type part struct {
	nobody
	to *exchange
}

// Write implements client.
func (p part) Write(piece []byte) (int, error) {
	if err := p.to.say(piece); err != nil {
		return 0, err
	}
	return len(piece), nil
}

func (p part) flush() error { return p.to.client.flush() }

// nobody is a client that wants nothing. Implements client.
type nobody struct{}

func (nobody) Read([]byte) (int, error)                   { return 0, errNonsense }
func (nobody) trailer() message.Fields                    { return nil }
func (nobody) inform(int, message.Fields, []string) error { return nil }
func (nobody) begin(*answer) error                        { return nil }
func (nobody) Write(p []byte) (int, error)                { return len(p), nil }
func (nobody) flush() error                               { return nil }
func (nobody) end(message.Fields) error                   { return nil }
func (nobody) stopReading()                               {}
func (nobody) tunnel() (net.Conn, []byte, error)          { return nil, nil, errNonsense }
