package tables

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

const selectRollouts = `
	SELECT app, environment, release, generation, step, previous, deploy, reason, started, updated, switched
	FROM rollouts `

func scanRollout(row row) (springtide.Rollout, error) {
	var r springtide.Rollout
	err := row.Scan(&r.Release.Environment.App, &r.Release.Environment.Name, &r.Release.Number, &r.Generation, &r.Step,
		document{&r.Previous}, &r.Deploy, &r.Reason, (*moment)(&r.Started), (*moment)(&r.Updated), (*moment)(&r.Switched))
	return r, err
}

// BeginRollout implements store.Rollouts.
func (s *Store) BeginRollout(ctx context.Context, rollout springtide.Rollout) (begun springtide.Rollout, err error) {
	err = s.db.Write(ctx, func(tx Transaction) error {
		begun, err = beginRollout(ctx, tx, rollout)
		return err
	})
	if err != nil {
		return springtide.Rollout{}, err
	}
	return begun, nil
}

func beginRollout(ctx context.Context, tx Transaction, rollout springtide.Rollout) (springtide.Rollout, error) {
	id := rollout.Release.Environment
	rollout.Step = springtide.RolloutRecorded
	rollout.Started = time.Now().UTC()
	rollout.Updated, rollout.Switched, rollout.Reason = rollout.Started, time.Time{}, ""
	r, err := release(ctx, tx, rollout.Release)
	if err != nil {
		return rollout, err
	}
	if err := refuseSecondRollout(ctx, tx, id); err != nil {
		return rollout, err
	}
	if err := claim(ctx, tx, id, r.App.Domains, byManifest); err != nil {
		return rollout, err
	}
	if rollout.Generation, err = count(ctx, tx, id, "generation"); err != nil {
		return rollout, err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO rollouts (app, environment, generation, release, step, previous, deploy, reason, started, updated, switched)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id.App, id.Name, rollout.Generation, rollout.Release.Number, rollout.Step, document{rollout.Previous},
		rollout.Deploy, rollout.Reason, moment(rollout.Started), moment(rollout.Updated), moment(rollout.Switched))
	if err != nil {
		return rollout, err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM rollouts WHERE app = ?1 AND environment = ?2 AND generation <=
		(SELECT generation FROM rollouts WHERE app = ?1 AND environment = ?2 ORDER BY generation DESC LIMIT 1 OFFSET ?3)`,
		id.App, id.Name, store.KeepRollouts)
	return rollout, err
}

// refuseSecondRollout gives a Conflict if a rollout is not over.
func refuseSecondRollout(ctx context.Context, tx Transaction, id springtide.EnvironmentID) error {
	var number int
	var step springtide.RolloutStep
	err := tx.QueryRowContext(ctx, `SELECT release, step FROM rollouts
		WHERE app = ? AND environment = ? AND step NOT IN ('done', 'failed')`, id.App, id.Name).Scan(&number, &step)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return springtide.Errorf(springtide.Conflict, "release %d of %s is being rolled out (%s)", number, id, step).
		WithHint("wait until it is over")
}

// SaveRollout implements store.Rollouts.
func (s *Store) SaveRollout(ctx context.Context, rollout springtide.Rollout) error {
	return s.db.Write(ctx, func(tx Transaction) error {
		stored, err := storedRollout(ctx, tx, rollout)
		if err != nil {
			return err
		}
		if !mayFollow(stored.Step, rollout.Step) {
			return wrongStep(stored, rollout.Step)
		}
		return updateRollout(ctx, tx, rollout)
	})
}

// mayFollow reports whether a rollout may be saved with the step: one further
// on, and not one that comes with changes elsewhere.
func mayFollow(from, to springtide.RolloutStep) bool {
	order := map[springtide.RolloutStep]int{
		springtide.RolloutRecorded: 1, springtide.RolloutReleasing: 2, springtide.RolloutStarting: 3, springtide.RolloutUndoing: 4,
	}
	if from == to {
		return !from.Over()
	}
	return order[from] > 0 && order[to] > order[from]
}

// SwitchRollout implements store.Rollouts.
func (s *Store) SwitchRollout(ctx context.Context, rollout springtide.Rollout) error {
	id := rollout.Release.Environment
	rollout.Step = springtide.RolloutSwitched
	return s.db.Write(ctx, func(tx Transaction) error {
		stored, err := storedRollout(ctx, tx, rollout)
		if err != nil || stored.Step == springtide.RolloutSwitched {
			return err
		}
		if stored.Step.Over() || stored.Step == springtide.RolloutUndoing {
			return wrongStep(stored, rollout.Step)
		}
		r, err := release(ctx, tx, rollout.Release)
		if err != nil {
			return err
		}
		if err := updateRollout(ctx, tx, rollout); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE releases SET state = ? WHERE app = ? AND environment = ? AND state = ?`,
			springtide.ReleaseSuperseded, id.App, id.Name, springtide.ReleaseActive)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE releases SET state = ?, reason = '' WHERE app = ? AND environment = ? AND number = ?`,
			springtide.ReleaseActive, id.App, id.Name, r.Number)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE environments SET active = ?, generation = ?, stopped = FALSE WHERE app = ? AND name = ?`,
			r.Number, rollout.Generation, id.App, id.Name)
		if err != nil {
			return err
		}
		return setManifestDomains(ctx, tx, id, r.App.Domains)
	})
}

