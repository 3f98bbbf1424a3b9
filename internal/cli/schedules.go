package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/client"
	"github.com/springtide/springtide/internal/jobs"
)

func (s *session) schedules() *cobra.Command {
	list := s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
		schedules, err := c.Schedules(ctx, id)
		if err != nil {
			return err
		}
		return printList(s, schedules, fmt.Sprintf("%s has no schedules; they are in the manifest", id), "SCHEDULE|WHEN|STATE|NEXT|LAST|RUN|RESULT", func(v jobs.ScheduleStatus) []string {
			state := "on"
			if v.Paused {
				state = "paused"
			}
			when := v.Schedule.Cron
			if v.Schedule.Timezone != "" {
				when += " " + v.Schedule.Timezone
			}
			return []string{
				string(v.Name), when, state, slotTime(v.Next, v.Schedule.Timezone), slotTime(v.Last, v.Schedule.Timezone),
				dash(string(v.LastRun)), dash(string(v.LastState)),
			}
		})
	})
	command := &cobra.Command{Use: "schedules", Short: "Show what is done at certain times", Args: cobra.NoArgs, RunE: list}
	command.AddCommand(
		&cobra.Command{Use: "ls", Short: "List the schedules", Args: cobra.NoArgs, RunE: list},
		s.trigger(),
		s.onSchedule("pause NAME", "Have the slots of a schedule recorded as skipped", true),
		s.onSchedule("resume NAME", "End what pause began", false),
	)
	return command
}

// slotTime says a time as the clocks of a zone do, where the zone is known here.
func slotTime(t time.Time, zone string) string {
	if t.IsZero() {
		return "-"
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		location = time.UTC
	}
	return t.In(location).Format("2006-01-02 15:04:05 MST")
}

func (s *session) trigger() *cobra.Command {
	var wait bool
	command := &cobra.Command{
		Use: "trigger NAME", Short: "Make a run now, besides the slots", Args: cobra.ExactArgs(1),
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			made, err := c.TriggerSchedule(ctx, id, springtide.ScheduleName(args[0]))
			switch {
			case err != nil:
				return err
			case wait:
				return s.waitForJob(ctx, c, id, made.Run)
			case s.json:
				return s.printJSON(made)
			}
			return s.print("%s", made.Run)
		}),
	}
	command.Flags().BoolVar(&wait, "wait", false, "show its output and wait for its end")
	return command
}

func (s *session) onSchedule(use, short string, paused bool) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			if err := c.PauseSchedule(ctx, id, springtide.ScheduleName(args[0]), paused); err != nil {
				return err
			}
			return s.printPaused("schedule", args[0], paused)
		}),
	}
}

func (s *session) coming() *cobra.Command {
	var count int
	command := &cobra.Command{
		Use: "next", Short: "Show the coming slots of all schedules", Args: cobra.NoArgs,
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
			coming, err := c.Coming(ctx, id, count)
			if err != nil {
				return err
			}
			return printList(s, coming, fmt.Sprintf("no schedule of %s has a slot to come", id), "SLOT|IN|SCHEDULE", func(v jobs.Coming) []string {
				return []string{slotTime(v.Slot, v.Zone), age(v.Slot, s.now()), string(v.Schedule)}
			})
		}),
	}
	command.Flags().IntVarP(&count, "count", "n", 10, "how many, at most 1000")
	return command
}
