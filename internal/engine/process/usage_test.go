package process

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func TestWhatInstancesUseIsMeasured(t *testing.T) {
	needRoot(t)
	e := runningEngine(t, nil)
	if !e.groups.has("memory") {
		t.Skip("there are no control groups")
	}
	group := springtide.Group{Replicas: 1, Template: springtide.Template{
		Root:    t.TempDir(),
		Process: springtide.Process{Command: "while :; do :; done", Grace: 100 * time.Millisecond},
	}}
	group.ID = springtide.GroupID{Environment: springtide.EnvironmentID{App: "alone", Name: springtide.Production}, Process: "spin", Release: 1, Generation: 1}
	if err := e.Apply(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	instance := awaitReady(t, e, group)[0].ID
	var before time.Duration
	poll(t, "the processor time of a loop grows", func() bool {
		usage := e.Usage()
		if usage.CPUs < 1 || usage.Memory < 1<<20 {
			t.Fatalf("the machine is not measured: %+v", usage)
		}
		for _, one := range usage.Instances {
			if one.Instance != instance || one.Group != group.ID || one.CPU < before {
				t.Fatalf("%+v, before %s", one, before)
			}
			if one.Memory > 0 && before > 0 && one.CPU > before {
				return true
			}
			before = one.CPU
		}
		return false
	})
}

func TestMemoryThatIsPromisedIsNotGivenAway(t *testing.T) {
	needRoot(t)
	e := runningEngine(t, nil)
	if !e.groups.has("memory") {
		t.Skip("there are no control groups")
	}
	const free = 1 << 30 // whatever others on the machine take and give back meanwhile
	e.available = func() int64 { return free }
	// Each would fit, and both together do not; none has taken anything yet.
	group := springtide.Group{Replicas: 2, Template: springtide.Template{Root: t.TempDir(), Process: springtide.Process{
		Command: "sleep 1000", Grace: 50 * time.Millisecond, Limits: springtide.Limits{Memory: free / 3 * 2},
		Health: springtide.Health{Command: "false", Interval: time.Second, Timeout: time.Second, Start: time.Minute, Failures: 3},
	}}}
	group.ID = springtide.GroupID{Environment: springtide.EnvironmentID{App: "large", Name: springtide.Production}, Process: "web", Release: 1, Generation: 1}
	if err := e.Apply(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	poll(t, "the second is refused", func() bool {
		snapshot, _ := e.snapshot()
		return snapshot.Capacity != ""
	})
	if snapshot, _ := e.snapshot(); len(snapshot.Instances) != 1 {
		t.Errorf("%d instances", len(snapshot.Instances))
	}
}

func TestTheProcessorsWereIdleForNoLongerThanTheMachineRuns(t *testing.T) {
	first := idle()
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	up, _, _ := strings.Cut(string(data), " ")
	seconds, err := strconv.ParseFloat(up, 64)
	if err != nil {
		t.Fatal(err)
	}
	// The kernel rounds, and counts what waits for disks only roughly.
	if most := 1.1*seconds*float64(runtime.NumCPU()) + 10; first <= 0 || first.Seconds() > most {
		t.Errorf("idle for %s, the machine runs for %.0f s", first, seconds)
	}
}
