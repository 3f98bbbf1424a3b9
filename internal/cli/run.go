package cli

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

func (s *session) runOnce() *cobra.Command {
	var process string
	var timeout time.Duration
	command := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARGUMENT]...",
		Short: "Run a command once in the active release",
		Long: `Run a command once in the active release, with the environment of its instances.

Its output is shown as it comes and its exit code is passed through. Nothing is
attached to its stdin. A single argument is a command line for sh.`,
		Example: "  tide run -- ./bin/migrate --dry\n  tide run 'ls -l | head'",
		Args:    cobra.MinimumNArgs(1),
		RunE: runs(func(ctx context.Context, args []string) error {
			c, id, err := s.target()
			if err != nil {
				return err
			}
			return s.runCommand(ctx, c, api.OneOffRequest{
				Environment: id, Command: commandLine(args), Process: springtide.ProcessName(process), Timeout: timeout,
			})
		}),
	}
	command.Flags().StringVarP(&process, "process", "p", "", "the process whose limits and variables it gets")
	command.Flags().DurationVar(&timeout, "timeout", 0, "end it after that long; 0: never")
	command.Flags().SetInterspersed(false) // flags behind the command are the command's
	return command
}

// commandLine makes one line for sh of a command and its arguments.
func commandLine(args []string) string {
	if len(args) == 1 {
		return args[0]
	}
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = quote(arg)
	}
	return strings.Join(quoted, " ")
}

// plainWord needs no quotes in sh.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+:,./-][A-Za-z0-9_@%+=:,./-]*$`)

func quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func (s *session) runCommand(ctx context.Context, c *client.Client, request api.OneOffRequest) error {
	run, err := c.StartRun(ctx, request)
	if err != nil {
		return err
	}
	output := runOutput{session: s, client: c, query: springtide.LogQuery{Environment: request.Environment, Task: run.ID}}
	following, stop := context.WithCancel(ctx)
	defer stop()
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		_ = output.follow(following) // what it missed is read at the end
	}()
	run, err = c.WaitRun(ctx, request.Environment, run.ID)
	stop()
	<-followed
	if err != nil {
		if ctx.Err() != nil {
			s.tell("the command goes on; `tide logs --run %s` shows its output", run.ID)
		}
		return err
	}
	if err := output.rest(ctx); err != nil {
		return err
	}
	if s.json {
		if err := s.printJSONLine(run); err != nil {
			return err
		}
	}
	if run.Exit.Code == 0 {
		return nil
	}
	if run.Exit.Reason != "" {
		s.tell("%s", run.Exit.Reason)
	}
	return exitError{min(max(run.Exit.Code, 1), 255)}
}

// runOutput shows the output of a run: as it comes, and when the run is over
// what has not come yet.
type runOutput struct {
	session *session
	client  *client.Client
	query   springtide.LogQuery
	shown   int
}

func (o *runOutput) follow(ctx context.Context) error {
	query := o.query
	query.Follow = true
	for line, err := range o.client.Logs(ctx, query) {
		if err != nil {
			return err
		}
		if err := o.show(line); err != nil {
			return err
		}
	}
	return nil
}

func (o *runOutput) rest(ctx context.Context) error {
	skip := o.shown
	for line, err := range o.client.Logs(ctx, o.query) {
		if err != nil {
			return err
		}
		if skip--; skip >= 0 {
			continue
		}
		if err := o.show(line); err != nil {
			return err
		}
	}
	return nil
}

func (o *runOutput) show(line springtide.LogLine) error {
	o.shown++
	s := o.session
	if s.json {
		return s.printJSONLine(line)
	}
	to := s.stdout
	if line.Stream != "stdout" {
		to = s.stderr
	}
	_, err := fmt.Fprintln(to, line.Text)
	return err
}
