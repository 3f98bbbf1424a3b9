package cache

import (
	"testing"
	"time"
)

// RFC 9111, section 4.1.
func TestAVariantIsServedToThoseWhoAskForTheSame(t *testing.T) {
	for _, c := range []struct {
		name, vary, first, second string
		same                      bool
	}{
		{"the same value", "Foo", "Foo: 1", "Foo: 1", true},
		{"another", "Foo", "Foo: 1", "Foo: 2", false},
		{"none, then one", "Foo", "", "Foo: 1", false},
		{"one, then none", "Foo", "Foo: 1", "", false},
		{"neither", "Foo", "", "", true},
		{"an empty value is not none", "Foo", "", "Foo: ", false},
		{"the name in another case", "foo", "FOO: 1", "Foo: 1", true},
		{"white space around commas", "Foo", "Foo: 1,2", "Foo:  1 ,\t2", true},
		{"another order means something", "Foo", "Foo: 1, 2", "Foo: 2, 1", false},
		{"a space in quotes means something", "Foo", `Foo: "1,2"`, `Foo: "1, 2"`, false},
		{"the order of what is accepted means nothing", "Accept-Encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: br, GZIP", true},
		{"weights do", "Accept-Language", "Accept-Language: pl, en;q=0.5", "Accept-Language: pl, en;q=0.6", false},
		{"several fields", "Foo, Bar", "Foo: 1", "Bar: 1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProxy(t)
			p.serve(p.ok("x", "Cache-Control: max-age=60", "Vary: "+c.vary))
			ask := func(line string) {
				if line == "" {
					p.get("/")
				} else {
					p.get("/", line)
				}
			}
			ask(c.first)
			p.forwarded()
			ask(c.second)
			if same := len(p.forwarded()) == 0; same != c.same {
				t.Errorf("same: %v", same)
			}
			ask(c.first)
			p.expectForwarded(0)
			ask(c.second)
			p.expectForwarded(0)
		})
	}
}

func TestLinesOfAFieldAreComparedTogether(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("x", "Cache-Control: max-age=60", "Vary: Foo"))
	p.get("/", "Foo: 1", "Foo: 2")
	p.get("/", "Foo: 1, 2")
	p.expectForwarded(1)
}

// RFC 9111, section 4.1: of several that fit the most recent one by its Date.
func TestOfSeveralVariantsTheNewestByItsDateIsServed(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("newer", "Cache-Control: max-age=60", "Vary: Foo", "Date: "+p.date(-5*time.Second)))
	p.get("/", "Foo: 1")
	p.serve(p.ok("older", "Cache-Control: max-age=60", "Vary: Bar", "Date: "+p.date(-10*time.Second)))
	p.get("/", "Foo: 2", "Bar: 1")
	p.forwarded()
	if got := p.get("/", "Foo: 1", "Bar: 1"); got.body != "newer" {
		t.Errorf("got %q", got.body)
	}
	p.expectForwarded(0)
}
