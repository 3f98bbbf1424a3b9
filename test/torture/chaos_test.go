package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"time"
)

// shortestStop is longer than a lease; a stop takes at most half of it more.
const shortestStop = 40 * time.Second

// chaos does to a world what happens to machines, one thing after the other, each
// chosen by the random numbers of a seed.
type chaos struct {
	w      *world
	random *rand.Rand
	// offset is by how much the clock is off; it is back where it was, or ahead.
	offset time.Duration
	// restart restarts or kills the database; nil: there is none apart.
	restart func(kind int) error
	// fill fills the ledger's disk until what it gives is called; nil: it cannot be.
	fill    func() (free func() error, err error)
	pending sync.WaitGroup
	did     map[string]int
	stopped map[*member]bool // by the chaos, and not going on yet
	mu      sync.Mutex
}

// rage goes on until ctx ends and all that was stopped goes on again.
func (c *chaos) rage(ctx context.Context, each time.Duration) {
	type act struct {
		weight int
		name   string
		do     func(ctx context.Context)
	}
	w := c.w
	acts := []act{
		{15, "a server was killed", func(context.Context) { c.one(w.servers).signal(syscall.SIGKILL) }},
		{12, "a runner was killed", func(context.Context) { c.one(w.runners).signal(syscall.SIGKILL) }},
		{15, "a worker was killed", func(context.Context) { c.one(w.workers).signal(syscall.SIGKILL) }},
		{10, "somebody was stopped for longer than a lease", c.stop},
		{20, "the clock was stepped", c.stepClock},
		{4, "the clock was an hour back", c.hourBack},
		{4, "another manifest was deployed", func(context.Context) { w.deploy(func(*plan) {}) }},
		{6, "a runner was replaced", func(context.Context) {
			runner := c.one(w.runners)
			c.pending.Go(func() { w.replace(runner) })
		}},
	}
	if c.restart != nil {
		acts = append(acts, act{7, "the database was restarted or killed", func(context.Context) {
			if err := c.restart(c.random.IntN(3)); err != nil {
				w.t.Error(err)
			}
		}})
	}
	if c.fill != nil {
		acts = append(acts, act{8, "the disk was full", c.fillDisk})
	}
	all := 0
	for _, a := range acts {
		all += a.weight
	}
	c.did, c.stopped = map[string]int{}, map[*member]bool{}
	for ctx.Err() == nil {
		dice := c.random.IntN(all)
		for _, a := range acts {
			if dice -= a.weight; dice < 0 {
				c.did[a.name]++
				a.do(ctx)
				break
			}
		}
		wait(ctx, each/2+time.Duration(c.random.Int64N(int64(each))))
	}
	c.pending.Wait()
	var told strings.Builder
	for name, count := range c.did {
		fmt.Fprintf(&told, "%10d  times %s\n", count, name)
	}
	w.t.Logf("what happened:\n%s", told.String())
}

func (c *chaos) one(of []*member) *member { return of[c.random.IntN(len(of))] }

// stop stops a process, and has it go on when its leases are lost. When the
// chaos ends it goes on sooner.
func (c *chaos) stop(ctx context.Context) {
	group := [][]*member{c.w.servers, c.w.runners, c.w.workers, c.w.workers}[c.random.IntN(4)]
	m := c.one(group)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped[m] || len(c.stopped) >= 4 {
		return
	}
	c.stopped[m] = true
	m.signal(syscall.SIGSTOP)
	stopped := shortestStop + time.Duration(c.random.Int64N(int64(shortestStop/2)))
	c.pending.Go(func() {
		wait(ctx, stopped)
		m.signal(syscall.SIGCONT)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.stopped, m)
	})
}

// stepClock steps the clock by a little. Forward it stays: what would be taken
// back of that would only have the calendar stand still.
func (c *chaos) stepClock(ctx context.Context) {
	by := time.Duration(c.random.Int64N(int64(4*time.Second))) - 2*time.Second
	if c.random.IntN(4) == 0 {
		by *= 3
	}
	c.move(by)
	if by < 0 {
		c.pending.Go(func() {
			wait(ctx, 3*time.Second)
			c.move(-by)
		})
	}
}

// hourBack steps the clock back by an hour, and soon again to where it was.
func (c *chaos) hourBack(ctx context.Context) {
	c.move(-time.Hour)
	wait(ctx, time.Duration(1+c.random.Int64N(4))*time.Second)
	c.move(time.Hour)
}

// fillDisk leaves no room on the ledger's disk for some seconds.
func (c *chaos) fillDisk(ctx context.Context) {
	free, err := c.fill()
	if err != nil {
		c.w.t.Error(err)
		return
	}
	wait(ctx, time.Duration(1+c.random.Int64N(4))*time.Second)
	if err := free(); err != nil {
		c.w.t.Error(err)
	}
}

func (c *chaos) move(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += by
	if err := c.w.step(c.offset); err != nil {
		c.w.t.Error(err)
	}
}

// wait waits, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
