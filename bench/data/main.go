// Data measures what it costs to keep an app's data safe and to bring it back:
// a database and shared files, of text and of what cannot be compressed, beside
// the programs that an administrator would run by hand; how long it takes to go
// back to a moment; and what a query takes by the address that instances get.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
)

type options struct {
	tide        string
	size        int64
	rounds      int
	queries     int
	quick, json bool
	log         string
}

func main() {
	var o options
	serve := flag.Bool("serve", false, "be the app")
	probe := flag.Int("probe", 0, "be what asks so many times, and print what it took")
	flag.StringVar(&o.tide, "tide", "bin/tide", "the tide binary")
	flag.Int64Var(&o.size, "mebibytes", 1024, "how much data there is")
	flag.IntVar(&o.rounds, "rounds", 5, "how many times everything is done")
	flag.IntVar(&o.queries, "queries", 20000, "how many queries a round asks")
	flag.BoolVar(&o.quick, "quick", false, "one round of 16 MiB of text; not to be quoted")
	flag.BoolVar(&o.json, "json", false, "lines of JSON")
	flag.StringVar(&o.log, "log", "", "a file for what the platform logs")
	flag.Parse()
	if o.quick {
		o.size, o.rounds, o.queries = 16, 1, 2000
	}
	o.size <<= 20
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	work := func() error { return run(ctx, o) }
	switch {
	case *serve:
		work = func() error { return serveApp(ctx) }
	case *probe > 0:
		work = func() error { return probeAll(ctx, *probe) }
	}
	if err := work(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// environment is that of the app.
var environment = springtide.EnvironmentID{App: "keeper", Name: springtide.Production} //nolint:gochecknoglobals // It never changes.

const manifest = `
app: keeper
processes: { web: { command: ./data -serve, scale: { min: 1, max: 1 } } }
services: { db: { postgres: VERSION }, cache: redis }
files: { uploads: /data/uploads }
backups: { db: {}, files: {} }
`

// bench is one run of the benchmark.
type bench struct {
	options
	*platform.Platform
	folder, source string
	server         server // the platform's, with the data
	url            string // its address, as instances get it
	rows           []row
}

func run(ctx context.Context, o options) (err error) {
	folder, err := platform.Folder("bench-data-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	var log io.Writer
	if o.log != "" {
		file, err := os.Create(o.log)
		if err != nil {
			return err
		}
		defer file.Close()
		log = file
	}
	p, err := platform.Start(ctx, platform.Options{Tide: o.tide, Data: filepath.Join(folder, "data"), Output: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	b := &bench{options: o, Platform: p, folder: folder, source: filepath.Join(folder, "app")}
	if err := b.deploy(ctx); err != nil {
		return err
	}
	contents := []string{"text", "random"}
	if o.quick {
		contents = contents[:1]
	}
	for _, content := range contents {
		if err := b.database(ctx, content); err != nil {
			return err
		}
		if err := b.files(ctx, content); err != nil {
			return err
		}
	}
	if err := b.latencies(ctx); err != nil {
		return err
	}
	return report(o, b.rows)
}

// measured notes one round of a subject in a case, and says so.
func (b *bench) measured(r row) {
	b.rows = append(b.rows, r)
	fmt.Fprintln(os.Stderr, r)
}
