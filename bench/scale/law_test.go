package main

import (
	"testing"
	"time"

	"github.com/springtide/springtide/internal/simulate"
)

func TestTheSameSeedGivesTheSameRun(t *testing.T) {
	c := simulate.Conditions{ColdStart: 3 * time.Second, Service: 200 * time.Millisecond, Slots: 10, Min: 1, Max: 50, HoldFor: 30 * time.Second, HoldLimit: 10_000, Seed: 7}
	for _, one := range few(shapes()) {
		a, b := simulate.Run(one, c, simulate.NewLaw(one, c)), simulate.Run(one, c, simulate.NewLaw(one, c))
		a.Series, b.Series = nil, nil
		if a.Late != b.Late || a.InstanceSeconds != b.InstanceSeconds || a.Starts != b.Starts {
			t.Errorf("%s: %+v and %+v", one.Name, a, b)
		}
	}
}

// The promises of the README, as far as one seed can hold them.
func TestTheLawMeetsARiseOfTwentyTimes(t *testing.T) {
	traces, err := given()
	if err != nil {
		t.Fatal(err)
	}
	c := simulate.Conditions{ColdStart: 3 * time.Second, Service: 200 * time.Millisecond, Slots: 10, Min: 1, Max: 500, HoldFor: 30 * time.Second, HoldLimit: 10_000, Seed: 11}
	for _, one := range traces {
		most := map[string]float64{"chart show x20": 1.2, "chart show x20, announced": 1.3, "chart show, announced, nobody comes": 1.5}[one.Name]
		if most == 0 {
			continue
		}
		base := simulate.Run(one, c, simulate.NewClairvoyant(one, c))
		r := newRow(one, c, contender{Name: "springtide"}, simulate.Run(one, c, simulate.NewLaw(one, c)), base)
		if r.Late > 0.01 || r.Dropped > 0 || r.Cost > most {
			t.Errorf("%s, at most %.1f of the clairvoyant's cost", r, most)
		}
	}
}
