// Tide takes a web application from its source to a running service and keeps
// it up. See ARCHITECTURE.md for what its processes are.
package main

import (
	"context"
	"flag"
	"net/netip"
	"os"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cert"
	"github.com/springtide/springtide/internal/cli"
	"github.com/springtide/springtide/internal/control"
	"github.com/springtide/springtide/internal/edge"
	"github.com/springtide/springtide/internal/store/sqlite"
)

// version is set when the binary is built.
var version = "development"

func main() {
	command := cli.New(cli.Program{
		Version:   version,
		Tables:    sqlite.Tables(),
		Serve:     serve,
		Ledger:    serveLedger,
		Restore:   restore,
		Control:   runControl,
		Edge:      runEdge,
		Isolation: isolation,
		Trust:     cert.Trust{},
	})
	os.Exit(command.Execute(context.Background(), os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// runControl is `tide control`, which the supervisor starts.
func runControl(ctx context.Context, args []string) error {
	o := control.Options{Version: version}
	flags := flag.NewFlagSet("control", flag.ContinueOnError)
	flags.StringVar(&o.DataFolder, "data", "", "the data folder")
	flags.StringVar(&o.API, "api", "", "an address for clients with tokens")
	flags.StringVar(&o.Metrics, "metrics", "", "a private address for metrics")
	edges := addElsewhere(flags, &o)
	var allowed []string
	flags.Var((*list)(&allowed), "allow-calls", "a private network that jobs may call")
	flags.Var((*list)(&o.HTTPS), "https", "an address that the edges serve")
	flags.Var((*list)(&o.HTTP), "http", "an address that the edges redirect from")
	level := flags.String("log-level", "INFO", "what is logged")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if o.AllowCalls, err = networks("--allow-calls", allowed); err != nil {
		return err
	}
	if err := edges(); err != nil {
		return err
	}
	o.Ledger, o.Store, o.Backups, o.ACME = os.Getenv(ledgerVariable), os.Getenv(storeVariable), backupTarget(), acmeServer()
	if o.Engine, err = engineOptions(); err != nil {
		return err
	}
	o.Logger = newLogger(os.Stderr, "control", parseLevel(*level))
	return control.Run(ctx, o)
}

// serveLedger serves a ledger of jobs, and nothing else.
func serveLedger(ctx context.Context, o cli.LedgerOptions) error {
	allowed, err := networks("--allow-calls", o.AllowCalls)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return err
	}
	return control.RunLedger(ctx, control.LedgerOptions{
		Location: o.Location, DataFolder: o.Data, Listen: o.Listen, App: o.App, Environment: o.Environment,
		Token: o.Token, AllowCalls: allowed, Ready: o.Ready, Logger: newLogger(os.Stderr, "ledger", o.LogLevel),
	})
}

// networks reads what a flag names.
func networks(flag string, texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, springtide.Errorf(springtide.Invalid, "%s %s is not a network", flag, text).WithHint("write it like 10.1.0.0/16")
		}
		all = append(all, network)
	}
	return all, nil
}

// runEdge is `tide edge`: started by the supervisor, or alone on a table.
func runEdge(ctx context.Context, o cli.EdgeOptions) error {
	proxies, err := networks("--trusted-proxy", o.TrustedProxies)
	if err != nil {
		return err
	}
	options := edge.Options{
		CacheMemory: int64(o.CacheMemory) << 20, CacheDisk: int64(o.CacheDisk) << 20,
		DataFolder: o.Data, DrainLimit: o.DrainLimit, IdleLimit: o.IdleLimit, Logger: newLogger(os.Stderr, "edge", o.LogLevel),
		TrustedProxies: proxies, ProxyProtocol: o.ProxyProtocol, MaxConnectionsPerAddress: o.MaxConnectionsPerAddress, RefuseFloods: o.RefuseFloods,
	}
	ctx = context.WithoutCancel(ctx) // it has signals of its own
	if o.Table != "" {
		if options.Listeners, err = edge.Listen(o.Listen); err != nil {
			return err
		}
		if o.HTTP3 {
			options.Listeners = edge.ListenBeside(options.Listeners, options.Logger)
		}
		return edge.Alone(ctx, o.Table, options)
	}
	if o.Control != "" {
		return edgeElsewhere(ctx, o, options)
	}
	if options.Listeners, err = edge.InheritedListeners(os.Getenv); err != nil {
		return err
	}
	if options.Ready, err = edge.InheritedReady(os.Getenv); err != nil {
		return err
	}
	return edge.Main(ctx, options)
}

// list is a flag that may be given several times.
type list []string

// String implements flag.Value.
func (l *list) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}
