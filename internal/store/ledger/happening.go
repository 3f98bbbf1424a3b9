package ledger

import (
	"context"

	"github.com/springtide/springtide/internal/jobs"
)

// happening is what an operator may want to know of a run. It waits in a table
// for the next tick of any server.
type happening struct {
	kind string
	run  int64
}

// happeningsTold is how many are told in one tick at most.
const happeningsTold = 500

func (tx *transaction) tell(told []happening) error {
	if len(told) == 0 {
		return nil
	}
	rows := make([][]any, len(told))
	for i, h := range told {
		rows[i] = []any{h.kind, h.run}
	}
	query, args := tx.with("INSERT INTO happenings (kind, run) SELECT v.kind, v.run FROM %s WHERE true", "kind text, run bigint", rows)
	_, err := tx.exec(query, args...)
	return err
}

// happened takes what there is to tell.
func (l *Ledger) happened(ctx context.Context) (told []jobs.Happened, err error) {
	type waiting struct {
		id int64
		happening
	}
	err = l.write(ctx, func(tx *transaction) error {
		taken, err := all(tx, func(r row) (w waiting, err error) {
			err = r.Scan(&w.id, &w.kind, &w.run)
			return w, err
		}, "SELECT id, kind, run FROM happenings ORDER BY id LIMIT $1"+tx.dialect.skipLocked, happeningsTold)
		if err != nil || len(taken) == 0 {
			return err
		}
		told = told[:0]
		rows := make([][]any, len(taken))
		for i, w := range taken {
			rows[i] = []any{w.id}
			runs, err := all(tx, scanListed, "SELECT "+runColumns+", "+runNames+runFrom+"WHERE runs.id = $1", w.run)
			if err != nil {
				return err
			}
			for _, run := range runs { // none if it is forgotten
				told = append(told, jobs.Happened{Kind: w.kind, Run: run})
			}
		}
		query, args := tx.with("DELETE FROM happenings WHERE id "+tx.dialect.among, "id bigint", rows)
		_, err = tx.exec(query, args...)
		return err
	})
	return told, err
}
