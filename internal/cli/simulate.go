package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/simulate"
)

// simulation is what `tide simulate` is told.
type simulation struct {
	trace, column, since, law, svg string
	step                           int
	conditions                     simulate.Conditions
}

func (s *session) simulate() *cobra.Command {
	f := simulation{conditions: simulate.Conditions{HoldFor: 30 * time.Second, HoldLimit: 10_000}}
	command := &cobra.Command{
		Use: "simulate [PROCESS]", Short: "Compare laws of scaling on your own traffic", Args: cobra.MaximumNArgs(1),
		Long: `Compare laws of scaling on the history of a process (web, if none is named), or on
any trace: how many requests would have been late, and what it would have cost.
The laws but ours are written anew from what is published of them.`,
		Example: "  tide simulate --since 7d --cold-start 3s --slots 10\n  tide simulate --trace day.csv --service 200ms --law mine.yaml --svg day.svg",
		RunE: runs(func(ctx context.Context, args []string) error {
			trace, err := s.traceOf(ctx, &f, args)
			if err != nil {
				return err
			}
			return s.compare(ctx, f, trace)
		}),
	}
	flags, c := command.Flags(), &f.conditions
	flags.StringVar(&f.trace, "trace", "", "a CSV of times and requests, instead of the history")
	flags.StringVar(&f.column, "column", "", "the column of the trace; default: requests, rate_per_s, value or count, else the sum of all")
	flags.StringVar(&f.since, "since", "", "how much of the history, like 2h or 7d, at most 40d; default: 24h")
	flags.IntVar(&f.step, "step", -1, "second at which a rise begins: then lateness is that of the 300 s after it")
	flags.DurationVar(&c.ColdStart, "cold-start", 3*time.Second, "how long an instance takes to become ready, in the median")
	flags.DurationVar(&c.Service, "service", 0, "how long a request takes, in the mean; default: as the history says, else 200ms")
	flags.IntVar(&c.Slots, "slots", 10, "how many requests an instance serves at a time")
	flags.IntVar(&c.Min, "min", 1, "instances at least")
	flags.IntVar(&c.Max, "max", 500, "instances at most")
	flags.Uint64Var(&c.Seed, "seed", 1, "the same seed gives the same requests")
	flags.StringVar(&f.law, "law", "", "a file with a law of your own to compare with")
	flags.StringVar(&f.svg, "svg", "", "write a chart to this file")
	return command
}

// traceOf reads the trace, or makes one of the history.
func (s *session) traceOf(ctx context.Context, f *simulation, args []string) (simulate.Trace, error) {
	c := &f.conditions
	if f.trace != "" && (len(args) > 0 || f.since != "") {
		return simulate.Trace{}, springtide.Errorf(springtide.Invalid, "a trace and the history: only one can be played").
			WithHint("leave out --trace, or the process and --since")
	}
	if f.trace != "" {
		if c.Service == 0 {
			c.Service = 200 * time.Millisecond
		}
		trace, err := simulate.OpenTrace(f.trace, f.column, 1, 0, 0)
		trace.Step = f.step
		return trace, err
	}
	from, err := s.parseSince(cmp.Or(f.since, "24h"))
	if err != nil {
		return simulate.Trace{}, err
	}
	if s.now().Sub(from) > simulate.LongestTrace*time.Second {
		return simulate.Trace{}, springtide.Errorf(springtide.Invalid, "--since %s is more than can be simulated", f.since).WithHint("at most 40d")
	}
	api, id, err := s.target()
	if err != nil {
		return simulate.Trace{}, err
	}
	process := processOf(args)
	minutes, err := api.Minutes(ctx, id, process, from)
	if err != nil {
		return simulate.Trace{}, err
	}
	trace, err := simulate.FromMinutes(string(process), minutes)
	if err != nil {
		return trace, springtide.Errorf(springtide.NotFound, "nothing is known of %s of %s since then", process, id).
			WithHint("wait for some traffic, or give a --trace")
	}
	if c.Service == 0 {
		c.Service = meanService(minutes)
	}
	trace.Step = f.step
	return trace, nil
}

// meanService is how long requests took, within what can be simulated.
func meanService(minutes []springtide.Minute) time.Duration {
	sum, requests := 0.0, 0
	for _, m := range minutes {
		sum += m.Service.Seconds() * float64(m.Requests)
		requests += m.Requests
	}
	if sum == 0 {
		return 200 * time.Millisecond
	}
	mean := time.Duration(sum / float64(requests) * float64(time.Second))
	return min(max(mean, time.Millisecond), time.Minute).Round(100 * time.Microsecond)
}

