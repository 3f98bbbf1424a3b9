package scale

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// Work tells how one queue of an environment stands, as far as the app's own
// workers are concerned. Its counters only grow.
type Work struct {
	Environment springtide.EnvironmentID
	Queue       springtide.QueueName
	// Backlog counts the runs that wait for a worker and may be taken: none while
	// the queue is paused. Oldest is for how long the oldest of them has waited.
	Backlog int
	Oldest  time.Duration
	// UnderWay counts the runs that workers have, Limit how many they may have at
	// most; 0: no limit.
	UnderWay int
	Limit    int
	// Arrived counts the runs that ever became available, Finished the attempts
	// that ever ended, and Busy is the time that those took.
	Arrived  int64
	Finished int64
	Busy     time.Duration
}

// WorkObservation is what is seen of a group of workers now.
type WorkObservation struct {
	// Replicas is how many instances it is told to have.
	Replicas int
	// Instances are those the engine sees of the group.
	Instances []springtide.Instance
	// Capacity says why no further instance can be started; empty if one can.
	Capacity string
	// Granted and Shared are as in [Observation].
	Granted int
	Shared  string
	// Known says that it was told of late how the queues stand; if not, Trouble may
	// say why.
	Known   bool
	Trouble string
	// Queues are those that the group takes runs from.
	Queues []QueueWork
}

// QueueWork is what is seen of one queue.
type QueueWork struct {
	Queue springtide.QueueName
	// Backlog, Oldest, UnderWay and Limit are as in [Work].
	Backlog  int
	Oldest   time.Duration
	UnderWay int
	Limit    int
	// Rate is how many runs become available in a second.
	Rate float64
	// Service is the mean time a run takes; 0: not known yet.
	Service time.Duration
}

// WorkHistory is what was seen of a group of workers before.
type WorkHistory struct {
	// Since is from when on its queues have been watched without a gap.
	Since time.Time
	// Needed is the highest need, in instances, within the stable window.
	Needed int
	// ColdStart and SlowStart are as in [History].
	ColdStart, SlowStart time.Duration
	// LastWork is when a run last waited, was under way, or ended; zero: not since Since.
	LastWork time.Time
	// LastOut and LastIn are when instances were last added and taken away.
	LastOut, LastIn time.Time
}

const (
	// assumedService is how long a run is taken to last before one has ended.
	assumedService = time.Second
	// workFill is how full the slots of workers are to be: what is left keeps a
	// queue from building up.
	workFill = 0.8
)

// workload is the reckoning of how many workers are needed. As in [demand],
// every number is rounded as it is printed before it is used.
type workload struct {
	queues []queueLoad // that have anything to do
	// rateSlots keep up with what arrives, waitSlots take what waits in time.
	rateSlots, waitSlots float64
	there                int // runs that wait or are under way
	backlog              int // of them: wait
	slots                int // slots of one instance
	need                 int // instances
}

// queueLoad is one queue's share of the workload.
type queueLoad struct {
	QueueWork
	wait time.Duration // the target,
	left time.Duration // and what is left of it for the oldest run, or a cold start
	most int           // more slots than this have nothing to do
	// rateSlots and waitSlots are as in workload.
	rateSlots, waitSlots float64
}

// reckonWork gives the need: max(sum of rate x service / 0.8, sum of backlog x
// service / time left).
func reckonWork(spec Spec, coldStart time.Duration, queues []QueueWork) workload {
	l := workload{slots: max(spec.Scale.Concurrency, 1)}
	for _, queue := range queues {
		q := reckonQueue(spec.Worker.Wait, coldStart, queue)
		if q.Rate == 0 && q.there() == 0 {
			continue
		}
		l.queues = append(l.queues, q)
		l.rateSlots += q.rateSlots
		l.waitSlots += q.waitSlots
		l.there += q.there()
		l.backlog += q.Backlog
	}
	l.rateSlots, l.waitSlots = round(l.rateSlots, 0.1), round(l.waitSlots, 0.1)
	l.need = max(instances(l.rateSlots, float64(l.slots)), instances(l.waitSlots, float64(l.slots)), min(l.backlog, 1))
	return l
}

