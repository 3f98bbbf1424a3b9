package ledger

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// completeBatch fills in what its last job does not say.
func completeBatch(batch jobs.Batch) (jobs.Batch, error) {
	if len(batch.ID) > keyLimit || !text(batch.ID) {
		return batch, springtide.Errorf(springtide.Invalid, "the name of the batch is not text of at most %d bytes", keyLimit).
			WithHint("use a shorter one, or none")
	}
	if batch.Done != nil {
		done, err := complete(*batch.Done)
		if err != nil {
			return batch, err
		}
		batch.Done = &done
	}
	return batch, nil
}

// enqueueBatch makes the batch and its runs. Its runs are numbered one after the
// other, so that who asks a second time can be told what he was told at first.
func (l *Ledger) enqueueBatch(tx *transaction, p place, completed []springtide.Job, batch jobs.Batch) ([]jobs.Enqueued, error) {
	first := l.identity.take(p.now, len(completed)+1)
	if batch.ID == "" {
		batch.ID = string(runID(first + int64(len(completed))))
	}
	done := ""
	if batch.Done != nil {
		document, err := json.Marshal(batch.Done)
		if err != nil {
			return nil, err
		}
		done = string(document)
	}
	made, err := tx.exec(`INSERT INTO batches (id, environment, name, jobs, first_run, size, done) VALUES ($1, $2, $3, $4, $5, 0, $6)
		ON CONFLICT (environment, name) DO NOTHING`, first+int64(len(completed)), p.environment, batch.ID, len(completed), first, done)
	if err != nil {
		return nil, err
	}
	if made == 0 {
		return tx.sameBatch(p, completed, batch.ID)
	}
	runs := p.newRuns(first, completed, batch.ID)
	if err := tx.insert(p, runs); err != nil {
		return nil, err
	}
	size := 0
	for _, run := range runs {
		if run.takenByAnother == 0 {
			size++
		}
	}
	if _, err := tx.exec(`UPDATE batches SET size = $1 WHERE environment = $2 AND name = $3`, size, p.environment, batch.ID); err != nil {
		return nil, err
	}
	return answer(runs), l.advanceBatch(tx, p.id, p.environment, batch.ID, 0, 0)
}

// sameBatch answers for a batch that is there already.
func (tx *transaction) sameBatch(p place, completed []springtide.Job, name string) ([]jobs.Enqueued, error) {
	type size struct{ jobs, first int64 }
	known, err := one(tx, errCollision, func(r row) (s size, err error) {
		err = r.Scan(&s.jobs, &s.first)
		return s, err
	}, `SELECT jobs, first_run FROM batches WHERE environment = $1 AND name = $2`, p.environment, name)
	if err != nil {
		return nil, err
	}
	if known.jobs != int64(len(completed)) {
		return nil, springtide.Errorf(springtide.Conflict, "the batch %s is there already, with %d jobs", name, known.jobs).
			WithHint("a batch is enqueued in one call: use another name")
	}
	runs := p.newRuns(known.first, completed, name)
	for i, run := range runs {
		if run.job.Key == "" {
			continue
		}
		if runs[i].takenByAnother, err = one(tx, nil, value[int64], `SELECT coalesce(max(id), 0) FROM runs WHERE environment = $1 AND taken = $2
			AND taken <> '' AND id <> $3`, p.environment, run.job.Key, run.number); err != nil {
			return nil, err
		}
	}
	return answer(runs), nil
}

// batchKey names a batch, and batchSteps how far batches have come since.
type (
	batchKey struct {
		environment int64
		name        string
	}
	batchSteps map[batchKey]struct{ ended, dead int }
)

func (s batchSteps) add(environment int64, batch string, ended, dead int) {
	if batch != "" {
		step := s[batchKey{environment, batch}]
		step.ended += ended
		step.dead += dead
		s[batchKey{environment, batch}] = step
	}
}

// advanceBatches notes how far batches have come.
func (l *Ledger) advanceBatches(tx *transaction, steps batchSteps) error {
	keys := make([]batchKey, 0, len(steps))
	for key := range steps {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b batchKey) int { // everybody in the same order
		if a.environment != b.environment {
			return int(a.environment - b.environment)
		}
		if a.name < b.name {
			return -1
		}
		return 1
	})
	for _, key := range keys {
		id, err := one(tx, nil, func(r row) (id springtide.EnvironmentID, err error) {
			err = r.Scan(&id.App, &id.Name)
			return id, err
		}, `SELECT coalesce(max(app), ''), coalesce(max(name), '') FROM environments WHERE id = $1`, key.environment)
		if err != nil {
			return err
		}
		if err := l.advanceBatch(tx, id, key.environment, key.name, steps[key].ended, steps[key].dead); err != nil {
			return err
		}
	}
	return nil
}

// advanceBatch notes how far a batch has come and, if that was the last run of
// it, enqueues what is to be done then.
func (l *Ledger) advanceBatch(tx *transaction, id springtide.EnvironmentID, environment int64, name string, ended, dead int) error {
	now, err := tx.now()
	if err != nil {
		return err
	}
	type progress struct {
		whole bool
		run   int64
		done  string
	}
	p, err := one(tx, nil, func(r row) (p progress, err error) {
		err = r.Scan(&p.whole, &p.run, &p.done)
		return p, err
	}, `UPDATE batches SET ended = ended + $1, dead = dead + $2, forget = CASE WHEN ended + $1 >= size THEN CAST($3 AS bigint) ELSE 0 END
		WHERE environment = $4 AND name = $5 RETURNING ended >= size, done_run, done`,
		ended, dead, in(now.uptime, springtide.DeadRetention), environment, name)
	if err != nil || !p.whole || p.run != 0 || p.done == "" {
		return err
	}
	var job springtide.Job
	if err := json.Unmarshal([]byte(p.done), &job); err != nil {
		return err
	}
	where, err := tx.ensure(id, job.Queue)
	if err != nil {
		return err
	}
	runs := where.newRuns(l.identity.take(where.now, 1), []springtide.Job{job}, "")
	if err := tx.insert(where, runs); err != nil {
		return err
	}
	done := runs[0].number
	if runs[0].takenByAnother != 0 {
		done = runs[0].takenByAnother
	}
	_, err = tx.exec(`UPDATE batches SET done_run = $1 WHERE environment = $2 AND name = $3`, done, environment, name)
	return err
}

// BatchStatus tells how far a batch has come.
func (l *Ledger) BatchStatus(ctx context.Context, id springtide.EnvironmentID, batch string) (jobs.BatchStatus, error) {
	missing := springtide.Errorf(springtide.NotFound, "%s has no batch %s", id, batch).
		WithHint("batches are forgotten %d days after their end", int(springtide.DeadRetention.Hours()/24))
	status, err := one(l.view(ctx), missing, func(r row) (s jobs.BatchStatus, err error) {
		var done int64
		err = r.Scan(&s.ID, &s.Size, &s.Over, &s.Dead, &done)
		if done != 0 {
			s.Done = runID(done)
		}
		return s, err
	}, `SELECT b.name, b.size, b.ended, b.dead, b.done_run FROM batches b JOIN environments e ON e.id = b.environment
		WHERE e.app = $1 AND e.name = $2 AND e.forgotten = 0 AND b.name = $3`, string(id.App), string(id.Name), batch)
	return status, l.problem(ctx, err)
}
