package service_test

import (
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// fakeLimiter takes note of who is to keep to what.
type fakeLimiter struct {
	mu       sync.Mutex
	confined map[string]springtide.Limits
	starved  int
}

func (f *fakeLimiter) Confine(name string, _ int, limits springtide.Limits) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.confined[name] = limits
	return nil
}

func (f *fakeLimiter) OutOfMemory(string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.starved
}

func (f *fakeLimiter) Release(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.confined, name)
}

func (f *fakeLimiter) of(name string) springtide.Limits {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.confined[name]
}

func TestAServerKeepsToItsLimitsAndTheReasonOfItsEndIsTold(t *testing.T) {
	t.Parallel()
	limiter := &fakeLimiter{confined: map[string]springtide.Limits{}}
	w := newWorld(t, func(o *service.Options) { o.Limiter = limiter })
	limits := springtide.Limits{CPU: 1, Memory: 64 << 20}
	w.provision(one(springtide.Service{Limits: limits}))
	const name = "service-quiz-production-db-1"
	if got := limiter.of(name); got != limits {
		t.Errorf("it is limited to %+v", got)
	}
	limits.Memory *= 2
	w.provision(one(springtide.Service{Limits: limits}))
	if got := limiter.of(name); got != limits {
		t.Errorf("after it was given more it is limited to %+v", got)
	}
	why := func(kind string) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, event := range w.events {
			if event.Kind == kind && strings.Contains(event.Message, "limited to 128 MiB by services.db.limits.memory") {
				return true
			}
		}
		return false
	}
	limiter.mu.Lock()
	limiter.starved++
	limiter.mu.Unlock()
	w.eventually("it is told that a part of it has died", func() bool { return why("service.starved") })
	pid := w.server(service.RolePrimary).PID
	limiter.mu.Lock() // Who looks meanwhile learns of both.
	limiter.starved++
	err := syscall.Kill(pid, syscall.SIGKILL)
	w.eventually("it is dead", func() bool { return syscall.Kill(pid, 0) != nil })
	limiter.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("it is back", func() bool {
		server := w.server(service.RolePrimary)
		return server.State == service.StateReady && server.PID != pid
	})
	if !why("service.died") {
		t.Errorf("told of %+v", w.events)
	}
	if restarts := w.status("db").Restarts; restarts != 1 {
		t.Errorf("it was started again %d times", restarts)
	}
}
