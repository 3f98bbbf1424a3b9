package deploy

import (
	"context"

	"github.com/springtide/springtide"
)

// Arrive records what comes from another platform by receive, which gives the
// rollouts that it has recorded with it, and rolls them out. Whether anybody waits
// for them or not they go on, in the next control plane too.
func (d *Deployer) Arrive(ctx context.Context, receive func() ([]springtide.Rollout, error)) error {
	var rollouts []springtide.Rollout
	err := d.Fleet.change(ctx, func() (err error) {
		rollouts, err = receive()
		return err
	})
	if err != nil {
		return err
	}
	for _, rollout := range rollouts {
		d.begin(rollout.Release.Environment, rollout.Deploy, func(ctx context.Context, w *work) error {
			return d.roll(ctx, w, rollout)
		})
	}
	return nil
}
