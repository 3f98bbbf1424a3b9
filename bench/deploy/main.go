// Deploy measures what a deploy costs those who use the app: the requests that
// fail while releases follow one another under load, the time beyond the build
// command and the app's own start until all traffic is on the new release, and
// the time beyond the app's own start until one more instance is ready.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
)

type options struct {
	tide, app   string
	deploys     int
	instances   int
	rate        float64
	quick, json bool
	log         string
}

func main() {
	var o options
	flag.StringVar(&o.tide, "tide", "bin/tide", "the tide binary")
	flag.StringVar(&o.app, "app", "examples/quiz", "the quiz's folder")
	flag.IntVar(&o.deploys, "deploys", 20, "how many releases follow one another")
	flag.IntVar(&o.instances, "instances", 20, "how many times one more instance is started")
	flag.Float64Var(&o.rate, "rate", 200, "requests per second meanwhile")
	flag.BoolVar(&o.quick, "quick", false, "5 deploys and 5 instances; not to be quoted")
	flag.BoolVar(&o.json, "json", false, "lines of JSON")
	flag.StringVar(&o.log, "log", "", "a file for what the platform logs")
	flag.Parse()
	if o.quick {
		o.deploys, o.instances = 5, 5
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	folder, err := platform.Folder("bench-deploy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	source, err := newSource(o.app, filepath.Join(folder, "quiz"))
	if err != nil {
		return err
	}
	run := platform.Options{Tide: o.tide, Data: filepath.Join(folder, "data")}
	if o.log != "" {
		log, err := os.Create(o.log)
		if err != nil {
			return err
		}
		defer log.Close()
		run.Output = log
	}
	p, err := platform.Start(ctx, run)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()

	fmt.Fprintln(os.Stderr, "first build")
	first, err := deploy(ctx, p, source, 1)
	if err != nil {
		return err
	}
	alone, err := source.buildAlone(ctx)
	if err != nil {
		return err
	}
	b := &bench{options: o, platform: p, source: source, alone: alone, environment: first.Environment}
	if err := b.deploys(ctx, first.URL); err != nil {
		return err
	}
	if err := b.instances(ctx); err != nil {
		return err
	}
	return report(o, b)
}

// bench is one run of the benchmark.
type bench struct {
	options
	platform    *platform.Platform
	source      *source
	alone       string // the app's binary, to be started without a platform
	environment springtide.EnvironmentID
	results
}
