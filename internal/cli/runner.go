package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/runner"
)

func (s *session) runner() *cobra.Command {
	var queues []string
	var install string
	// What the environment says wrongly is told when the command runs.
	options, malformed := runner.OptionsOf(s.getenv)
	command := &cobra.Command{
		Use:   "runner [flags] [-- COMMAND [ARGUMENT]...]",
		Short: "Take jobs from queues and carry them out",
		Long: `Take jobs from queues and carry them out: the instances of a worker process do.

COMMAND is started once for each job that has none of its own, with the job's
payload on standard input. TIDE_API names the environment in the platform's API,
TIDE_TOKEN is the token. After SIGTERM no further job is taken, and the command
ends once those that run are over.`,
		Example: "  tide runner --queues mail,default --slots 4 -- ./bin/task",
		RunE: runs(func(ctx context.Context, args []string) error {
			if install != "" {
				return installSelf(install)
			}
			if malformed != nil {
				return malformed
			}
			if len(args) > 0 {
				options.Command = commandLine(args)
			}
			if queues != nil {
				options.Queues = nil
				for _, queue := range queues {
					options.Queues = append(options.Queues, springtide.QueueName(queue))
				}
			}
			options.Output = s.stdout
			options.Log = slog.New(slog.NewTextHandler(s.stderr, nil))
			return runner.Run(ctx, options)
		}),
	}
	flags := command.Flags()
	flags.StringSliceVar(&queues, "queues", nil, "the queues to take jobs from (TIDE_QUEUES); default: all")
	flags.IntVar(&options.Slots, "slots", max(options.Slots, 1), "how many jobs are carried out at a time (TIDE_SLOTS)")
	flags.DurationVar(&options.Timeout, "timeout", options.Timeout, "how long a job may take that does not say itself; 0: as long as it likes")
	flags.DurationVar(&options.Grace, "grace", options.Grace, "how long a command may go on after SIGTERM; 0: 10s")
	flags.StringVar(&options.Name, "name", options.Name, "unique among runners (TIDE_INSTANCE)")
	flags.StringVar(&install, "install", "", "copy this program there, for another container of the same pod, and end")
	flags.SetInterspersed(false) // flags behind the command are the command's
	return command
}

// installSelf copies this program.
func installSelf(path string) error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	from, err := os.Open(own)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return springtide.Errorf(springtide.Failed, "the program cannot be copied: %w", err)
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
