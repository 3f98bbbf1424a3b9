package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
)

// measureAsleep measures a platform as apps of no instances come to it.
func measureAsleep(ctx context.Context, o options, found func(row)) error {
	return onPlatform(ctx, o, func(p *platform.Platform, folder string) error {
		apps := 0
		for _, wanted := range []int{0, 1, 10, 100} {
			if err := deployAsleep(ctx, p, folder, apps, wanted); err != nil {
				return err
			}
			apps = wanted
			r, err := measure(ctx, o, p)
			if err != nil {
				return err
			}
			if r.Apps != apps || r.Instances != 0 {
				return fmt.Errorf("there are %d apps and %d instances, not %d and 0", r.Apps, r.Instances, apps)
			}
			found(r)
		}
		return nil
	})
}

// measureRunning measures a platform with one app that has one instance.
func measureRunning(ctx context.Context, o options, found func(row)) error {
	return onPlatform(ctx, o, func(p *platform.Platform, folder string) error {
		const name = "running"
		source := filepath.Join(folder, name)
		if err := writeRunning(source, name); err != nil {
			return err
		}
		if _, err := p.Deploy(ctx, source); err != nil {
			return err
		}
		r, err := measure(ctx, o, p)
		if err != nil {
			return err
		}
		if _, err := p.Ready(ctx, springtide.EnvironmentID{App: name, Name: springtide.Production}, 1); err != nil {
			return err
		}
		if r.Apps != 1 || r.Instances != 1 {
			return fmt.Errorf("there are %d apps and %d instances, not 1 and 1", r.Apps, r.Instances)
		}
		found(r)
		return nil
	})
}

func onPlatform(ctx context.Context, o options, do func(p *platform.Platform, folder string) error) (err error) {
	folder, err := platform.Folder("bench-idle-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	p, err := platform.Start(ctx, platform.Options{Tide: o.tide, Data: filepath.Join(folder, "data")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	return do(p, folder)
}

// deployAsleep deploys apps number from to number to, and waits until none of
// them has an instance.
func deployAsleep(ctx context.Context, p *platform.Platform, folder string, from, to int) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(4)
	for n := from; n < to; n++ {
		all.Go(func() error {
			name := fmt.Sprintf("asleep-%d", n)
			source := filepath.Join(folder, name)
			if err := writeAsleep(source, name); err != nil {
				return err
			}
			_, err := p.Deploy(ctx, source)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	return none(context.WithoutCancel(ctx), p)
}

func none(ctx context.Context, p *platform.Platform) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		status, err := p.Status(ctx)
		if err == nil && status.Instances == 0 {
			return nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("waiting until nothing runs, there are %d instances: %w", status.Instances, err)
		}
	}
}

// measure lets the platform be, then counts what it uses.
func measure(ctx context.Context, o options, p *platform.Platform) (row, error) {
	if err := pause(ctx, o.settle); err != nil {
		return row{}, err
	}
	before, err := processes(p.Supervisor())
	if err != nil {
		return row{}, err
	}
	began := time.Now()
	if err := pause(ctx, o.window); err != nil {
		return row{}, err
	}
	after, err := processes(p.Supervisor())
	if err != nil {
		return row{}, err
	}
	took := time.Since(began)
	status, err := p.Status(ctx)
	if err != nil {
		return row{}, err
	}
	r := row{
		Case: count(status.Apps, "app") + ", " + count(status.Instances, "instance"), Subject: "tide",
		Apps: status.Apps, Instances: status.Instances, Memory: map[string]int64{},
	}
	var used time.Duration
	for pid, process := range after {
		if _, known := before[pid]; !known {
			return row{}, fmt.Errorf("the platform was not idle: it started %s", process.role)
		}
		used += process.cpu - before[pid].cpu
		r.Memory[process.role] += process.memory
		r.Total += process.memory
	}
	r.CPU = 100 * used.Seconds() / took.Seconds()
	return r, nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
