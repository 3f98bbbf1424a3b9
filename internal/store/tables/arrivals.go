package tables

import (
	"context"
	"errors"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

// Receive implements store.Arrivals.
func (s *Store) Receive(ctx context.Context, arrivals []store.Arrival) ([]springtide.Rollout, error) {
	var rollouts []springtide.Rollout
	err := s.db.Write(ctx, func(tx Transaction) error {
		rollouts = nil
		for _, arrival := range arrivals {
			if err := makeRoom(ctx, tx, arrival.Environment.ID); err != nil {
				return err
			}
			if err := settle(ctx, tx, arrival); err != nil {
				return err
			}
			id := springtide.ReleaseID{Environment: arrival.Environment.ID, Number: arrival.Environment.Active}
			if id.Number == 0 {
				continue
			}
			rollout, err := beginRollout(ctx, tx, springtide.Rollout{Release: id, Deploy: arrival.Deploy})
			if err != nil {
				return err
			}
			rollouts = append(rollouts, rollout)
		}
		return nil
	})
	return rollouts, err
}

// makeRoom forgets an environment that never served.
func makeRoom(ctx context.Context, tx Transaction, id springtide.EnvironmentID) error {
	here, err := environment(ctx, tx, id)
	if springtide.KindOf(err) == springtide.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if here.Active != 0 {
		return springtide.Errorf(springtide.Conflict, "%s is here already, and serves v%d", id, here.Active)
	}
	if err := refuseSecondRollout(ctx, tx, id); err != nil {
		return err
	}
	var groups int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM groups WHERE app = ? AND environment = ?`, id.App, id.Name).Scan(&groups); err != nil {
		return err
	}
	if groups > 0 {
		return springtide.Errorf(springtide.Conflict, "%s still has instances of a release that failed", id).WithHint("try again in a moment")
	}
	return forget(ctx, tx, id)
}

// settle writes what arrives, but for its rollout.
func settle(ctx context.Context, tx Transaction, arrival store.Arrival) error {
	e, id, last := arrival.Environment, arrival.Environment.ID, 0
	_, err := tx.ExecContext(ctx, `INSERT INTO environments (app, name, created, config, scale, occasions) VALUES (?, ?, ?, ?, ?, ?)`,
		id.App, id.Name, moment(time.Now()), document{e.Config}, document{e.Scale}, document{e.Occasions})
	if err == nil {
		err = claim(ctx, tx, id, e.Domains, byHand)
	}
	for _, release := range arrival.Releases {
		last = max(last, release.Number)
		err = errors.Join(err, insertRelease(ctx, tx, release))
	}
	if err != nil {
		return err
	}
	// Numbers go on from the last that is known, wherever it was given.
	if _, err := tx.ExecContext(ctx, `INSERT INTO counters (app, environment, release) VALUES (?, ?, ?)
		ON CONFLICT (app, environment) DO UPDATE SET release = excluded.release WHERE counters.release < excluded.release`, id.App, id.Name, last); err != nil {
		return err
	}
	if arrival.SecretKey == nil {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO secret_keys (app, environment, sealed) VALUES (?, ?, ?)`, id.App, id.Name, arrival.SecretKey); err != nil {
		return err
	}
	for _, secret := range arrival.Secrets {
		if err := insertSecret(ctx, tx, id, secret); err != nil {
			return err
		}
	}
	return nil
}
