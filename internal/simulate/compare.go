package simulate

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// Contender is a law that can be played to.
type Contender struct {
	Name string
	// Code says whose code decides: the product's, written anew, or plain.
	Code string
	New  func(Trace, Conditions) Subject
}

// Contenders are all laws that are in this package, the product's first.
func Contenders() []Contender {
	hpa := Tracking{Metric: "concurrency", Window: 15 * time.Second, Every: 15 * time.Second, Tolerance: 0.1, Growth: 2, Stable: 5 * time.Minute}
	return []Contender{
		{"springtide", "the product's", func(t Trace, c Conditions) Subject { return NewLaw(t, c) }},
		{"Kubernetes HPA", "written anew", func(t Trace, c Conditions) Subject {
			hpa.Target = targetShare * float64(c.Slots)
			return hpa.New(t, c)
		}},
		{"KEDA-http", "written anew", NewKEDA},
		{"Nomad", "written anew", NewNomad},
		{"AWS target tracking", "written anew", NewAWS},
		{"Heroku", "written anew", NewHeroku},
		{"fixed peak", "plain", NewFixedPeak},
		{"clairvoyant", "plain", NewClairvoyant},
	}
}

// Result is how a contender did.
type Result struct {
	Name string `json:"law"`
	Code string `json:"code"`
	Figures
	// InstanceHours is what it cost.
	InstanceHours float64 `json:"instance_hours"`
	Peak          int     `json:"peak_instances"`
	Series        []Point `json:"-"`
}

// Compare plays a trace to all contenders, as many at once as there are
// processors. The same seed gives the same results.
func Compare(ctx context.Context, t Trace, c Conditions, all []Contender) ([]Result, error) {
	base := Run(t, c, NewClairvoyant(t, c))
	results := make([]Result, len(all))
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	var group sync.WaitGroup
	for i, contender := range all {
		group.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			if ctx.Err() != nil {
				return
			}
			o := Run(t, c, contender.New(t, c))
			results[i] = Result{contender.Name, contender.Code, o.Figures(t, base), o.InstanceSeconds / 3600, o.Peak, o.Series}
		})
	}
	group.Wait()
	return results, ctx.Err()
}

// Validate says what cannot be simulated.
func (c Conditions) Validate() error {
	switch {
	case c.Service < time.Millisecond || c.Service > time.Minute:
		return springtide.Errorf(springtide.Invalid, "a service time of %s; 1ms to 1m can be simulated", c.Service)
	case c.ColdStart < time.Millisecond || c.ColdStart > time.Hour:
		return springtide.Errorf(springtide.Invalid, "a cold start of %s; 1ms to 1h can be simulated", c.ColdStart)
	case c.Slots < 1 || c.Slots > 10_000:
		return springtide.Errorf(springtide.Invalid, "%d slots; 1 to 10000 can be simulated", c.Slots)
	case c.Min < 0 || c.Max < max(c.Min, 1) || c.Max > 10_000:
		return springtide.Errorf(springtide.Invalid, "%d to %d instances; the range is 0 to 10000, and the most is one at least", c.Min, c.Max)
	}
	return nil
}

// FromMinutes makes a trace of what was asked of a process; minutes of which
// nothing is known had no requests.
func FromMinutes(name string, minutes []springtide.Minute) (Trace, error) {
	if len(minutes) == 0 {
		return Trace{}, errors.New("there are no minutes")
	}
	first, last := minutes[0].Time, minutes[len(minutes)-1].Time
	values := make([]float64, min(int(last.Sub(first)/time.Minute)+1, LongestTrace/60))
	for _, minute := range minutes {
		if i := int(minute.Time.Sub(first) / time.Minute); i >= 0 && i < len(values) {
			values[i] = float64(minute.Requests)
		}
	}
	rates, err := perSecondRates(values, 60, false)
	return Trace{Name: name, Rates: rates, Step: -1, Clump: 1}, err
}
