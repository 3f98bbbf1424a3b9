// Demo is the driver of `make demo`: it brings the quiz up on the real binary,
// drives load that rises twentyfold in one step, deploys a new version in the
// middle, kills an instance and then the control plane, and ends with a table.
// It exits 1 if any request failed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// options are the flags.
type options struct {
	// tide is the binary, app the folder of the quiz's source.
	tide, app string
	// data is the platform's data folder; empty: a temporary one.
	data string
	// https and http are the addresses to listen on.
	https, http string
	keep        bool
	json        bool
	plan        plan
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	progress := stdout
	if o.json {
		progress = stderr
	}
	result, err := tell(ctx, o, progress)
	if err != nil {
		return err
	}
	if o.json {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(result); err != nil {
			return err
		}
	}
	return result.verdict()
}

func parse(args []string, stderr io.Writer) (options, error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	o := options{}
	flags.StringVar(&o.tide, "tide", "bin/tide", "the `binary` of the platform")
	flags.StringVar(&o.app, "app", "examples/quiz", "the `folder` of the app's source")
	flags.StringVar(&o.data, "data", "", "the platform's data `folder`; a temporary one unless told")
	flags.StringVar(&o.https, "https", "127.0.0.1:8443", "the `address` to serve at")
	flags.StringVar(&o.http, "http", "127.0.0.1:8080", "the `address` that redirects to it")
	flags.BoolVar(&o.keep, "keep", false, "stay up after the table, until Ctrl-C")
	flags.BoolVar(&o.json, "json", false, "print the result as JSON; the progress goes to standard error")
	quick := flags.Bool("quick", false, "half the load, for less time")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected %q; see -help", flags.Arg(0))
	}
	o.plan = fullPlan()
	if *quick {
		o.plan = quickPlan()
	}
	return o, nil
}