// FinishRollout implements store.Rollouts.
func (s *Store) FinishRollout(ctx context.Context, rollout springtide.Rollout) error {
	rollout.Step = springtide.RolloutDone
	return s.db.Write(ctx, func(tx Transaction) error {
		stored, err := storedRollout(ctx, tx, rollout)
		if err != nil || stored.Step == springtide.RolloutDone {
			return err
		}
		if stored.Step != springtide.RolloutSwitched {
			return wrongStep(stored, rollout.Step)
		}
		return updateRollout(ctx, tx, rollout)
	})
}

// FailRollout implements store.Rollouts.
func (s *Store) FailRollout(ctx context.Context, rollout springtide.Rollout) error {
	id := rollout.Release.Environment
	rollout.Step = springtide.RolloutFailed
	return s.db.Write(ctx, func(tx Transaction) error {
		stored, err := storedRollout(ctx, tx, rollout)
		if err != nil || stored.Step == springtide.RolloutFailed {
			return err
		}
		if stored.Step == springtide.RolloutSwitched || stored.Step == springtide.RolloutDone {
			return wrongStep(stored, rollout.Step)
		}
		if err := updateRollout(ctx, tx, rollout); err != nil {
			return err
		}
		if err := failPending(ctx, tx, rollout.Release, rollout.Reason); err != nil {
			return err
		}
		e, err := environment(ctx, tx, id)
		if err != nil {
			return err
		}
		var domains []string
		if e.Active > 0 {
			active, err := release(ctx, tx, springtide.ReleaseID{Environment: id, Number: e.Active})
			if err != nil {
				return err
			}
			domains = active.App.Domains
		}
		return setManifestDomains(ctx, tx, id, domains)
	})
}

// storedRollout gives what is recorded of the rollout.
func storedRollout(ctx context.Context, tx Transaction, rollout springtide.Rollout) (springtide.Rollout, error) {
	id := rollout.Release.Environment
	stored, err := scanRollout(tx.QueryRowContext(ctx, selectRollouts+`WHERE app = ? AND environment = ? AND generation = ? AND release = ?`,
		id.App, id.Name, rollout.Generation, rollout.Release.Number))
	return stored, orMissing(err, springtide.Errorf(springtide.NotFound,
		"there is no rollout of %s with generation %d", rollout.Release, rollout.Generation))
}

func updateRollout(ctx context.Context, tx Transaction, rollout springtide.Rollout) error {
	id := rollout.Release.Environment
	_, err := tx.ExecContext(ctx, `UPDATE rollouts SET step = ?, previous = ?, reason = ?, updated = ?, switched = ?
		WHERE app = ? AND environment = ? AND generation = ?`,
		rollout.Step, document{rollout.Previous}, rollout.Reason, moment(time.Now()), moment(rollout.Switched),
		id.App, id.Name, rollout.Generation)
	return err
}

func wrongStep(stored springtide.Rollout, step springtide.RolloutStep) error {
	return springtide.Errorf(springtide.Conflict, "the rollout of %s is %s and cannot become %s", stored.Release, stored.Step, step)
}

// OpenRollouts implements store.Rollouts.
func (s *Store) OpenRollouts(ctx context.Context) ([]springtide.Rollout, error) {
	return read(ctx, s, scanRollout, selectRollouts+`WHERE step NOT IN ('done', 'failed') ORDER BY started, app, environment`)
}

// LastRollout implements store.Rollouts.
func (s *Store) LastRollout(ctx context.Context, id springtide.EnvironmentID) (springtide.Rollout, error) {
	r, err := scanRollout(s.db.Reader.QueryRowContext(ctx, selectRollouts+
		`WHERE app = ? AND environment = ? ORDER BY generation DESC LIMIT 1`, id.App, id.Name))
	return r, s.db.Problem(ctx, orMissing(err, springtide.Errorf(springtide.NotFound, "there has been no rollout of %s", id)))
}

// RolloutOf implements store.Rollouts.
func (s *Store) RolloutOf(ctx context.Context, deploy string) (springtide.Rollout, error) {
	r, err := scanRollout(s.db.Reader.QueryRowContext(ctx, selectRollouts+`WHERE deploy = ? AND deploy <> '' LIMIT 1`, deploy))
	return r, s.db.Problem(ctx, orMissing(err, springtide.Errorf(springtide.NotFound, "there is no rollout of deploy %q", deploy)))
}
