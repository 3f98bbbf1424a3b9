package process

import (
	"slices"
	"time"

	"github.com/springtide/springtide"
)

// member is an instance as the plan for its group sees it. Those that are
// retiring already are not members any more.
type member struct {
	id      springtide.InstanceID
	state   springtide.InstanceState
	ordered time.Time
	load    int
}

// plan says what to do about a group: how many instances to start, and which to
// retire. An unhealthy instance does not count; it goes once there are enough
// ready ones without it, for until then it may still recover. Crowded says that
// the machine has no room for another: then it goes at once.
func plan(replicas int, members []member, crowded bool) (start int, retire []springtide.InstanceID) {
	var sound, unhealthy []member
	ready := 0
	for _, m := range members {
		switch m.state {
		case springtide.InstanceUnhealthy:
			unhealthy = append(unhealthy, m)
			continue
		case springtide.InstanceReady:
			ready++
		}
		sound = append(sound, m)
	}
	slices.SortFunc(sound, func(a, b member) int {
		if c := worth(a.state) - worth(b.state); c != 0 {
			return c
		}
		if c := a.load - b.load; c != 0 {
			return c
		}
		return b.ordered.Compare(a.ordered)
	})
	for _, m := range sound[:max(len(sound)-replicas, 0)] {
		retire = append(retire, m.id)
	}
	// The oldest of the unhealthy go first: their replacements failed as well.
	slices.SortFunc(unhealthy, func(a, b member) int { return a.ordered.Compare(b.ordered) })
	superfluous := max(len(unhealthy)-replicas, 0)
	if ready >= replicas || crowded {
		superfluous = len(unhealthy)
	}
	for _, m := range unhealthy[:superfluous] {
		retire = append(retire, m.id)
	}
	return max(replicas-len(sound), 0), retire
}

// worth orders states by what would be lost with the instance.
func worth(state springtide.InstanceState) int {
	switch state {
	case springtide.InstanceCrashed:
		return 0
	case springtide.InstanceReady:
		return 2
	default:
		return 1
	}
}
