package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/kubernetes"
)

// row is what was measured of a size.
type row struct {
	Apps int `json:"apps"`
	Pods int `json:"pods"`
	// Start is how long it took until all pods were ready, in seconds.
	Start float64 `json:"start_s"`
	// Heap is what the engine and its caller keep then, in MiB, after a collection.
	Heap float64 `json:"heap_mib"`
	// Change is the median from asking for one more pod until it is seen ready, in
	// milliseconds, of which the pod takes 500; ChangeCPU is the processor time of the
	// process for one.
	Change        float64 `json:"change_ms"`
	LongestChange float64 `json:"change_longest_ms"`
	ChangeCPU     float64 `json:"change_cpu_ms"`
	// Seen is the median from a pod's change on the cluster until it is seen, in
	// milliseconds.
	Seen    float64 `json:"seen_ms"`
	SeenCPU float64 `json:"seen_cpu_ms"`
	// Surge is how long one more pod of every app takes, in seconds; SurgeCPU is in
	// milliseconds for each of them.
	Surge    float64 `json:"surge_s"`
	SurgeCPU float64 `json:"surge_cpu_ms"`
	// Restart is how long a new engine takes until it has seen all, in seconds.
	Restart float64 `json:"restart_s"`
	// End is how long it takes until all are let go and gone, in seconds.
	End float64 `json:"end_s"`
}

// limit is how long anything may take.
const limit = 10 * time.Minute

// atOnce is how many apps are asked for at the same time.
const atOnce = 16

// subject is the engine that is measured, and what it gave last.
type subject struct {
	engine  *kubernetes.Engine
	url     string
	apps    []springtide.Group
	mu      sync.Mutex
	last    springtide.Snapshot
	changed chan struct{}
	stop    func()
}

// router lets go at once.
type router struct{}

func (router) LetGo(context.Context, springtide.InstanceID) error        { return nil }
func (router) CloseStreams(context.Context, springtide.InstanceID) error { return nil }
func (router) Load(springtide.InstanceID) int                            { return 0 }

const engineColumns = "\tpods\tstart s\theap MiB\tKiB a pod\tchange ms\tlongest\tCPU ms\tchange seen ms\tCPU ms\tone more each s\tCPU ms a pod\trestart s\tend s\t"

func (r row) line() string {
	return fmt.Sprintf("%d\t%d\t%.1f\t%.0f\t%.1f\t%.0f\t%.0f\t%.2f\t%.1f\t%.2f\t%.1f\t%.2f\t%.1f\t%.1f\t",
		r.Apps, r.Pods, r.Start, r.Heap, r.Heap*1024/float64(r.Pods), r.Change, r.LongestChange, r.ChangeCPU, r.Seen, r.SeenCPU, r.Surge, r.SurgeCPU, r.Restart, r.End)
}

func measure(ctx context.Context, o options, apps int) (r row, err error) {
	pods := o.pods
	url, end, err := startCluster(ctx)
	if err != nil {
		return r, err
	}
	defer end()
	s, err := begin(ctx, url)
	if err != nil {
		return r, err
	}
	defer func() { s.stop() }()
	r = row{Apps: apps, Pods: apps * pods}
	for n := range apps {
		s.apps = append(s.apps, group(n, pods))
	}
	if r.Start, err = timed(func() error { return s.applyAll(ctx) }); err != nil {
		return r, err
	}
	r.Heap = heap()
	if err := s.measureChanges(ctx, &r, o.changes); err != nil {
		return r, err
	}
	for n := range s.apps {
		s.apps[n].Replicas++
	}
	before := processorTime()
	if r.Surge, err = timed(func() error { return s.applyAll(ctx) }); err != nil {
		return r, err
	}
	r.SurgeCPU = milliseconds(processorTime()-before) / float64(apps)
	s.stop()
	all := s.apps
	r.Restart, err = timed(func() error {
		if s, err = begin(ctx, url); err != nil {
			return err
		}
		s.apps = all
		return s.await(ctx, s.complete)
	})
	if err != nil {
		return r, err
	}
	r.End, err = timed(func() error { return s.removeAll(ctx) })
	return r, err
}

// begin starts an engine.
func begin(ctx context.Context, url string) (*subject, error) {
	folder, err := os.MkdirTemp("", "bench-kubernetes")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	config, err := writeConfig(folder, url)
	if err != nil {
		return nil, err
	}
	engine, err := kubernetes.New(kubernetes.Options{Kubeconfig: config, Router: router{}, Log: slog.New(slog.DiscardHandler), LetGo: time.Second})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &subject{engine: engine, url: url, changed: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() { _ = engine.Run(ctx) })
	running.Go(func() {
		for snapshot, err := range engine.Watch(ctx) {
			if err != nil {
				continue // the next one counts
			}
			s.mu.Lock()
			s.last = snapshot
			close(s.changed)
			s.changed = make(chan struct{})
			s.mu.Unlock()
		}
	})
	s.stop = func() {
		cancel()
		running.Wait()
	}
	return s, nil
}

