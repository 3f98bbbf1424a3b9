package cli

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/calendar"
	"github.com/springtide/springtide/internal/client"
)

func (s *session) events() *cobra.Command {
	list := s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
		announced, err := c.Announced(ctx, id)
		if err != nil {
			return err
		}
		return s.printAnnounced(id, announced)
	})
	command := &cobra.Command{
		Use: "events", Short: "Announce when more traffic is expected", Args: cobra.NoArgs, RunE: list,
		Long: `Announce when more traffic is expected: instances are ready when it begins, and
go again if nobody comes. What the manifest announces is listed too.`,
	}
	command.AddCommand(
		&cobra.Command{Use: "ls", Short: "List them, the next first", Args: cobra.NoArgs, RunE: list},
		s.addEvent(), s.importEvents(),
		&cobra.Command{
			Use: "rm NAME...", Short: "Take back what was announced, by name or ID", Args: cobra.MinimumNArgs(1),
			RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, names []string) error {
				announced, err := c.Announce(ctx, id, api.AnnouncementsChange{Remove: names})
				if err != nil {
					return err
				}
				return s.printAnnounced(id, announced)
			}),
		},
	)
	return command
}

// eventFlags are what `tide events add` is told.
type eventFlags struct {
	at, every, timezone, minimum string
	length                       time.Duration
}

func (s *session) addEvent() *cobra.Command {
	var f eventFlags
	command := &cobra.Command{
		Use: "add NAME", Short: "Announce more traffic", Args: cobra.ExactArgs(1),
		Example: "  tide events add 'Top 10' --at 2026-11-28T18:00 --timezone Europe/Warsaw --for 90m --min web=12\n" +
			"  tide events add news --at 2026-11-28T08:00Z --every weekday --min web=4",
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			occasion, err := f.occasion(args[0])
			if err != nil {
				return err
			}
			announced, err := c.Announce(ctx, id, api.AnnouncementsChange{Add: []springtide.Occasion{occasion}})
			if err != nil {
				return err
			}
			return s.printAnnounced(id, announced)
		}),
	}
	flags := command.Flags()
	flags.StringVar(&f.at, "at", "", "when it begins: 2026-11-28T18:00+01:00, or 2026-11-28T18:00 by the clock of --timezone")
	flags.DurationVar(&f.length, "for", time.Hour, "how long it goes on, at most 168h")
	flags.StringVar(&f.minimum, "min", "", "how many instances are ready by then, like web=12")
	flags.StringVar(&f.every, "every", "", "when it begins again: day, weekday, week, month, year, or a rule like FREQ=WEEKLY;BYDAY=MO,FR")
	flags.StringVar(&f.timezone, "timezone", "", "the zone by whose clock it begins, like Europe/Warsaw; default: UTC")
	return command
}

// occasion is what the flags say.
func (f eventFlags) occasion(name string) (springtide.Occasion, error) {
	o := springtide.Occasion{ID: name, Name: name}
	if f.at == "" || f.minimum == "" {
		return o, springtide.Errorf(springtide.Invalid, "an event begins at some time, and wants some instances").
			WithHint("for example --at 2026-11-28T18:00Z --min web=12")
	}
	zone, err := calendar.Zone(f.timezone)
	if err != nil {
		return o, err
	}
	if o.From, err = parseMoment(f.at, zone); err != nil {
		return o, err
	}
	o.Until = o.From.Add(f.length)
	if f.every != "" {
		if o.Repeat, err = calendar.Rule(f.every); err != nil {
			return o, err
		}
	}
	o.Timezone = f.timezone
	o.Min, err = calendar.Minimum(f.minimum)
	return o, err
}

// parseMoment reads a time with its offset, or one by the clock of a zone.
func parseMoment(text string, zone *time.Location) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04"} {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, springtide.Errorf(springtide.Invalid, "%q is no time", text).
		WithHint("write 2026-11-28T18:00+01:00, or 2026-11-28T18:00 and --timezone Europe/Warsaw")
}

func (s *session) importEvents() *cobra.Command {
	var minimum, timezone, match, name string
	command := &cobra.Command{
		Use: "import FILE.ics", Short: "Announce the entries of a calendar", Args: cobra.ExactArgs(1),
		Long: `Announce the entries of a calendar, as calendars export it (iCalendar, RFC 5545).
Importing a file of the same name again replaces what was imported before. An
entry may say itself how many it wants: X-SPRINGTIDE-MIN:web=12.`,
		Example: "  tide events import shows.ics --min web=12 --match 'Top 10'",
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			options := calendar.Options{Calendar: name, Match: match, Now: s.now()}
			if name == "" {
				options.Calendar = filepath.Base(args[0])
			}
			var err error
			if minimum != "" {
				if options.Min, err = calendar.Minimum(minimum); err != nil {
					return err
				}
			}
			if timezone != "" {
				if options.Zone, err = calendar.Zone(timezone); err != nil {
					return err
				}
			}
			file, err := os.Open(args[0])
			if err != nil {
				return springtide.Errorf(springtide.NotFound, "%w", err)
			}
			defer file.Close()
			occasions, skipped, err := calendar.Read(file, options)
			if err != nil {
				return err
			}
			announced, err := c.Announce(ctx, id, api.AnnouncementsChange{Calendar: options.Calendar, Add: occasions})
			if err != nil {
				return err
			}
			for _, one := range skipped {
				s.tell("skipped %s (line %d): %s", oneLine(one.Name), one.Line, one.Why)
			}
			s.tell("%d announced, %d skipped", len(occasions), len(skipped))
			return s.printAnnounced(id, announced)
		}),
	}
	flags := command.Flags()
	flags.StringVar(&minimum, "min", "", "how many instances each entry wants that does not say itself, like web=12")
	flags.StringVar(&timezone, "timezone", "", "the zone of times without one, such as whole days")
	flags.StringVar(&match, "match", "", "only entries whose name contains this")
	flags.StringVar(&name, "name", "", "what the calendar is called; default: the name of the file")
	return command
}

func (s *session) printAnnounced(id springtide.EnvironmentID, announced []api.Announced) error {
	empty := fmt.Sprintf("nothing is announced of %s; see `tide events add --help`", id)
	err := printList(s, announced, empty, "NEXT|FOR|EVENT|KEEPS|EVERY|FROM", func(a api.Announced) []string {
		next, from := "over", "tide events"
		if len(a.Next) > 0 {
			next = slotTime(a.Next[0].From, a.Timezone)
		}
		if a.Manifest {
			from = "manifest"
		} else if a.Calendar != "" {
			from = a.Calendar
		}
		return []string{next, a.Until.Sub(a.From).String(), a.Name, reservedText(a), dash(a.Repeat), from}
	})
	for _, a := range announced {
		for _, warning := range a.Warnings {
			s.tell("warning: %s: %s", oneLine(a.Name), warning)
		}
	}
	return err
}

// reservedText says what an event keeps ready, like "web=12 (3.0 GiB)".
func reservedText(a api.Announced) string {
	var parts []string
	memory := int64(0)
	for _, process := range slices.Sorted(maps.Keys(a.Min)) {
		n := a.Min[process]
		if reserved, known := a.Reserves[process]; known {
			n = reserved.Instances
			memory += reserved.Memory
		}
		parts = append(parts, string(process)+"="+strconv.Itoa(n))
	}
	text := strings.Join(parts, " ")
	if memory > 0 {
		text += " (" + size(memory) + ")"
	}
	return text
}
