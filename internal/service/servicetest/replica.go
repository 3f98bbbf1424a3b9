package servicetest

import (
	"context"
	"testing"
	"time"

	"github.com/springtide/springtide/internal/service"
)

func (k Kit) testPromotion(t *testing.T, synchronous bool) {
	follower := k.Driver.(service.Follower)
	spec := k.Spec
	spec.Replica, spec.Synchronous = true, synchronous
	primary := k.started(t, spec)
	k.write(t, primary, "before", "1")

	replica := primary.Replica()
	for range 2 {
		replica.do("follow", func(ctx context.Context) error { return follower.Follow(ctx, replica.Server) })
	}
	replica.Start()
	primary.Standby = true
	primary.Settle()
	primary.Settle()
	k.write(t, primary, "after", "2")
	eventually(t, "the replica has what the primary was given", func() bool {
		value, err := k.Read(t.Context(), replica.URL(), "after")
		return err == nil && value == "2"
	})
	if err := k.Write(t.Context(), replica.URL(), "after", "3"); err == nil {
		t.Error("the replica took a write")
	}
	replica.do("lag", func(ctx context.Context) error {
		_, _, err := follower.Lag(ctx, replica.Server)
		return err
	})
	k.restartBoth(t, primary, replica)

	load := startLoad(t, k, 2, primary.URL())
	eventually(t, "some writes", func() bool { return load.count() > 20 })
	primary.Kill()
	acknowledged := load.stop()

	for range 2 {
		replica.do("promote", func(ctx context.Context) error { return follower.Promote(ctx, replica.Server) })
	}
	replica.Stop()
	// The manager has it take the old primary's place, which is found by its address.
	replica.Role, replica.Address, replica.Standby = service.RolePrimary, primary.Address, false
	replica.Start()
	replica.Settle()
	k.write(t, replica, "own", "4")
	missing := 0
	for _, key := range append(acknowledged, "before", "after", "own") {
		if k.read(t, replica, key) == "" {
			missing++
		}
	}
	if missing > 0 && synchronous {
		t.Errorf("%d of %d acknowledged writes are lost", missing, len(acknowledged))
	}

	k.replaceOld(t, replica)
}

// replaceOld gives a promoted replica a replica of its own, with new data.
func (k Kit) replaceOld(t *testing.T, replica *Server) {
	t.Helper()
	again := replica.Replica()
	again.do("follow", func(ctx context.Context) error {
		return k.Driver.(service.Follower).Follow(ctx, again.Server)
	})
	again.Start()
	replica.Standby = true
	replica.Settle()
	k.write(t, replica, "third", "5")
	eventually(t, "the new replica has what the new primary was given", func() bool {
		value, err := k.Read(t.Context(), again.URL(), "third")
		return err == nil && value == "5"
	})
}

// restartBoth has each go away and come back: they find each other again.
func (k Kit) restartBoth(t *testing.T, primary, replica *Server) {
	t.Helper()
	replica.Kill()
	replica.Start()
	primary.Kill()
	primary.Start()
	primary.Settle()
	k.write(t, primary, "again", "3")
	eventually(t, "the replica follows again", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		value, err := k.Read(ctx, replica.URL(), "again")
		return err == nil && value == "3"
	})
}