func reckonQueue(wait, coldStart time.Duration, queue QueueWork) queueLoad {
	q := queueLoad{QueueWork: queue, wait: wait}
	q.Rate = significant(queue.Rate)
	q.Service = roundService(queue.Service)
	if q.Service == 0 {
		q.Service = assumedService
	}
	// What is ordered now helps in a cold start: a shorter time would only order
	// instances that come when all is done.
	q.left = max(wait-queue.Oldest, min(wait, coldStart), 0).Round(100 * time.Millisecond)
	// A slot without a run is of no use: those that are there count, and those
	// that arrive within the wait that is allowed.
	q.most = q.there() + q.coming()
	if q.Limit > 0 {
		q.most = min(q.most, q.Limit)
	}
	q.rateSlots = min(roundUp(q.Rate*q.Service.Seconds()/workFill, 0.1), float64(q.most))
	q.waitSlots = float64(q.UnderWay) // they keep their slots
	if q.Backlog > 0 {
		q.waitSlots = max(q.waitSlots, min(q.inTime(), float64(q.mostNow())))
	}
	return q
}

func (q queueLoad) there() int { return q.Backlog + q.UnderWay }

func (q queueLoad) coming() int { return int(math.Round(q.Rate * q.wait.Seconds())) }

// mostNow is how many of the runs that are there may be under way together.
func (q queueLoad) mostNow() int {
	if q.Limit > 0 {
		return min(q.there(), q.Limit)
	}
	return q.there()
}

// hurried says that no slot can take a second run in time: one is needed for each.
func (q queueLoad) hurried() bool { return q.left <= q.Service }

// inTime is how many slots are done with all that is there in the time left.
func (q queueLoad) inTime() float64 {
	if q.hurried() {
		return float64(q.there())
	}
	return roundUp(float64(q.there())*q.Service.Seconds()/q.left.Seconds(), 0.1)
}

// explain spells out the workload; its numbers recompute to the need.
func (l workload) explain() string {
	if len(l.queues) == 0 {
		return "no run waits"
	}
	var b strings.Builder
	for i, q := range l.queues {
		if len(l.queues) > 1 {
			b.WriteString(string(q.Queue) + ": ")
		}
		q.explain(&b)
		if i < len(l.queues)-1 {
			b.WriteString("; ")
		}
	}
	if len(l.queues) > 1 {
		fmt.Fprintf(&b, "; together %s and %s slots", number(l.rateSlots), number(l.waitSlots))
	}
	if l.slots == 1 {
		b.WriteString(", 1 slot each")
	} else {
		fmt.Fprintf(&b, ", %d slots each", l.slots)
	}
	return b.String()
}

func (q queueLoad) explain(b *strings.Builder) {
	if q.Rate > 0 {
		fmt.Fprintf(b, "%s runs/s x %s / 80%% = %s slots", number(q.Rate), spell(q.Service), number(roundUp(q.Rate*q.Service.Seconds()/workFill, 0.1)))
		q.bound(b, q.most, roundUp(q.Rate*q.Service.Seconds()/workFill, 0.1))
		b.WriteString(", ")
	}
	if q.Backlog == 0 {
		fmt.Fprintf(b, "0 waiting, %d under way", q.UnderWay)
		return
	}
	fmt.Fprintf(b, "%d waiting and %d under way", q.Backlog, q.UnderWay)
	if q.hurried() {
		fmt.Fprintf(b, ", each %s with %s left = %d slots", spell(q.Service), spell(q.left), q.there())
	} else {
		fmt.Fprintf(b, " x %s / %s = %s slots", spell(q.Service), spell(q.left), number(q.inTime()))
	}
	q.bound(b, q.mostNow(), q.inTime())
	if q.waitSlots > min(q.inTime(), float64(q.mostNow())) {
		fmt.Fprintf(b, ", but %d under way", q.UnderWay)
	}
}

// bound tells that fewer slots count than were reckoned.
func (q queueLoad) bound(b *strings.Builder, most int, slots float64) {
	switch {
	case slots <= float64(most):
	case most == q.Limit:
		fmt.Fprintf(b, ", but at most %d at a time", most)
	default:
		fmt.Fprintf(b, ", but %d there or coming", most)
	}
}

// significant keeps three digits.
func significant(x float64) float64 {
	x, _ = strconv.ParseFloat(strconv.FormatFloat(max(x, 0), 'g', 3, 64), 64)
	return x
}
