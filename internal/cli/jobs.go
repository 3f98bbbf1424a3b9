package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/client"
	"github.com/springtide/springtide/internal/jobs"
)

func (s *session) jobs() *cobra.Command {
	command := s.listJobs("jobs", "Hand over work, and see what became of it")
	command.AddCommand(
		s.listJobs("ls", "List runs, the newest first"),
		s.enqueue(), s.showJob(), s.jobLogs(),
		s.onJob("cancel RUN", "Cancel a run: at once, or its runner is asked", (*client.Client).CancelJob),
		s.onJob("retry RUN", "Try a run again that is dead, cancelled or waiting", (*client.Client).RetryJob),
		s.replayJobs(), s.queues(),
		s.onQueue("pause QUEUE", "Start no more runs of a queue", true),
		s.onQueue("resume QUEUE", "End what pause began", false),
		s.coming(), s.importCrontab(),
	)
	return command
}

// at makes the function of a command that is about one environment.
func (s *session) at(run func(context.Context, *client.Client, springtide.EnvironmentID, []string) error) func(*cobra.Command, []string) error {
	return runs(func(ctx context.Context, args []string) error {
		c, id, err := s.target()
		if err != nil {
			return err
		}
		return run(ctx, c, id, args)
	})
}

func (s *session) listJobs(use, short string) *cobra.Command {
	var query jobs.Query
	var queue, schedule, before string
	var states []string
	command := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
			query.Environment, query.Queue, query.Schedule = id, springtide.QueueName(queue), springtide.ScheduleName(schedule)
			query.Before = springtide.RunID(before)
			for _, state := range states {
				query.States = append(query.States, springtide.RunState(state))
			}
			all, err := c.Jobs(ctx, query)
			if err != nil {
				return err
			}
			return printList(s, all, "no run is remembered; `tide jobs enqueue` makes one", "RUN|QUEUE|STATE|AGE|ATTEMPT|WHAT|REASON", func(r springtide.Run) []string {
				return []string{
					string(r.ID), string(r.Queue), runState(r), age(s.now(), r.Created), fmt.Sprintf("%d/%d", r.Attempt, r.Attempts), what(r), r.Reason,
				}
			})
		}),
	}
	flags := command.Flags()
	flags.StringVar(&queue, "queue", "", "only of this queue")
	flags.StringSliceVar(&states, "state", nil, "only in these states: scheduled, waiting, available, claimed, running, succeeded, dead, cancelled, skipped, missed")
	flags.StringVar(&schedule, "schedule", "", "only of this schedule")
	flags.StringVar(&query.Batch, "batch", "", "only of this batch")
	flags.IntVarP(&query.Most, "limit", "n", 100, "how many at most, up to 1000")
	flags.StringVar(&before, "before", "", "go on behind this run, the last of the listing before")
	return command
}

// what says in a few words what a run does.
func what(r springtide.Run) string {
	text := r.Command
	switch {
	case r.Kind != springtide.RunCommand:
		text = string(r.Kind)
	case text == "":
		text = "the worker's command"
	}
	if r.Schedule != "" {
		text = string(r.Schedule) + ": " + text
	}
	if letters := []rune(text); len(letters) > 50 {
		text = string(letters[:49]) + "…"
	}
	return text
}

func runState(r springtide.Run) string {
	text := string(r.State)
	switch {
	case r.Cancelling && !r.State.Over():
		text = "cancelling"
	case r.State == springtide.RunRunning && r.Progress.Percent > 0:
		text += fmt.Sprintf(" %.0f%%", r.Progress.Percent)
	}
	if r.Late {
		text += ", late"
	}
	return text
}

func (s *session) showJob() *cobra.Command {
	return &cobra.Command{
		Use: "show RUN", Short: "Tell all that is known of a run", Args: cobra.ExactArgs(1),
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			run, err := c.Job(ctx, id, springtide.RunID(args[0]))
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(run)
			}
			return s.printJob(run)
		}),
	}
}

