package http2

import "sync"

// crewLimit is how many goroutines wait for work.
const crewLimit = 256

// Crew has work done in goroutines that do one thing after the other: a new one
// for each would have to grow its stack each time. The zero value is ready.
type Crew struct {
	mu     sync.Mutex
	idle   []chan func() // of those that wait, the one that worked last at the end
	closed bool
}

// Go has work done at once.
func (c *Crew) Go(work func()) {
	c.mu.Lock()
	last := len(c.idle) - 1
	if last < 0 {
		c.mu.Unlock()
		go c.serve(work)
		return
	}
	next := c.idle[last]
	c.idle = c.idle[:last]
	c.mu.Unlock()
	next <- work
}

func (c *Crew) serve(work func()) {
	mine := make(chan func(), 1)
	for ; work != nil; work = <-mine {
		work()
		c.mu.Lock()
		if c.closed || len(c.idle) == crewLimit {
			c.mu.Unlock()
			return
		}
		c.idle = append(c.idle, mine)
		c.mu.Unlock()
	}
}

// Rest lets one go that has waited for longest. It is called once per tick.
func (c *Crew) Rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) > 0 {
		c.idle[0] <- nil
		c.idle = append(c.idle[:0], c.idle[1:]...)
	}
}

// Close lets all go that wait; those that work end when they have done.
func (c *Crew) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, waiting := range c.idle {
		waiting <- nil
	}
	c.idle = nil
}
