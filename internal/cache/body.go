package cache

import (
	"io"

	"github.com/springtide/springtide/internal/message"
)

// Body is the body of an answer. Most are in memory whole; one that is kept in slices
// is read as it is sent, and slices that are missing are fetched.
type Body struct {
	bytes  []byte
	pieces []piece
	cache  *Cache
	entry  *entry
	// request and rules are what slices are fetched by.
	request *message.Request
	rules   *Rules
	// alone says that the last wait was in vain: the next slice is fetched although
	// somebody else may be at it.
	alone bool
	// kept is the slice that the body begins with, which could be evicted once the head
	// is sent: what the app has by then may be another body.
	kept []byte
}

// piece is either some bytes or a part of a body that is kept in slices.
type piece struct {
	literal []byte
	span
}

func (p *piece) length() int64 {
	if p.literal != nil {
		return int64(len(p.literal))
	}
	return p.to - p.from
}

// Part is what comes next of a body: one of its fields is set.
type Part struct {
	// Bytes are to be sent, and not to be changed.
	Bytes []byte
	// Fetch is to be carried out: its outcome relays what comes next, and then Next
	// goes on. An outcome that is not [Relay] means that the body cannot be completed.
	Fetch *Fetch
	// Wait is closed when what comes next has been stored, or will not be. Next may
	// be called before, and then does not wait again.
	Wait <-chan struct{}
}

// Bytes gives the body if all of it is in memory, as most are.
func (b *Body) Bytes() ([]byte, bool) { return b.bytes, len(b.pieces) == 0 }

// Next gives the parts one after the other, and [io.EOF] at the end. Any other error
// means that the body cannot be completed: the connection has to be broken off.
func (b *Body) Next() (Part, error) {
	if len(b.bytes) > 0 {
		part := Part{Bytes: b.bytes}
		b.bytes = nil
		return part, nil
	}
	for len(b.pieces) > 0 {
		next := &b.pieces[0]
		if next.literal != nil {
			part := Part{Bytes: next.literal}
			b.pieces = b.pieces[1:]
			return part, nil
		}
		if next.from < next.to {
			return b.nextSlice(next)
		}
		b.pieces = b.pieces[1:]
	}
	return Part{}, io.EOF
}

// nextSlice gives what there is of a slice, or has it fetched.
func (b *Body) nextSlice(p *piece) (Part, error) {
	number := p.from / sliceSize
	data, ok := b.kept, b.kept != nil
	if b.kept = nil; !ok {
		data, ok = b.cache.slice(b.entry.object, number)
	}
	if ok {
		begin := number * sliceSize
		if p.from-begin < int64(len(data)) && begin+int64(len(data)) >= min(p.to, begin+sliceSize) {
			part := Part{Bytes: data[p.from-begin : min(p.to-begin, int64(len(data)))]}
			p.from += int64(len(part.Bytes))
			b.alone = false
			return part, nil
		}
	}
	if !b.entry.strong {
		b.cache.forget(b.entry)
		return Part{}, errBlock
	}
	flight, leads := b.cache.flights.join(sliceKey{b.entry.object, number}.hash())
	if !leads && !b.alone {
		b.alone = true
		return Part{Wait: flight.done}, nil
	}
	fetch := b.fetch(p, flight, leads)
	b.alone = false
	return Part{Fetch: fetch}, nil
}
