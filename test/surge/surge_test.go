// Package surge tells of traffic that rises and falls.
package surge

import (
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/load"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/test/story"
)

func TestCapacityRisesWithTheTrafficAndGoesBackDownAfter(t *testing.T) {
	p := story.Platform(t)
	app := story.Prebuilt(t)
	story.Edit(t, app, "concurrency: 8", "concurrency: 2") // fewer requests do, of which the machine has to carry out each
	url := story.Deploy(t, p, app)                         // from 1 instance, stable for 5 s
	calm := story.Load(t, p, url, 5)
	time.Sleep(2 * time.Second) // the rate before is known by then
	// What all come at once, on a machine that is late to answer, may have got more at first.
	story.Eventually(t, "one instance to serve 5 requests/s", time.Minute, func() bool { return ready(t, p) == 1 })
	calm()

	surge := story.Load(t, p, url, 75) // about 5 busy slots
	began := time.Now()
	story.Eventually(t, "three ready instances", 2*time.Minute, func() bool { return ready(t, p) >= 3 })
	t.Logf("three instances after %s", time.Since(began).Round(time.Millisecond))
	time.Sleep(4 * time.Second) // at full capacity
	result := surge()
	if result.Failed != 0 || result.UnsafeFailed != 0 {
		t.Errorf("%d requests failed, and %d that must not be repeated", result.Failed, result.UnsafeFailed)
	}
	for late := lastSecond(result); late > 500*time.Millisecond; late = lastSecond(result) {
		if time.Since(began) > 5*time.Minute {
			t.Fatalf("p95 was still %s at the end", late)
		}
		surge = story.Load(t, p, url, 75) // a busy machine takes longer to what it can
		time.Sleep(4 * time.Second)
		if result = surge(); result.Failed != 0 || result.UnsafeFailed != 0 {
			t.Errorf("%d requests failed, and %d that must not be repeated", result.Failed, result.UnsafeFailed)
		}
	}

	story.Eventually(t, "one instance to be left", 2*time.Minute, func() bool { return ready(t, p) == 1 })
	explained, err := p.CLI(t.Context(), "explain", "--app", "quiz", "-n", "100")
	if err != nil {
		t.Fatal(err)
	}
	for _, sentence := range []string{"1 to ", " to 1: ", "busy slots", "2 slots each"} {
		if !strings.Contains(explained, sentence) {
			t.Errorf("tide explain does not say %q:\n%s", sentence, explained)
		}
	}
}

func ready(t *testing.T, p *platform.Platform) int {
	t.Helper()
	instances, err := p.Client.Instances(t.Context(), story.Quiz)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, instance := range instances {
		if instance.State == springtide.InstanceReady {
			n++
		}
	}
	return n
}

// lastSecond gives the p95 of the last whole second.
func lastSecond(result load.Result) time.Duration {
	if len(result.Intervals) < 2 {
		return 0
	}
	return result.Intervals[len(result.Intervals)-2].Latency.P95
}
