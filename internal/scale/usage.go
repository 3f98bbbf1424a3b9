package scale

import (
	"time"

	"github.com/springtide/springtide"
)

// usageLost is for how long a measurement of the processors counts.
const usageLost = 10 * time.Second

// usageMeter is what instances had used when that was measured last.
type usageMeter struct {
	at   time.Time
	used map[springtide.InstanceID]processorTime
	// busy is the share of the machine's processors that instances used until then;
	// below 0: not known.
	busy float64
	// capacity is what instances may have altogether, in bytes; 0: not known.
	capacity int64
	held     map[springtide.GroupID]heldMemory
}

// processorTime is what an instance had used of the processors, and whether it got
// requests then.
type processorTime struct {
	used  time.Duration
	ready bool
}

// heldMemory is what so many instances have together, in bytes.
type heldMemory struct {
	bytes     int64
	instances int
}

// Use takes in what instances use of the machine. Only those count that get
// requests, and did when it was measured before: a start tells nothing of the load.
func (m *Meter) Use(now time.Time, usage springtide.Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	interval, before := now.Sub(m.used.at), m.used.used
	m.used = usageMeter{
		at: now, capacity: usage.Memory, used: make(map[springtide.InstanceID]processorTime, len(usage.Instances)),
		busy: -1, held: make(map[springtide.GroupID]heldMemory),
	}
	since, all := m.since(now), time.Duration(0)
	for rest := usage.Instances; len(rest) > 0; {
		id, n := rest[0].Group, 1
		for n < len(rest) && rest[n].Group == id {
			n++
		}
		held := heldMemory{instances: n}
		for _, one := range rest[:n] {
			held.bytes += one.Memory
		}
		m.used.held[id] = held
		if g := m.groups[id]; g != nil {
			used, total, known := m.use(g, rest[:n], before)
			all += total
			if known && interval > 0 && interval <= usageLost {
				g.seconds.spread(since, interval, Second{Cores: float32(used.Seconds())})
				g.measured = now
			}
		}
		rest = rest[n:]
	}
	if usage.CPUs > 0 && interval > 0 && interval <= usageLost {
		m.used.busy = all.Seconds() / interval.Seconds() / usage.CPUs
	}
}

// busyAt gives the share of the machine's processors that instances use; below 0:
// not known.
func (u *usageMeter) busyAt(now time.Time) float64 {
	if u.at.IsZero() || now.Sub(u.at) > usageLost {
		return -1
	}
	return u.busy
}

// use sums what the instances of a group used since they were measured before:
// those that get requests, and did then, which is known if there is any; and all.
func (m *Meter) use(g *groupMeter, measured []springtide.InstanceUsage, before map[springtide.InstanceID]processorTime) (used, all time.Duration, known bool) {
	ready := make(map[springtide.InstanceID]bool, len(g.instances))
	for i := range g.instances {
		ready[g.instances[i].ID] = g.instances[i].State == springtide.InstanceReady
	}
	for _, one := range measured {
		was, now := before[one.Instance], processorTime{one.CPU, ready[one.Instance]}
		m.used.used[one.Instance] = now
		since := one.CPU - was.used
		if since < 0 { // it was started anew
			since = one.CPU
		} else if was.ready && now.ready {
			used += since
			known = true
		}
		all += since
	}
	return used, all, known
}

// machine tells what instances may have altogether, in bytes (0: not known), and
// what those of each group have.
func (m *Meter) machine(now time.Time) (capacity int64, held map[springtide.GroupID]heldMemory) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.used.at) > usageLost {
		return 0, m.used.held
	}
	return m.used.capacity, m.used.held
}
