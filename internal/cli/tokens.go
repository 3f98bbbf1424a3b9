package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide/internal/api"
)

func (s *session) tokens() *cobra.Command {
	list := runs(func(ctx context.Context, _ []string) error {
		c, err := s.platform()
		if err != nil {
			return err
		}
		tokens, err := c.Tokens(ctx)
		if err != nil {
			return err
		}
		return printList(s, tokens, "no token yet; `tide tokens create NAME` makes one", "NAME|AGE|LAST USED", func(t api.Token) []string {
			return []string{t.Name, age(s.now(), t.Created), age(s.now(), t.LastUsed)}
		})
	})
	command := &cobra.Command{Use: "tokens", Short: "Let clients on other machines in", Args: cobra.NoArgs, RunE: list}
	command.AddCommand(
		&cobra.Command{Use: "ls", Short: "List the tokens", Args: cobra.NoArgs, RunE: list},
		&cobra.Command{
			Use: "create NAME", Short: "Make a token and print it, this once", Args: cobra.ExactArgs(1),
			RunE: runs(func(ctx context.Context, args []string) error {
				c, err := s.platform()
				if err != nil {
					return err
				}
				token, err := c.CreateToken(ctx, args[0])
				if err != nil {
					return err
				}
				if s.json {
					return s.printJSON(token)
				}
				s.tell("set TIDE_TOKEN to this on the other machine; it is not shown again:")
				return s.print("%s", token.Secret)
			}),
		},
		&cobra.Command{
			Use: "rm NAME", Short: "Revoke a token", Args: cobra.ExactArgs(1),
			RunE: runs(func(ctx context.Context, args []string) error {
				c, err := s.platform()
				if err != nil {
					return err
				}
				if err := c.DeleteToken(ctx, args[0]); err != nil {
					return err
				}
				if s.json {
					return s.printJSON(map[string]string{"name": args[0], "done": "revoked"})
				}
				return s.print("%s is revoked", args[0])
			}),
		},
	)
	return command
}