// compare plays the trace to all laws and tells how each did.
func (s *session) compare(ctx context.Context, f simulation, trace simulate.Trace) error {
	c := f.conditions
	if err := c.Validate(); err != nil {
		return err
	}
	if f.step < -1 || f.step >= len(trace.Rates) {
		return springtide.Errorf(springtide.Invalid, "--step %d is not in the trace, which has %d seconds", f.step, len(trace.Rates)).
			WithHint("the first second is 0")
	}
	laws := simulate.Contenders()
	if f.law != "" {
		own, err := simulate.OpenTracking(f.law)
		if err != nil {
			return err
		}
		laws = append(laws[:1:1], append([]simulate.Contender{{Name: own.Name, Code: f.law, New: own.New}}, laws[1:]...)...)
	}
	s.tell("%s: %s, requests of %s, %d at a time, cold starts of %s", trace.Name, time.Duration(len(trace.Rates))*time.Second, c.Service, c.Slots, c.ColdStart)
	results, err := simulate.Compare(ctx, trace, c, laws)
	if err != nil {
		return err
	}
	if f.svg != "" {
		if err := writeSVG(f.svg, trace, c, results); err != nil {
			return err
		}
	}
	if s.json {
		return s.printJSON(map[string]any{
			"trace": trace.Name, "seconds": len(trace.Rates), "cold_start_seconds": c.ColdStart.Seconds(), "service_seconds": c.Service.Seconds(),
			"slots": c.Slots, "min": c.Min, "max": c.Max, "seed": c.Seed, "laws": results,
		})
	}
	return s.printResults(trace, results)
}

func (s *session) printResults(trace simulate.Trace, results []simulate.Result) error {
	rows := [][]string{strings.Split("LAW|CODE|LATE %|DROPPED|RECOVER|INSTANCE HOURS|OVER CLAIRVOYANT|PEAK|FLAPS/H|STARTS", "|")}
	for _, r := range results {
		rows = append(rows, []string{
			r.Name, r.Code, fmt.Sprintf("%.3f", r.Late), fmt.Sprint(r.Dropped), fmt.Sprintf("%.1f s", r.Recover), fmt.Sprintf("%.2f", r.InstanceHours),
			fmt.Sprintf("%.2f", r.Cost), fmt.Sprint(r.Peak), fmt.Sprintf("%.1f", r.Flaps), fmt.Sprint(r.Starts),
		})
	}
	if err := table(s.stdout, rows); err != nil {
		return err
	}
	if err := s.print("\n%-20s %s", "requests/s", barsOf(len(trace.Rates), func(second int) float64 { return trace.Rates[second] })); err != nil {
		return err
	}
	for _, r := range results {
		if err := s.print("%-20s %s", oneLine(r.Name), barsOf(len(r.Series), func(second int) float64 { return float64(r.Series[second].Ordered) })); err != nil {
			return err
		}
	}
	return nil
}

// barsOf draws n seconds, each bar the highest of its seconds, and says the highest
// of all.
func barsOf(n int, value func(second int) float64) string {
	each := max((n+historyWidth-1)/historyWidth, 1)
	bars, highest := make([]float64, (n+each-1)/each), 0.0
	for second := range n {
		bars[second/each] = max(bars[second/each], value(second))
		highest = max(highest, value(second))
	}
	return fmt.Sprintf("%s %.4g", sparkline(bars, len(bars)), highest)
}

// writeSVG draws ours, a law of one's own, and what others would have done.
func writeSVG(path string, trace simulate.Trace, c simulate.Conditions, results []simulate.Result) error {
	colours := []string{"#0a58ca", "#d9480f", "#2b8a3e", "#862e9c", "#a61e4d", "#5c940d", "#e67700", "#495057", "#999999"}
	var lines []simulate.Line
	for i, r := range results {
		lines = append(lines, simulate.Line{Name: r.Name, Colour: colours[min(i, len(colours)-1)], Series: r.Series})
	}
	file, err := os.Create(path)
	if err != nil {
		return springtide.Errorf(springtide.Invalid, "%w", err)
	}
	err = simulate.WriteChart(file, fmt.Sprintf("%s, cold start %s", trace.Name, c.ColdStart), trace, lines)
	if closing := file.Close(); err == nil {
		err = closing
	}
	return err
}
