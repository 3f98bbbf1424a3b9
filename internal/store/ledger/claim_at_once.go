package ledger

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// onlyLaneFor is for how long it is known that who claims has one queue to claim from.
const onlyLaneFor = time.Second

// onlyLanes remembers who has only one queue to claim from, and no limits: he
// need not look first where there is something.
type onlyLanes struct {
	mutex sync.Mutex
	known map[string]onlyLane
}

type onlyLane struct {
	lane
	until time.Time
}

func (o *onlyLanes) key(request jobs.Claim) string {
	key := request.Environment.String()
	for _, queue := range request.Queues {
		key += " " + string(queue)
	}
	return key
}

// know remembers the lanes of one who claims, if it is only one.
func (o *onlyLanes) know(request jobs.Claim, lanes []lane) {
	if request.Environment == (springtide.EnvironmentID{}) || len(lanes) != 1 || lanes[0].environmentLimit > 0 || lanes[0].queueLimit > 0 {
		return
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if o.known == nil || len(o.known) > claimLimit {
		o.known = map[string]onlyLane{}
	}
	o.known[o.key(request)] = onlyLane{lanes[0], time.Now().Add(onlyLaneFor)}
}

func (o *onlyLanes) of(request jobs.Claim) (lane, bool) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	known := o.known[o.key(request)]
	return known.lane, time.Now().Before(known.until)
}

// claimAtOnce claims from the only queue there is, in one statement that looks
// whether it may: none if there is nothing, or that has changed.
func (l *Ledger) claimAtOnce(ctx context.Context, n lane, request jobs.Claim) ([]springtide.Run, error) {
	if !l.dialect.quick {
		return nil, nil
	}
	var claimed []claimedRun
	err := l.writeOne(ctx, func(tx *transaction) (err error) {
		const open = `open AS MATERIALIZED (SELECT q.id FROM queues q JOIN environments e ON e.id = q.environment
			WHERE q.id = $1 AND NOT q.paused AND q.concurrency = 0 AND e.concurrency = 0 AND e.forgotten = 0), `
		claimed, err = tx.claimFrom(n, open, tx.dialect.momentOf(),
			fmt.Sprintf(tx.dialect.pick, "(SELECT open.id FROM open)", kindIs(request)), request, n.queue, request.Most)
		return err
	})
	return inTurn(claimed), err
}
