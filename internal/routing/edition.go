package routing

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"sync"

	"github.com/springtide/springtide"
)

// edition is a table as edges get it: whole, or what of its routes has changed
// since another. What is the same as in the edition before is not encoded again.
// It is never changed once it is published.
type edition struct {
	table  springtide.Table
	routes []printed
	// whole is the version since which there are as many routes as now, and nothing
	// else has changed: edges that have it, or a later one, need only routes.
	whole int64
	// line is all of it as one line of JSON, made once and only if it is needed.
	line func() ([]byte, error)
}

// printed is a route as JSON, and the version that it has been so since.
type printed struct {
	text  json.RawMessage
	since int64
}

// next makes the edition of a table that follows; differs says whether there is
// anything new in it. It has no version before number.
func (e *edition) next(table springtide.Table) (next *edition, differs bool, err error) {
	next = &edition{table: table, routes: make([]printed, len(table.Routes)), whole: e.whole}
	alike, err := sameBesideRoutes(e.table, table)
	if err != nil {
		return nil, false, err
	}
	if !alike || len(e.routes) != len(table.Routes) {
		next.whole, differs = 0, true
	}
	for i := range table.Routes {
		route := &table.Routes[i]
		if i < len(e.routes) && sameRoute(e.table.Routes[i], *route) {
			next.routes[i] = e.routes[i]
			continue
		}
		text, err := json.Marshal(route)
		if err != nil {
			return nil, false, err
		}
		if i < len(e.routes) && bytes.Equal(e.routes[i].text, text) {
			next.routes[i] = e.routes[i]
			continue
		}
		next.routes[i].text, differs = text, true
	}
	return next, differs, nil
}

// number gives the edition its version, and all that is new in it.
func (e *edition) number(version int64) {
	e.table.Version = version
	if e.whole == 0 {
		e.whole = version
	}
	for i := range e.routes {
		if e.routes[i].since == 0 {
			e.routes[i].since = version
		}
	}
	e.line = sync.OnceValues(func() ([]byte, error) {
		texts := make([]json.RawMessage, len(e.routes))
		for i, route := range e.routes {
			texts[i] = route.text
		}
		return asLine(struct {
			springtide.Table
			Routes []json.RawMessage `json:"routes"`
		}{e.table, texts})
	})
}

// text is the line that brings an edge here that has that version: all of it, if
// that is wanted or needed.
func (e *edition) text(since int64, whole bool) ([]byte, error) {
	if whole || since < e.whole {
		return e.line()
	}
	changed := map[int]json.RawMessage{}
	for i, route := range e.routes {
		if route.since > since {
			changed[i] = route.text
		}
	}
	return asLine(struct { // a springtide.TableChange
		Version int64                   `json:"version"`
		Since   int64                   `json:"since"`
		Changed map[int]json.RawMessage `json:"changed"`
	}{e.table.Version, since, changed})
}

func asLine(content any) ([]byte, error) {
	line, err := json.Marshal(content)
	return append(line, '\n'), err
}

func sameRoute(a, b springtide.Route) bool {
	if !slices.Equal(a.Backends, b.Backends) {
		return false
	}
	a.Backends, b.Backends = nil, nil
	return reflect.DeepEqual(a, b)
}

// sameBesideRoutes compares what edges would be told, if it takes that.
func sameBesideRoutes(a, b springtide.Table) (bool, error) {
	a.Version, b.Version, a.Routes, b.Routes = 0, 0, nil, nil
	if reflect.DeepEqual(a, b) {
		return true, nil
	}
	before, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	after, err := json.Marshal(b)
	return bytes.Equal(before, after), err
}
