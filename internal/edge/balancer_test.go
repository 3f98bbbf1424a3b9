package edge

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/springtide/springtide"
)

func TestOfFewInstancesTheLeastBusyIsChosen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		instances := make([]*instance, rapid.IntRange(1, fewInstances).Draw(t, "instances"))
		least := 1000
		for i := range instances {
			instances[i] = &instance{requests: rapid.IntRange(0, 20).Draw(t, "requests")}
			least = min(least, instances[i].requests)
		}
		if chosen := balance(instances, rand.IntN, func(*instance) bool { return true }); chosen.requests != least {
			t.Fatalf("chose one with %d, the least is %d", chosen.requests, least)
		}
	})
}

func TestAUsableInstanceIsFoundAmongMany(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		instances := make([]*instance, rapid.IntRange(0, 40).Draw(t, "instances"))
		usable := map[*instance]bool{}
		for i := range instances {
			instances[i] = &instance{Backend: springtide.Backend{}, requests: rapid.IntRange(0, 9).Draw(t, "requests")}
			if rapid.IntRange(0, 9).Draw(t, "usable") == 0 {
				usable[instances[i]] = true
			}
		}
		chosen := balance(instances, rand.IntN, func(i *instance) bool { return usable[i] })
		if (chosen == nil) != (len(usable) == 0) || chosen != nil && !usable[chosen] {
			t.Fatalf("chose %v of %d that are usable", chosen, len(usable))
		}
	})
}

func TestTwoChoicesKeepManyInstancesEven(t *testing.T) {
	instances := make([]*instance, 50)
	for i := range instances {
		instances[i] = &instance{}
	}
	for range 5000 {
		balance(instances, rand.IntN, func(*instance) bool { return true }).requests++
	}
	for _, i := range instances {
		if i.requests < 90 || i.requests > 110 {
			t.Errorf("one of 50 has %d of 5000", i.requests)
		}
	}
}
