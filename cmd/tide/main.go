// Tide takes a web application from its source to a running service and keeps
// it up. See ARCHITECTURE.md for what its processes are.
package main

import (
	"context"
	"flag"
	"os"
	"strings"

	"github.com/springtide/springtide/internal/cert"
	"github.com/springtide/springtide/internal/cli"
	"github.com/springtide/springtide/internal/control"
	"github.com/springtide/springtide/internal/edge"
)

// version is set when the binary is built.
var version = "development"

func main() {
	command := cli.New(cli.Program{
		Version:   version,
		Serve:     serve,
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
	flags.Var((*list)(&o.HTTPS), "https", "an address that the edges serve")
	flags.Var((*list)(&o.HTTP), "http", "an address that the edges redirect from")
	level := flags.String("log-level", "INFO", "what is logged")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.Logger = newLogger(os.Stderr, "control", parseLevel(*level))
	return control.Run(ctx, o)
}

// runEdge is `tide edge`, which the supervisor starts.
func runEdge(_ context.Context, args []string) error {
	var o edge.Options
	flags := flag.NewFlagSet("edge", flag.ContinueOnError)
	flags.StringVar(&o.DataFolder, "data", "", "the data folder")
	flags.DurationVar(&o.DrainLimit, "drain-limit", 0, "how long draining may take")
	level := flags.String("log-level", "INFO", "what is logged")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.Logger = newLogger(os.Stderr, "edge", parseLevel(*level))
	var err error
	if o.Listeners, err = edge.InheritedListeners(os.Getenv); err != nil {
		return err
	}
	if o.Ready, err = edge.InheritedReady(os.Getenv); err != nil {
		return err
	}
	return edge.Main(context.Background(), o) // it has signals of its own
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
