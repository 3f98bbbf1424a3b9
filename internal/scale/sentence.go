package scale

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// change begins the sentence of a decision that changes something.
func (c *decider) change(to int, format string, args ...any) string {
	return fmt.Sprintf("%d to %d: ", c.from, to) + fmt.Sprintf(format, args...) + c.note(to)
}

// stay is the sentence of a decision that changes nothing.
func (c *decider) stay(format string, args ...any) string {
	return fmt.Sprintf("stays at %d: ", c.from) + fmt.Sprintf(format, args...) + c.note(c.from)
}

// note adds what a reader should know besides.
func (c *decider) note(to int) string {
	switch {
	case to > c.from && c.o.Capacity != "":
		return "; capacity: " + c.o.Capacity
	case to > 0 && c.fleet.failed > 0 && c.fleet.ready > 0:
		return "; " + c.notReady()
	}
	return ""
}

func (c *decider) notReady() string {
	f := c.fleet
	return fmt.Sprintf("not ready in time: %d of %d", f.failed, f.ready+f.coming+f.failed)
}

// explain spells out the demand; its numbers recompute to the need. Where there
// are several targets it says which of them needs most, and what the others need.
func (d demand) explain() string {
	if len(d.aims) == 0 {
		return d.explainSlots() + spareWords(d.spare)
	}
	var b strings.Builder
	if d.won > 0 {
		b.WriteString("by " + d.aims[d.won-1].name + ": " + d.aims[d.won-1].words)
	} else {
		b.WriteString("by concurrency: " + d.explainSlots())
	}
	b.WriteString(spareWords(d.spare))
	if d.won > 0 {
		fmt.Fprintf(&b, "; by concurrency %d", d.own)
	}
	for i, a := range d.aims {
		if i != d.won-1 && a.words != "" {
			fmt.Fprintf(&b, "; by %s %d", a.name, a.need)
		}
		if a.note != "" {
			b.WriteString("; " + a.note)
		}
	}
	return b.String()
}

func spareWords(spare int) string {
	if spare == 0 {
		return ""
	}
	return fmt.Sprintf(", %d spare", spare)
}

// explainSlots spells out what the concurrency needs.
func (d demand) explainSlots() string {
	var b strings.Builder
	switch {
	case d.slots <= 0:
		fmt.Fprintf(&b, "%d held", d.held)
		return b.String()
	case !d.known:
		fmt.Fprintf(&b, "%d being served and %d held, none answered yet", d.serving, d.held)
	default:
		fmt.Fprintf(&b, "%s req/s", number(d.rate))
		if d.expected > 0 {
			fmt.Fprintf(&b, ", %s expected in %s (a cold start),", number(d.expected), spell(d.ahead))
		}
		fmt.Fprintf(&b, " x %s = %s busy slots, %d held", spell(d.service), number(d.busy), d.held)
		if d.later != d.held {
			fmt.Fprintf(&b, ", %d in %s", d.later, spell(d.ahead))
		}
		if d.later > 0 {
			fmt.Fprintf(&b, " x %s / 2 s = %s more or, if that is more", spell(d.service), number(d.heldNeed))
		}
		b.WriteString(", ")
		fmt.Fprintf(&b, "%s slots of head-room", number(d.headroom))
		if d.enough {
			b.WriteString(" (half of it is enough)")
		} else if instances(d.wanted(), float64(d.slots)) < d.own {
			fmt.Fprintf(&b, ", but %d being served", d.serving)
		}
	}
	fmt.Fprintf(&b, ", %d slots each", d.slots)
	return b.String()
}

// inputs names the numbers of the decision.
func (c *decider) inputs() map[string]float64 {
	d := c.demand
	inputs := map[string]float64{
		"rate":               d.rate,
		"need_slots":         d.lasting,
		"floor":              float64(c.floor),
		"forecast_slots":     c.h.Forecast.Slots,
		"forecast_error":     c.h.Forecast.Error,
		"reversals":          float64(c.h.Reversals),
		"expected_rate":      d.expected,
		"held_later":         float64(d.later),
		"service_seconds":    d.service.Seconds(),
		"busy_slots":         d.busy,
		"held":               float64(d.held),
		"held_slots":         d.heldNeed,
		"headroom_slots":     d.headroom,
		"being_served":       float64(d.serving),
		"streams":            float64(c.o.Streams),
		"slots_each":         float64(d.slots),
		"noise":              d.noise,
		"need":               float64(d.need),
		"stable_need":        c.stable,
		"step":               float64(c.step),
		"minimum":            float64(c.lowest),
		"maximum":            float64(c.highest),
		"granted":            c.granted(),
		"ready":              float64(c.fleet.ready),
		"coming":             float64(c.fleet.coming),
		"failed":             float64(c.fleet.failed),
		"mature":             float64(c.fleet.mature),
		"edges":              float64(c.o.Edges),
		"cold_start_seconds": c.h.ColdStart.Seconds(),
		"spare":              float64(d.spare),
		"need_concurrency":   float64(d.own),
	}
	for _, a := range d.aims {
		inputs["need_"+a.name] = float64(a.need)
		inputs[a.name+"_wanted"], inputs[a.name+"_each"] = a.wanted, a.each
	}
	return inputs
}

// number writes a number without needless zeros.
func number(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// spell writes a duration: "200 ms", "1.25 s", "5m0s" from a minute on.
func spell(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.String()
	case d >= time.Second:
		return number(math.Round(d.Seconds()*1e3)/1e3) + " s"
	case d >= time.Millisecond:
		return number(math.Round(float64(d)/1e3)/1e3) + " ms"
	}
	return number(float64(d)/1e3) + " us"
}
