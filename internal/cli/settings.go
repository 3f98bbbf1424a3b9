package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

func (s *session) config() *cobra.Command {
	list := runs(func(ctx context.Context, _ []string) error {
		c, id, err := s.target()
		if err != nil {
			return err
		}
		config, err := c.Config(ctx, id)
		if err != nil {
			return err
		}
		return s.printConfig(id, config)
	})
	command := &cobra.Command{
		Use: "config", Aliases: []string{"env"}, Short: "Show or set variables that releases get", Args: cobra.NoArgs, RunE: list,
	}
	command.AddCommand(
		&cobra.Command{Use: "ls", Short: "List the variables", Args: cobra.NoArgs, RunE: list},
		&cobra.Command{
			Use: "set NAME=VALUE...", Short: "Set variables", Args: cobra.MinimumNArgs(1),
			RunE: runs(func(ctx context.Context, args []string) error {
				set, err := parseVariables(args)
				if err != nil {
					return err
				}
				return s.changeConfig(ctx, api.ConfigChange{Set: set})
			}),
		},
		&cobra.Command{
			Use: "unset NAME...", Short: "Remove variables", Args: cobra.MinimumNArgs(1),
			RunE: runs(func(ctx context.Context, args []string) error {
				return s.changeConfig(ctx, api.ConfigChange{Remove: args})
			}),
		},
	)
	return command
}

func parseVariables(args []string) (map[string]string, error) {
	set := map[string]string{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return nil, springtide.Errorf(springtide.Invalid, "%q does not set a variable", arg).WithHint("for example COLOUR=blue")
		}
		set[name] = value
	}
	return set, nil
}

func (s *session) changeConfig(ctx context.Context, change api.ConfigChange) error {
	c, id, err := s.target()
	if err != nil {
		return err
	}
	config, err := c.ChangeConfig(ctx, id, change)
	if err != nil {
		return err
	}
	if status, err := c.Environment(ctx, id); err == nil && status.Active == 0 {
		s.tell("%s has no release yet: this waits for its first deploy", id)
	}
	return s.printConfig(id, config)
}

func (s *session) printConfig(id springtide.EnvironmentID, config map[string]string) error {
	if s.json {
		return s.printJSON(config)
	}
	if len(config) == 0 {
		s.tell("no variable is set for %s", id)
	}
	for _, name := range slices.Sorted(maps.Keys(config)) {
		if err := s.print("%s", name+"="+quote(config[name])); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) domains() *cobra.Command {
	list := runs(func(ctx context.Context, _ []string) error {
		c, id, err := s.target()
		if err != nil {
			return err
		}
		domains, err := c.Domains(ctx, id)
		if err != nil {
			return err
		}
		return s.printDomains(id, domains)
	})
	change := func(change func([]string) api.DomainsChange) func(*cobra.Command, []string) error {
		return runs(func(ctx context.Context, args []string) error {
			c, id, err := s.target()
			if err != nil {
				return err
			}
			domains, err := c.ChangeDomains(ctx, id, change(args))
			if err != nil {
				return err
			}
			return s.printDomains(id, domains)
		})
	}
	command := &cobra.Command{Use: "domains", Short: "Show or change the host names besides the manifest's", Args: cobra.NoArgs, RunE: list}
	command.AddCommand(
		&cobra.Command{Use: "ls", Short: "List the host names", Args: cobra.NoArgs, RunE: list},
		&cobra.Command{
			Use: "add NAME...", Short: "Serve the app under further host names", Args: cobra.MinimumNArgs(1),
			RunE: change(func(names []string) api.DomainsChange { return api.DomainsChange{Add: names} }),
		},
		&cobra.Command{
			Use: "rm NAME...", Short: "Remove host names", Args: cobra.MinimumNArgs(1),
			RunE: change(func(names []string) api.DomainsChange { return api.DomainsChange{Remove: names} }),
		},
	)
	return command
}

func (s *session) printDomains(id springtide.EnvironmentID, domains []string) error {
	return printList(s, domains, fmt.Sprintf("%s has no host names besides the manifest's", id), "DOMAIN", func(d string) []string { return []string{d} })
}
