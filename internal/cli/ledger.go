package cli

import (
	"context"
	"log/slog"
	"net"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
)

// LedgerOptions say how to serve a ledger of jobs without a platform.
type LedgerOptions struct {
	// Location is a URL of PostgreSQL; empty: a file in Data.
	Location string
	// Data is the folder for the output of runs, and for a ledger without a
	// Location.
	Data string
	// Listen is a private address.
	Listen string
	// App says which jobs there are; nothing of it is run.
	App         springtide.App
	Environment springtide.EnvironmentName
	// Token admits those who come.
	Token string
	// AllowCalls are private networks that jobs of kind http may call.
	AllowCalls []string
	LogLevel   slog.Level
	// Ready is called once it serves.
	Ready func(net.Addr)
}

// ledgerAddress tells where a ledger is served.
type ledgerAddress struct {
	Address string `json:"address"`
	// API is what runners are given as TIDE_API.
	API string `json:"api"`
}

func (s *session) ledger() *cobra.Command {
	var options LedgerOptions
	var level string
	command := &cobra.Command{
		Use:   "ledger",
		Short: "Serve a ledger of jobs alone, without the platform",
		Long: `Serve a ledger of jobs alone, without the platform.

Schedules and queues are those of the tide.yaml in the folder; its processes are
not run. Whoever comes must know the token in TIDE_TOKEN: tide runner, workers
that speak the protocol, tide jobs. Any number of servers may share a PostgreSQL.`,
		Args: cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) (err error) {
			if err := options.LogLevel.UnmarshalText([]byte(level)); err != nil {
				return springtide.Errorf(springtide.Invalid, "--log-level %q is no level", level).WithHint("one of debug, info, warn, error")
			}
			if options.Token = s.getenv("TIDE_TOKEN"); options.Token == "" {
				return springtide.Errorf(springtide.Invalid, "there is no token to admit runners with").WithHint("set TIDE_TOKEN, for example to the output of `openssl rand -hex 24`")
			}
			if options.Location == "" {
				options.Location = s.getenv("TIDE_LEDGER")
			}
			if options.Data, err = s.dataFolder(); err != nil {
				return err
			}
			if options.App, err = s.readApp("."); err != nil {
				return err
			}
			options.Environment = springtide.EnvironmentName(s.environment)
			options.Ready = func(address net.Addr) {
				api := "http://" + address.String() + "/v1/apps/" + string(options.App.Name) + "/environments/" + string(options.Environment)
				if s.json {
					_ = s.printJSONLine(ledgerAddress{Address: address.String(), API: api}) // nobody may be reading
				}
				s.tell("the ledger is served; runners need TIDE_API=%s and the token", api)
			}
			return s.program.Ledger(ctx, options)
		}),
	}
	flags := command.Flags()
	flags.StringVar(&options.Location, "database", "", "postgres://... (better in $TIDE_LEDGER); by default a file in the data folder")
	flags.StringVar(&options.Listen, "listen", "127.0.0.1:7070", "a private address")
	flags.StringSliceVar(&options.AllowCalls, "allow-calls", nil, "private networks that jobs of kind http may call, such as 10.1.0.0/16")
	flags.StringVar(&level, "log-level", slog.LevelInfo.String(), "how much is logged: debug, info, warn or error")
	return command
}
