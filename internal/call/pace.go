package call

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// longestWait is how long somebody waits for his turn, and mostWaiting how
	// many do: they hold a place that another host's run may need.
	longestWait = 2 * time.Second
	mostWaiting = 8
	// furthest is how far ahead turns are promised.
	furthest = 15 * time.Minute
)

// Pace lets things through at a rate. Whoever would have to wait for long is
// told a time of his own to come back at, so that a thousand of them do not come
// back together.
type Pace struct {
	mutex    sync.Mutex
	limiter  *rate.Limiter
	waiting  int
	promised time.Time
	held     time.Time
}

// NewPace gives one that lets the first through at once.
func NewPace() *Pace { return &Pace{limiter: rate.NewLimiter(rate.Inf, 1)} }

// Wait waits for a turn at a rate of so many a second (0: no limit), for two
// seconds at most. If that is not enough, later is in how long to come back. The
// error is that of ctx.
func (p *Pace) Wait(ctx context.Context, perSecond float64) (later time.Duration, err error) {
	delay, later := p.turn(time.Now(), perSecond)
	if later > 0 || delay == 0 {
		return later, ctx.Err()
	}
	defer func() {
		p.mutex.Lock()
		defer p.mutex.Unlock()
		p.waiting--
	}()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Hold lets nothing through for so long.
func (p *Pace) Hold(period time.Duration) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if until := time.Now().Add(period); until.After(p.held) {
		p.held = until
	}
}

// turn takes a turn that comes soon enough, or promises a later one.
func (p *Pace) turn(now time.Time, perSecond float64) (delay, later time.Duration) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if held := p.held.Sub(now); held > 0 {
		return 0, held + rand.N(held/4+time.Second)
	}
	if perSecond <= 0 {
		return 0, 0
	}
	if limit := rate.Limit(perSecond); p.limiter.Limit() != limit {
		if p.limiter.Limit() == rate.Inf { // what nobody counted left nothing to count from
			p.limiter = rate.NewLimiter(limit, 1)
		}
		p.limiter.SetLimitAt(now, limit)
	}
	reservation := p.limiter.ReserveN(now, 1)
	delay = reservation.DelayFrom(now)
	if delay == 0 {
		return 0, 0
	}
	if delay <= longestWait && p.waiting < mostWaiting {
		p.waiting++
		return delay, 0
	}
	reservation.CancelAt(now)
	return 0, p.promise(now, delay, perSecond)
}

// promise gives the next turn after those that were promised already; where they
// are too many, one at random.
func (p *Pace) promise(now time.Time, delay time.Duration, perSecond float64) time.Duration {
	if earliest := now.Add(delay); p.promised.Before(earliest) {
		p.promised = earliest
	}
	later := p.promised.Sub(now)
	if later > furthest {
		return furthest/2 + rand.N(furthest/2)
	}
	p.promised = p.promised.Add(time.Duration(float64(time.Second) / perSecond))
	return later
}

// Idle reports whether forgetting it changes nothing.
func (p *Pace) Idle() bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	now := time.Now()
	return p.waiting == 0 && now.After(p.held) && now.After(p.promised) && (p.limiter.Limit() == rate.Inf || p.limiter.TokensAt(now) >= 1)
}
