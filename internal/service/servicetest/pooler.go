package servicetest

import (
	"context"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// pooledDriver has a pooler be started as a server is.
type pooledDriver struct {
	service.Driver
	pooler service.Pooler
}

// Process implements [service.Driver].
func (d pooledDriver) Process(s service.Server) service.Process { return d.pooler.Process(s) }

// Ready implements [service.Driver].
func (d pooledDriver) Ready(ctx context.Context, s service.Server) error {
	return d.pooler.Ready(ctx, s)
}

// testPooler has writes go through a pooler, which holds them while it is paused
// and finds another server at the primary's address.
func (k Kit) testPooler(t *testing.T) {
	spec := k.Spec
	spec.Pool = springtide.Pool{Mode: springtide.PoolSession, Size: 2}
	primary := k.started(t, spec)
	driver := pooledDriver{k.Driver, k.Driver.(service.Pooled).Pooler()}
	if err := driver.pooler.Installed(); err != nil {
		t.Fatal(err)
	}
	front := New(t, driver, spec)
	front.Logins, front.Role, front.Primary, front.PrimaryFolder = primary.Logins, service.RolePooler, primary.Address, primary.Folder
	front.do("prepare", func(context.Context) error { return driver.pooler.Prepare(front.Server) })
	front.Start()
	settle := func() {
		t.Helper()
		front.do("settle", func(ctx context.Context) error { return driver.pooler.Settle(ctx, front.Server) })
	}
	settle()
	settle()
	k.write(t, front, "before", "1")
	for range 2 {
		front.do("pause", func(ctx context.Context) error { return driver.pooler.Pause(ctx, front.Server) })
	}
	written := make(chan error, 1)
	go func() { written <- k.Write(t.Context(), front.URL(), "held", "2") }()
	select {
	case err := <-written:
		t.Fatalf("a paused pooler let a write through: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	primary.Stop()
	primary.Start()
	settle()
	if err := <-written; err != nil {
		t.Errorf("a write that was held: %v", err)
	}
	if got := k.read(t, primary, "held"); got != "2" {
		t.Errorf("read %q", got)
	}
	front.Kill()
	front.Start()
	k.write(t, front, "after", "3")
}
