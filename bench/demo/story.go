package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/load"
	"github.com/springtide/springtide/bench/platform"
)

// story is one demo.
type story struct {
	options
	platform *platform.Platform
	source   string
	began    time.Time
	// temporary says that the data folder is of this demo only.
	temporary bool

	mu      sync.Mutex
	out     io.Writer
	result  result
	started time.Time // of the load
}

// tell runs the demo and prints its table. What it started it also ends.
func tell(ctx context.Context, o options, out io.Writer) (_ result, err error) {
	folder, err := platform.Folder("tide-demo-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(folder)
	s := &story{options: o, source: filepath.Join(folder, "quiz"), began: time.Now(), out: out}
	if s.data == "" {
		s.data, s.temporary = filepath.Join(folder, "data"), true
	}
	if s.data, err = filepath.Abs(s.data); err != nil {
		return result{}, err
	}
	if err := platform.CopyApp(o.app, s.source); err != nil {
		return result{}, err
	}
	if s.temporary {
		if err := takeCache(buildCache(), s.data); err != nil {
			return result{}, err
		}
		defer keepCache(s.data, buildCache())
	}
	s.say("https://%s.localhost%s", quiz.App, portOf(o.https))
	var log bytes.Buffer
	if s.platform, err = startPlatform(ctx, s.options, &log); err != nil {
		return result{}, err
	}
	defer func() {
		if ctx.Err() != nil && !s.result.told {
			err = errors.New("interrupted")
		}
		err = errors.Join(err, s.end())
	}()
	if err := s.bringUp(ctx); err != nil {
		return result{}, err
	}
	if err := s.drive(ctx); err != nil {
		return result{}, err
	}
	fmt.Fprint(out, "\n", s.result.table(), "\n")
	s.result.told = true
	if o.keep {
		s.say("staying up; the data folder is %s; Ctrl-C ends it", s.data)
		<-ctx.Done()
	}
	return s.result, nil
}

// say prints one line with the time.
func (s *story) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%6.1f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// step prints what a deploy tells of itself.
func (s *story) step(message string) { s.say("    %s", message) }

// bringUp deploys the first version and waits until it can be reached.
func (s *story) bringUp(ctx context.Context) error {
	s.say("building version 1 of the quiz and bringing it up (the first build takes longest)")
	if err := platform.SetVersion(s.source, "1"); err != nil {
		return err
	}
	if _, _, err := deploy(ctx, s.platform, s.source, s.step); err != nil {
		return err
	}
	err := await(ctx, time.Minute, "the quiz to answer", func() error { return s.try(ctx) })
	if err == nil {
		s.say("version 1 is served over TLS")
	}
	return err
}

// try makes one request.
func (s *story) try(ctx context.Context) error {
	o, err := s.load(ctx)
	if err != nil {
		return err
	}
	o.Schedule = load.Schedule{load.Steady(1000, time.Millisecond)}
	got, err := load.Run(ctx, o)
	if err == nil && got.Failed > 0 {
		err = errors.New(got.Failures[0].String())
	}
	return err
}

// load is what every run of load has in common.
func (s *story) load(ctx context.Context) (load.Options, error) {
	authority, err := s.platform.CA(ctx)
	return load.Options{
		Target: "https://" + string(quiz.App) + ".localhost" + portOf(s.https), Dial: s.https, CA: authority,
		Mix: load.QuizMix(), Poisson: true, Seed: 1, RequestID: true, Interval: pace,
	}, err
}

// drive puts the load on, and does what is to happen meanwhile.
func (s *story) drive(ctx context.Context) error {
	o, err := s.load(ctx)
	if err != nil {
		return err
	}
	o.Schedule = s.plan.schedule()
	o.WebSockets = load.Streams{Clients: s.plan.streams, Path: "/live/demo-{client}"}
	o.EventStreams = load.Streams{Clients: s.plan.streams, Path: "/scores?every=500"}
	o.Progress = s.progress
	s.started = time.Now()
	s.say("load: %.0f requests a second, in %.0f s %.0f; %d WebSockets and %d event streams",
		s.plan.low, s.plan.calm.Seconds(), s.plan.high, s.plan.streams, s.plan.streams)

	following, stopFollowing := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { follow(following, s.platform, s.started, s.sampled) })
	var upset error
	loading, breakOff := context.WithCancel(ctx)
	defer breakOff()
	beside.Go(func() {
		if upset = s.upset(loading); upset != nil {
			breakOff()
		}
	})
	got, err := load.Run(loading, o)
	stopFollowing()
	beside.Wait()
	if err := errors.Join(err, upset, ctx.Err()); err != nil {
		return err
	}
	s.result.conclude(s.plan, got)
	return nil
}

