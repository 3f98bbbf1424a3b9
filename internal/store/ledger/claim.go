package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

const (
	// claimLimit is how many runs are claimed at once at most.
	claimLimit = 1000
	// laneLimit is from how many queues at most.
	laneLimit = 50
)

// lane is a queue that has something to claim.
type lane struct {
	environment                         int64
	id                                  springtide.EnvironmentID
	queue                               int64
	name                                springtide.QueueName
	environmentLimit, queueLimit, first int64
}

// Claim leases available runs.
func (l *Ledger) Claim(ctx context.Context, request jobs.Claim) ([]springtide.Run, error) {
	if request.Most <= 0 {
		return nil, nil
	}
	if !text(request.Runner) || len(request.Runner) > keyLimit {
		return nil, springtide.Errorf(springtide.Invalid, "the name of the runner is not text of at most %d bytes", keyLimit)
	}
	request.Most = min(request.Most, claimLimit)
	if known, ok := l.onlyLane.of(request); ok {
		if runs, err := l.claimAtOnce(ctx, known, request); err != nil || len(runs) > 0 {
			return runs, err
		}
	}
	lanes, now, err := l.lanes(ctx, request)
	if err != nil || len(lanes) == 0 {
		return nil, err
	}
	var claimed []claimedRun
	write := l.write
	if len(lanes) == 1 && lanes[0].environmentLimit == 0 && lanes[0].queueLimit == 0 {
		write = l.writeOne // nothing is to be counted first
	}
	err = write(ctx, func(tx *transaction) error {
		shares, err := tx.shares(lanes, request)
		if err != nil {
			return err
		}
		claimed = claimed[:0]
		for _, lane := range lanes {
			if shares[lane.queue] == 0 {
				continue
			}
			more, err := tx.claim(lane, shares[lane.queue], request, now)
			if err != nil {
				return err
			}
			claimed = append(claimed, more...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return inTurn(claimed), nil
}

// inTurn gives runs in the order of their places.
func inTurn(claimed []claimedRun) []springtide.Run {
	slices.SortFunc(claimed, func(a, b claimedRun) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.ID, b.ID))
	})
	runs := make([]springtide.Run, len(claimed))
	for i := range claimed {
		runs[i] = claimed[i].Run
	}
	return runs
}

// claimedRun is a run and the place that it had.
type claimedRun struct {
	springtide.Run
	place int64
}

// lanes are the queues that something may be claimed from, the one with the
// lowest place first.
func (l *Ledger) lanes(ctx context.Context, request jobs.Claim) ([]lane, moment, error) {
	// Of one environment those that have nothing are looked at, too: there may be only one.
	is, whose, some, args := "=", "AND e.app = $1 AND e.name = $2", "", []any{string(request.Environment.App), string(request.Environment.Name)}
	if request.Environment == (springtide.EnvironmentID{}) {
		is, whose, some, args = "<>", "", "WHERE first <> "+neverText, nil
	}
	var now moment
	lanes, err := all(l.view(ctx), func(r row) (n lane, err error) {
		var t told
		err = r.Scan(append(t.columns(), &n.environment, &n.id.App, &n.id.Name, &n.environmentLimit, &n.queue, &n.name, &n.queueLimit, &n.first)...)
		now = t.moment(l.dialect)
		return n, err
	}, `SELECT * FROM (SELECT `+l.dialect.clockColumns()+`, e.id, e.app, e.name, e.concurrency, q.id AS queue, q.name AS queue_name, q.concurrency AS queue_limit,
			coalesce((SELECT min(place) FROM runs WHERE queue = q.id AND state = 'available' AND kind `+is+` 'command'), `+neverText+`) AS first
		FROM clock c CROSS JOIN environments e JOIN queues q ON q.environment = e.id
		WHERE e.forgotten = 0 AND NOT q.paused `+whose+`) AS lanes `+some, args...)
	if err != nil {
		return nil, now, l.problem(ctx, err)
	}
	lanes = slices.DeleteFunc(lanes, func(n lane) bool {
		return len(request.Queues) > 0 && !slices.Contains(request.Queues, n.name)
	})
	l.onlyLane.know(request, lanes)
	lanes = slices.DeleteFunc(lanes, func(n lane) bool { return n.first == never })
	slices.SortFunc(lanes, func(a, b lane) int { return cmp.Compare(a.first, b.first) })
	return lanes[:min(len(lanes), laneLimit)], now, nil
}

// shares tells how many runs are to be claimed of each queue: of those of all
// lanes that have the lowest places, as many as the limits allow.
func (tx *transaction) shares(lanes []lane, request jobs.Claim) (map[int64]int, error) {
	room, err := tx.room(lanes, request.Most)
	if err != nil {
		return nil, err
	}
	if len(lanes) == 1 {
		return map[int64]int{lanes[0].queue: room.of(lanes[0])}, nil
	}
	is := kindIs(request)
	var branches []string
	var args []any
	byQueue := map[int64]lane{}
	for i, lane := range lanes {
		byQueue[lane.queue] = lane
		branches = append(branches, fmt.Sprintf(`SELECT * FROM (SELECT queue, place FROM runs WHERE queue = $%d AND state = 'available' AND kind %s 'command'
			ORDER BY place LIMIT %d) AS lane%d`, i+1, is, request.Most, i))
		args = append(args, lane.queue)
	}
	candidates, err := all(tx, value2, strings.Join(branches, " UNION ALL ")+" ORDER BY 2", args...)
	if err != nil {
		return nil, err
	}
	shares, given := map[int64]int{}, 0
	for _, candidate := range candidates {
		lane := byQueue[candidate[0]]
		if given < request.Most && room.of(lane) > 0 {
			room.take(lane)
			shares[lane.queue]++
			given++
		}
	}
	return shares, nil
}

// kindIs compares a kind with that of a command.
func kindIs(request jobs.Claim) string {
	if request.Environment == (springtide.EnvironmentID{}) {
		return "<>"
	}
	return "="
}

func value2(r row) (v [2]int64, err error) {
	err = r.Scan(&v[0], &v[1])
	return v, err
}

// room is how many runs may be claimed still, of all and where there are limits.
type room struct {
	most                 int
	environments, queues map[int64]int
}

func (r room) of(l lane) int {
	left := r.most
	if free, limited := r.environments[l.environment]; limited {
		left = min(left, free)
	}
	if free, limited := r.queues[l.queue]; limited {
		left = min(left, free)
	}
	return max(left, 0)
}

func (r room) take(l lane) {
	if _, limited := r.environments[l.environment]; limited {
		r.environments[l.environment]--
	}
	if _, limited := r.queues[l.queue]; limited {
		r.queues[l.queue]--
	}
}

// room counts what is under way where there are limits. It locks those rows
// first, so that nobody else counts at the same time.
func (tx *transaction) room(lanes []lane, most int) (room, error) {
	r := room{most: most, environments: map[int64]int{}, queues: map[int64]int{}}
	inOrder := slices.SortedFunc(slices.Values(lanes), func(a, b lane) int {
		return cmp.Or(cmp.Compare(a.environment, b.environment), cmp.Compare(a.queue, b.queue))
	})
	const underWay = " AND state IN ('claimed', 'running')"
	for _, lane := range inOrder {
		if _, known := r.environments[lane.environment]; !known && lane.environmentLimit > 0 {
			limit, err := one(tx, nil, value[int], "SELECT concurrency FROM environments WHERE id = $1"+tx.dialect.lock, lane.environment)
			if err != nil {
				return r, err
			}
			busy, err := one(tx, nil, value[int], "SELECT count(*) FROM runs WHERE queue IN (SELECT id FROM queues WHERE environment = $1)"+underWay, lane.environment)
			if err != nil {
				return r, err
			}
			if limit > 0 {
				r.environments[lane.environment] = limit - busy
			}
		}
		if lane.queueLimit > 0 {
			limit, err := one(tx, nil, value[int], "SELECT concurrency FROM queues WHERE id = $1"+tx.dialect.lock, lane.queue)
			if err != nil {
				return r, err
			}
			busy, err := one(tx, nil, value[int], "SELECT count(*) FROM runs WHERE queue = $1"+underWay, lane.queue)
			if err != nil {
				return r, err
			}
			if limit > 0 {
				r.queues[lane.queue] = limit - busy
			}
		}
	}
	return r, nil
}

// claim claims so many runs of one queue.
func (tx *transaction) claim(n lane, most int, request jobs.Claim, now moment) ([]claimedRun, error) {
	claimed, err := tx.claimFrom(n, "", "SELECT CAST($3 AS bigint) AS calendar, CAST($4 AS bigint) AS uptime",
		fmt.Sprintf(tx.dialect.pick, "$1", kindIs(request)), request, n.queue, most, now.calendar, now.uptime)
	if err == nil && tx.dialect.spendFences != "" {
		_, err = tx.exec(tx.dialect.spendFences, len(claimed))
	}
	return claimed, err
}

// claimFrom claims what is picked, at a moment that is told.
func (tx *transaction) claimFrom(n lane, with, told, pick string, request jobs.Claim, queue int64, most int, moment ...any) ([]claimedRun, error) {
	state := springtide.RunClaimed
	started := "runs.started"
	if request.Started {
		state, started = springtide.RunRunning, "told.calendar"
	}
	waited := int64(0)
	claimed, err := all(tx, func(r row) (c claimedRun, err error) {
		var payload string
		var available int64
		c.Run, err = scanRun(r, &payload, &c.place, &available)
		c.Payload, c.Environment, c.Queue = document(payload), n.id, n.name
		waited += max(micros(c.Claimed)-available, 0)
		return c, err
	}, fmt.Sprintf(`WITH `+with+`picked AS MATERIALIZED (`+pick+`), told AS MATERIALIZED (`+told+`)
		UPDATE runs SET state = '%s', attempt = attempt + 1, fence = `+tx.dialect.fence+`, lease = told.uptime + %d, claimed = told.calendar,
			started = `+started+`, runner = $%d, release_number = $%d, percent = 0, message = ''
		FROM picked, told WHERE runs.id = picked.id AND runs.state = 'available'
		RETURNING `+runColumns+`, runs.payload, runs.place, runs.available`,
		state, jobs.LeaseFor.Microseconds(), 3+len(moment), 4+len(moment)),
		slices.Concat([]any{queue, most}, moment, []any{request.Runner, request.Release})...)
	if err == nil && request.Environment != (springtide.EnvironmentID{}) {
		tx.count(n.queue, func(c *counts) { c.waited += waited })
	}
	return claimed, err
}
