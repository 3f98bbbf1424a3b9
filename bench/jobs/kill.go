package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// slotEvery is how often the schedule has a slot.
	slotEvery = 2 * time.Second
	// killWorkers is how many jobs each process that is killed has in work, and
	// killRate how many jobs there are for it to do a second.
	killWorkers = 20
	killRate    = 30
	// backAfter is how soon a killed process is started again.
	backAfter = time.Second
)

// killing says how those who work are killed.
type killing struct {
	Kills int
	Every time.Duration
	// Wait is for how long nothing more must happen before the rest is given up.
	Wait time.Duration
}

// victims are the processes of a subject that work and are killed: two where
// there is a server between them, else one.
type victims struct {
	options
	subject  subject
	folder   string
	server   server
	children []*exec.Cmd
	names    []string // of the children
	started  int
}

// killAll kills the processes of all subjects, which run at the same time: it
// is not speed that is measured.
func killAll(ctx context.Context, o options, chosen []subject) error {
	losses := make([]loss, len(chosen))
	var all errgroup.Group
	for n, s := range chosen {
		all.Go(func() (err error) {
			runtime.LockOSThread() // its children end with this thread
			losses[n], err = killSubject(ctx, o, s)
			if err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
			fmt.Fprintln(os.Stderr, losses[n])
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	return reportLosses(o, losses)
}

func killSubject(ctx context.Context, o options, s subject) (l loss, err error) {
	folder, err := newFolder(o.folder)
	if err != nil {
		return l, err
	}
	defer os.RemoveAll(folder)
	server, err := startServer(ctx, s, folder, false)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	processes := 1
	if s.Server != "" {
		processes = 2
	}
	v := &victims{
		options: o, subject: s, folder: folder, server: server,
		children: make([]*exec.Cmd, processes), names: make([]string, processes),
	}
	l = loss{Subject: s.Name, Processes: processes, Kills: o.Kills}
	l.Jobs = killRate * int(time.Duration(o.Kills)*o.Every/time.Second) * l.Processes
	if err := v.enqueue(ctx, l.Jobs); err != nil {
		return l, err
	}
	began := time.Now()
	defer v.stop()
	if err := v.killThem(ctx); err != nil {
		return l, err
	}
	lastKill := time.Now()
	record, err := v.drain(ctx, l.Jobs)
	if err != nil {
		return l, err
	}
	l.add(record)
	l.Recovery = max(0, record.lastEnd.Sub(lastKill).Seconds())
	l.Expected = int(time.Since(began) / slotEvery)
	l.SlotsLost = max(0, l.Expected-l.Slots)
	return l, nil
}

// enqueue makes the tables and enqueues the jobs, before anybody works.
func (v *victims) enqueue(ctx context.Context, jobs int) error {
	q, err := v.subject.Open(ctx, opening{Address: v.server.address, Folder: v.folder, Name: "enqueuer", Workers: 1, Fresh: true, Scheduled: true})
	if err != nil {
		return err
	}
	m := &measurement{queue: q}
	return errors.Join(m.enqueue(ctx, 0, jobs, batchSize), q.Close())
}

// killThem starts the processes, and kills one of them again and again: the one
// who keeps the schedule if there is such a one, else one after the other.
func (v *victims) killThem(ctx context.Context) error {
	for n := range v.children {
		if err := v.start(ctx, n); err != nil {
			return err
		}
	}
	for kill := range v.Kills {
		if err := pause(ctx, v.Every-backAfter); err != nil {
			return err
		}
		n := kill % len(v.children)
		record, err := readRecord(v.recordFile())
		if err != nil {
			return err
		}
		if leader := slices.Index(v.names, record.leader); leader >= 0 {
			n = leader
		}
		if err := v.children[n].Process.Kill(); err != nil {
			return err
		}
		_ = v.children[n].Wait() // it was killed
		if err := pause(ctx, backAfter); err != nil {
			return err
		}
		if err := v.start(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// start starts a process under a name that none had before.
func (v *victims) start(ctx context.Context, n int) error {
	v.started++
	v.names[n] = fmt.Sprintf("process-%d-%d", n, v.started)
	command, _, err := child(ctx, task{
		Subject: v.subject.Name, Record: v.recordFile(),
		Opening: opening{
			Address: v.server.address, Folder: v.folder, Name: v.names[n], Workers: killWorkers,
			Scheduled: true, Scheduler: n == 0,
		},
	})
	if err != nil {
		return err
	}
	v.children[n] = command
	return command.Start()
}

func (v *victims) recordFile() string { return filepath.Join(v.folder, "record") }

// drain waits until all is over, or nothing has happened for long.
func (v *victims) drain(ctx context.Context, jobs int) (record, error) {
	changed := time.Now()
	var last record
	for {
		now, err := readRecord(v.recordFile())
		if err != nil {
			return now, err
		}
		if len(now.ended) != len(last.ended) || now.ends != last.ends || now.unfinished != last.unfinished {
			changed = time.Now()
		}
		if len(now.ended) == jobs && now.unfinished == 0 || time.Since(changed) > v.Wait {
			return now, nil
		}
		last = now
		if err := pause(ctx, time.Second); err != nil {
			return now, err
		}
	}
}

func (v *victims) stop() {
	for _, child := range v.children {
		if child != nil && child.Process != nil {
			_ = child.Process.Signal(syscall.SIGTERM) // it may have ended
			_ = child.Wait()
		}
	}
}
