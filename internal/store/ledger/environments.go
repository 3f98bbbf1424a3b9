package ledger

import (
	"github.com/springtide/springtide"
)

// place is where jobs are enqueued: an environment and its queues, as numbers.
type place struct {
	id          springtide.EnvironmentID
	environment int64
	queues      map[springtide.QueueName]queue
	now         moment
}

type queue struct {
	number, retention int64
	attempts          int
}

// place looks up an environment, which must be there.
func (tx *transaction) place(id springtide.EnvironmentID) (place, error) {
	p := place{id: id, queues: map[springtide.QueueName]queue{}}
	found, err := all(tx, func(r row) (t told, err error) {
		var q queue
		var name springtide.QueueName
		err = r.Scan(append(t.columns(), &p.environment, &q.number, &name, &q.attempts, &q.retention)...)
		if name != "" {
			p.queues[name] = q
		}
		return t, err
	}, `SELECT `+tx.dialect.clockColumns()+`, coalesce(e.id, 0), coalesce(q.id, 0), coalesce(q.name, ''), coalesce(q.attempts, 0), coalesce(q.retention, 0)
		FROM clock c LEFT JOIN environments e ON e.app = $1 AND e.name = $2 AND e.forgotten = 0
		LEFT JOIN queues q ON q.environment = e.id`, string(id.App), string(id.Name))
	if err != nil {
		return place{}, err
	}
	if len(found) == 0 {
		return place{}, errNoClock
	}
	p.now = found[0].moment(tx.dialect)
	return p, nil
}

// ensure looks up an environment and queues of it, and makes those that are
// missing.
func (tx *transaction) ensure(id springtide.EnvironmentID, queues ...springtide.QueueName) (place, error) {
	p, err := tx.place(id)
	if err != nil {
		return p, err
	}
	if p.environment == 0 {
		if _, err := tx.exec(`INSERT INTO environments (app, name) VALUES ($1, $2) ON CONFLICT DO NOTHING`, string(id.App), string(id.Name)); err != nil {
			return p, err
		}
		if p, err = tx.place(id); err != nil {
			return p, err
		}
	}
	missing := false
	for _, name := range queues {
		if _, known := p.queues[name]; known {
			continue
		}
		missing = true
		if _, err := tx.exec(`INSERT INTO queues (environment, name, attempts, retention) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			p.environment, string(name), springtide.DefaultAttempts, springtide.DefaultRetention.Microseconds()); err != nil {
			return p, err
		}
	}
	if missing {
		return tx.place(id)
	}
	return p, nil
}

// environment gives the number of an environment; 0: it is not known.
func (tx *transaction) environment(id springtide.EnvironmentID) (int64, error) {
	return one(tx, nil, value[int64], `SELECT coalesce(max(id), 0) FROM environments WHERE app = $1 AND name = $2 AND forgotten = 0`,
		string(id.App), string(id.Name))
}
