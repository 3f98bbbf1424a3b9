package cli

import (
	"context"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
)

// EdgeOptions say how to serve as an edge.
type EdgeOptions struct {
	// Table is the file with a static routing table, Control the address of control
	// planes elsewhere, HOST:PORT. Both empty: the edge was started by a supervisor,
	// which handed the listening sockets down.
	Table, Control string
	// Token is the path of a file with what an edge with Control is known by.
	Token string
	// Listen is where an edge with a Table or Control listens: "https://127.0.0.1:8443".
	Listen []string
	// Health is an address that tells whether the edge serves; empty: none.
	Health string
	// HTTP3 says that UDP is served beside HTTPS.
	HTTP3 bool
	// Data is the folder of the routing table and the access log; may be empty with a Table.
	Data string
	// TrustedProxies and those below it are as in [ServeOptions].
	TrustedProxies           []string
	ProxyProtocol            bool
	MaxConnectionsPerAddress int
	RefuseFloods             time.Duration
	// DrainLimit is how long draining may take. Default: 1 h.
	DrainLimit time.Duration
	// IdleLimit is how long an idle connection is kept while draining. Default: 1 min.
	IdleLimit time.Duration
	LogLevel  slog.Level
	// CacheMemory and CacheDisk bound the cache, in MiB; 0: what the edge thinks fit.
	CacheMemory, CacheDisk int
}

func (s *session) edge() *cobra.Command {
	var options EdgeOptions
	var level string
	command := &cobra.Command{
		Use:   "edge",
		Short: "Serve as an edge alone: of a platform elsewhere, or on a static routing table",
		Long: `Serve as an edge alone: of a platform elsewhere, or on a static routing table.

With --control it is an edge of a platform that serves with --edges, on another
machine or in another pod: as many as are wanted may be. It accepts connections as
soon as it has a routing table, which it keeps in the data folder, and serves on by
that while the control plane is away.

With --table no platform is needed. The table is a JSON file; it is read again at
SIGHUP.

SIGTERM drains: nothing more is accepted, and what is open ends by itself.
tide serve starts its own edges by the same command, without either.`,
		Example: `  tide edge --table table.json --listen http://127.0.0.1:8080
  tide edge --control tide.example.com:7444 --edge-token token --listen https://:443 --listen http://:80`,
		Args: cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) error {
			if err := options.LogLevel.UnmarshalText([]byte(level)); err != nil {
				return springtide.Errorf(springtide.Invalid, "--log-level %q is no level", level).WithHint("one of debug, info, warn, error")
			}
			options.Data = s.data
			if options.Control == "" {
				return s.program.Edge(ctx, options)
			}
			if options.Table != "" || options.Token == "" {
				return springtide.Errorf(springtide.Invalid, "--control takes --edge-token FILE, and no --table")
			}
			data, err := s.dataFolder()
			if err != nil {
				return err
			}
			options.Data = data
			return s.program.Edge(ctx, options)
		}),
	}
	flags := command.Flags()
	flags.StringVar(&options.Table, "table", "", "the routing table, a JSON file")
	flags.StringVar(&options.Control, "control", "", "where control planes that serve with --edges are: HOST:PORT")
	addEdgeToken(command, &options.Token)
	flags.StringVar(&options.Health, "health", "", "an address where GET /healthz tells whether the edge serves; none by default")
	flags.StringSliceVar(&options.Listen, "listen", []string{"http://127.0.0.1:8080"}, "where to listen: https://ADDRESS or http://ADDRESS")
	flags.BoolVar(&options.HTTP3, "http3", true, "serve HTTP/3 by UDP at the addresses for HTTPS")
	addEdgeFlags(command, &options.TrustedProxies, &options.ProxyProtocol, &options.MaxConnectionsPerAddress, &options.RefuseFloods, &options.CacheMemory, &options.CacheDisk)
	flags.DurationVar(&options.DrainLimit, "drain-limit", time.Hour, "how long draining may take")
	flags.DurationVar(&options.IdleLimit, "idle-limit", time.Minute, "how long draining keeps connections on which nothing is asked")
	flags.StringVar(&level, "log-level", slog.LevelInfo.String(), "how much is logged: debug, info, warn or error")
	return command
}

func addEdgeToken(command *cobra.Command, token *string) {
	command.Flags().StringVar(token, "edge-token", "", "a file with 32 or more characters by chance, the same for edges elsewhere and for the control planes")
}

// addEdgeFlags are those that `tide edge` and `tide serve` have in common.
func addEdgeFlags(command *cobra.Command, proxies *[]string, protocol *bool, connections *int, refuseFloods *time.Duration, cacheMemory, cacheDisk *int) {
	flags := command.Flags()
	flags.StringSliceVar(proxies, "trusted-proxy", nil, "a network of proxies in front whose X-Forwarded and Forwarded headers are believed, such as 10.1.0.0/16; none by default")
	flags.BoolVar(protocol, "proxy-protocol", false, "connections of trusted proxies begin with a header of the PROXY protocol, version 1 or 2")
	flags.IntVar(connections, "max-connections-per-address", 1000, "how many connections one client may have open: an IPv4 address, or a /64 of IPv6")
	flags.DurationVar(refuseFloods, "refuse-floods", 30*time.Second, "how long at most a client who floods gets no new connection; 0: he always gets one")
	flags.IntVar(cacheMemory, "cache-memory", 256, "how much the cache of an edge keeps in memory, in MiB")
	flags.IntVar(cacheDisk, "cache-disk", 0, "how much it keeps on disk, in MiB; default: 10240, but no more than a tenth of the disk")
}
