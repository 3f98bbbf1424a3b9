package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/client"
)

func (s *session) stop() *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop every instance and refuse requests, until `tide start` or a deploy",
		Args:  cobra.NoArgs,
		RunE:  s.onEnvironment((*client.Client).Stop, "stopped"),
	}
}

func (s *session) start() *cobra.Command {
	return &cobra.Command{
		Use:   "start",
		Short: "Bring back what `tide stop` stopped",
		Args:  cobra.NoArgs,
		RunE:  s.onEnvironment((*client.Client).Start, "started"),
	}
}

// onEnvironment is a command that does one thing to an environment.
func (s *session) onEnvironment(do func(*client.Client, context.Context, springtide.EnvironmentID) error, done string) func(*cobra.Command, []string) error {
	return runs(func(ctx context.Context, _ []string) error {
		c, id, err := s.target()
		if err != nil {
			return err
		}
		if err := do(c, ctx, id); err != nil {
			return err
		}
		return s.printDone(id, done)
	})
}

func (s *session) printDone(id springtide.EnvironmentID, done string) error {
	if s.json {
		return s.printJSON(map[string]any{"app": id.App, "environment": id.Name, "done": done})
	}
	return s.print("%s is %s", id, done)
}

func (s *session) destroy() *cobra.Command {
	var yes bool
	command := &cobra.Command{
		Use:   "destroy",
		Short: "Remove an environment with its releases and logs",
		Args:  cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) error {
			c, id, err := s.target()
			if err != nil {
				return err
			}
			if _, err := c.Environment(ctx, id); err != nil {
				return err
			}
			if !yes {
				if err := s.confirm(ctx, id); err != nil {
					return err
				}
			}
			if err := c.Destroy(ctx, id); err != nil {
				return err
			}
			return s.printDone(id, "destroyed")
		}),
	}
	command.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return command
}

// confirm asks for the app's name.
func (s *session) confirm(ctx context.Context, id springtide.EnvironmentID) error {
	fmt.Fprintf(s.stderr, "This removes %s with its releases and logs for good.\nType the app's name to go on: ", id)
	answer := make(chan string, 1)
	go func() {
		scanner := bufio.NewScanner(s.stdin)
		scanner.Scan()
		answer <- strings.TrimSpace(scanner.Text())
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case text := <-answer:
		if text != string(id.App) {
			return springtide.Errorf(springtide.Denied, "that is not %q: nothing was removed", id.App).WithHint("--yes does not ask")
		}
		return nil
	}
}
