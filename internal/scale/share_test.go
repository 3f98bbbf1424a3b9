package scale

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/springtide/springtide"
)

func wantOf(name string, instances, least int, each int64, priority int) Want {
	group := simulatedGroup
	group.Process = springtide.ProcessName(name)
	return Want{Group: group, Instances: instances, Min: least, Each: each, Priority: priority}
}

func TestAMachineIsSharedByPriority(t *testing.T) {
	for _, test := range []struct {
		name     string
		capacity int64
		wants    []Want
		want     []int
	}{
		{"there is enough", 100, []Want{wantOf("a", 5, 1, 10, 10), wantOf("b", 5, 1, 10, 10)}, []int{5, 5}},
		{"equals get equal parts", 100, []Want{wantOf("a", 9, 1, 10, 10), wantOf("b", 9, 1, 10, 10)}, []int{5, 5}},
		{"parts are of memory, not of instances", 120, []Want{wantOf("a", 9, 0, 20, 10), wantOf("b", 9, 0, 10, 10)}, []int{3, 6}},
		{"who wants little gets it", 100, []Want{wantOf("a", 2, 1, 10, 1), wantOf("b", 20, 1, 10, 1)}, []int{2, 8}},
		{"ten times the priority is ten times the part", 110, []Want{wantOf("a", 20, 0, 10, 100), wantOf("b", 20, 0, 10, 10)}, []int{10, 1}},
		{"the minimum is safe from any priority", 100, []Want{wantOf("a", 20, 0, 10, 1000), wantOf("b", 20, 3, 10, 1)}, []int{7, 3}},
		{"minima that exceed the machine are shared too", 40, []Want{wantOf("a", 9, 9, 10, 10), wantOf("b", 9, 9, 10, 10)}, []int{2, 2}},
		{"what is left goes to whom it fits", 50, []Want{wantOf("a", 2, 0, 40, 100), wantOf("b", 9, 0, 5, 1)}, []int{1, 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Share(test.capacity, test.wants); !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestSharesAreFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var wants []Want
		for i := range rapid.IntRange(0, 8).Draw(t, "groups") {
			least := rapid.IntRange(0, 6).Draw(t, "min")
			wants = append(wants, wantOf(fmt.Sprintf("p%d", i), least+rapid.IntRange(0, 20).Draw(t, "more"), least,
				rapid.Int64Range(1, 50).Draw(t, "each"), rapid.SampledFrom([]int{1, 10, 10, 100, 7}).Draw(t, "priority")))
		}
		capacity := rapid.Int64Range(0, 3000).Draw(t, "capacity")
		grants := Share(capacity, wants)

		used, minima := int64(0), int64(0)
		for i, want := range wants {
			used += int64(grants[i]) * want.Each
			minima += int64(want.Min) * want.Each
			if grants[i] < 0 || grants[i] > want.Instances {
				t.Fatalf("%d for who wants %d", grants[i], want.Instances)
			}
		}
		if used > capacity {
			t.Fatalf("%d of %d", used, capacity)
		}
		for i, want := range wants {
			if minima <= capacity && grants[i] < want.Min {
				t.Fatalf("%d, and it has a right to %d", grants[i], want.Min)
			}
			if grants[i] < want.Instances && want.Each <= capacity-used {
				t.Fatalf("%d are left, and %d more are wanted of %d each", capacity-used, want.Instances-grants[i], want.Each)
			}
			// Nobody has more for its priority than another who has to do without, but
			// for the one instance that makes the difference and what it has a right to.
			for j, other := range wants {
				if grants[i] < want.Instances && grants[j] > other.Min && want.Each <= other.Each && minima <= capacity {
					mine := float64(int64(grants[i]+1)*want.Each) / float64(want.Priority)
					if theirs := float64(int64(grants[j])*other.Each) / float64(other.Priority); theirs > mine+1e-9 {
						t.Fatalf("%v has %g for its priority, %v would have %g", other, theirs, want, mine)
					}
				}
			}
		}
		checkShareOrder(t, capacity, wants, grants)
	})
}

// checkShareOrder checks what another list and larger wants make of the grants.
func checkShareOrder(t *rapid.T, capacity int64, wants []Want, grants []int) {
	if len(wants) == 0 {
		return
	}
	order := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 1)).Perm(len(wants))
	shuffled := make([]Want, len(wants))
	for to, from := range order {
		shuffled[to] = wants[from]
	}
	for to, grant := range Share(capacity, shuffled) {
		if grant != grants[order[to]] {
			t.Fatalf("%v gets %d, or %d in another order", shuffled[to], grants[order[to]], grant)
		}
	}
	i := rapid.IntRange(0, len(wants)-1).Draw(t, "whose")
	for what, change := range map[string]func(*Want){
		"wants more":           func(w *Want) { w.Instances += 3 },
		"has more priority":    func(w *Want) { w.Priority *= 3 },
		"has a right to more":  func(w *Want) { w.Min, w.Instances = w.Min+1, max(w.Instances, w.Min+1) },
		"is the same as it is": func(*Want) {},
	} {
		more := slices.Clone(wants)
		change(&more[i])
		if grant := Share(capacity, more)[i]; grant < grants[i] {
			t.Fatalf("%v gets %d, and only %d where it %s", wants[i], grants[i], grant, what)
		}
	}
	// Instances of one size: a larger machine takes nothing from anybody.
	same := slices.Clone(wants)
	for i := range same {
		same[i].Each = 10
	}
	before := Share(capacity, same)
	for i, grant := range Share(capacity+25, same) {
		if grant < before[i] {
			t.Fatalf("%v gets %d, and %d of a larger machine", same[i], before[i], grant)
		}
	}
}

func BenchmarkShareOfTenThousandGroups(b *testing.B) {
	var wants []Want
	for i := range 10_000 {
		wants = append(wants, wantOf(fmt.Sprintf("p%d", i), 1+i%7, i%3, int64(32+i%5*32)<<20, 1+i%100))
	}
	for b.Loop() {
		Share(1<<40, wants)
	}
}
