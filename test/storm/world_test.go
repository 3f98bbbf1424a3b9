package storm

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
)

// kind is what resources have in common.
type kind struct {
	name, cacheControl string
	resources          int
	from, to           int64 // how long their bodies are
	text               bool
	variants           []string
	// changes is how often all of them change by themselves; 0: only by PUT.
	changes time.Duration
	// usable is how old an answer may be at most; negative: it is not limited.
	usable time.Duration
	// strict says that nothing stale is served whoever fails.
	strict  bool
	chunked bool // without Content-Length, and without ranges
	moody   bool // every fifth answer is a 503
	breaks  bool // no answer is ever whole
	partial bool // too long for anybody to ask for all of it
	private bool // each answer is for the one who asked
}

var kinds = []*kind{
	{name: "fresh", cacheControl: "max-age=3600", resources: 12, from: 0, to: 60 << 10, usable: -1},
	{name: "text", cacheControl: "max-age=3600", resources: 6, from: 2 << 10, to: 200 << 10, text: true, usable: -1},
	{name: "short", cacheControl: "max-age=1, must-revalidate", resources: 4, from: 1, to: 40 << 10, changes: 300 * time.Millisecond, usable: time.Second, strict: true},
	{name: "background", cacheControl: "max-age=1, stale-while-revalidate=2", resources: 4, from: 1, to: 40 << 10, changes: 300 * time.Millisecond, usable: 3 * time.Second},
	{name: "checked", cacheControl: "no-cache", resources: 4, from: 1, to: 100 << 10, changes: 200 * time.Millisecond, strict: true},
	{name: "never", cacheControl: "no-store", resources: 4, from: 0, to: 300 << 10, changes: 200 * time.Millisecond, strict: true, private: true},
	{name: "stream", cacheControl: "no-store", resources: 3, from: 0, to: 600 << 10, strict: true, chunked: true, private: true},
	{name: "pieces", cacheControl: "max-age=3600", resources: 3, from: 0, to: 3 << 20, chunked: true, usable: -1},
	{name: "varied", cacheControl: "max-age=3600", resources: 4, from: 1, to: 50 << 10, variants: []string{"", "a", "b", "c"}, usable: -1},
	{name: "moody", cacheControl: "max-age=1, stale-if-error=4", resources: 3, from: 1, to: 50 << 10, changes: 400 * time.Millisecond, usable: 5 * time.Second, moody: true},
	{name: "large", cacheControl: "max-age=3600", resources: 4, from: 1 << 20, to: 9 << 20, usable: -1},
	{name: "huge", cacheControl: "max-age=3600", resources: 2, from: 5 << 30, to: 9 << 30, usable: -1, partial: true},
	{name: "broken", cacheControl: "max-age=3600", resources: 2, from: 20 << 10, to: 3 << 20, usable: -1, breaks: true},
}

// world is what there is to ask for, and what happened to it.
type world struct {
	resources map[string]*resource
	all       []*resource

	mu     sync.Mutex
	faults []fault
}

// fault is when something was wrong with an instance, until then for zero: still.
type fault struct{ from, to time.Time }

func newWorld(random *rand.Rand) *world {
	w := &world{resources: make(map[string]*resource)}
	for _, k := range kinds {
		for i := range k.resources {
			r := &resource{kind: k, path: fmt.Sprintf("/%s/%d", k.name, i), began: []time.Time{time.Now()}}
			r.length = k.from + random.Int64N(k.to-k.from)
			w.resources[r.path] = r
			w.all = append(w.all, r)
		}
	}
	return w
}

// fail notes that an instance begins to fail; what it gives says that it ends to.
func (w *world) fail() (over func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := len(w.faults)
	w.faults = append(w.faults, fault{from: time.Now()})
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.faults[at].to = time.Now()
	}
}

// failed says whether an instance failed since then, or shortly before: what was begun
// on it may end later, and others may have been left out for a moment.
func (w *world) failed(since time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.faults {
		if f.to.IsZero() || f.to.Add(500*time.Millisecond).After(since) {
			return true
		}
	}
	return false
}

// resource is something that is asked for, in its versions.
type resource struct {
	*kind
	path   string
	length int64 // of version 0

	mu    sync.Mutex
	began []time.Time // of each version
	told  []told
}

// told is that a client knew of a version. What is asked for by TLS is another resource
// for a cache, and not invalidated with it.
type told struct {
	at      time.Time
	version int
	secure  bool
}

// change begins another version.
func (r *resource) change() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began = append(r.began, time.Now())
	return len(r.began) - 1
}

func (r *resource) current() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.began) - 1
}

// tell notes that the one who made a version has heard that it is in force.
func (r *resource) tell(version int, secure bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, told{time.Now(), version, secure})
}

// changed says whether there is another version than there was at a time.
func (r *resource) changed(since time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.began[len(r.began)-1].After(since)
}

// at gives the content of a version.
func (r *resource) at(version int, variant string) content {
	length := r.length + int64(version*7)
	return contentOf(r.path, version, variant, length, r.text)
}

// tag is the strong validator of a version.
func (r *resource) tag(version int, variant string) string {
	return fmt.Sprintf(`"%d/%s/%s"`, version, variant, r.path)
}

// modified is when a version was made, as it says itself: long ago, so that it is strong.
func (r *resource) modified(version int) time.Time {
	return time.Date(2020, 1, 1, 0, 0, version, 0, time.UTC)
}

// versionOf reads a tag, also one that has got the name of a coding.
func (r *resource) versionOf(tag, variant string) (int, error) {
	number, rest, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(tag, "W/"), `"`), "/")
	version, err := strconv.Atoi(number)
	if err != nil || !strings.HasPrefix(rest, variant+"/"+r.path) {
		return 0, mismatch(fmt.Sprintf("%s has the tag %q of another", r.path, tag))
	}
	return version, nil
}

// judge says whether an answer to a request that began then may be of that version.
// Stale says that the instances failed, which has older ones be served.
func (r *resource) judge(version int, secure bool, began time.Time, stale bool) error {
	const slack = 20 * time.Millisecond
	r.mu.Lock()
	defer r.mu.Unlock()
	if version < 0 || version >= len(r.began) {
		return mismatch(fmt.Sprintf("%s has version %d, which there is not", r.path, version))
	}
	for _, t := range r.told {
		if t.secure == secure && t.at.Before(began) && version < t.version {
			return mismatch(fmt.Sprintf("%s has version %d, %s after version %d was written", r.path, version, began.Sub(t.at), t.version))
		}
	}
	if r.usable < 0 || stale && !r.strict || version == len(r.began)-1 {
		return nil
	}
	if late := began.Sub(r.began[version+1]) - r.usable; late > slack {
		return mismatch(fmt.Sprintf("%s has version %d, which was %s too old at the beginning", r.path, version, late))
	}
	return nil
}
