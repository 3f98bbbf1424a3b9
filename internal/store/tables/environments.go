package tables

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

const selectEnvironments = `
	SELECT app, name, created, active, generation, stopped, maintenance, config, scale, occasions,
		(SELECT coalesce(string_agg(domain, ' ' ORDER BY domain), '') FROM domains
			WHERE domains.app = environments.app AND domains.environment = environments.name AND by_hand)
	FROM environments `

func scanEnvironment(row row) (springtide.Environment, error) {
	var e springtide.Environment
	var domains string
	err := row.Scan(&e.ID.App, &e.ID.Name, (*moment)(&e.Created), &e.Active, &e.Generation, &e.Stopped,
		document{&e.Maintenance}, document{&e.Config}, document{&e.Scale}, document{&e.Occasions}, &domains)
	e.Domains = strings.Fields(domains)
	return e, err
}

func noEnvironment(id springtide.EnvironmentID) error {
	return springtide.Errorf(springtide.NotFound, "there is no environment %s", id)
}

// CreateEnvironment implements store.Environments.
func (s *Store) CreateEnvironment(ctx context.Context, id springtide.EnvironmentID) (springtide.Environment, error) {
	for _, name := range []string{string(id.App), string(id.Name)} {
		if name == "" || strings.Contains(name, "/") {
			return springtide.Environment{}, springtide.Errorf(springtide.Invalid, "%q cannot name an environment", id)
		}
	}
	return s.changeEnvironment(ctx, id, func(tx Transaction) error {
		_, err := tx.ExecContext(ctx,
			`INSERT INTO environments (app, name, created) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
			id.App, id.Name, moment(time.Now()))
		return err
	})
}

// Environment implements store.Environments.
func (s *Store) Environment(ctx context.Context, id springtide.EnvironmentID) (springtide.Environment, error) {
	e, err := environment(ctx, s.db.Reader, id)
	return e, s.db.Problem(ctx, err)
}

func environment(ctx context.Context, from Querier, id springtide.EnvironmentID) (springtide.Environment, error) {
	e, err := scanEnvironment(from.QueryRowContext(ctx, selectEnvironments+`WHERE app = ? AND name = ?`, id.App, id.Name))
	return e, orMissing(err, noEnvironment(id))
}

// Environments implements store.Environments.
func (s *Store) Environments(ctx context.Context) ([]springtide.Environment, error) {
	return read(ctx, s, scanEnvironment, selectEnvironments+`ORDER BY app, name`)
}

// DestroyEnvironment implements store.Environments. What hangs on the
// environment and its releases goes with them; the counters stay.
func (s *Store) DestroyEnvironment(ctx context.Context, id springtide.EnvironmentID) error {
	return s.db.Write(ctx, func(tx Transaction) error { return forget(ctx, tx, id) })
}

// forget deletes an environment and all of it, but for its counters.
func forget(ctx context.Context, tx Transaction, id springtide.EnvironmentID) error {
	for _, table := range []string{"groups", "events", "secret_keys"} {
		if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE app = ? AND environment = ?`, id.App, id.Name); err != nil {
			return err
		}
	}
	return must(ctx, tx, noEnvironment(id), `DELETE FROM environments WHERE app = ? AND name = ?`, id.App, id.Name)
}

// SetConfig implements store.Environments.
func (s *Store) SetConfig(ctx context.Context, id springtide.EnvironmentID, set map[string]string, unset []string) (springtide.Environment, error) {
	return s.changeEnvironment(ctx, id, func(tx Transaction) error {
		e, err := environment(ctx, tx, id)
		if err != nil {
			return err
		}
		config := maps.Clone(e.Config)
		if config == nil {
			config = map[string]string{}
		}
		for _, name := range unset {
			delete(config, name)
		}
		maps.Copy(config, set)
		_, err = tx.ExecContext(ctx, `UPDATE environments SET config = ? WHERE app = ? AND name = ?`,
			document{config}, id.App, id.Name)
		return err
	})
}

// SetOccasions implements store.Environments.
func (s *Store) SetOccasions(ctx context.Context, id springtide.EnvironmentID, change func([]springtide.Occasion) ([]springtide.Occasion, error)) (springtide.Environment, error) {
	return s.changeEnvironment(ctx, id, func(tx Transaction) error {
		e, err := environment(ctx, tx, id)
		if err != nil {
			return err
		}
		occasions, err := change(e.Occasions)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE environments SET occasions = ? WHERE app = ? AND name = ?`, document{occasions}, id.App, id.Name)
		return err
	})
}

// SetScale implements store.Environments.
func (s *Store) SetScale(ctx context.Context, id springtide.EnvironmentID, process springtide.ProcessName, scale *springtide.ScaleRange) (springtide.Environment, error) {
	if scale != nil && (scale.Min < 0 || scale.Max < scale.Min) {
		return springtide.Environment{}, springtide.Errorf(springtide.Invalid,
			"%s cannot have %d to %d instances", process, scale.Min, scale.Max)
	}
	return s.changeEnvironment(ctx, id, func(tx Transaction) error {
		e, err := environment(ctx, tx, id)
		if err != nil {
			return err
		}
		ranges := maps.Clone(e.Scale)
		if ranges == nil {
			ranges = map[springtide.ProcessName]springtide.ScaleRange{}
		}
		if delete(ranges, process); scale != nil {
			ranges[process] = *scale
		}
		_, err = tx.ExecContext(ctx, `UPDATE environments SET scale = ? WHERE app = ? AND name = ?`,
			document{ranges}, id.App, id.Name)
		return err
	})
}

// SetStopped implements store.Environments.
func (s *Store) SetStopped(ctx context.Context, id springtide.EnvironmentID, stopped bool) (springtide.Environment, error) {
	return s.changeEnvironment(ctx, id, func(tx Transaction) error {
		_, err := tx.ExecContext(ctx, `UPDATE environments SET stopped = ? WHERE app = ? AND name = ?`,
			stopped, id.App, id.Name)
		return err
	})
}

// SetMaintenance implements store.Environments.
func (s *Store) SetMaintenance(ctx context.Context, id springtide.EnvironmentID, maintenance *springtide.Maintenance) (springtide.Environment, error) {
	return s.changeEnvironment(ctx, id, func(tx Transaction) error {
		_, err := tx.ExecContext(ctx, `UPDATE environments SET maintenance = ? WHERE app = ? AND name = ?`,
			document{maintenance}, id.App, id.Name)
		return err
	})
}

// changeEnvironment makes a change and gives the environment as it is after it.
func (s *Store) changeEnvironment(ctx context.Context, id springtide.EnvironmentID, change func(tx Transaction) error) (springtide.Environment, error) {
	var changed springtide.Environment
	err := s.db.Write(ctx, func(tx Transaction) (err error) {
		if err := change(tx); err != nil {
			return err
		}
		changed, err = environment(ctx, tx, id)
		return err
	})
	return changed, err
}
