// Package redact keeps secret values out of what programs say: as they are, and
// as base64, in URLs and in JSON. It works on streams: a value is found wherever
// the reads cut it.
//
// Every line of a value is hidden by itself, since lines are what programs and
// logs deal in. Lines that are shorter than [Shortest] are not hidden: they are
// found everywhere.
//
// The init of every instance has this package in it, which has to stay small.
package redact

import (
	"bytes"
	"slices"
)

const (
	// Shortest is the length of the shortest text that is hidden, in bytes.
	Shortest = 6
	// Marker is what is read where a value was.
	Marker = "[secret]"
)

// hashBits says how large the table is that tells where a value may begin.
const hashBits = 15

// Redactor knows what to hide. It may be used by several at the same time; nil
// hides nothing.
type Redactor struct {
	needles [][]byte // in order
	// begin has a bit for the hash of the first four bytes of each.
	begin [1 << (hashBits - 6)]uint64
}

// New gives a Redactor of the values, nil if there is nothing to hide.
func New(values ...[]byte) *Redactor {
	r := &Redactor{}
	for _, value := range values {
		r.needles = append(r.needles, forms(value)...)
	}
	slices.SortFunc(r.needles, bytes.Compare)
	r.needles = slices.CompactFunc(r.needles, bytes.Equal)
	if len(r.needles) == 0 {
		return nil
	}
	for _, needle := range r.needles {
		h := hash(needle)
		r.begin[h/64] |= 1 << (h % 64)
	}
	return r
}

// hash is of the first four bytes.
func hash(text []byte) uint32 {
	_ = text[3]
	four := uint32(text[0]) | uint32(text[1])<<8 | uint32(text[2])<<16 | uint32(text[3])<<24
	return four * 2654435761 >> (32 - hashBits)
}

// Text gives a copy of the text without the values.
func (r *Redactor) Text(text []byte) []byte {
	f := r.Filter()
	return f.Flush(f.Append(nil, text))
}

// match gives how long the longest value is that the text begins with, 0 if it
// begins with none, and whether the text is the beginning of one that is longer.
func (r *Redactor) match(text []byte) (length int, more bool) {
	prefix := text[:min(len(text), 4)]
	at, _ := slices.BinarySearchFunc(r.needles, prefix, bytes.Compare)
	for ; at < len(r.needles) && bytes.HasPrefix(r.needles[at], prefix); at++ {
		needle := r.needles[at]
		if bytes.HasPrefix(text, needle) {
			length = max(length, len(needle))
		} else if bytes.HasPrefix(needle, text) {
			more = true
		}
	}
	return length, more
}

// Filter gives a filter for one stream.
func (r *Redactor) Filter() *Filter { return &Filter{redactor: r} }

// Filter takes the values out of one stream.
type Filter struct {
	redactor *Redactor
	// held may be the beginning of a value; the first hidden bytes of it are the
	// end of one already.
	held   []byte
	hidden int
}

// Append appends the next data of the stream to what is given, without the
// values. What may be the beginning of one is held back.
func (f *Filter) Append(to, data []byte) []byte { return f.append(to, data, false) }

// Flush appends what is held back: the stream has ended.
func (f *Filter) Flush(to []byte) []byte { return f.append(to, nil, true) }

func (f *Filter) append(to, data []byte, last bool) []byte {
	r := f.redactor
	if r == nil {
		return append(to, data...)
	}
	if len(f.held) > 0 {
		data = append(f.held, data...)
	}
	at, hidden := 0, f.hidden
	passed := hidden // what is before it was passed on, or is hidden
	for ; at < len(data); at++ {
		if rest := data[at:]; len(rest) >= 4 {
			if h := hash(rest); r.begin[h/64]>>(h%64)&1 == 0 {
				continue
			}
		}
		length, more := r.match(data[at:])
		if more && !last {
			break
		}
		if length == 0 {
			continue
		}
		if at >= hidden {
			to = append(append(to, data[passed:at]...), Marker...)
		}
		hidden = max(hidden, at+length)
		passed = hidden
	}
	if passed < at {
		to = append(to, data[passed:at]...)
	}
	f.hidden = max(hidden-at, 0)
	if f.held = append(f.held[:0], data[at:]...); len(f.held) == 0 {
		f.held = nil
	}
	return to
}
