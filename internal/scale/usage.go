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
	used map[springtide.InstanceID]time.Duration
	// idle is for how long the machine's processors had done nothing until then, and
	// busy the share of them that was in use of late; below 0: not known.
	idle time.Duration
	busy float64
	// capacity is what instances may have altogether, in bytes; 0: not known.
	capacity int64
	held     map[springtide.GroupID]heldMemory
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
	interval, before, busy := now.Sub(m.used.at), m.used.used, -1.0
	if m.used.idle > 0 && usage.Idle >= m.used.idle && usage.CPUs > 0 && interval > 0 && interval <= usageLost {
		busy = max(1-(usage.Idle-m.used.idle).Seconds()/interval.Seconds()/usage.CPUs, 0)
	}
	m.used = usageMeter{
		idle: usage.Idle, busy: busy,
		at: now, capacity: usage.Memory, used: make(map[springtide.InstanceID]time.Duration, len(usage.Instances)),
		held: make(map[springtide.GroupID]heldMemory),
	}
	since := m.since(now)
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
			if used, known := m.use(g, rest[:n], before); known && interval > 0 && interval <= usageLost {
				g.seconds.spread(since, interval, Second{Cores: float32(used.Seconds())})
				g.measured = now
			}
		}
		rest = rest[n:]
	}
}

// busyAt gives the share of the machine's processors that is in use; below 0: not known.
func (u *usageMeter) busyAt(now time.Time) float64 {
	if u.at.IsZero() || now.Sub(u.at) > usageLost {
		return -1
	}
	return u.busy
}

// use sums what the instances of a group used since they were measured before.
func (m *Meter) use(g *groupMeter, all []springtide.InstanceUsage, before map[springtide.InstanceID]time.Duration) (used time.Duration, known bool) {
	ready := make(map[springtide.InstanceID]bool, len(g.instances))
	for i := range g.instances {
		ready[g.instances[i].ID] = g.instances[i].State == springtide.InstanceReady
	}
	for _, one := range all {
		if !ready[one.Instance] {
			continue
		}
		m.used.used[one.Instance] = one.CPU
		if was, measured := before[one.Instance]; measured && one.CPU >= was {
			used += one.CPU - was
			known = true
		}
	}
	return used, known
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
