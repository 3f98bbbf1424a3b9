package scale

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
)

// tenants are processes of several apps that share a machine. Each is given so
// many requests a second, each of 100 ms; an instance has ten slots.
type tenants struct {
	memory int64 // of the machine, for instances

	mu        sync.Mutex
	targets   []Target
	rates     []float64
	instances [][]springtide.Instance
	made      int
	decisions []springtide.Decision
}

func newTenants(memory int64, all ...springtide.Scale) *tenants {
	t := &tenants{memory: memory, rates: make([]float64, len(all)), instances: make([][]springtide.Instance, len(all))}
	for i, scale := range all {
		scale.Concurrency = 10
		group := simulatedGroup
		group.Environment.App = springtide.AppName(fmt.Sprintf("app-%d", i))
		t.targets = append(t.targets, Target{Group: group, Process: springtide.Process{
			HTTP: true, Scale: scale, Limits: springtide.Limits{Memory: 100 << 20},
		}})
		t.set(i, scale.Min)
	}
	return t
}

func (t *tenants) Targets(context.Context) ([]Target, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.targets), nil
}

func (t *tenants) Changed() <-chan struct{} { return nil }

func (t *tenants) RecordDecision(_ context.Context, d springtide.Decision) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.decisions = append(t.decisions, d)
	return nil
}

func (t *tenants) SetReplicas(_ context.Context, id springtide.GroupID, n int, _ springtide.Decision) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set(slices.IndexFunc(t.targets, func(target Target) bool { return target.Group == id }), n)
	return nil
}

func (t *tenants) set(i, n int) {
	t.targets[i].Replicas = n
	for len(t.instances[i]) < n {
		t.made++
		t.instances[i] = append(t.instances[i], springtide.Instance{
			ID: springtide.InstanceID(fmt.Sprintf("web-1-%05d", t.made)), Group: t.targets[i].Group,
			State: springtide.InstanceReady, Ordered: time.Now().Add(-time.Second), Ready: time.Now(),
		})
	}
	t.instances[i] = t.instances[i][:n]
}

// play lets time pass, and calls check every second with the replicas.
func (t *tenants) play(s *Scaler, length time.Duration, check func(replicas []int)) {
	for begin := time.Now(); time.Since(begin) < length; {
		time.Sleep(100 * time.Millisecond)
		t.mu.Lock()
		var snapshot springtide.Snapshot
		usage := springtide.Usage{CPUs: 2, Memory: t.memory}
		var demand []springtide.Demand
		var replicas []int
		for i, target := range t.targets {
			replicas = append(replicas, target.Replicas)
			snapshot.Instances = append(snapshot.Instances, t.instances[i]...)
			for _, one := range t.instances[i] {
				usage.Instances = append(usage.Instances, springtide.InstanceUsage{Instance: one.ID, Group: one.Group, Memory: 20 << 20})
			}
			busy := min(t.rates[i]/10, float64(10*target.Replicas))
			demand = append(demand, springtide.Demand{
				Group: target.Group, Interval: 100 * time.Millisecond, Arrived: int(t.rates[i] / 10), Completed: int(t.rates[i] / 10),
				Service: time.Duration(int(t.rates[i]/10)) * 100 * time.Millisecond, Busy: int(busy), BusyTime: time.Duration(busy * 1e8),
			})
		}
		t.mu.Unlock()
		s.Observe(snapshot)
		s.Report(springtide.EdgeReport{Edge: "edge-1", Demand: demand})
		if time.Since(begin)%time.Second < 100*time.Millisecond {
			s.ReportUsage(usage)
			if check != nil {
				check(replicas)
			}
		}
		synctest.Wait()
	}
}

func TestAppsShareAMachineAndNothingIsOrderedThatHasNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Room for 19 instances of 100 MiB: 5% of 2000 MiB are left to others.
		machine := newTenants(2000<<20,
			springtide.Scale{Min: 2, Max: 40, Priority: 1, Idle: time.Hour},
			springtide.Scale{Min: 1, Max: 40, Priority: 100, Idle: time.Hour})
		scaler := New(Options{Targets: machine, Applier: machine, Recorder: machine, Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = scaler.Run(ctx) })
		defer running.Wait()
		defer cancel()

		var last []int
		within := func(replicas []int) {
			if sum := replicas[0] + replicas[1]; sum > 19 {
				t.Fatalf("%v: there is memory for 19", replicas)
			}
			if last != nil && last[0]-replicas[0] > max(last[0]/10, 1) {
				t.Fatalf("%v after %v: it gives way step by step", replicas, last)
			}
			last = replicas
		}
		machine.rates[0] = 1200 // of low priority: wants 14 and more
		machine.play(scaler, 3*time.Minute, within)
		alone := last[0]
		if alone < 12 || len(scaler.Machine().Short) != 0 {
			t.Fatalf("it may have what nobody else wants: %v, %+v", last, scaler.Machine())
		}
		machine.mu.Lock()
		machine.rates[1] = 1200
		machine.mu.Unlock()
		machine.play(scaler, 3*time.Minute, within)
		if last[0] != 2 && last[0]+last[1] < 18 || last[1] < 12 {
			t.Errorf("%v: the one with the higher priority has what it wants, the other what is left", last)
		}
		state := scaler.Machine()
		if len(state.Short) == 0 || state.Short[0].Group != machine.targets[0].Group || state.Wanted <= state.Memory {
			t.Errorf("it is not told that the machine is full: %+v", state)
		}
		if !slices.ContainsFunc(machine.decisions, func(d springtide.Decision) bool {
			return d.Group == machine.targets[0].Group && d.To < d.From && strings.Contains(d.Sentence, "with priority 1, ")
		}) {
			t.Error("it is not said why instances gave way")
		}
		// What is free again is had again at once.
		machine.mu.Lock()
		machine.rates[1] = 0
		machine.mu.Unlock()
		last = nil
		machine.play(scaler, 10*time.Minute, within)
		if last[0] < 12 || len(scaler.Machine().Short) != 0 {
			t.Errorf("%v: nobody else wants them any more", last)
		}
	})
}
