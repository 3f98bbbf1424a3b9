package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
)

func (s *session) logs() *cobra.Command {
	var query springtide.LogQuery
	var since, process, instance string
	command := &cobra.Command{
		Use:   "logs",
		Short: "Show the output of all instances",
		Args:  cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) error {
			var err error
			if query.Since, err = parseSince(since, s.now()); err != nil {
				return err
			}
			if query.Tail < 0 {
				return springtide.Errorf(springtide.Invalid, "--tail %d: how many lines?", query.Tail).WithHint("0 shows all that is kept")
			}
			query.Process, query.Instance = springtide.ProcessName(process), springtide.InstanceID(instance)
			return s.showLogs(ctx, query)
		}),
	}
	flags := command.Flags()
	flags.BoolVarP(&query.Follow, "follow", "f", false, "go on with what comes")
	flags.StringVar(&since, "since", "", "only what was written since: 10m, 2h, or 2026-05-03T09:00:00Z")
	flags.IntVarP(&query.Tail, "tail", "n", 100, "begin with that many of the last lines; 0: all that is kept")
	flags.StringVarP(&process, "process", "p", "", "only of this process")
	flags.StringVarP(&instance, "instance", "i", "", "only of this instance")
	flags.StringVar(&query.Task, "run", "", "of a one-off command, by its ID")
	return command
}

// parseSince reads a time, or how long ago it was.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	return time.Time{}, springtide.Errorf(springtide.Invalid, "--since %q is neither a time nor a duration", text).
		WithHint("for example 10m, 2h, or %s", now.UTC().Format(time.RFC3339))
}

func (s *session) showLogs(ctx context.Context, query springtide.LogQuery) error {
	c, id, err := s.target()
	if err != nil {
		return err
	}
	query.Environment = id
	printer := logPrinter{session: s, width: len("worker-1-aaaaa")}
	for line, err := range c.Logs(ctx, query) {
		if err != nil {
			if query.Follow && ctx.Err() != nil {
				return nil // Ctrl-C is how following ends
			}
			return err
		}
		if err := printer.print(line); err != nil {
			return err
		}
	}
	return nil
}

// logPrinter writes lines of output behind the names of their instances.
type logPrinter struct {
	session *session
	width   int // of the longest name so far
}

func (p *logPrinter) print(line springtide.LogLine) error {
	s := p.session
	if s.json {
		return s.printJSONLine(line)
	}
	return s.print("%s %s", p.prefix(line), p.text(line))
}

func (p *logPrinter) prefix(line springtide.LogLine) string {
	p.width = max(p.width, len(line.Instance))
	return p.session.colours.named(string(line.Instance), fmt.Sprintf("%-*s |", p.width, oneLine(string(line.Instance))))
}

func (p *logPrinter) text(line springtide.LogLine) string {
	text := printable(line.Text)
	switch line.Stream {
	case "stderr":
		return p.session.colours.red(text)
	case "tide": // the platform's own words
		return p.session.colours.dim("* " + text)
	default:
		return text
	}
}
