// Kubernetes measures what many apps on Kubernetes cost the platform, at several
// sizes: the engine alone, and the whole control plane with an edge that takes its
// tables and says what is asked of the apps. The cluster is simulated by another
// process, which speaks as an API server does and has pods be ready half a second after
// they were ordered: it is the platform that is measured, not Kubernetes.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// clusterArgument has this program be the simulated cluster.
const clusterArgument = "simulated-cluster"

// controlArgument has it be a control plane: with a data folder and a kubeconfig.
const controlArgument = "control-plane"

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 1 && args[0] == clusterArgument {
		return serve(ctx, stdout)
	}
	if len(args) == 3 && args[0] == controlArgument {
		return serveControl(ctx, args[1], args[2])
	}
	o := options{}
	flags := flag.NewFlagSet("kubernetes", flag.ContinueOnError)
	sizes := flags.String("apps", "100,300,1000", "how many apps, each size on a new cluster")
	flags.StringVar(&o.of, "of", "both", "what is measured: the engine alone, the whole control plane, or both")
	flags.IntVar(&o.pods, "pods", 10, "how many pods an app has")
	flags.IntVar(&o.changes, "changes", 50, "how many changes of each kind are measured, one after the other")
	flags.DurationVar(&o.calm, "calm", 20*time.Second, "for how long the processor time of a control plane without changes is measured")
	quick := flags.Bool("quick", false, "20 apps and 60, and few changes; not to be quoted")
	flags.BoolVar(&o.json, "json", false, "lines of JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *quick {
		*sizes, o.changes, o.calm = "20,60", 5, 2*time.Second
	}
	if o.of != "both" && o.of != engineAlone && o.of != controlPlane {
		return fmt.Errorf("-of %s is none of %s, %s, both", o.of, engineAlone, controlPlane)
	}
	for word := range strings.SplitSeq(*sizes, ",") {
		apps, err := strconv.Atoi(word)
		if err != nil || apps < 1 {
			return fmt.Errorf("%q is no number of apps", word)
		}
		o.apps = append(o.apps, apps)
	}
	return cmp.Or(report(ctx, o, engineAlone, engineColumns, measure, stdout, stderr), report(ctx, o, controlPlane, wholeColumns, measureWhole, stdout, stderr))
}

// What is measured.
const (
	engineAlone  = "engine"
	controlPlane = "control"
)

// options say what is measured.
type options struct {
	of            string
	apps          []int
	pods, changes int
	calm          time.Duration
	json          bool
}

// figures are those of a size.
type figures interface {
	// line has a word for each column.
	line() string
}

// report measures all sizes of a kind, and prints what it finds.
func report[row figures](ctx context.Context, o options, kind, columns string, measure func(context.Context, options, int) (row, error), stdout, stderr io.Writer) error {
	if o.of != "both" && o.of != kind {
		return nil
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	if !o.json {
		fmt.Fprintln(w, kind+columns)
	}
	for _, apps := range o.apps {
		fmt.Fprintf(stderr, "%s: %d apps of %d pods\n", kind, apps, o.pods)
		found, err := measure(ctx, o, apps)
		if err != nil {
			_ = w.Flush() // of those before
			return fmt.Errorf("%d apps: %w", apps, err)
		}
		if !o.json {
			fmt.Fprintln(w, found.line())
		} else if err := json.NewEncoder(stdout).Encode(map[string]figures{kind: found}); err != nil {
			return err
		}
	}
	if o.json {
		return nil
	}
	return w.Flush()
}
