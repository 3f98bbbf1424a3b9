package simulate

import (
	"errors"
	"math"
	"os"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/springtide/springtide"
)

// Tracking is a law that keeps a metric of one instance at a target, as most
// autoscalers do. Durations are written like 15s.
type Tracking struct {
	Name string `yaml:"name" json:"name"`
	// Metric is concurrency (requests held or being served) or requests (per second).
	Metric string `yaml:"metric" json:"metric"`
	// Target is what one instance is to have of it.
	Target float64 `yaml:"target" json:"target"`
	// Window is over which time the metric is a mean, Every how often it is looked at.
	Window time.Duration `yaml:"window" json:"window"`
	Every  time.Duration `yaml:"every" json:"every"`
	// Tolerance is by what share the metric may be off without anything being done.
	Tolerance float64 `yaml:"tolerance" json:"tolerance"`
	// Growth is how many times as many instances there may be after one look; 0: any.
	Growth float64 `yaml:"growth" json:"growth"`
	// Stable is over which time the most that was wanted is kept.
	Stable time.Duration `yaml:"stable" json:"stable"`
	// CooldownUp and CooldownDown are how long nothing is done after a change.
	CooldownUp   time.Duration `yaml:"cooldown_up" json:"cooldown_up"`
	CooldownDown time.Duration `yaml:"cooldown_down" json:"cooldown_down"`
}

// OpenTracking reads a law from a file of YAML.
func OpenTracking(path string) (Tracking, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Tracking{}, springtide.Errorf(springtide.NotFound, "%w", err)
	}
	t, err := ParseTracking(text)
	if err != nil {
		return t, springtide.Errorf(springtide.Invalid, "%s: %w", path, err).WithHint("see docs/simulate.md for the keys of a law")
	}
	if t.Name == "" {
		t.Name = path
	}
	return t, nil
}

// ParseTracking reads a law; what it leaves out has the defaults of Kubernetes'
// horizontal pod autoscaler.
func ParseTracking(text []byte) (Tracking, error) {
	t := Tracking{Metric: "concurrency", Window: 15 * time.Second, Every: 15 * time.Second, Tolerance: 0.1, Growth: 2, Stable: 5 * time.Minute}
	if err := yaml.UnmarshalWithOptions(text, &t, yaml.DisallowUnknownField()); err != nil {
		return t, errors.New(yaml.FormatError(err, false, false)) // its line, not all lines
	}
	switch {
	case t.Metric != "concurrency" && t.Metric != "requests":
		return t, springtide.Errorf(springtide.Invalid, "metric: %q is neither concurrency nor requests", t.Metric)
	case !(t.Target > 0) || t.Target > 1e9:
		return t, springtide.Errorf(springtide.Invalid, "target: %v; it is more than 0", t.Target)
	case t.Every < time.Second || t.Every > time.Hour || t.Window < time.Second || t.Window > time.Hour:
		return t, springtide.Errorf(springtide.Invalid, "every and window are 1s to 1h")
	case !(t.Tolerance >= 0) || t.Tolerance > 1 || !(t.Growth >= 0) || t.Growth > 0 && t.Growth < 1 || math.IsInf(t.Growth, 0):
		return t, springtide.Errorf(springtide.Invalid, "tolerance is 0 to 1, growth 0 or at least 1")
	case min(t.Stable, t.CooldownUp, t.CooldownDown) < 0 || max(t.Stable, t.CooldownUp, t.CooldownDown) > 24*time.Hour:
		return t, springtide.Errorf(springtide.Invalid, "stable and cooldowns are at most a day")
	}
	return t, nil
}

// tracking is such a law at work.
type tracking struct {
	Tracking
	window
	wanted  []wanted // within Stable
	changed time.Duration
}

type wanted struct {
	at time.Duration
	n  int
}

// New makes a subject of the law.
func (t Tracking) New(Trace, Conditions) Subject {
	return &tracking{Tracking: t, window: window{keep: t.Window}, changed: -24 * time.Hour}
}

// Period is how often it is asked.
func (t *tracking) Period() time.Duration { return t.Every }

// Decide gives how many there are to be.
func (t *tracking) Decide(s *Sight) int {
	t.add(s)
	value := t.inFlight()
	if t.Metric == "requests" {
		value = t.rate()
	}
	exact := value / t.Target
	n := int(math.Ceil(exact - 1e-9))
	if math.Abs(exact/float64(max(s.Replicas, 1))-1) <= t.Tolerance {
		n = s.Replicas
	}
	for len(t.wanted) > 0 && s.Now-t.wanted[0].at > t.Stable {
		t.wanted = t.wanted[1:]
	}
	t.wanted = append(t.wanted, wanted{s.Now, n})
	if n < s.Replicas {
		for _, before := range t.wanted {
			n = max(n, before.n)
		}
		n = min(n, s.Replicas)
	}
	if t.Growth > 0 {
		n = min(n, max(int(t.Growth*float64(s.Replicas)), s.Replicas+4))
	}
	if n > s.Replicas && s.Now-t.changed < t.CooldownUp || n < s.Replicas && s.Now-t.changed < t.CooldownDown {
		return s.Replicas
	}
	if n != s.Replicas {
		t.changed = s.Now
	}
	return n
}
