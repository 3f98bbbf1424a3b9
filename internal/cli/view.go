package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// How much of everything the live view keeps.
const (
	viewDecisions = 5
	viewLogs      = 8
	viewRates     = 60
	viewInstances = 12
)

// view is what the live view shows. It is changed by what comes in and drawn
// whole.
type view struct {
	environment springtide.EnvironmentID
	figures     api.Figures
	rates       []float64 // requests per second, the newest last
	decisions   []springtide.Event
	logs        []springtide.LogLine
}

// observe takes in the figures of a second.
func (v *view) observe(figures api.Figures) {
	v.figures = figures
	v.rates = last(append(v.rates, figures.RequestsPerSecond), viewRates)
}

// happened takes in an event.
func (v *view) happened(event springtide.Event) {
	if event.Kind == "scale.decision" {
		v.decisions = last(append(v.decisions, event), viewDecisions)
	}
}

// wrote takes in a line of output.
func (v *view) wrote(line springtide.LogLine) {
	v.logs = last(append(v.logs, line), viewLogs)
}

func last[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }

// draw gives the lines of the view, none wider than width and at most height.
func (v *view) draw(now time.Time, width, height int, c colours) []string {
	f := v.figures
	lines := []string{
		c.bold(fit(fmt.Sprintf("%s  %s  %s", v.environment, version(f.Release), f.URL), width)),
		"",
		fit(fmt.Sprintf("%8.1f req/s  p50 %s  p99 %s  errors %.1f/s  held %d  busy %d  streams %d",
			f.RequestsPerSecond, latency(f.P50), latency(f.P99), f.ErrorsPerSecond, f.Held, f.Busy, f.Streams), width),
		fit("         "+sparkline(v.rates, viewRates), width),
		"",
	}
	lines = append(lines, v.drawInstances(now, width, c)...)
	if len(v.decisions) > 0 {
		lines = append(lines, "", c.dim("decisions"))
		for _, d := range v.decisions {
			lines = append(lines, fit("  "+d.Time.Local().Format(time.TimeOnly)+"  "+oneLine(d.Message), width))
		}
	}
	if len(v.logs) > 0 {
		lines = append(lines, "", c.dim("output"))
		for _, l := range v.logs {
			name := oneLine(string(l.Instance)) + " | "
			lines = append(lines, c.named(string(l.Instance), fit("  "+name, width))+fit(oneLine(l.Text), width-2-len(name)))
		}
	}
	lines = append(lines, "", c.dim(fit("Ctrl-C ends it", width)))
	return lines[:min(len(lines), max(1, height))]
}

func (v *view) drawInstances(now time.Time, width int, c colours) []string {
	instances := slices.Clone(v.figures.Instances)
	slices.SortStableFunc(instances, func(a, b springtide.Instance) int { return a.Ordered.Compare(b.Ordered) })
	if len(instances) == 0 {
		return []string{c.dim("  no instance runs; one starts with the first request")}
	}
	var lines []string
	for _, i := range instances[:min(len(instances), viewInstances)] {
		text := fit(fmt.Sprintf("  %-16s ", oneLine(string(i.ID))), width)
		state := string(i.State)
		padding := strings.Repeat(" ", max(0, 10-len(state)))
		rest := fit(fmt.Sprintf("%s %4s  %s", padding, age(now, i.Ordered), oneLine(i.Reason)), width-len(text)-len(state))
		lines = append(lines, strings.TrimRight(text+c.state(i.State)+rest, " "))
	}
	if more := len(instances) - viewInstances; more > 0 {
		lines = append(lines, fmt.Sprintf("  and %d more", more))
	}
	return lines
}

// fit cuts a text to a width in characters.
func fit(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	return string(runes[:width-1]) + "…"
}

// frame draws a view in place of the one before.
type frame struct {
	drawn int // lines that are on the screen
}

// replace gives what to write to the terminal.
func (f *frame) replace(lines []string) string {
	var text strings.Builder
	text.WriteString("\x1b[?25l") // no cursor while drawing
	if f.drawn > 0 {
		fmt.Fprintf(&text, "\x1b[%dA", f.drawn)
	}
	for _, line := range lines {
		text.WriteString("\r" + line + "\x1b[K\n")
	}
	text.WriteString("\x1b[J\x1b[?25h")
	f.drawn = len(lines)
	return text.String()
}