func (s *session) printJob(r springtide.Run) error {
	when := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2006-01-02 15:04:05Z")
	}
	rows := [][]string{
		{"run", string(r.ID)},
		{"queue", string(r.Queue)},
		{"state", runState(r)},
		{"reason", r.Reason},
		{"kind", string(r.Kind)},
		{"command", r.Command},
		{"payload", string(r.Payload)},
		{"key", r.Key},
		{"schedule", string(r.Schedule)},
		{"slot", when(r.Slot)},
		{"batch", r.Batch},
		{"attempt", fmt.Sprintf("%d; %d of at most %d failed", r.Attempt, r.Failures, r.Attempts)},
		{"runner", r.Runner},
		{"fence", fmt.Sprint(r.Fence)},
		{"release", version(r.Release)},
		{"created", when(r.Created)},
		{"due", when(r.RunAt)},
		{"started", when(r.Started)},
		{"finished", when(r.Finished)},
		{"progress", r.Progress.Message},
		{"result", string(r.Result)},
	}
	rows = slices.DeleteFunc(rows, func(row []string) bool { return row[1] == "" })
	if err := table(s.stdout, rows); err != nil || r.Output == "" {
		return err
	}
	return s.print("\n%s", printableLines(r.Output))
}

func (s *session) jobLogs() *cobra.Command {
	var follow bool
	command := &cobra.Command{
		Use: "logs RUN", Short: "Show what a run wrote", Args: cobra.ExactArgs(1),
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			run := springtide.RunID(args[0])
			if follow {
				_, err := c.FollowJob(ctx, id, run, s.jobOutput())
				if ctx.Err() != nil {
					return nil // Ctrl-C is how following ends
				}
				return err
			}
			output, err := c.JobOutput(ctx, id, run, false)
			if err != nil {
				return err
			}
			defer output.Close()
			_, err = io.Copy(s.jobOutput(), output)
			return err
		}),
	}
	command.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes until the run is over")
	return command
}

// jobOutput takes the output of a run: as it is, or with --json as an object for
// each piece that arrives.
func (s *session) jobOutput() io.Writer {
	if s.json {
		return jsonPieces{json.NewEncoder(s.stdout)}
	}
	return s.stdout
}

type jsonPieces struct{ encoder *json.Encoder }

// Write writes one object.
func (p jsonPieces) Write(b []byte) (int, error) {
	return len(b), p.encoder.Encode(map[string]string{"text": string(b)})
}

func (s *session) onJob(use, short string, do func(*client.Client, context.Context, springtide.EnvironmentID, springtide.RunID) (springtide.Run, error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			run, err := do(c, ctx, id, springtide.RunID(args[0]))
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(run)
			}
			return s.print("%s is %s", run.ID, runState(run))
		}),
	}
}

func (s *session) replayJobs() *cobra.Command {
	var queue string
	command := &cobra.Command{
		Use: "replay", Short: "Try all dead runs again", Args: cobra.NoArgs,
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
			replayed, err := c.ReplayJobs(ctx, id, springtide.QueueName(queue))
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(replayed)
			}
			return s.print("dead runs that are tried again: %d", replayed.Runs)
		}),
	}
	command.Flags().StringVar(&queue, "queue", "", "only those of this queue")
	return command
}

func (s *session) queues() *cobra.Command {
	return &cobra.Command{
		Use: "queues", Short: "Show how the queues stand", Args: cobra.NoArgs,
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
			queues, err := c.Queues(ctx, id)
			if err != nil {
				return err
			}
			return printList(s, queues, fmt.Sprintf("%s has no queue yet", id), "QUEUE|STATE|AVAILABLE|OLDEST|UNDER WAY|LATER|DEAD", func(q jobs.QueueStatus) []string {
				state := "open"
				if q.Paused {
					state = "paused"
				}
				return []string{
					string(q.Name), state, fmt.Sprint(q.States[springtide.RunAvailable]), s.lasting(q.Oldest),
					fmt.Sprint(q.States[springtide.RunClaimed] + q.States[springtide.RunRunning]),
					fmt.Sprint(q.States[springtide.RunScheduled] + q.States[springtide.RunWaiting]), fmt.Sprint(q.States[springtide.RunDead]),
				}
			})
		}),
	}
}

func (s *session) onQueue(use, short string, paused bool) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			if err := c.PauseQueue(ctx, id, springtide.QueueName(args[0]), paused); err != nil {
				return err
			}
			return s.printPaused("queue", args[0], paused)
		}),
	}
}

func (s *session) printPaused(kind, name string, paused bool) error {
	if s.json {
		return s.printJSON(map[string]any{kind: name, "paused": paused})
	}
	state := "paused"
	if !paused {
		state = "open again"
	}
	return s.print("%s %s is %s", kind, name, state)
}

// lasting says how long something has been so.
func (s *session) lasting(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return age(s.now(), s.now().Add(-d))
}
