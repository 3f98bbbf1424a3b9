package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
)

func instanceOf(app, n int) springtide.Instance {
	id := testGroup(1).ID
	id.Environment.App = springtide.AppName(fmt.Sprint("app-", app))
	return springtide.Instance{ID: springtide.InstanceID(fmt.Sprintf("web-%03d", n)), Group: id, State: springtide.InstanceReady}
}

func TestASnapshotStaysAsItWasWhenInstancesChange(t *testing.T) {
	r := newRoster()
	for _, n := range []int{2, 0, 1} {
		for app := range 3 {
			i := instanceOf(app, n)
			r.put(i.Group.String(), i)
		}
	}
	before, changed := r.instances(), r.changed
	kept := slices.Clone(before)
	same := instanceOf(1, 1)
	r.put(same.Group.String(), same)
	if r.changed != changed {
		t.Error("nothing has changed, and it was told")
	}
	crashed := instanceOf(1, 1)
	crashed.State = springtide.InstanceCrashed
	r.put(crashed.Group.String(), crashed)
	r.drop(crashed.Group.String(), "web-000")
	fresh := instanceOf(1, 9)
	r.put(fresh.Group.String(), fresh)
	select {
	case <-changed:
	default:
		t.Error("a change was not told")
	}
	var states []string
	for _, i := range r.instances()[3:6] {
		states = append(states, fmt.Sprint(i.ID, " ", i.State))
	}
	if want := []string{"web-001 crashed", "web-002 ready", "web-009 ready"}; !slices.Equal(states, want) {
		t.Errorf("%v, want %v", states, want)
	}
	for n := range before {
		if before[n].ID != kept[n].ID || before[n].State != kept[n].State {
			t.Errorf("what was given before has changed: %v, was %v", before[n], kept[n])
		}
	}
	for _, i := range r.instances() {
		r.drop(i.Group.String(), i.ID)
	}
	if len(r.instances()) != 0 || len(r.groups) != 0 || len(r.words) != 0 {
		t.Errorf("something is left: %v", r)
	}
}

func BenchmarkAChangeAndASnapshotOfTenThousandInstances(b *testing.B) {
	r := newRoster()
	for app := range 1000 {
		for n := range 10 {
			i := instanceOf(app, n)
			r.put(i.Group.String(), i)
		}
	}
	states := []springtide.InstanceState{springtide.InstanceReady, springtide.InstanceUnhealthy}
	for n := 0; b.Loop(); n++ {
		i := instanceOf(n%1000, n%10)
		i.State = states[n/1000%2]
		r.put(i.Group.String(), i)
		if len(r.instances()) != 10_000 {
			b.Fatal(len(r.instances()))
		}
	}
}

func TestOfManyInstancesIsToldAtOnceAfterAQuietTimeAndThenLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &Engine{published: newRoster(), synced: make(chan struct{})}
		close(e.synced)
		change := func(n int) {
			e.mu.Lock()
			defer e.mu.Unlock()
			i := instanceOf(n/10, n%10)
			i.Restarts = int(time.Now().UnixNano())
			e.published.put(i.Group.String(), i)
		}
		for n := range 1000 {
			change(n)
		}
		var told []time.Time
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range e.Watch(ctx) {
				told = append(told, time.Now())
			}
		}()
		time.Sleep(time.Hour)
		began := time.Now()
		for n := range 1000 {
			change(n)
			time.Sleep(100 * time.Microsecond)
		}
		cancel()
		<-done
		if len(told) < 2 || !told[1].Equal(began) {
			t.Fatalf("the first change was not told at once: %v, changed at %s", told, began)
		}
		if n := len(told) - 1; n < 15 || n > 21 { // in 100 ms, with 5 ms between them
			t.Errorf("it was told %d times", n)
		}
	})
}
