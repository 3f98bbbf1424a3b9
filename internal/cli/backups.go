package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

func (s *session) backups() *cobra.Command {
	status := s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
		all, err := c.BackupStatus(ctx, id)
		if err != nil {
			return err
		}
		return printList(s, all, fmt.Sprintf("%s keeps nothing safe", id), "OF|DAILY|KEEP|NEWEST|BACKUPS|SIZE|PROVEN RESTORABLE|", func(v api.BackupStatus) []string {
			return []string{
				v.Of, v.Plan.Daily, fmt.Sprintf("%dd", int(v.Plan.Keep.Hours()/24)), age(s.now(), v.Newest), fmt.Sprint(v.Count), size(v.Size), proven(v), noteOf(v),
			}
		})
	})
	command := &cobra.Command{Use: "backups", Short: "Show backups, make and prove them, and go back to one", Args: cobra.NoArgs, RunE: status}
	command.AddCommand(
		&cobra.Command{Use: "status", Short: "Tell how safe everything is", Args: cobra.NoArgs, RunE: status},
		s.listBackups(),
		s.runBackup("run OF", "Make a backup of a service, or of files, now", (*client.Client).RunBackup),
		s.runBackup("drill OF", "Prove now that the newest backup can be restored", (*client.Client).RunDrill),
		s.verifyBackup(), s.restoreBackup(),
		&cobra.Command{
			Use: "accept", Short: "Keep shared files safe as they are, though a folder of them was emptied", Args: cobra.NoArgs,
			RunE: s.onEnvironment((*client.Client).AcceptFiles, "kept safe as it is"),
		},
		s.onRestored("promote OF RESTORED", "Use what was restored; again: what was in use before", "in use", (*client.Client).PromoteRestored),
		s.onRestored("discard OF RESTORED", "Delete what was restored and is not in use", "discarded", (*client.Client).DiscardRestored),
	)
	return command
}

// proven says when a restore last succeeded, and what it cost.
func proven(v api.BackupStatus) string {
	if v.Proven.IsZero() {
		return "not yet"
	}
	return provenLine(v.Proven, v.ProvenTookSeconds, v.ProvenLostSeconds)
}

func provenLine(at time.Time, took, lost float64) string {
	return fmt.Sprintf("%s, took %s, lost at most %s", at.UTC().Format(time.DateOnly), roughly(took), roughly(lost))
}

// roughly gives seconds in a unit that they are read in.
func roughly(seconds float64) string {
	switch {
	case seconds < 120:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 2*3600:
		return fmt.Sprintf("%.0f min", seconds/60)
	}
	return fmt.Sprintf("%.0f h", seconds/3600)
}

// safetyLine says how safe a thing is, in one line.
func safetyLine(v api.Safety) string {
	what := "the platform itself"
	if v.Environment != (springtide.EnvironmentID{}) {
		what = v.Environment.String() + " " + v.Of
	}
	line := what + ": not proven restorable yet"
	switch {
	case v.Problem != "":
		line = fmt.Sprintf("%s: NOT restorable on %s: %s", what, v.Tried.UTC().Format(time.DateOnly), v.Problem)
		if !v.Proven.IsZero() {
			line += "; last proven on " + v.Proven.UTC().Format(time.DateOnly)
		}
	case v.Unproven && !v.Proven.IsZero():
		line = fmt.Sprintf("%s: not proven restorable since %s", what, v.Proven.UTC().Format(time.DateOnly))
	case !v.Proven.IsZero():
		line = what + ": proven restorable: " + provenLine(v.Proven, v.ProvenTookSeconds, v.ProvenLostSeconds)
	}
	if v.Failure != "" {
		line += fmt.Sprintf("; the backup of %s failed: %s", v.Failed.UTC().Format(time.DateOnly), v.Failure)
	}
	if v.Late != "" {
		line += "; late: " + v.Late
	}
	return line
}

func noteOf(v api.BackupStatus) string {
	switch {
	case v.LastFailure != "" && v.LastFailureOccurred.After(v.Newest):
		return "the last failed: " + v.LastFailure
	case v.Late:
		return "late"
	}
	return ""
}

func (s *session) listBackups() *cobra.Command {
	return &cobra.Command{
		Use: "ls [OF]", Short: "List backups, the newest first", Args: cobra.MaximumNArgs(1),
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			backups, err := c.Backups(ctx, id, strings.Join(args, ""))
			if err != nil {
				return err
			}
			return printList(s, backups, "there are no backups", "BACKUP|OF|KIND|BEGUN|TOOK|SIZE|CONTENT", func(v api.BackupRecord) []string {
				return []string{v.ID, v.Of, v.Kind, v.Begun.UTC().Format(time.RFC3339), latency(v.Finished.Sub(v.Begun)), size(v.Size), size(v.Plain)}
			})
		}),
	}
}

