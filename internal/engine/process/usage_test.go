package process

import (
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
			if one.Instance != instance || one.Group != group.ID || one.Memory <= 0 || one.CPU < before {
				t.Fatalf("%+v, before %s", one, before)
			}
			if before > 0 && one.CPU > before {
				return true
			}
			before = one.CPU
		}
		return false
	})
}