// writeConfig writes a kubeconfig for the cluster, and gives its path.
func writeConfig(folder, url string) (path string, err error) {
	path = filepath.Join(folder, "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "c", "cluster": {"server": %q}}], "users": [{"name": "u", "user": {}}],
		"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "apps"}}], "current-context": "c"}`, url)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func group(n, replicas int) springtide.Group {
	return springtide.Group{
		ID: springtide.GroupID{
			Environment: springtide.EnvironmentID{App: springtide.AppName(fmt.Sprintf("app-%04d", n)), Name: springtide.Production},
			Release:     1, Process: springtide.Web, Generation: 1,
		},
		Replicas: replicas,
		Template: springtide.Template{
			Image: "registry.example.com/app@sha256:5f0c",
			Process: springtide.Process{
				Command: "./web", HTTP: true, Health: springtide.Health{Path: "/healthz", Interval: time.Second, Start: time.Minute},
				Drain: 10 * time.Second, Grace: time.Second, Scale: springtide.Scale{Min: replicas, Max: 2 * replicas, Concurrency: 40, StableFor: time.Minute},
			},
		},
	}
}

func (s *subject) applyAll(ctx context.Context) error {
	var all errgroup.Group
	all.SetLimit(atOnce)
	for _, group := range s.apps {
		all.Go(func() error { return s.engine.Apply(ctx, group) })
	}
	if err := all.Wait(); err != nil {
		return err
	}
	return s.await(ctx, s.complete)
}

func (s *subject) removeAll(ctx context.Context) error {
	var all errgroup.Group
	for _, group := range s.apps {
		all.Go(func() error { return s.engine.Remove(ctx, group.ID) })
	}
	return all.Wait()
}

// complete says whether all pods of all apps are there and ready, and no others.
func (s *subject) complete(snapshot springtide.Snapshot) bool {
	wanted := 0
	for _, group := range s.apps {
		wanted += group.Replicas
	}
	if len(snapshot.Instances) != wanted {
		return false
	}
	return !slices.ContainsFunc(snapshot.Instances, func(i springtide.Instance) bool { return i.State != springtide.InstanceReady })
}

// await waits until what is observed satisfies a condition.
func (s *subject) await(ctx context.Context, condition func(springtide.Snapshot) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		s.mu.Lock()
		last, changed := s.last, s.changed
		s.mu.Unlock()
		if condition(last) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d instances are there: %w", len(last.Instances), ctx.Err())
		}
	}
}

// measureChanges asks for one more pod of one app after the other, and has the
// cluster change a pod of each.
func (s *subject) measureChanges(ctx context.Context, r *row, changes int) (err error) {
	r.Change, r.LongestChange, r.ChangeCPU, err = each(changes, func(n int) error {
		group := &s.apps[n*7%len(s.apps)]
		group.Replicas++
		if err := s.engine.Apply(ctx, *group); err != nil {
			return err
		}
		return s.await(ctx, func(snapshot springtide.Snapshot) bool { return readyOf(snapshot, group.ID) == group.Replicas })
	})
	if err != nil {
		return err
	}
	r.Seen, _, r.SeenCPU, err = each(changes, func(n int) error {
		s.mu.Lock()
		i := s.last.Instances[n*13%len(s.last.Instances)]
		s.mu.Unlock()
		if err := simulate(ctx, s.url, fmt.Sprintf("pod=%s&restarts=%d", i.ID, i.Restarts+1)); err != nil {
			return err
		}
		return s.await(ctx, func(snapshot springtide.Snapshot) bool {
			at, found := slices.BinarySearchFunc(snapshot.Instances, i, inOrder)
			return found && snapshot.Instances[at].Restarts > i.Restarts
		})
	})
	if err != nil {
		return err
	}
	return s.await(ctx, s.complete)
}

// readyOf counts the ready ones of a group, which are beside each other.
func readyOf(snapshot springtide.Snapshot, id springtide.GroupID) (count int) {
	at, _ := slices.BinarySearchFunc(snapshot.Instances, springtide.Instance{Group: id}, inOrder)
	for _, i := range snapshot.Instances[at:] {
		if i.Group != id {
			break
		}
		if i.State == springtide.InstanceReady {
			count++
		}
	}
	return count
}
