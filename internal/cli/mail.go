package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

func (s *session) mail() *cobra.Command {
	list := s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
		mails, err := c.Mails(ctx, id)
		if err != nil {
			return err
		}
		return printList(s, mails, "no mail was caught", "MAIL|AGE|FROM|TO|SUBJECT|SIZE", func(m api.CaughtMail) []string {
			return []string{m.Name, age(s.now(), m.Time), m.From, strings.Join(m.To, ", "), m.Subject, size(m.Size)}
		})
	})
	command := &cobra.Command{Use: "mail", Short: "Show mails that were caught, and addresses that get none", Args: cobra.NoArgs, RunE: list}
	command.AddCommand(
		&cobra.Command{Use: "ls", Short: "List the mails that were caught instead of being sent", Args: cobra.NoArgs, RunE: list},
		&cobra.Command{
			Use: "show NAME", Short: "Show a mail as it would have been sent", Args: cobra.ExactArgs(1),
			RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
				mail, err := c.Mail(ctx, id, args[0])
				if err != nil {
					return err
				}
				defer mail.Close()
				text, err := io.ReadAll(mail)
				if err != nil {
					return err
				}
				if s.json {
					return s.printJSON(map[string]string{"name": args[0], "text": string(text)})
				}
				return s.print("%s", printableLines(string(text)))
			}),
		},
		s.suppressions(),
	)
	return command
}

func (s *session) suppressions() *cobra.Command {
	list := s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
		suppressions, err := c.Suppressions(ctx, id)
		if err != nil {
			return err
		}
		return printList(s, suppressions, fmt.Sprintf("%s may send to any address", id), "ADDRESS|AGE|REASON", func(v api.Suppression) []string {
			return []string{v.Address, age(s.now(), v.Since), v.Reason}
		})
	})
	change := func(use, short, done string, do func(*client.Client, context.Context, springtide.EnvironmentID, string) error) *cobra.Command {
		return &cobra.Command{
			Use: use, Short: short, Args: cobra.ExactArgs(1),
			RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
				if err := do(c, ctx, id, args[0]); err != nil {
					return err
				}
				if s.json {
					return s.printJSON(map[string]string{"address": args[0], "done": done})
				}
				return s.print("%s is %s", args[0], done)
			}),
		}
	}
	command := &cobra.Command{Use: "suppressions", Short: "Show or change the addresses that are sent nothing", Args: cobra.NoArgs, RunE: list}
	command.AddCommand(
		&cobra.Command{Use: "ls", Short: "List the addresses", Args: cobra.NoArgs, RunE: list},
		change("add ADDRESS", "Send an address nothing more", "sent nothing more", (*client.Client).Suppress),
		change("rm ADDRESS", "Send to an address again", "sent mails again", (*client.Client).Unsuppress),
	)
	return command
}
