package cache

import (
	"slices"
	"strconv"
	"strings"

	"github.com/dunglas/httpsfv"

	"github.com/springtide/springtide/internal/message"
)

// targets are the fields that speak to this cache rather than to all of them, the
// most specific first (RFC 9213, section 2.2).
var targets = [...]string{"Springtide-Cache-Control", "CDN-Cache-Control"}

// surrogate is spoken to reverse proxies alone, in the form of Cache-Control.
const surrogate = "Surrogate-Control"

// governing gives the directives that a response is to be stored by, and whether
// they are of a targeted field, which has Cache-Control and Expires ignored
// (RFC 9213, section 2.1).
func governing(fields message.Fields) (directives, bool) {
	for _, name := range targets {
		if d, ok := targeted(slices.Collect(fields.All(name))); ok {
			return d, true
		}
	}
	if fields.Has(surrogate) { // as it was before there was a standard
		return parseDirectives(fields, surrogate), true
	}
	return parseDirectives(fields, "Cache-Control"), false
}

// targeted reads a targeted field. One that is empty or malformed is as if it were
// not there.
func targeted(lines []string) (directives, bool) {
	if len(lines) == 0 {
		return directives{}, false
	}
	dictionary, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dictionary.Names()) == 0 {
		return directives{}, false
	}
	d := noDirectives()
	d.present = true
	for _, name := range dictionary.Names() {
		member, _ := dictionary.Get(name)
		item, ok := member.(httpsfv.Item)
		if !ok { // a list of names is as good as a string of them
			d.set(name, innerList(member), true)
			continue
		}
		switch value := item.Value.(type) {
		case bool:
			if value {
				d.set(name, "", true)
			}
		case int64:
			d.set(name, strconv.FormatInt(value, 10), true)
		case string:
			d.set(name, value, !strings.HasSuffix(name, "age")) // a number is no string
		case httpsfv.Token:
			d.set(name, string(value), true)
		default:
			d.set(name, "", false)
		}
	}
	return d, true
}

func innerList(member httpsfv.Member) string {
	list, ok := member.(httpsfv.InnerList)
	if !ok {
		return ""
	}
	var names []string
	for _, item := range list.Items {
		switch value := item.Value.(type) {
		case string:
			names = append(names, value)
		case httpsfv.Token:
			names = append(names, string(value))
		}
	}
	return strings.Join(names, ",")
}
