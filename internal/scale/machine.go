package scale

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/springtide/springtide"
)

const (
	// leastEach is what an instance without a limit is taken to need, in bytes, as
	// long as no more was measured.
	leastEach = 64 << 20
	// leftFree is what part of the memory is left to whatever else there is.
	leftFree = 0.05
)

// Machine tells how a machine is shared.
type Machine struct {
	// Memory is what instances may have altogether, in bytes; 0: not known.
	Memory int64
	// Wanted is what they have, or would have if there were enough.
	Wanted int64
	// Short are the groups that have to do with less than they want, in order.
	Short []Shortage
}

// Shortage is a group that has to do with less than it wants.
type Shortage struct {
	Group springtide.GroupID
	// Wanted and Granted are instances.
	Wanted, Granted int
}

// divide takes in what the groups that were decided on want of the machine. Where
// all together want more than there is, it shares it, and decides again on these
// groups, and on those that are to give way. It gives all that were decided on.
func (l *loop) divide(now time.Time, due []*state) []*state {
	if len(due) == 0 {
		return nil
	}
	capacity, held := l.meter.machine(now)
	for _, st := range due {
		st.want = st.wants(held)
	}
	if capacity > 0 {
		capacity = int64((1 - leftFree) * float64(capacity))
		for id, other := range held { // of a release that is on its way out, for one
			if l.states[id] == nil {
				capacity = max(capacity-other.bytes, 1)
			}
		}
	}
	machine := Machine{Memory: capacity}
	for _, st := range l.states {
		machine.Wanted += int64(max(st.want.Instances, st.target.Replicas)) * st.want.Each
	}
	limited := capacity > 0 && machine.Wanted > capacity
	if limited {
		l.grant(&machine)
	} else if l.limited {
		for _, st := range l.states {
			st.shared = ""
		}
	}
	if limited || l.limited {
		due = l.again(now, due)
	}
	l.limited = limited
	l.mu.Lock()
	l.machine = machine
	l.mu.Unlock()
	return due
}

// wants says what the group wants. An instance takes what it may, or what one has
// on average where there is no limit.
func (st *state) wants(held map[springtide.GroupID]heldMemory) Want {
	each := st.spec.Limits.Memory
	if own := held[st.target.Group]; each <= 0 {
		each = max(own.bytes/int64(max(own.instances, 1)), leastEach)
	}
	lowest, _ := st.spec.limits()
	return Want{
		Group: st.target.Group, Instances: st.verdict.Want, Min: lowest, Each: each,
		Priority: cmp.Or(st.spec.Scale.Priority, springtide.DefaultPriority),
	}
}

// grant shares the machine among all groups. Who may have more than it has waits
// for others to give way where they have what it may have.
func (l *loop) grant(machine *Machine) {
	states, wants := make([]*state, 0, len(l.states)), make([]Want, 0, len(l.states))
	free := machine.Memory
	for _, st := range l.states {
		states, wants = append(states, st), append(wants, st.want)
		free -= int64(st.target.Replicas) * st.want.Each
	}
	shares := Share(machine.Memory, wants)
	for i, share := range shares {
		wants[i].Instances, wants[i].Min = share-states[i].target.Replicas, 0
	}
	for i, more := range Share(free, wants) {
		st := states[i]
		st.granted, st.shared = min(shares[i], st.target.Replicas+more), ""
		if st.granted >= max(st.want.Instances, st.target.Replicas) {
			continue
		}
		st.shared = fmt.Sprintf("%s of memory is wanted or held and there is %s; with priority %d, %d x %s are its share",
			mebibytes(machine.Wanted), mebibytes(machine.Memory), st.want.Priority, shares[i], mebibytes(st.want.Each))
		if later := shares[i] - st.granted; later > 0 {
			st.shared += fmt.Sprintf(", %d of them when others have given way", later)
		}
		if st.granted < st.want.Instances {
			machine.Short = append(machine.Short, Shortage{Group: st.target.Group, Wanted: st.want.Instances, Granted: st.granted})
		}
	}
	slices.SortFunc(machine.Short, func(a, b Shortage) int { return cmp.Compare(a.Group.String(), b.Group.String()) })
}

// again decides once more on the groups, and on those that have more than the
// machine has for them, or may have more than it had.
func (l *loop) again(now time.Time, due []*state) []*state {
	for _, st := range l.states {
		limited := st.verdict.Reason == ReasonCapacity && st.shared == "" || st.shared != "" && st.target.Replicas > st.granted
		if limited && !now.Before(st.retry) && !slices.Contains(due, st) {
			due = append(due, st)
		}
	}
	for _, st := range due {
		st.verdict = l.verdict(now, st)
	}
	return due
}

// mebibytes writes a size.
func mebibytes(bytes int64) string { return strconv.FormatInt(bytes>>20, 10) + " MiB" }
