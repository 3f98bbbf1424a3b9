package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

func (s *session) services() *cobra.Command {
	list := s.listServices("ls", "List the services of the app, or with --all of the machine")
	command := s.listServices("services", "Show or change the databases and the like of an app")
	command.AddCommand(list, s.showService("show NAME", nil), s.serviceLogs(nil),
		s.onService("restart NAME", "Restart its servers", "restarted", nil, (*client.Client).RestartService),
		s.onService("promote NAME", "Have the replica take over", "promoted", nil, (*client.Client).PromoteService),
		s.onService("rotate NAME", "Give the app a new login; no query fails", "rotated", nil, (*client.Client).RotateService),
		s.forkService(nil), s.upgradeService(nil), s.destroyService(),
	)
	return command
}

// db is what is done with a database, whatever its name is.
func (s *session) db() *cobra.Command {
	command := &cobra.Command{Use: "db", Short: "Use the app's database", Args: knownCommand, RunE: helpOf}
	of := new(string)
	command.PersistentFlags().StringVar(of, "service", "", "which one, if there are several")
	kinds := []springtide.ServiceKind{springtide.ServicePostgres, springtide.ServiceMariaDB}
	pick := func(ctx context.Context, c *client.Client, id springtide.EnvironmentID) (springtide.ServiceID, error) {
		return onlyService(ctx, c, id, *of, kinds)
	}
	command.AddCommand(
		s.serviceShell("psql [-- ARGUMENT...]", "Open psql, or the mariadb client, as the platform", pick),
		s.showService("info", pick), s.slowStatements(pick), s.serviceLogs(pick),
		s.onService("rotate", "Give the app a new login; no query fails", "rotated", pick, (*client.Client).RotateService),
		s.onService("promote", "Have the replica take over", "promoted", pick, (*client.Client).PromoteService),
		s.forkService(pick), s.upgradeService(pick), s.restoreService(pick),
	)
	return command
}

func (s *session) redis() *cobra.Command {
	command := &cobra.Command{Use: "redis", Short: "Use the app's Redis", Args: knownCommand, RunE: helpOf}
	of := new(string)
	command.PersistentFlags().StringVar(of, "service", "", "which one, if there are several")
	pick := func(ctx context.Context, c *client.Client, id springtide.EnvironmentID) (springtide.ServiceID, error) {
		return onlyService(ctx, c, id, *of, []springtide.ServiceKind{springtide.ServiceRedis})
	}
	command.AddCommand(
		s.serviceShell("cli [-- ARGUMENT...]", "Open redis-cli as the platform", pick),
		s.showService("info", pick), s.serviceLogs(pick),
		s.onService("rotate", "Give the app a new password; no command fails", "rotated", pick, (*client.Client).RotateService),
	)
	return command
}

func helpOf(c *cobra.Command, _ []string) error { return c.Help() }

// picker finds the service that a command is about, where it is not named.
type picker func(ctx context.Context, c *client.Client, id springtide.EnvironmentID) (springtide.ServiceID, error)

// onlyService gives the service of that name, or the one of some kinds that has
// the usual variable: the only one, or that which has the usual name.
func onlyService(ctx context.Context, c *client.Client, id springtide.EnvironmentID, name string, kinds []springtide.ServiceKind) (springtide.ServiceID, error) {
	if name != "" {
		return springtide.ServiceID{Environment: id, Name: springtide.ServiceName(name)}, nil
	}
	services, err := c.Services(ctx, id)
	if err != nil {
		return springtide.ServiceID{}, err
	}
	var names []string
	for _, service := range services {
		if slices.Contains(kinds, service.Spec.Kind) && !service.Orphan {
			names = append(names, string(service.ID.Name))
		}
	}
	for _, usual := range []string{"db", "redis"} {
		if slices.Contains(names, usual) {
			names = []string{usual}
		}
	}
	switch len(names) {
	case 0:
		return springtide.ServiceID{}, springtide.Errorf(springtide.NotFound, "%s has none", id).
			WithHint("add one to the manifest, like services: { db: { %s: newest } }, and deploy", kinds[0])
	case 1:
		return springtide.ServiceID{Environment: id, Name: springtide.ServiceName(names[0])}, nil
	}
	return springtide.ServiceID{}, springtide.Errorf(springtide.Invalid, "%s has several: %s", id, strings.Join(names, ", ")).
		WithHint("name one with --service")
}

// about makes the function of a command about one service: the picked one, or
// that of its first argument.
func (s *session) about(pick picker, do func(context.Context, *client.Client, springtide.ServiceID, []string) error) func(*cobra.Command, []string) error {
	return s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
		if pick == nil {
			return do(ctx, c, springtide.ServiceID{Environment: id, Name: springtide.ServiceName(args[0])}, args[1:])
		}
		service, err := pick(ctx, c, id)
		if err != nil {
			return err
		}
		return do(ctx, c, service, args)
	})
}