func (s *session) runBackup(use, short string, start func(*client.Client, context.Context, springtide.EnvironmentID, string) (springtide.RunID, error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			run, err := start(c, ctx, id, args[0])
			if err != nil {
				return err
			}
			return s.waitForJob(ctx, c, id, run)
		}),
	}
}

func (s *session) verifyBackup() *cobra.Command {
	return &cobra.Command{
		Use: "verify OF", Short: "Read all backups of a service, or of files, again and compare", Args: cobra.ExactArgs(1),
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			found, err := c.VerifyBackups(ctx, id, args[0])
			if err != nil {
				return err
			}
			if s.json {
				err = s.printJSON(found)
			} else if len(found.Problems) == 0 {
				err = s.print("%s: all is whole: %s", found.Of, found.Checked)
			}
			if err == nil && len(found.Problems) > 0 {
				failure := springtide.Errorf(springtide.Failed, "the backups of %s are damaged", found.Of).WithHint("make another now: tide backups run %s", args[0])
				failure.Lines = found.Problems
				return failure
			}
			return err
		}),
	}
}

func (s *session) restoreBackup() *cobra.Command {
	var past pastFlags
	command := &cobra.Command{
		Use: "restore OF [--to TIME | --backup ID]", Short: "Make a state of the past, beside what is in use", Args: cobra.ExactArgs(1),
		Long: `Make a state of the past beside what is in use, of which nothing is changed. What
differs is shown; ` + "`tide backups promote`" + ` has the app use it, and again what it used before.`,
		Example: "  tide backups restore db --to 2026-11-20T14:03:00Z\n  tide backups restore cache --backup 20261120T043112.482Z-x2k7q4ab",
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			return s.restoreTo(ctx, c, id, args[0], past)
		}),
	}
	past.on(command)
	return command
}

// pastFlags say what to go back to.
type pastFlags struct{ to, backup string }

func (p *pastFlags) on(command *cobra.Command) {
	command.Flags().StringVar(&p.to, "to", "", "the time to go back to; default: the newest that there is")
	command.Flags().StringVar(&p.backup, "backup", "", "the backup to take, as `tide backups ls` lists it, as it was made; with --to, to go on from")
}

func (p *pastFlags) request() (request api.RestoreRequest, err error) {
	request.Backup = p.backup
	if p.to != "" {
		request.To, err = parseTime(p.to)
	}
	return request, err
}

// restoreService is restoreBackup for the app's database.
func (s *session) restoreService(pick picker) *cobra.Command {
	var past pastFlags
	command := &cobra.Command{
		Use: "restore [--to TIME | --backup ID]", Short: "Make a state of the past, beside what is in use", Args: cobra.NoArgs,
		RunE: s.about(pick, func(ctx context.Context, c *client.Client, id springtide.ServiceID, _ []string) error {
			return s.restoreTo(ctx, c, id.Environment, string(id.Name), past)
		}),
	}
	past.on(command)
	return command
}

func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, springtide.Errorf(springtide.Invalid, "--to %q is not a time", text).WithHint("for example 2026-11-20T14:03:00Z")
}

func (s *session) restoreTo(ctx context.Context, c *client.Client, id springtide.EnvironmentID, of string, past pastFlags) error {
	request, err := past.request()
	if err != nil {
		return err
	}
	s.tell("restoring %s of %s beside what is in use", of, id)
	restored, err := c.Restore(ctx, id, of, request)
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(restored)
	}
	rows := [][]string{{"WHAT", "IN USE", "RESTORED"}}
	for _, d := range restored.Differences {
		rows = append(rows, []string{d.What, fmt.Sprint(d.InUse), fmt.Sprint(d.Restored)})
	}
	if err := table(s.stdout, rows); err != nil {
		return err
	}
	s.tell("to use it: tide backups promote %s %s; to delete it: tide backups discard %s %s", of, restored.Name, of, restored.Name)
	return s.print("%s is as of %s, in %.1f s", restored.Name, restored.At.UTC().Format(time.RFC3339), restored.TookSeconds)
}

func (s *session) onRestored(use, short, done string, do func(*client.Client, context.Context, springtide.EnvironmentID, string, string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(2),
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			if err := do(c, ctx, id, args[0], args[1]); err != nil {
				return err
			}
			return s.printResult(args[1], done)
		}),
	}
}
