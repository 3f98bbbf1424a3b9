package engine

import (
	"slices"
	"time"

	"github.com/springtide/springtide"
)

// Member is an instance as the plan for its group sees it. Those that are
// retiring already are not members any more.
type Member struct {
	ID      springtide.InstanceID
	State   springtide.InstanceState
	Ordered time.Time
	Load    int
}

// Plan says what to do about a group: how many instances to start, and which to
// retire. An unhealthy instance does not count; it goes once there are enough
// ready ones without it, for until then it may still recover. Crowded says that
// the machine has no room for another: then it goes at once.
func Plan(replicas int, members []Member, crowded bool) (start int, retire []springtide.InstanceID) {
	var sound, unhealthy []Member
	ready := 0
	for _, m := range members {
		switch m.State {
		case springtide.InstanceUnhealthy:
			unhealthy = append(unhealthy, m)
			continue
		case springtide.InstanceReady:
			ready++
		}
		sound = append(sound, m)
	}
	slices.SortFunc(sound, func(a, b Member) int {
		if c := worth(a.State) - worth(b.State); c != 0 {
			return c
		}
		if c := a.Load - b.Load; c != 0 {
			return c
		}
		return b.Ordered.Compare(a.Ordered)
	})
	for _, m := range sound[:max(len(sound)-replicas, 0)] {
		retire = append(retire, m.ID)
	}
	// The oldest of the unhealthy go first: their replacements failed as well.
	slices.SortFunc(unhealthy, func(a, b Member) int { return a.Ordered.Compare(b.Ordered) })
	superfluous := max(len(unhealthy)-replicas, 0)
	if ready >= replicas || crowded {
		superfluous = len(unhealthy)
	}
	for _, m := range unhealthy[:superfluous] {
		retire = append(retire, m.ID)
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
