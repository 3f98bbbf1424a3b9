// Package cli is the command line of tide. Everything a command does to a
// platform goes through its API; what runs in this process (the server itself, the
// machine's trust) is given to it as a [Program].
//
// Every command writes what was asked for to stdout: as plain text or, with
// --json, as the objects of the API. Errors go to stderr, as text or, with
// --json, as {"error": {...}}; the exit code tells their kind.
package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
)

// Program is what the commands need of the binary they are part of.
type Program struct {
	Version string
	// Tables is the version of the store's tables that this program knows.
	Tables int
	// Serve runs the platform on a data folder until ctx ends; then it lets go of
	// everything and returns when nothing runs. It is an error of kind Conflict if
	// another one runs there.
	Serve func(ctx context.Context, options ServeOptions) error
	// Ledger serves a ledger of jobs until ctx ends, without a platform.
	Ledger func(ctx context.Context, options LedgerOptions) error
	// Restore brings a whole platform back into an empty data folder.
	Restore func(ctx context.Context, options RestoreOptions) ([]Restored, error)
	// Control is the hidden command that the supervisor starts.
	Control func(ctx context.Context, args []string) error
	// Edge serves as one edge. It minds its signals itself.
	Edge func(ctx context.Context, options EdgeOptions) error
	// Isolation tells how well instances can be kept apart on this machine, and
	// what is missing from the best.
	Isolation func(ctx context.Context, data string) (level string, notes []string)
	Trust     Trust
}

// Trust makes this machine believe an authority's certificates; the report says
// what was done. Implemented by cert.Trust.
type Trust interface {
	Install(ctx context.Context, authority []byte) (report []string, err error)
	Uninstall(ctx context.Context, authority []byte) (report []string, err error)
}

// ServeOptions say how to run the platform.
type ServeOptions struct {
	// Data is the data folder; it is created.
	Data string
	// HTTPS and HTTP are the addresses the edge listens on; HTTP redirects.
	HTTPS, HTTP []string
	// HTTP3 says that UDP is served beside each of HTTPS.
	HTTP3 bool
	// API is an address for clients with tokens; empty: only the Unix socket.
	API string
	// Metrics is a private address for Prometheus; empty: only the Unix socket.
	Metrics string
	// Ledger is the URL of a PostgreSQL database that keeps the jobs; empty: they
	// are kept in the data folder.
	Ledger string
	// Store is the URL of a PostgreSQL database that keeps the platform's own state;
	// empty: $TIDE_STORE, else it is kept in the data folder.
	Store string
	// Edges is an address for edges elsewhere: then there are none here, and no
	// supervisor. EdgeToken is the path of a file with what they are known by.
	Edges, EdgeToken string
	// Advertise is the host by which other control planes of the store reach this one.
	Advertise string
	// SharedKey is the path of a file with what seals, in the store, what control planes
	// share besides it; empty: nothing.
	SharedKey string
	// AllowCalls are private networks that jobs of kind http may call.
	AllowCalls []string
	// TrustedProxies are networks of proxies that are believed who a client is;
	// ProxyProtocol says that they tell it by the PROXY protocol.
	TrustedProxies []string
	ProxyProtocol  bool
	// MaxConnectionsPerAddress is how many connections one client may have open.
	MaxConnectionsPerAddress int
	// RefuseFloods is how long at most a client who floods gets no new connection.
	RefuseFloods time.Duration
	// CacheMemory and CacheDisk bound the cache of an edge, in MiB; 0: what the edge thinks fit.
	CacheMemory, CacheDisk int
	// BackupTarget is the URL of where backups are kept; empty: in the data folder.
	BackupTarget string
	// ACMEEmail is whom an ACME server may write to; empty: none is asked. The others
	// are its URL, a file with the certificate it is known by, and a program that
	// answers DNS-01; each may be empty.
	ACMEEmail, ACMEDirectory, ACMERoot, ACMEDNSHook, ACMEAccountID, ACMEAccountKey string
	// Engine is what runs instances, "process" or "kubernetes"; empty: the former. The
	// others say which cluster, and how its nodes and pods reach this machine; each may
	// be empty.
	Engine, Kubeconfig, Context, Namespace, RegistryHost, InstanceAddress, RunnerImage string
	PlaceWithin                                                                        time.Duration
	// SpareCPU, in processors, and SpareMemory, in MiB, are room that a cluster keeps for
	// a surge; FilesClass and DatabaseClass are StorageClasses. Each may be empty.
	SpareCPU                  float64
	SpareMemory               int
	FilesClass, DatabaseClass string
	LogLevel                  slog.Level
	// Ready is called once the edge accepts connections. May be nil.
	Ready func()
	// Force ends what is left of the drain when a value arrives.
	Force <-chan os.Signal
	// Output takes what the platform's processes write. nil: stderr.
	Output *os.File
}

