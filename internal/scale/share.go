package scale

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/springtide/springtide"
)

// Want is what a group would have of a machine if that were its own.
type Want struct {
	Group springtide.GroupID
	// Instances is how many it wants, Min how many of them it has a right to.
	Instances, Min int
	// Each is how much one instance takes, in bytes.
	Each int64
	// Priority is its weight; below 1 it counts as 1.
	Priority int
}

// Share divides a capacity, in bytes, among groups: it gives how many instances
// each may have, in the order of the wants. It never gives more than there is, nor
// more to a group than it wants, and leaves nothing that a group could have that
// wants more.
//
// First each gets its minimum. Then, one instance after the other, the group gets
// one that has least for its priority with it (weighted max-min fairness, by
// progressive filling). The same holds among the minima where they alone exceed
// the capacity. Who comes first in the list makes no difference.
func Share(capacity int64, wants []Want) []int {
	grants := make([]int, len(wants))
	least := make([]int, len(wants))
	most := make([]int, len(wants))
	for i, want := range wants {
		most[i] = max(want.Instances, 0)
		least[i] = min(max(want.Min, 0), most[i])
	}
	left := fillUp(capacity, wants, grants, least)
	fillUp(left, wants, grants, most)
	return grants
}

// fillUp grants instances up to the limits, and gives what is left.
func fillUp(left int64, wants []Want, grants, limits []int) int64 {
	line := &filling{}
	for i := range wants {
		if grants[i] < limits[i] {
			line.add(i, wants[i], grants[i])
		}
	}
	heap.Init(line)
	for line.Len() > 0 {
		next := heap.Pop(line).(filled)
		want := wants[next.index]
		if want.Each > left {
			continue // nor will it fit later: what is left only shrinks
		}
		left -= max(want.Each, 0)
		grants[next.index]++
		if grants[next.index] < limits[next.index] {
			heap.Push(line, next.after(want, grants[next.index]))
		}
	}
	return left
}

// filled is a group that waits for one more instance.
type filled struct {
	index int
	share float64 // what it has for its priority, with that instance
	group string
}

func (f filled) after(want Want, granted int) filled {
	f.share = float64(granted+1) * float64(max(want.Each, 1)) / float64(max(want.Priority, 1))
	return f
}

// filling is a heap: the group with the least share is next.
type filling []filled

func (l *filling) add(index int, want Want, granted int) {
	*l = append(*l, filled{index: index, group: want.Group.String()}.after(want, granted))
}

func (l filling) Len() int { return len(l) }

func (l filling) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(l[i].share, l[j].share), cmp.Compare(l[i].group, l[j].group)) < 0
}

func (l filling) Swap(i, j int) { l[i], l[j] = l[j], l[i] }

func (l *filling) Push(x any) { *l = append(*l, x.(filled)) }

func (l *filling) Pop() any {
	last := (*l)[len(*l)-1]
	*l = slices.Delete(*l, len(*l)-1, len(*l))
	return last
}
