package kubernetes

import (
	"reflect"
	"slices"
	"strings"

	"github.com/springtide/springtide"
)

// roster is what is published of the instances. Its slices are never changed once
// they are there, so that a snapshot costs a copy of what all groups have, and a
// change that of one group.
type roster struct {
	groups map[string][]springtide.Instance // by the words of groups, each in order
	words  []string                         // those of the groups, in order
	all    []springtide.Instance            // what the last snapshot was given; nil after a change
	// changed is closed and replaced at every change.
	changed chan struct{}
}

func newRoster() *roster {
	return &roster{groups: map[string][]springtide.Instance{}, changed: make(chan struct{})}
}

// put publishes an instance of a group.
func (r *roster) put(word string, instance springtide.Instance) {
	own := r.groups[word]
	n, found := find(own, instance.ID)
	if found && reflect.DeepEqual(own[n], instance) {
		return
	}
	if found {
		own = slices.Clone(own)
		own[n] = instance
	} else {
		own = slices.Insert(slices.Clip(own), n, instance)
	}
	r.set(word, own)
}

// drop publishes that an instance is gone.
func (r *roster) drop(word string, id springtide.InstanceID) {
	own := r.groups[word]
	if n, found := find(own, id); found {
		r.set(word, slices.Delete(slices.Clone(own), n, n+1))
	}
}

func find(own []springtide.Instance, id springtide.InstanceID) (int, bool) {
	return slices.BinarySearchFunc(own, id, func(i springtide.Instance, id springtide.InstanceID) int {
		return strings.Compare(string(i.ID), string(id))
	})
}

func (r *roster) set(word string, own []springtide.Instance) {
	n, known := slices.BinarySearch(r.words, word)
	switch {
	case len(own) > 0 && !known:
		r.words = slices.Insert(r.words, n, word)
	case len(own) == 0 && known:
		r.words = slices.Delete(r.words, n, n+1)
	}
	if r.groups[word] = own; len(own) == 0 {
		delete(r.groups, word)
	}
	r.all = nil
	r.tell()
}

func (r *roster) tell() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// instances gives all of them, for readers only.
func (r *roster) instances() []springtide.Instance {
	if r.all == nil {
		count := 0
		for _, own := range r.groups {
			count += len(own)
		}
		r.all = make([]springtide.Instance, 0, count)
		for _, word := range r.words {
			r.all = append(r.all, r.groups[word]...)
		}
	}
	return r.all
}
