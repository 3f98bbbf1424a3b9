package manifest

import "strconv"

// kind is what a node is, in the words of an error message.
type kind string

const (
	nothing kind = "nothing"
	boolean kind = "true or false"
	number  kind = "a number"
	text    kind = "text"
	list    kind = "a list"
	mapping kind = "a mapping"
	// refused is a value that was reported already.
	refused kind = "something else"
)

// node is a value of a YAML or JSON file with its position.
type node struct {
	kind kind
	// text is what is written for a scalar, without quotes and escapes.
	text    string
	at      position
	items   []*node
	entries []entry
}

// entry is one key of a mapping with its value.
type entry struct {
	key   string
	at    position
	value *node
}

// get gives the value of a key; nil if the node is no mapping or has no such key.
func (n *node) get(key string) *node {
	if n != nil {
		for _, e := range n.entries {
			if e.key == key {
				return e.value
			}
		}
	}
	return nil
}

// string gives the text of a scalar; empty for anything else.
func (n *node) string() string {
	if n == nil {
		return ""
	}
	return n.text
}

// shown is the node in the words of an error message: "the number 12".
func (n *node) shown() string {
	switch n.kind {
	case number:
		return "the number " + n.text
	case boolean:
		return n.text
	case text:
		return strconv.Quote(shorten(n.text))
	}
	return string(n.kind)
}
