package tables

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/springtide/springtide"
)

// SetDomains implements store.Environments.
func (s *Store) SetDomains(ctx context.Context, id springtide.EnvironmentID, add, remove []string) (springtide.Environment, error) {
	return s.changeEnvironment(ctx, id, func(tx Transaction) error {
		// The environment is looked for first: a domain of no environment is not the
		// thing to complain about.
		if _, err := environment(ctx, tx, id); err != nil {
			return err
		}
		for _, domain := range remove {
			missing := springtide.Errorf(springtide.NotFound, "domain %s was not added to %s by hand", domain, id)
			err := must(ctx, tx, missing, `UPDATE domains SET by_hand = FALSE
				WHERE domain = ? AND app = ? AND environment = ? AND by_hand`, canonical(domain), id.App, id.Name)
			if err != nil {
				return err
			}
		}
		if err := claim(ctx, tx, id, add, byHand); err != nil {
			return err
		}
		return freeDomains(ctx, tx, id)
	})
}

// CheckDomains implements store.Environments.
func (s *Store) CheckDomains(ctx context.Context, id springtide.EnvironmentID, domains []string) error {
	for _, domain := range domains {
		if err := checkDomain(ctx, s.db.Reader, id, domain); err != nil {
			return s.db.Problem(ctx, err)
		}
	}
	return nil
}

// The reasons for an environment to have a domain.
const (
	byHand     = "by_hand"
	byManifest = "by_manifest"
)

// claim gives domains to an environment unless another one has them.
func claim(ctx context.Context, tx Transaction, id springtide.EnvironmentID, domains []string, reason string) error {
	for _, domain := range domains {
		if err := checkDomain(ctx, tx, id, domain); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO domains (domain, app, environment, `+reason+`) VALUES (?, ?, ?, TRUE)
			ON CONFLICT (domain) DO UPDATE SET `+reason+` = TRUE`, canonical(domain), id.App, id.Name)
		if err != nil {
			return err
		}
	}
	return nil
}

// setManifestDomains makes the domains those that the manifest asks for, and
// gives up others that it asked for before.
func setManifestDomains(ctx context.Context, tx Transaction, id springtide.EnvironmentID, domains []string) error {
	_, err := tx.ExecContext(ctx, `UPDATE domains SET by_manifest = FALSE WHERE app = ? AND environment = ?`, id.App, id.Name)
	if err != nil {
		return err
	}
	if err := claim(ctx, tx, id, domains, byManifest); err != nil {
		return err
	}
	return freeDomains(ctx, tx, id)
}

// freeDomains gives up those that there is no reason for any more.
func freeDomains(ctx context.Context, tx Transaction, id springtide.EnvironmentID) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM domains
		WHERE app = ? AND environment = ? AND NOT by_hand AND NOT by_manifest`, id.App, id.Name)
	return err
}

// checkDomain gives a Conflict if another environment has the domain.
func checkDomain(ctx context.Context, from Querier, id springtide.EnvironmentID, domain string) error {
	if canonical(domain) == "" {
		return springtide.Errorf(springtide.Invalid, "an empty name is no domain")
	}
	var owner springtide.EnvironmentID
	err := from.QueryRowContext(ctx, `SELECT app, environment FROM domains WHERE domain = ?`, canonical(domain)).
		Scan(&owner.App, &owner.Name)
	if errors.Is(err, sql.ErrNoRows) || (err == nil && owner == id) {
		return nil
	}
	if err != nil {
		return err
	}
	return springtide.Errorf(springtide.Conflict, "domain %s belongs to %s", domain, owner).
		WithHint("remove it there first")
}

// canonical is the one spelling of a domain.
func canonical(domain string) string {
	return strings.ToLower(strings.TrimSuffix(domain, "."))
}
