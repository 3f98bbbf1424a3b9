// Jobs compares ledgers of jobs: how many are enqueued and worked off a second,
// what that costs in processor time, and how soon a job is picked up. With -kill
// it shows what each loses when those who work are killed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

type options struct {
	sizes
	killing
	rounds, workers   int
	quick, json, kill bool
	only              string
	folder, profile   string
}

func main() {
	runtime.LockOSThread() // what this thread starts ends with it
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := error(nil)
	if len(os.Args) == 3 && os.Args[1] == childArgument {
		err = be(ctx, os.Args[2])
	} else {
		err = run(ctx, parse())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func parse() options {
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "how often everything is measured, in turns")
	flag.IntVar(&o.Jobs, "jobs", 20_000, "how many jobs are worked off")
	flag.IntVar(&o.Singles, "singles", 2_000, "how many of them are enqueued one by one")
	flag.IntVar(&o.workers, "workers", 200, "how many jobs are carried out at the same time")
	flag.IntVar(&o.Rate, "rate", 100, "jobs per second whose pick-up is timed")
	flag.DurationVar(&o.Window, "window", 5*time.Second, "for how long")
	flag.BoolVar(&o.kill, "kill", false, "kill those who work instead, and count what is lost")
	flag.IntVar(&o.Kills, "kills", 10, "how many times")
	flag.DurationVar(&o.Every, "every", 5*time.Second, "how often")
	flag.DurationVar(&o.Wait, "wait", 4*time.Minute, "how long to wait then for what is not over")
	flag.BoolVar(&o.quick, "quick", false, "one round and fewer jobs; not to be quoted")
	flag.BoolVar(&o.json, "json", false, "lines of JSON")
	flag.StringVar(&o.only, "only", "", "only subjects with this in their name")
	flag.StringVar(&o.folder, "folder", os.TempDir(), "where the stores are: on a real disk, with a short path")
	flag.StringVar(&o.profile, "profile", "", "a folder for CPU profiles of the subjects' processes, and for what PostgreSQL spent its time on")
	flag.Parse()
	if o.quick {
		o.rounds, o.Jobs, o.Singles, o.Window = 1, 3_000, 300, 2*time.Second
		o.Kills, o.Every, o.Wait = 3, 3*time.Second, 15*time.Second
	}
	return o
}

func run(ctx context.Context, o options) error {
	var chosen []subject
	for _, s := range subjects() {
		if strings.Contains(s.Name, o.only) {
			chosen = append(chosen, s)
		}
	}
	if o.kill {
		return killAll(ctx, o, chosen)
	}
	var rows []row
	for round := 1; round <= o.rounds; round++ {
		for _, s := range chosen {
			figures, err := measureSubject(ctx, o, s, round)
			if err != nil {
				return err
			}
			for _, f := range figures {
				r := newRow(s.Name, round, f)
				rows = append(rows, r)
				fmt.Fprintf(os.Stderr, "round %d, %s\n", round, r)
			}
		}
	}
	return report(o, rows)
}

func measureSubject(ctx context.Context, o options, s subject, round int) (figures []figure, err error) {
	folder, err := newFolder(o.folder)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	server, err := startServer(ctx, s, folder, o.profile != "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	t := task{
		Subject: s.Name, Server: server.pid, Sizes: o.sizes,
		Opening: opening{Address: server.address, Folder: folder, Name: "worker", Workers: o.workers, Fresh: true},
	}
	if o.profile != "" {
		t.Profile = filepath.Join(o.profile, fmt.Sprintf("%s.%d", strings.ReplaceAll(s.Name, " ", "-"), round))
	}
	figures, err = measureIn(ctx, t)
	if err == nil && t.Profile != "" && s.Server == "postgres" {
		err = statements(ctx, server.address, t.Profile+".statements")
	}
	return figures, err
}