// namedBy is how many arguments a command has that name the service.
func namedBy(pick picker) cobra.PositionalArgs {
	if pick == nil {
		return cobra.ExactArgs(1)
	}
	return cobra.NoArgs
}

func (s *session) listServices(use, short string) *cobra.Command {
	var all bool
	command := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) error {
			c, id, err := s.scope(all)
			if err != nil {
				return err
			}
			services, err := c.Services(ctx, id)
			if err != nil {
				return err
			}
			return printList(s, services, "there are no services", "SERVICE|KIND|STATE|SERVERS|ADDRESS|AGE|", func(v api.ServiceStatus) []string {
				name, note := string(v.ID.Name), v.Reason
				if all {
					name = v.ID.String()
				}
				switch {
				case v.Orphan:
					note = "no release names it; its data is in " + cmp.Or(v.Folder, "the cluster's "+v.Cluster)
				case v.Cluster != "" && note == "":
					note = "the cluster's " + v.Cluster
				}
				return []string{name, kindOf(v), v.State, serversOf(v), v.Address, age(s.now(), v.Created), note}
			})
		}),
	}
	command.Flags().BoolVar(&all, "all", false, "of all apps, those that no release names included")
	return command
}

func kindOf(v api.ServiceStatus) string {
	return strings.TrimSpace(string(v.Spec.Kind) + " " + v.Version)
}

func serversOf(v api.ServiceStatus) string {
	var all []string
	for _, server := range v.Servers {
		text := server.Role + " " + server.State
		if server.LagSeconds > 0 {
			text += fmt.Sprintf(" %.1fs behind", server.LagSeconds)
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func (s *session) showService(use string, pick picker) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: "Tell how it stands, and what is slow", Args: namedBy(pick),
		RunE: s.about(pick, func(ctx context.Context, c *client.Client, id springtide.ServiceID, _ []string) error {
			d, err := c.Service(ctx, id)
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(d)
			}
			rows := [][]string{
				{"service", d.ID.String()},
				{"kind", kindOf(d.ServiceStatus)},
				{"state", strings.TrimSpace(d.State + " " + d.Reason)},
				{"servers", serversOf(d.ServiceStatus)},
				{"address", d.Address},
				{"variables", strings.Join(d.Variables, ", ")},
				{"size", size(d.Size)},
				{"connections", fmt.Sprintf("%d of %d", d.Connections, d.MaxConnections)},
				{"instances", instancesOf(d)},
				{"folder", d.Folder},
			}
			for _, key := range slices.Sorted(maps.Keys(d.Details)) {
				rows = append(rows, []string{key, d.Details[key]})
			}
			for _, statement := range d.Statements {
				rows = append(rows, []string{"slow", fmt.Sprintf("%.1f ms x %d  %s", statement.MeanSeconds*1e3, statement.Calls, statement.Text)})
			}
			return table(s.stdout, rows)
		}),
	}
}

func (s *session) slowStatements(pick picker) *cobra.Command {
	return &cobra.Command{
		Use: "slow", Short: "Show the statements that take longest, as the server counts them", Args: cobra.NoArgs,
		RunE: s.about(pick, func(ctx context.Context, c *client.Client, id springtide.ServiceID, _ []string) error {
			d, err := c.Service(ctx, id)
			if err != nil {
				return err
			}
			return printList(s, d.Statements, "no statement has been counted", "MEAN|CALLS|STATEMENT", func(v api.Statement) []string {
				return []string{fmt.Sprintf("%.1f ms", v.MeanSeconds*1e3), strconv.FormatInt(v.Calls, 10), v.Text}
			})
		}),
	}
}

// instancesOf says how many instances share the connections, and whether they can.
func instancesOf(d api.ServiceDetails) string {
	switch {
	case d.MostInstances == 0 || d.MaxConnections == 0:
		return ""
	case d.Misfit != "":
		return "warning: " + d.Misfit
	case d.Spec.Pool.Mode != "":
		return fmt.Sprintf("at most %d, through a pooler with %d connections", d.MostInstances, d.Spec.Pool.Size)
	}
	return fmt.Sprintf("at most %d, with %d connections each", d.MostInstances, d.MaxConnections/d.MostInstances)
}

