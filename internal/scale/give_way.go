package scale

import "fmt"

// want is how many instances there would be if the machine were the group's own.
// Of what nothing is known, or not for long enough, none is given up.
func (c *decider) want(need int) int {
	if c.spec.Requests || c.spec.Worker != nil {
		need = max(need, min(c.from, 1))
		if c.o.Edges == 0 || c.now.Sub(c.h.Since) < c.windows.stable {
			need = max(need, c.from)
		}
	} else {
		need = c.from
	}
	return min(max(need, c.lowest), c.highest)
}

// grant makes the highest number what the machine has for the group, but no less
// than its minimum.
func (c *decider) grant() {
	lowest, most := c.spec.limits()
	c.most = most
	if n := max(c.o.Granted, lowest); c.o.Shared != "" && n < c.highest {
		c.highest, c.limited = n, true
		c.lowest = min(c.lowest, n)
	}
}

// granted is what the machine has for the group; 0: as much as it likes.
func (c *decider) granted() float64 {
	if c.limited {
		return float64(c.highest)
	}
	return 0
}

// giveWay lets instances go that others have a right to: a tenth at a time, one at
// least, as in any scale-in. They finish what they have.
func (c *decider) giveWay(need int) (Reason, int, string) {
	if c.now.Sub(c.h.LastIn) < c.windows.step {
		return ReasonCapacity, c.from, c.stay("capacity: %s; the next goes %s after the last", c.o.Shared, spell(c.windows.step))
	}
	c.step = max(c.from/10, 1)
	to := max(c.highest, c.from-c.step)
	limit := ""
	if to > c.highest {
		limit = fmt.Sprintf("; at most %d fewer every %s", c.step, spell(c.windows.step))
	}
	return ReasonCapacity, to, c.change(to, "capacity: %s%s; needs %d", c.o.Shared, limit, need)
}
