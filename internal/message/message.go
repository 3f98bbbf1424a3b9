// Package message has the messages of HTTP as the edge and the cache see them:
// heads that are read once, kept in one buffer and passed on without a copy, and
// the framing of bodies.
//
// What is read is read by RFC 9110 and 9112 to the letter. A message that could
// be taken for two different ones by two readers is refused: lines that end with
// LF alone or are folded, white space before a colon, control characters, a
// length that is given twice and differently, codings that are not known, a
// target of another host than the Host field's.
package message

import (
	"iter"
	"slices"
	"strings"
)

// Field is one field line. The name is as it came; names are compared without
// regard to case (RFC 9110, section 5.1). The value has no white space around it.
//
// Both may be part of the buffer that the head was read into, and are then valid
// only as long as that: who keeps one makes a copy with [strings.Clone].
type Field struct {
	Name, Value string
}

// Fields are a head's field lines in their order. A name may come several times.
type Fields []Field

// Get gives the first value of a field, "" if there is none.
func (f Fields) Get(name string) string {
	for i := range f {
		if isNamed(f[i].Name, name) {
			return f[i].Value
		}
	}
	return ""
}

// Has says whether there is such a field.
func (f Fields) Has(name string) bool {
	return slices.ContainsFunc(f, func(field Field) bool { return isNamed(field.Name, name) })
}

// isNamed compares names, which are of ASCII characters: most differ in length.
func isNamed(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

// All gives the value of each line of a field.
func (f Fields) All(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range f {
			if isNamed(f[i].Name, name) && !yield(f[i].Value) {
				return
			}
		}
	}
}

// Request is the head of a request.
type Request struct {
	Method string
	// Scheme is "http" or "https", Host the authority in lower case, with the
	// port if it was given, and Target what follows it: path and query in origin
	// form, or "*".
	Scheme, Host, Target string
	Fields               Fields
}

// Response is the head of a response.
type Response struct {
	// Status is from 100 to 599.
	Status int
	Fields Fields
}
