package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/client"
	"github.com/springtide/springtide/internal/jobs"
)

func (s *session) locks() *cobra.Command {
	list := s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
		locks, err := c.Locks(ctx, id)
		if err != nil {
			return err
		}
		return printList(s, locks, fmt.Sprintf("nobody has a lock of %s", id), "LOCK|OWNER|FENCE|AGE|LEFT", func(l jobs.Lock) []string {
			return []string{l.Name, l.Owner, fmt.Sprint(l.Fence), age(s.now(), l.Taken), latency(l.Left)}
		})
	})
	command := &cobra.Command{Use: "locks", Short: "Show the locks that somebody has", Args: cobra.NoArgs, RunE: list}
	command.AddCommand(&cobra.Command{Use: "ls", Short: "List the locks", Args: cobra.NoArgs, RunE: list})
	return command
}

func (s *session) lock() *cobra.Command {
	var wait, ttl time.Duration
	command := &cobra.Command{
		Use:   "lock NAME [flags] -- COMMAND [ARGUMENT]...",
		Short: "Run a command here while nobody else has the lock",
		Long: `Run a command on this machine while it has a lock that all machines share.

The command finds in LOCK_FENCE a number that is higher each time the lock changes
hands: what it writes to should refuse a lower one than it has seen. When the lock
is lost the command is ended, with all of its process group, before anybody else
can have it; the exit code is 75 then, else that of the command.`,
		Example: "  tide lock import --wait 30s -- ./bin/import --all",
		Args: func(c *cobra.Command, args []string) error {
			if c.ArgsLenAtDash() != 1 || len(args) < 2 {
				return springtide.Errorf(springtide.Invalid, "a lock needs a name and a command").WithHint("for example `tide lock import -- ./bin/import`")
			}
			return nil
		},
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			path, err := exec.LookPath(args[1])
			if err != nil {
				return springtide.Errorf(springtide.Invalid, "%s cannot be run: %w", args[1], err)
			}
			return s.runLocked(ctx, lease{client: c, environment: id, name: args[0], owner: s.owner(), ttl: ttl}, wait, append([]string{path}, args[1:]...))
		}),
	}
	command.Flags().DurationVar(&wait, "wait", 0, "how long to wait while somebody else has it")
	command.Flags().DurationVar(&ttl, "ttl", 30*time.Second, "after how long it is free again if this machine dies; 1s to 1h")
	return command
}

// owner names who has a lock. It differs for each command: to whoever asks again
// under the same name, a lock is given again.
func (s *session) owner() string {
	name := s.getenv("TIDE_INSTANCE")
	if name == "" {
		name, _ = os.Hostname() // only for people to read
	}
	return fmt.Sprintf("%s:%d:%s", name, os.Getpid(), rand.Text()[:4])
}