func (s *session) serviceLogs(pick picker) *cobra.Command {
	use := "logs"
	if pick == nil {
		use += " NAME"
	}
	return &cobra.Command{
		Use: use, Short: "Show the end of what its servers wrote", Args: namedBy(pick),
		RunE: s.about(pick, func(ctx context.Context, c *client.Client, id springtide.ServiceID, _ []string) error {
			log, err := c.ServiceLog(ctx, id)
			if err != nil {
				return err
			}
			defer log.Close()
			text, err := io.ReadAll(log)
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(map[string]string{"service": id.String(), "text": string(text)})
			}
			return s.print("%s", strings.TrimSuffix(printableLines(string(text)), "\n"))
		}),
	}
}

// onService is a command that does one thing to a service.
func (s *session) onService(use, short, done string, pick picker, do func(*client.Client, context.Context, springtide.ServiceID) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: namedBy(pick),
		RunE: s.about(pick, func(ctx context.Context, c *client.Client, id springtide.ServiceID, _ []string) error {
			if err := do(c, ctx, id); err != nil {
				return err
			}
			return s.printResult(id.String(), done)
		}),
	}
}

func (s *session) forkService(pick picker) *cobra.Command {
	var to, scrub string
	use := "fork"
	if pick == nil {
		use += " NAME"
	}
	command := &cobra.Command{
		Use: use + " --to ENVIRONMENT", Short: "Give another environment a copy of it", Args: namedBy(pick),
		Long: `Give another environment of the app a copy of a database, in place of its own, which is
kept beside it as NAME-old. The command --scrub, of the release there, finds the copy in
DATABASE_URL and changes it before anybody else has it.`,
		Example: `  tide db fork --to staging --scrub "./bin/scrub"`,
		RunE: s.about(pick, func(ctx context.Context, c *client.Client, id springtide.ServiceID, _ []string) error {
			if err := c.ForkService(ctx, id, springtide.EnvironmentName(to), scrub); err != nil {
				return err
			}
			return s.printResult(id.String(), "copied to "+to)
		}),
	}
	command.Flags().StringVar(&to, "to", "", "the environment that gets the copy")
	command.Flags().StringVar(&scrub, "scrub", "", "a command that makes the copy fit to be seen")
	if err := command.MarkFlagRequired("to"); err != nil {
		panic(err) // the flag is added above
	}
	return command
}

func (s *session) upgradeService(pick picker) *cobra.Command {
	var rehearse bool
	use := "upgrade"
	if pick == nil {
		use += " NAME"
	}
	command := &cobra.Command{
		Use: use + " VERSION", Short: "Take it to another version, with --rehearse a copy of it", Args: cobra.ExactArgs(1),
		RunE: s.about(pick, func(ctx context.Context, c *client.Client, id springtide.ServiceID, args []string) error {
			took, err := c.UpgradeService(ctx, id, args[0], rehearse)
			if err != nil {
				return err
			}
			done := fmt.Sprintf("upgraded to %s, in %.1f s", args[0], took.Seconds())
			if rehearse {
				done = fmt.Sprintf("as it was; its copy was upgraded to %s in %.1f s", args[0], took.Seconds())
			}
			return s.printResult(id.String(), done)
		}),
	}
	if pick == nil {
		command.Args = cobra.ExactArgs(2)
	}
	command.Flags().BoolVar(&rehearse, "rehearse", false, "do it with a copy, and change nothing")
	return command
}

func (s *session) destroyService() *cobra.Command {
	return &cobra.Command{
		Use: "destroy APP/ENVIRONMENT/NAME", Short: "Delete a service and all of its data, for good", Args: cobra.ExactArgs(1),
		RunE: runs(func(ctx context.Context, args []string) error {
			parts := strings.Split(args[0], "/")
			if len(parts) != 3 {
				return springtide.Errorf(springtide.Invalid, "%q does not name a service in full", args[0]).WithHint("like quiz/production/db; see `tide services --all`")
			}
			c, err := s.platform()
			if err != nil {
				return err
			}
			id := springtide.ServiceID{
				Environment: springtide.EnvironmentID{App: springtide.AppName(parts[0]), Name: springtide.EnvironmentName(parts[1])},
				Name:        springtide.ServiceName(parts[2]),
			}
			if err := c.DestroyService(ctx, id); err != nil {
				return err
			}
			return s.printResult(id.String(), "destroyed")
		}),
	}
}

func (s *session) serviceShell(use, short string, pick picker) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short,
		RunE: s.about(pick, func(ctx context.Context, c *client.Client, id springtide.ServiceID, args []string) error {
			return s.openTerminal(ctx, c, client.ShellRequest{Environment: id.Environment, Service: id.Name, Command: args, Terminal: s.getenv("TERM")})
		}),
	}
}

// printResult says what was done to something.
func (s *session) printResult(what, done string) error {
	if s.json {
		return s.printJSON(map[string]string{"of": what, "done": done})
	}
	return s.print("%s is %s", what, done)
}
