package cli

import (
	"context"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/client"
)

// historyKept is for how long minutes are kept.
const historyKept = 90 * 24 * time.Hour

func (s *session) history() *cobra.Command {
	var since string
	var asCSV bool
	command := &cobra.Command{
		Use: "history [PROCESS]", Short: "Show what was asked of a process, minute by minute", Args: cobra.MaximumNArgs(1),
		Long: `Show what was asked of a process (web, if none is named), and what it took. Each
minute is kept for 90 days.`,
		Example: "  tide history --since 7d\n  tide history --since 24h --csv > yesterday.csv",
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			from, err := s.parseSince(since)
			if err != nil {
				return err
			}
			process := processOf(args)
			minutes, err := c.Minutes(ctx, id, process, from)
			switch {
			case err != nil:
				return err
			case s.json:
				return s.printJSON(minutes)
			case asCSV:
				return s.writeMinutes(minutes)
			case len(minutes) == 0:
				s.tell("nothing is known of %s of %s since %s", process, id, from.Local().Format(time.DateTime))
				return nil
			}
			return s.drawMinutes(minutes)
		}),
	}
	command.Flags().StringVar(&since, "since", "24h", "how far back, like 2h or 7d, at most 90d")
	command.Flags().BoolVar(&asCSV, "csv", false, "write a line for each minute, as `tide simulate --trace` reads them")
	return command
}

func processOf(args []string) springtide.ProcessName {
	if len(args) > 0 {
		return springtide.ProcessName(args[0])
	}
	return springtide.Web
}

// parseSince reads how long ago something was: "2h", "7d".
func (s *session) parseSince(text string) (time.Time, error) {
	ago, err := time.ParseDuration(text)
	if number, found := strings.CutSuffix(text, "d"); found {
		var days int
		days, err = strconv.Atoi(number)
		ago = time.Duration(min(max(days, 0), 1000)) * 24 * time.Hour
	}
	if err != nil || ago <= 0 || ago > historyKept {
		return time.Time{}, springtide.Errorf(springtide.Invalid, "--since %q is not how far back", text).WithHint("for example 2h or 7d, at most 90d")
	}
	return s.now().Add(-ago), nil
}

func (s *session) writeMinutes(minutes []springtide.Minute) error {
	out := csv.NewWriter(s.stdout)
	rows := [][]string{{"minute", "requests", "failed", "concurrency", "peak", "held", "service_ms", "p95_ms", "need", "instances", "cpu_seconds", "memory_bytes"}}
	number := func(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
	milliseconds := func(d time.Duration) string { return number(float64(d.Microseconds()) / 1000) }
	for _, m := range whole(minutes) {
		rows = append(rows, []string{
			m.Time.UTC().Format("2006-01-02T15:04"), strconv.Itoa(m.Requests), strconv.Itoa(m.Failed), number(m.Concurrency), strconv.Itoa(m.Peak), strconv.Itoa(m.Held),
			milliseconds(m.Service), milliseconds(m.P95), number(m.Need), strconv.Itoa(m.Instances), number(m.CPU.Seconds()), strconv.FormatInt(m.Memory, 10),
		})
	}
	return out.WriteAll(rows)
}

// whole has the minutes too of which nothing is known: nobody asked for anything.
func whole(minutes []springtide.Minute) (all []springtide.Minute) {
	for _, m := range minutes {
		for n := len(all); n > 0 && m.Time.Sub(all[n-1].Time) > time.Minute; n++ {
			all = append(all, springtide.Minute{Time: all[n-1].Time.Add(time.Minute)})
		}
		all = append(all, m)
	}
	return all
}

// historyWidth is how many bars a chart has at most.
const historyWidth = 72

// drawMinutes draws a chart of each figure, with its highest value.
func (s *session) drawMinutes(minutes []springtide.Minute) error {
	first, last := minutes[0].Time, minutes[len(minutes)-1].Time
	each := max((int(last.Sub(first)/time.Minute)+historyWidth)/historyWidth, 1)
	width := int(last.Sub(first)/time.Minute)/each + 1
	requests, most, cpu := 0, 0, time.Duration(0)
	for _, m := range minutes {
		requests, most, cpu = requests+m.Requests, max(most, m.Requests), cpu+m.CPU
	}
	if err := s.print("%s to %s, a bar is %s at its highest", first.Local().Format("2006-01-02 15:04"), last.Local().Format("2006-01-02 15:04"),
		plural(each, "minute")); err != nil {
		return err
	}
	for _, line := range []struct {
		name  string
		value func(springtide.Minute) float64
		text  func(float64) string
	}{
		{"requests/s", func(m springtide.Minute) float64 { return float64(m.Requests) / 60 }, func(x float64) string { return fmt.Sprintf("%.4g", x) }},
		{"at a time", func(m springtide.Minute) float64 { return float64(m.Peak) }, func(x float64) string { return fmt.Sprintf("%.0f", x) }},
		{"held", func(m springtide.Minute) float64 { return float64(m.Held) }, func(x float64) string { return fmt.Sprintf("%.0f", x) }},
		{"p95", func(m springtide.Minute) float64 { return float64(m.P95) }, func(x float64) string { return latency(time.Duration(x)) }},
		{"failed", func(m springtide.Minute) float64 { return float64(m.Failed) }, func(x float64) string { return fmt.Sprintf("%.0f", x) }},
		{"instances", func(m springtide.Minute) float64 { return float64(m.Instances) }, func(x float64) string { return fmt.Sprintf("%.0f", x) }},
		{"cores", func(m springtide.Minute) float64 { return m.CPU.Minutes() }, func(x float64) string { return fmt.Sprintf("%.3g", x) }},
		{"memory of one", func(m springtide.Minute) float64 { return float64(m.Memory) }, func(x float64) string { return size(int64(x)) }},
	} {
		bars, highest := make([]float64, width), 0.0
		for _, m := range minutes {
			i := int(m.Time.Sub(first)/time.Minute) / each
			bars[i] = max(bars[i], line.value(m))
			highest = max(highest, bars[i])
		}
		if err := s.print("%-14s %s %s", line.name, sparkline(bars, width), line.text(highest)); err != nil {
			return err
		}
	}
	return s.print("%d requests, at most %d in a minute; %s of processors", requests, most, cpu.Round(time.Second))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
