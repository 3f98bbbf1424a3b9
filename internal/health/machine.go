package health

import (
	"fmt"
	"time"

	"github.com/springtide/springtide"
)

// State is what a row of probes amounts to.
//
//	Starting → Ready ⇄ Unhealthy
//	    └────→ TooLate
type State string

// The states.
const (
	Starting  State = "starting"  // has not been healthy yet
	Ready     State = "ready"     // is healthy
	Unhealthy State = "unhealthy" // was healthy, then failed often enough in a row
	TooLate   State = "too late"  // was not healthy within the start limit
)

// settle is how long something without a probe has to run before it counts as
// ready: what ends at once never was.
const settle = 250 * time.Millisecond

// Machine turns answers of probes into a state. It is a pure value: time comes
// in as an argument.
type Machine struct {
	health   springtide.Health
	started  time.Time
	state    State
	reason   string
	failures int
}

// NewMachine gives the machine for something started then; state is [Starting],
// or what it was when somebody else looked after it.
func NewMachine(health springtide.Health, started time.Time, state State) *Machine {
	return &Machine{health: withDefaults(health), started: started, state: state}
}

// State gives the state, and why it is not [Ready].
func (m *Machine) State() (State, string) { return m.state, m.reason }

// Observe takes in the answer of one probe, nil for healthy.
func (m *Machine) Observe(now time.Time, answer error) {
	if answer == nil {
		if m.state != TooLate && (probes(m.health) || now.Sub(m.started) >= settle) {
			m.state, m.reason, m.failures = Ready, "", 0
		}
		return
	}
	m.failures++
	switch m.state {
	case Starting:
		m.reason = answer.Error()
		if now.Sub(m.started) >= m.health.Start {
			m.state = TooLate
		}
	case Ready:
		if m.failures >= m.health.Failures {
			m.state = Unhealthy
			m.reason = fmt.Sprintf("%s (%d times in a row)", answer, m.failures)
		}
	case Unhealthy:
		m.reason = fmt.Sprintf("%s (%d times in a row)", answer, m.failures)
	case TooLate:
	}
}

// Wait says when to probe again. While something starts that is after a
// twentieth of the time it has taken so far, so that readiness is noticed at
// once and a slow start costs little.
func (m *Machine) Wait(now time.Time) time.Duration {
	elapsed := now.Sub(m.started)
	if !probes(m.health) {
		return max(settle-elapsed, 0)
	}
	if m.state != Starting {
		return m.health.Interval
	}
	shortest := 10 * time.Millisecond
	if m.health.Command != "" {
		shortest = 100 * time.Millisecond // A process each time.
	}
	wait := min(max(elapsed/20, shortest), 500*time.Millisecond)
	if left := m.health.Start - elapsed; left > 0 {
		wait = min(wait, left)
	}
	return wait
}

// probes reports whether there is anything to probe.
func probes(health springtide.Health) bool {
	return health.Path != "" || health.TCP || health.Command != ""
}

func withDefaults(health springtide.Health) springtide.Health {
	or := func(value *time.Duration, standard time.Duration) {
		if *value <= 0 {
			*value = standard
		}
	}
	or(&health.Interval, 5*time.Second)
	or(&health.Timeout, 2*time.Second)
	or(&health.Start, 60*time.Second)
	if health.Failures <= 0 {
		health.Failures = 3
	}
	return health
}
