package tables

import (
	"context"
	"math"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

func scanDecision(row row) (springtide.Decision, error) {
	var d springtide.Decision
	err := row.Scan((*moment)(&d.Time), &d.Group.Environment.App, &d.Group.Environment.Name, &d.Group.Process,
		&d.Group.Release, &d.Group.Generation, &d.From, &d.To, &d.Sentence, document{&d.Inputs}, &d.Evidence)
	return d, err
}

// AddDecision implements store.Decisions.
func (s *Store) AddDecision(ctx context.Context, decision springtide.Decision) error {
	group := decision.Group
	id := group.Environment
	return s.db.Note(ctx, func(tx Transaction) error {
		if _, err := environment(ctx, tx, id); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO decisions (time, app, environment, process, release, generation, replicas_from, replicas_to, sentence, inputs, evidence)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			moment(decision.Time), id.App, id.Name, group.Process, group.Release, group.Generation,
			decision.From, decision.To, decision.Sentence, document{decision.Inputs}, decision.Evidence)
		if err != nil {
			return err
		}
		if _, err = tx.ExecContext(ctx, `UPDATE decisions SET evidence = NULL
			WHERE app = ?1 AND environment = ?2 AND evidence IS NOT NULL AND id <=
			(SELECT id FROM decisions WHERE app = ?1 AND environment = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)`,
			id.App, id.Name, store.KeepEvidence); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM decisions WHERE app = ?1 AND environment = ?2 AND id <=
			(SELECT id FROM decisions WHERE app = ?1 AND environment = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)`,
			id.App, id.Name, store.KeepDecisions)
		return err
	})
}

// Decisions implements store.Decisions.
func (s *Store) Decisions(ctx context.Context, id springtide.EnvironmentID, process springtide.ProcessName, limit int) ([]springtide.Decision, error) {
	return read(ctx, s, scanDecision, `
		SELECT time, app, environment, process, release, generation, replicas_from, replicas_to, sentence, inputs, evidence
		FROM decisions WHERE app = ?1 AND environment = ?2 AND (?3 = '' OR process = ?3) ORDER BY id DESC LIMIT ?4`,
		id.App, id.Name, process, orAll(limit))
}

// orAll is the limit in SQL.
func orAll(limit int) int {
	if limit == 0 {
		return math.MaxInt
	}
	return limit
}