// Command is the command line.
type Command struct {
	program Program
	now     func() time.Time
}

// New makes the command line of a program.
func New(program Program) *Command { return &Command{program: program, now: time.Now} }

// interrupted is the exit code of a command that was ended by Ctrl-C.
const interrupted = 130

// Execute runs one command and gives its exit code.
func (c *Command) Execute(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := &session{
		program: c.program, now: c.now, getenv: getenv,
		stdin: stdin, stdout: stdout, stderr: stderr,
		colours: coloursOf(stdout, getenv),
	}
	root := s.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	s.close()
	return s.report(ctx, err)
}

// root is every command.
func (s *session) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "tide",
		Short:         "Builds, runs, serves and scales apps",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if err := c.ValidateFlagGroups(); err != nil { // which cobra does later
				return err
			}
			s.running = true // from here on an error is not one of usage
			return nil
		},
		Args: knownCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	s.addFlags(root)
	root.AddGroup(
		&cobra.Group{ID: "ship", Title: "Bring an app up:"},
		&cobra.Group{ID: "see", Title: "See how it stands:"},
		&cobra.Group{ID: "change", Title: "Change it:"},
		&cobra.Group{ID: "state", Title: "What it keeps:"},
		&cobra.Group{ID: "jobs", Title: "Jobs and locks:"},
		&cobra.Group{ID: "machine", Title: "The machine:"},
	)
	group := func(id string, commands ...*cobra.Command) {
		for _, command := range commands {
			command.GroupID = id
			root.AddCommand(command)
		}
	}
	group("ship", s.initCommand(), s.up(), s.deploy(), s.plan(), s.rollback(), s.restart())
	group("see", s.ps(), s.logs(), s.explain(), s.history(), s.simulate(), s.rightsize(), s.releases(), s.runOnce(), s.shell())
	group("change", s.scale(), s.events(), s.config(), s.domains(), s.certificates(), s.stop(), s.start(), s.destroy())
	group("change", s.maintenance(), s.cache())
	group("state", s.services(), s.db(), s.redis(), s.secrets(), s.files(), s.backups(), s.recoveryKey(), s.restorePlatform(), s.export(), s.importApps())
	group("jobs", s.jobs(), s.schedules(), s.lock(), s.locks(), s.mail(), s.runner(), s.ledger())
	group("machine", s.serve(), s.upgrade(), s.edge(), s.status(), s.doctor(), s.trust(), s.tokens(), s.registry(), s.version(), s.schema())
	root.AddCommand(s.hidden("control", s.program.Control))
	root.SetHelpCommandGroupID("machine")
	root.SetCompletionCommandGroupID("machine")
	return root
}

// knownCommand refuses what is no command, and says what may have been meant.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := springtide.Errorf(springtide.Invalid, "unknown command %q", args[0])
	root.SuggestionsMinimumDistance = 2
	if similar := root.SuggestionsFor(args[0]); len(similar) > 0 {
		return err.WithHint("did you mean `tide %s`?", similar[0])
	}
	return err.WithHint("`tide --help` lists the commands")
}

// hidden is a command that only the supervisor calls.
func (s *session) hidden(name string, run func(context.Context, []string) error) *cobra.Command {
	return &cobra.Command{
		Use: name, Hidden: true, DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error { return run(c.Context(), args) },
	}
}
