package process

import (
	"io"
	"iter"
	"time"
)

// stream gives the lines of one source in turn.
type stream struct {
	entry entry
	pull  func() (entry, bool)
	stop  func()
}

func newStream(reader io.Reader, owner *sidecar, since time.Time) *stream {
	from := int64(0)
	if !since.IsZero() {
		from = since.UnixNano()
	}
	pull, stop := iter.Pull(func(yield func(entry) bool) {
		scan(reader, owner, func(e entry) bool { return e.nanoseconds < from || yield(e) })
	})
	return &stream{pull: pull, stop: stop}
}

func (s *stream) next() (ok bool) {
	s.entry, ok = s.pull()
	return ok
}

// merge is a heap of streams, the one with the earliest line on top.
type merge []*stream

func (m merge) Len() int           { return len(m) }
func (m merge) Less(i, j int) bool { return m[i].entry.nanoseconds < m[j].entry.nanoseconds }
func (m merge) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }
func (m *merge) Push(x any)        { *m = append(*m, x.(*stream)) }

func (m *merge) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}
