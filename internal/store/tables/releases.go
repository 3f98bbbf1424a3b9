package tables

import (
	"context"
	"time"

	"github.com/springtide/springtide"
)

const selectReleases = `
	SELECT app, environment, number, artifact, manifest, config, secrets, description, created, state, reason
	FROM releases `

func scanRelease(row row) (springtide.Release, error) {
	var r springtide.Release
	err := row.Scan(&r.Environment.App, &r.Environment.Name, &r.Number, &r.Artifact, document{&r.App},
		document{&r.Config}, document{&r.Secrets}, &r.Description, (*moment)(&r.Created), &r.State, &r.Reason)
	return r, err
}

// AddRelease implements store.Releases.
func (s *Store) AddRelease(ctx context.Context, release springtide.Release) (springtide.Release, error) {
	id := release.Environment
	release.Created = time.Now().UTC()
	release.State, release.Reason = springtide.ReleasePending, ""
	err := s.db.Write(ctx, func(tx Transaction) (err error) {
		if _, err := environment(ctx, tx, id); err != nil {
			return err
		}
		if release.Number, err = count(ctx, tx, id, "release"); err != nil {
			return err
		}
		return insertRelease(ctx, tx, release)
	})
	if err != nil {
		return springtide.Release{}, err
	}
	return release, nil
}

func insertRelease(ctx context.Context, tx Transaction, release springtide.Release) error {
	id := release.Environment
	_, err := tx.ExecContext(ctx, `
		INSERT INTO releases (app, environment, number, artifact, manifest, config, secrets, description, created, state)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id.App, id.Name, release.Number, release.Artifact, document{release.App}, document{release.Config},
		document{release.Secrets}, release.Description, moment(release.Created), release.State)
	return err
}

// count gives the next number of a counter, "release" or "generation". It is
// never given again.
func count(ctx context.Context, tx Transaction, id springtide.EnvironmentID, counter string) (number int, err error) {
	err = tx.QueryRowContext(ctx, `INSERT INTO counters (app, environment, `+counter+`) VALUES (?, ?, 1)
		ON CONFLICT (app, environment) DO UPDATE SET `+counter+` = counters.`+counter+` + 1 RETURNING `+counter, id.App, id.Name).Scan(&number)
	return number, err
}

// Release implements store.Releases.
func (s *Store) Release(ctx context.Context, id springtide.ReleaseID) (springtide.Release, error) {
	r, err := release(ctx, s.db.Reader, id)
	return r, s.db.Problem(ctx, err)
}

func release(ctx context.Context, from Querier, id springtide.ReleaseID) (springtide.Release, error) {
	r, err := scanRelease(from.QueryRowContext(ctx, selectReleases+`WHERE app = ? AND environment = ? AND number = ?`,
		id.Environment.App, id.Environment.Name, id.Number))
	return r, orMissing(err, springtide.Errorf(springtide.NotFound, "there is no release %s", id))
}

// Releases implements store.Releases.
func (s *Store) Releases(ctx context.Context, id springtide.EnvironmentID) ([]springtide.Release, error) {
	return read(ctx, s, scanRelease, selectReleases+`WHERE app = ? AND environment = ? ORDER BY number DESC`, id.App, id.Name)
}

// FailRelease implements store.Releases.
func (s *Store) FailRelease(ctx context.Context, id springtide.ReleaseID, reason string) error {
	return s.db.Write(ctx, func(tx Transaction) error {
		if _, err := release(ctx, tx, id); err != nil {
			return err
		}
		return failPending(ctx, tx, id, reason)
	})
}

// failPending marks a release that never was active as failed.
func failPending(ctx context.Context, tx Transaction, id springtide.ReleaseID, reason string) error {
	_, err := tx.ExecContext(ctx, `UPDATE releases SET state = ?, reason = ?
		WHERE app = ? AND environment = ? AND number = ? AND state = ?`,
		springtide.ReleaseFailed, reason, id.Environment.App, id.Environment.Name, id.Number, springtide.ReleasePending)
	return err
}

// DeleteRelease implements store.Releases.
func (s *Store) DeleteRelease(ctx context.Context, id springtide.ReleaseID) error {
	app, name := id.Environment.App, id.Environment.Name
	return s.db.Write(ctx, func(tx Transaction) error {
		r, err := release(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.State == springtide.ReleaseActive {
			return springtide.Errorf(springtide.Conflict, "release %s has the traffic", id)
		}
		var rollouts, groups int
		err = tx.QueryRowContext(ctx, `SELECT
			(SELECT count(*) FROM rollouts WHERE app = ?1 AND environment = ?2 AND release = ?3 AND step NOT IN ('done', 'failed')),
			(SELECT count(*) FROM groups WHERE app = ?1 AND environment = ?2 AND release = ?3)`,
			app, name, id.Number).Scan(&rollouts, &groups)
		if err != nil {
			return err
		}
		if rollouts > 0 {
			return springtide.Errorf(springtide.Conflict, "release %s is being rolled out", id)
		}
		if groups > 0 {
			return springtide.Errorf(springtide.Conflict, "release %s still has instances to run", id)
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM releases WHERE app = ? AND environment = ? AND number = ?`, app, name, id.Number)
		return err
	})
}

// Artifacts implements store.Releases.
func (s *Store) Artifacts(ctx context.Context) ([]springtide.Digest, error) {
	scan := func(row row) (digest springtide.Digest, err error) {
		err = row.Scan(&digest)
		return digest, err
	}
	return read(ctx, s, scan, `SELECT artifact FROM releases UNION SELECT artifact FROM groups ORDER BY artifact`)
}
