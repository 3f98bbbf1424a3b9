package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func TestThePlanForAGroup(t *testing.T) {
	const (
		starting  = springtide.InstanceStarting
		ready     = springtide.InstanceReady
		unhealthy = springtide.InstanceUnhealthy
		crashed   = springtide.InstanceCrashed
	)
	now := time.Now()
	of := func(id springtide.InstanceID, state springtide.InstanceState, age, load int) Member {
		return Member{ID: id, State: state, Ordered: now.Add(-time.Duration(age) * time.Minute), Load: load}
	}
	type ids = []springtide.InstanceID
	for _, test := range []struct {
		what     string
		replicas int
		members  []Member
		crowded  bool
		start    int
		retire   ids
	}{
		{"from nothing", 3, nil, false, 3, nil},
		{"as wished", 1, []Member{of("a", ready, 1, 0)}, false, 0, nil},
		{"a crashed one counts: it starts again by itself", 1, []Member{of("a", crashed, 1, 0)}, false, 0, nil},
		{
			"the crashed go before the starting before the ready", 1,
			[]Member{of("a", ready, 1, 0), of("b", starting, 9, 0), of("c", crashed, 9, 0)},
			false, 0,
			ids{"c", "b"},
		},
		{"the least loaded go first", 1, []Member{of("a", ready, 1, 4), of("b", ready, 9, 2), of("c", ready, 9, 3)}, false, 0, ids{"b", "c"}},
		{"then the youngest", 1, []Member{of("a", ready, 5, 0), of("b", ready, 9, 0), of("c", ready, 1, 0)}, false, 0, ids{"c", "a"}},
		{"to zero", 0, []Member{of("a", ready, 1, 0), of("b", unhealthy, 1, 0)}, false, 0, ids{"a", "b"}},
		{"an unhealthy one is replaced first", 2, []Member{of("a", ready, 1, 0), of("b", unhealthy, 1, 0)}, false, 1, nil},
		{"and stays while its replacement starts", 1, []Member{of("a", starting, 1, 0), of("b", unhealthy, 1, 0)}, false, 0, nil},
		{"and goes once that is ready", 1, []Member{of("a", ready, 1, 0), of("b", unhealthy, 1, 0)}, false, 0, ids{"b"}},
		{"and goes at once where there is no room", 1, []Member{of("b", unhealthy, 1, 0)}, true, 1, ids{"b"}},
		{"one that recovered makes its replacement superfluous", 1, []Member{of("a", starting, 1, 0), of("b", ready, 1, 0)}, false, 0, ids{"a"}},
		{"the unhealthy do not pile up", 1, []Member{of("a", unhealthy, 1, 0), of("b", unhealthy, 2, 0), of("c", starting, 0, 0)}, false, 0, ids{"b"}},
	} {
		start, retire := Plan(test.replicas, test.members, test.crowded)
		if start != test.start || !slices.Equal(retire, test.retire) {
			t.Errorf("%s: start %d, retire %v; want %d, %v", test.what, start, retire, test.start, test.retire)
		}
	}
}
