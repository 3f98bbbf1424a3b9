package cache

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// proxy is the least that an edge has to do: it asks the cache, forwards to an origin
// that is a function, and does what the cache says. Its clock is moved by hand.
type proxy struct {
	t     *testing.T
	cache *Cache
	rules *Rules

	mu     sync.Mutex
	now    time.Time
	origin func(*message.Request) reply
	seen   []message.Request
	inside sync.WaitGroup
}

// reply is what an origin answers.
type reply struct {
	status int
	fields message.Fields
	body   string
	// dead says that there is no answer, short that the body breaks off after so many bytes.
	dead  bool
	short int
	// chunked says that there is no Content-Length.
	chunked bool
}

// got is what a client gets.
type got struct {
	status int
	fields message.Fields
	body   string
	broken bool
}

func newProxy(t *testing.T, rules ...springtide.CacheRule) *proxy {
	t.Helper()
	cache, err := New(Options{Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, cache: cache, rules: &Rules{Scope: "shop/production", List: rules}}
	p.now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	t.Cleanup(p.inside.Wait)
	return p
}

// pairs makes fields of "Name: value" lines.
func pairs(lines ...string) message.Fields {
	var fields message.Fields
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		fields = append(fields, message.Field{Name: name, Value: value})
	}
	return fields
}

// ok is a reply with 200, dated now.
func (p *proxy) ok(body string, lines ...string) reply {
	r := reply{status: 200, body: body, fields: pairs(lines...)}
	if !r.fields.Has("Date") {
		r.fields = append(r.fields, message.Field{Name: "Date", Value: httpDate(p.clock().UnixNano())})
	}
	return r
}

func (p *proxy) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *proxy) wait(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

// date gives an HTTP date some time from now.
func (p *proxy) date(d time.Duration) string { return httpDate(p.clock().Add(d).UnixNano()) }

// serve has the origin answer all requests the same from now on.
func (p *proxy) serve(r reply) { p.origin = func(*message.Request) reply { return r } }

// forwarded gives how many requests the origin has seen, and forgets them.
func (p *proxy) forwarded() []message.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = nil
	return seen
}

func (p *proxy) get(target string, lines ...string) got { return p.do("GET", target, lines...) }

func (p *proxy) do(method, target string, lines ...string) got {
	request := &message.Request{Method: method, Scheme: "https", Host: "shop.example", Target: target, Fields: pairs(lines...)}
	verdict := p.cache.Lookup(p.clock(), request, p.rules, 0)
	for verdict.Do == Wait {
		<-verdict.Wait
		verdict = p.cache.Lookup(p.clock(), request, p.rules, 1)
	}
	if verdict.Do == Forward {
		return p.forward(verdict.Fetch, method == "HEAD")
	}
	answer := p.send(&verdict.Answer)
	if verdict.Fetch != nil {
		p.inside.Go(func() { p.forward(verdict.Fetch, false) })
		p.inside.Wait()
	}
	return answer
}

// send writes an answer both ways, and compares them.
func (p *proxy) send(answer *Answer) got {
	g := got{status: answer.Status, fields: answer.AppendFields(nil)}
	var head strings.Builder
	for _, field := range g.fields {
		head.WriteString(field.Name + ": " + field.Value + "\r\n")
	}
	sameLines(p.t, head.String(), string(answer.AppendHead(nil)))
	g.body, g.broken = p.read(&answer.Body)
	return g
}

func sameLines(t *testing.T, a, b string) {
	t.Helper()
	lines := map[string]int{}
	for line := range strings.SplitSeq(a, "\r\n") {
		lines[line]++
	}
	for line := range strings.SplitSeq(b, "\r\n") {
		lines[line]--
	}
	for line, count := range lines {
		if count != 0 {
			t.Errorf("the head differs between protocols in %q:\n%s\n%s", line, a, b)
		}
	}
}

func (p *proxy) read(body *Body) (string, bool) {
	var all strings.Builder
	for {
		part, err := body.Next()
		switch {
		case errors.Is(err, io.EOF):
			return all.String(), false
		case err != nil:
			return all.String(), true
		case part.Wait != nil:
			<-part.Wait
		case part.Fetch != nil:
			g := p.forward(part.Fetch, false)
			all.WriteString(g.body)
			if g.broken {
				return all.String(), true
			}
		default:
			all.Write(part.Bytes)
		}
	}
}

func (p *proxy) forward(fetch *Fetch, head bool) got {
	defer fetch.End()
	for {
		request := fetch.Request()
		p.mu.Lock()
		p.seen = append(p.seen, *cloneRequest(&request))
		p.mu.Unlock()
		r := p.origin(&request)
		if r.dead {
			if answer, ok := fetch.Fail(p.clock()); ok {
				return p.send(&answer)
			}
			return got{status: 502, broken: true}
		}
		if !r.chunked && !r.fields.Has("Content-Length") && r.status != 304 {
			r.fields = append(slices.Clip(r.fields), message.Field{Name: "Content-Length", Value: strconv.Itoa(len(r.body))})
		}
		outcome := fetch.Take(p.clock(), &message.Response{Status: r.status, Fields: r.fields}, nil)
		switch outcome.Do {
		case Again:
			continue
		case Serve:
			return p.send(&outcome.Answer)
		case Break:
			return got{broken: true}
		}
		return p.relay(&outcome, r, head)
	}
}

func (p *proxy) relay(outcome *Outcome, r reply, head bool) got {
	body := r.body
	if r.short > 0 {
		body = body[:r.short]
	}
	g := got{status: outcome.Status, fields: outcome.Fields, broken: r.short > 0}
	if head {
		return g
	}
	end := len(body)
	if outcome.Length >= 0 {
		end = min(end, int(outcome.Skip+outcome.Length))
	}
	g.body = body[min(int(outcome.Skip), end):end]
	if store := outcome.Store; store != nil {
		for part := 0; part < len(body); part += 30000 {
			store.Write([]byte(body[part:min(part+30000, len(body))]))
		}
		if r.short > 0 {
			store.Abort()
		} else {
			store.Commit()
		}
	}
	if outcome.Rest != nil && !g.broken {
		rest, broken := p.read(outcome.Rest)
		g.body, g.broken = g.body+rest, broken
	}
	return g
}

func (p *proxy) expect(g got, status int, body string) {
	p.t.Helper()
	if g.status != status || g.body != body {
		p.t.Errorf("got %d %.80q, want %d %.80q", g.status, g.body, status, body)
	}
}

func (p *proxy) expectForwarded(want int) []message.Request {
	p.t.Helper()
	seen := p.forwarded()
	if len(seen) != want {
		p.t.Errorf("%d requests were forwarded, want %d", len(seen), want)
	}
	return seen
}
