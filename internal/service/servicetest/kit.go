package servicetest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// Kit is a driver under test, and how an app speaks to its servers.
type Kit struct {
	Driver service.Driver
	// Spec is what is asked for; the suite sets Replica and Synchronous.
	Spec springtide.Service
	// Synchronous says that the driver can have a primary wait for its replica.
	Synchronous bool
	// Write keeps a value, with a connection of its own to the URL. Without an error
	// it has been acknowledged. It makes its table if there is none.
	Write func(ctx context.Context, url, key, value string) error
	// Read gives a value back; empty if there is none, or no table.
	Read func(ctx context.Context, url, key string) (string, error)
}

// Run runs the driver through all it can do.
func Run(t *testing.T, kit Kit) {
	t.Run("WhatIsCreatedServesAndKeepsItsDataOverAKill", kit.testLife)
	t.Run("WhatWasHalfCreatedIsBegunAnew", kit.testHalfCreated)
	t.Run("ItCanBeLookedAt", kit.testInspect)
	if _, ok := kit.Driver.(service.Follower); ok {
		t.Run("AReplicaFollowsAndIsPromoted", func(t *testing.T) { kit.testPromotion(t, false) })
		if kit.Synchronous {
			t.Run("ASynchronousReplicaHasAllThatWasAcknowledged", func(t *testing.T) { kit.testPromotion(t, true) })
		}
	}
	if _, ok := kit.Driver.(service.Pooled); ok {
		t.Run("APoolerHoldsWhatComesWhileTheServerIsAway", kit.testPooler)
	}
	if _, ok := kit.Driver.(service.Rotator); ok {
		t.Run("PasswordsAreRotatedWithoutAFailedQuery", kit.testRotation)
	}
	if _, ok := kit.Driver.(service.Forker); ok {
		t.Run("AForkHasTheDataAndOtherLogins", kit.testFork)
	}
	if _, ok := kit.Driver.(service.Backuper); ok {
		t.Run("ABackupIsRestored", kit.testBackup)
	}
	if _, ok := kit.Driver.(service.Upgrader); ok && len(kit.Driver.Versions()) > 1 {
		t.Run("AnUpgradeKeepsTheData", kit.testUpgrade)
	}
}

// started gives a settled primary.
func (k Kit) started(t *testing.T, spec springtide.Service) *Server {
	t.Helper()
	server := New(t, k.Driver, spec)
	server.Create()
	server.Start()
	server.Settle()
	return server
}

func (k Kit) testLife(t *testing.T) {
	server := New(t, k.Driver, k.Spec)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := k.Driver.Ready(ctx, server.Server); err == nil {
		t.Error("it was ready before it was made")
	}
	server.Create()
	server.Create()
	server.Start()
	server.Settle()
	server.Settle()
	k.write(t, server, "colour", "green")
	server.Create()
	if got := k.read(t, server, "colour"); got != "green" {
		t.Fatalf("read %q after it was created again", got)
	}
	server.Kill()
	server.Start()
	if got := k.read(t, server, "colour"); got != "green" {
		t.Fatalf("read %q after a kill", got)
	}
	server.Stop()
	server.Start()
	server.Settle()
	if got := k.read(t, server, "colour"); got != "green" {
		t.Fatalf("read %q after a stop", got)
	}
	stranger := server.Logins.Current
	stranger.Password = "guessed"
	if err := k.Write(t.Context(), k.Driver.URL(server.Server, stranger), "colour", "red"); err == nil {
		t.Error("a wrong password was let in")
	}
}

func (k Kit) testHalfCreated(t *testing.T) {
	server := New(t, k.Driver, k.Spec)
	half := filepath.Join(server.Folder, "data.new", "base")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	server.Create()
	server.Start()
	server.Settle()
	k.write(t, server, "colour", "green")
}

func (k Kit) testInspect(t *testing.T) {
	server := k.started(t, k.Spec)
	k.write(t, server, "colour", "green")
	info, err := k.Driver.Inspect(t.Context(), server.Server)
	if err != nil || info.Size <= 0 || info.MaxConnections <= 0 {
		t.Errorf("inspected %+v: %v", info, err)
	}
	if _, err := exec.LookPath(k.Driver.Shell(server.Server).Path); err != nil {
		t.Error(err)
	}
	if k.Driver.Hint("") == "" {
		t.Error("it does not say how it is installed")
	}
}

// write must succeed.
func (k Kit) write(t *testing.T, server *Server, key, value string) {
	t.Helper()
	server.do("write", func(ctx context.Context) error { return k.Write(ctx, server.URL(), key, value) })
}

// read must succeed.
func (k Kit) read(t *testing.T, server *Server, key string) (value string) {
	t.Helper()
	server.do("read", func(ctx context.Context) (err error) {
		value, err = k.Read(ctx, server.URL(), key)
		return err
	})
	return value
}

// eventually waits until the condition is met.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !met(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
