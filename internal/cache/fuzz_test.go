package cache

import (
	"bytes"
	"strings"
	"testing"

	"github.com/springtide/springtide/internal/message"
)

func FuzzCacheControl(f *testing.F) {
	for _, seed := range []string{`max-age=60, no-cache="a, b", private`, `max-age="60" x, s-maxage==1`, `a="\"`, ",,=,", "no-store\t,max-stale"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		d := noDirectives()
		d.read(line)
		for _, number := range []int64{d.maxAge, d.sharedMaxAge, d.minFresh, d.maxStale, d.staleWhileRevalidate, d.staleIfError} {
			if number < absent || number > longest {
				t.Errorf("a number is %d", number)
			}
		}
		if !strings.ContainsAny(line, `"=\`) { // then a comma always separates
			for member := range strings.SplitSeq(line, ",") {
				if strings.EqualFold(strings.Trim(member, " \t"), "no-store") && !d.noStore {
					t.Error("no-store is overlooked")
				}
			}
		}
		d.read("no-store")
		if !d.noStore {
			t.Error("a line of its own is overlooked")
		}
	})
}

func FuzzVary(f *testing.F) {
	f.Add("Accept-Encoding, Foo", "gzip;q=0.5 , br", `"a , b",c`)
	f.Add("*", "", ",,")
	f.Fuzz(func(t *testing.T, vary, first, second string) {
		names := strings.Join(parseVary(message.Fields{{Name: "Vary", Value: vary}}), ",")
		fields := message.Fields{{Name: "Accept-Encoding", Value: first}, {Name: "Foo", Value: second}}
		before := bytes.Clone(appendSelecting(nil, fields, names))
		if again := appendSelecting(make([]byte, 0, 3), fields, names); !bytes.Equal(before, again) {
			t.Errorf("%q, then %q", before, again)
		}
		// What was put in one form has that form.
		normal := string(appendList(nil, second))
		if again := string(appendList(nil, normal)); again != normal {
			t.Errorf("%q becomes %q", normal, again)
		}
		preferred := string(preferences([]byte(first)))
		if again := string(preferences([]byte(preferred))); again != preferred {
			t.Errorf("%q becomes %q", preferred, again)
		}
	})
}

func FuzzRange(f *testing.F) {
	for _, seed := range []string{"bytes=0-1", "bytes=-5,7-", "bytes= 1-2 , ,3-", "lines=1-2", "bytes=99999999999999999999-"} {
		f.Add(seed, int64(10))
	}
	f.Fuzz(func(t *testing.T, value string, length int64) {
		specs, ok := parseRange(value)
		if !ok || length < 0 {
			return
		}
		for _, s := range resolve(specs, length) {
			if s.from < 0 || s.from >= s.to || s.to > length {
				t.Errorf("%v is no part of %d", s, length)
			}
			got, total, ok := parseContentRange(string(appendContentRange(nil, s, length)))
			if !ok || got != s || total != length {
				t.Errorf("%v of %d becomes %v of %d", s, length, got, total)
			}
		}
	})
}

func FuzzTargetedFields(f *testing.F) {
	f.Add("max-age=60, no-cache=(\"a\" b), private;x")
	f.Add("max-age=?1, s-maxage=:aGk=:, public=?0")
	f.Fuzz(func(t *testing.T, line string) {
		if d, ok := targeted([]string{line}); ok && (d.maxAge > longest || d.maxAge < absent) {
			t.Errorf("max-age is %d", d.maxAge)
		}
	})
}

func FuzzConditions(f *testing.F) {
	f.Add(`"a", W/"b,c"`, `"b,c"`)
	f.Add(`*`, ``)
	f.Add(`"a-gzip"`, `"a"`)
	f.Fuzz(func(t *testing.T, list, tag string) {
		coding, found := matchTag(message.Fields{{Name: "If-None-Match", Value: list}}, tag)
		if coding != "" && (!found || codedTag(tag, coding) == tag) {
			t.Errorf("%q has %q in %q", list, tag, coding)
		}
		if _, same := sameRepresentation(list, tag, "", ""); same && !strongTag(tag) {
			t.Errorf("%q is the same as %q, which is weak", list, tag)
		}
	})
}

func FuzzBlock(f *testing.F) {
	whole := record{
		key: key{"s", "https", "h", "/"}, status: 200, fields: pairs("ETag: a", "Vary: b"), received: 5, tags: []string{"t"},
		specification: "b", selecting: "\x00\n", bodies: []body{{bytes: []byte("text")}, {coding: "gzip", bytes: []byte("x")}},
	}
	signpost := record{key: key{"s", "https", "h", "/"}, variants: []string{"b"}, epoch: 7}
	for _, r := range []record{whole, signpost} {
		f.Add(r.encode(), true)
		f.Add(r.encode()[blockHead:], false)
	}
	f.Fuzz(func(t *testing.T, block []byte, asItIs bool) {
		if !asItIs { // with a checksum that holds
			block = seal(append(make([]byte, blockHead), block...))
		}
		r, err := decode(block)
		if err != nil {
			return
		}
		e := newEntry(1, r)
		if e.isSignpost() {
			return
		}
		if again, err := decode(r.encode()); err != nil || again.status != r.status || len(again.fields) != len(r.fields) {
			t.Errorf("it does not read back: %v", err)
		}
		e.age(1)
		e.weight()
		(&Cache{}).answer(1, e, &asked{ranges: "bytes=0-1"}, &message.Request{}, &Rules{}, "")
	})
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"number":3,"tag":"a"}` + "\n" + `{"number":4,"floor":true}` + "\n" + `{"num`))
	f.Fuzz(func(t *testing.T, content []byte) {
		p := purges{latest: map[purge]uint64{}}
		number := p.read(content)
		for purge, at := range p.latest {
			if at > number {
				t.Errorf("%v has number %d of %d", purge, at, number)
			}
		}
	})
}
