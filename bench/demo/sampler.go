package main

import (
	"context"
	"slices"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
)

// sample is how many instances there were at one moment, since the start of the load.
type sample struct {
	At    time.Duration `json:"at"`
	Ready int           `json:"ready"`
	// Serving are those of them that have the newest release.
	Serving int `json:"serving"`
}

// pace is how often instances are counted.
const pace = 250 * time.Millisecond

// follow counts instances until ctx ends. A moment at which the control plane
// is away is left out.
func follow(ctx context.Context, p *platform.Platform, started time.Time, each func(sample)) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		if instances, err := p.Client.Instances(ctx, quiz); err == nil {
			each(countReady(instances, time.Since(started)))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func countReady(instances []springtide.Instance, at time.Duration) sample {
	s := sample{At: at}
	newest := 0
	for _, i := range instances {
		if i.State != springtide.InstanceReady {
			continue
		}
		s.Ready++
		if i.Group.Release > newest {
			newest, s.Serving = i.Group.Release, 0
		}
		if i.Group.Release == newest {
			s.Serving++
		}
	}
	return s
}

// needed is what was needed at the end of the plateau: the median of the last
// three seconds of those before it that are known.
func needed(samples []sample, end time.Duration) int {
	for len(samples) > 0 && samples[len(samples)-1].At > end {
		samples = samples[:len(samples)-1]
	}
	if len(samples) == 0 {
		return 0
	}
	var last []int
	for _, s := range samples {
		if s.At > samples[len(samples)-1].At-3*time.Second {
			last = append(last, s.Serving)
		}
	}
	slices.Sort(last)
	return last[len(last)/2]
}

// readyAfter is how long after the step there were so many instances; false if
// there never were.
func readyAfter(samples []sample, step time.Duration, enough int) (time.Duration, bool) {
	for _, s := range samples {
		if s.At >= step && s.Serving >= enough {
			return s.At - step, true
		}
	}
	return 0, false
}
