package process

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/enginetest"
)

// BenchmarkOneMoreInstance measures from Apply to ready, with an app that
// listens at once. The app's own start is reported beside it.
func BenchmarkOneMoreInstance(b *testing.B) {
	root := b.TempDir()
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	if err := os.Link(program, filepath.Join(root, "app")); err != nil {
		b.Skip(err)
	}
	e, err := New(Options{
		Data: b.TempDir(), Router: &enginetest.Router{}, Init: initProgram, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("isolation: %s", e.Isolation())
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	group := springtide.Group{
		ID: springtide.GroupID{Environment: springtide.EnvironmentID{App: "bench", Name: "production"}, Process: "web", Release: 1},
		Template: springtide.Template{
			Root: root, Env: map[string]string{"ENGINETEST_APP": "web"},
			Process: springtide.Process{
				Command: "exec ./app", HTTP: true, Grace: time.Second, Drain: time.Second,
				Health: springtide.Health{TCP: true}, Limits: springtide.Limits{CPU: 2, Memory: 128 << 20, Processes: 100},
			},
		},
	}
	defer func() {
		if err := e.Remove(context.Background(), group.ID); err != nil {
			b.Error(err)
		}
		cancel()
		<-ended
	}()
	var all []time.Duration
	for b.Loop() {
		group.Replicas++
		if group.Replicas > 20 {
			group.Replicas = 1
			b.StopTimer()
			apply(b, e, springtide.Group{ID: group.ID, Template: group.Template})
			b.StartTimer()
		}
		all = append(all, apply(b, e, group))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms-median")
	b.ReportMetric(float64(all[len(all)-1].Microseconds())/1000, "ms-worst")
	b.ReportMetric(float64(ownStart(b, filepath.Join(root, "app")).Microseconds())/1000, "ms-app-itself")
}

// apply applies the group and gives how long it took to be as wished.
func apply(b *testing.B, e *Engine, group springtide.Group) time.Duration {
	begun := time.Now()
	if err := e.Apply(b.Context(), group); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for snapshot := range e.Watch(ctx) {
		own := snapshot.Of(group.ID)
		if len(own) == group.Replicas && !slices.ContainsFunc(own, func(i springtide.Instance) bool { return i.State != springtide.InstanceReady }) {
			return time.Since(begun)
		}
	}
	b.Fatal("not ready")
	return 0
}

// ownStart is how long the app takes to listen when a shell starts it.
func ownStart(b *testing.B, program string) time.Duration {
	var all []time.Duration
	for range 10 {
		cmd := exec.Command("sh", "-c", "exec "+program)
		cmd.Env = append(os.Environ(), "ENGINETEST_APP=web", "HOST=127.0.0.1", "PORT=19876")
		begun := time.Now()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		for portIsFree(19876) {
			time.Sleep(100 * time.Microsecond)
		}
		all = append(all, time.Since(begun))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	slices.Sort(all)
	return all[len(all)/2]
}