func (s *story) sampled(one sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.Samples = append(s.result.Samples, one)
}

func (s *story) progress(p load.Progress) {
	s.mu.Lock()
	ready := 0
	if n := len(s.result.Samples); n > 0 {
		ready = s.result.Samples[n-1].Ready
	}
	s.mu.Unlock()
	s.say("%4.0f requests/s   p50 %-6s p99 %-7s %2d instances ready   %d failed",
		p.Rate, round(p.Latency.P50), round(p.Latency.P99), ready, p.Failed)
}

// upset does what a platform has to bear: a deploy, a killed instance, a killed
// control plane.
func (s *story) upset(ctx context.Context) error {
	for _, act := range []struct {
		at time.Duration
		do func(context.Context) error
	}{
		{s.plan.deploy, s.deployAgain}, {s.plan.killInstance, s.killInstance}, {s.plan.killControl, s.killControl},
	} {
		timer := time.NewTimer(time.Until(s.started.Add(s.plan.calm + act.at)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if err := act.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) deployAgain(ctx context.Context) error {
	s.say("→ deploying version 2")
	if err := platform.SetVersion(s.source, "2"); err != nil {
		return err
	}
	var err error
	if s.result.Deploy, s.result.DeployParts, err = deploy(ctx, s.platform, s.source, s.step); err != nil {
		return err
	}
	s.say("→ version 2 has all the traffic, %.1f s after its deploy began, build included", s.result.Deploy.Seconds())
	return nil
}

func (s *story) killInstance(ctx context.Context) error {
	instances, err := s.platform.Client.Instances(ctx, quiz)
	if err != nil {
		return err
	}
	for _, i := range instances {
		if i.State == springtide.InstanceReady && i.PID > 0 {
			s.say("→ kill -9 of instance %s, process %d", i.ID, i.PID)
			s.result.Killed = i.ID
			return syscall.Kill(i.PID, syscall.SIGKILL)
		}
	}
	return errors.New("no ready instance to kill")
}

func (s *story) killControl(ctx context.Context) error {
	before, err := s.platform.Status(ctx)
	if err != nil {
		return err
	}
	running, err := s.platform.Client.Instances(ctx, quiz)
	if err != nil {
		return err
	}
	s.say("→ kill -9 of the control plane, process %d", before.Processes.Control)
	if err := syscall.Kill(before.Processes.Control, syscall.SIGKILL); err != nil {
		return err
	}
	killed := time.Now()
	var now []springtide.Instance
	err = await(ctx, time.Minute, "the control plane to come back", func() error {
		status, err := s.platform.Status(ctx)
		if err == nil && status.Processes.Control == before.Processes.Control {
			err = errors.New("it still has its old process")
		}
		if err == nil {
			now, err = s.platform.Client.Instances(ctx, quiz)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.result.ControlAway = time.Since(killed)
	s.result.Running, s.result.Adopted = adopted(running, now)
	s.say("→ the control plane is back after %.1f s; %d of %d ready instances run on", s.result.ControlAway.Seconds(), s.result.Adopted, s.result.Running)
	return nil
}

// adopted counts the instances that were ready, and how many of them are the
// same processes now.
func adopted(before, after []springtide.Instance) (ready, same int) {
	processes := map[springtide.InstanceID]int{}
	for _, i := range after {
		processes[i.ID] = i.PID
	}
	for _, i := range before {
		if i.State != springtide.InstanceReady {
			continue
		}
		ready++
		if processes[i.ID] == i.PID {
			same++
		}
	}
	return ready, same
}

// end stops the platform; what is left of it is an error.
func (s *story) end() error {
	s.say("letting go of everything")
	err := s.platform.Stop()
	if left := leftovers(s.data); len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("%d processes were left running: %v", len(left), left))
		if s.temporary {
			kill(left)
		}
	}
	if err == nil {
		s.say("nothing is left running")
	}
	return err
}
