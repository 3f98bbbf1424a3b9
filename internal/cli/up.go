package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

// comeUpWithin is how long the platform may take until its API answers.
const comeUpWithin = 30 * time.Second

func (s *session) up() *cobra.Command {
	var options ServeOptions
	command := &cobra.Command{
		Use:   "up [DIR]",
		Short: "Bring an app up on this machine and show it live",
		Long: `Bring an app up on this machine and show it live.

If no platform runs on the data folder one is started, and Ctrl-C ends it: every
instance is let go and nothing is left running. If one runs, the app is brought
up there, and Ctrl-C stops the app only.`,
		Args: cobra.MaximumNArgs(1),
		RunE: runs(func(ctx context.Context, args []string) error {
			if s.server != "" {
				return springtide.Errorf(springtide.Invalid, "`tide up` is for this machine").WithHint("use `tide deploy` with --server")
			}
			return s.bringUp(ctx, folderOf(args), options)
		}),
	}
	s.addServeFlags(command, &options)
	return command
}

// bringUp joins or starts the platform, deploys, shows the app live until ctx
// ends, and ends what it began.
func (s *session) bringUp(ctx context.Context, folder string, options ServeOptions) error {
	app, err := s.readApp(folder) // before anything is started
	if err != nil {
		return err
	}
	if options.Data, err = s.dataFolder(); err != nil {
		return err
	}
	c, err := client.New(client.Options{Data: options.Data})
	if err != nil {
		return err
	}
	s.client = c
	force, stop := s.forceAfter()
	defer stop()
	options.Force = force
	platform, err := s.joinOrStart(ctx, c, options)
	if err != nil {
		return err
	}
	id := springtide.EnvironmentID{App: app.Name, Name: springtide.EnvironmentName(s.environment)}
	err = s.deployFolder(ctx, c, folder, "")
	if err == nil {
		err = s.watch(platform.alive, c, id)
	}
	if ctx.Err() != nil {
		err = nil // Ctrl-C is how it ends
	} else if platform.alive.Err() != nil {
		err = springtide.Errorf(springtide.Internal, "the platform ended by itself").
			WithHint("its log is %s", filepath.Join(options.Data, platformLogName))
	}
	left := s.leave(ctx, c, id, platform, force)
	if err == nil {
		err = left
	}
	return err
}

// platformRun is a platform that runs in this process, or that was joined.
type platformRun struct {
	joined bool
	// alive ends with the command's context, and when the platform ends by itself.
	alive context.Context
	stop  context.CancelFunc
	ended chan error
}

// joinOrStart returns when the API answers.
func (s *session) joinOrStart(ctx context.Context, c *client.Client, options ServeOptions) (*platformRun, error) {
	if status, err := c.Status(ctx); err == nil {
		s.tell("a platform runs on %s: joining it", status.Data)
		return &platformRun{joined: true, alive: ctx, stop: func() {}}, nil
	} else if springtide.KindOf(err) != springtide.Unavailable {
		return nil, err
	}
	output, err := s.platformLog(options.Data)
	if err != nil {
		return nil, err
	}
	options.Output = output
	s.tell("starting the platform; data in %s", options.Data)
	alive, died := context.WithCancel(ctx)
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	run := &platformRun{alive: alive, stop: stop, ended: make(chan error, 1)}
	ready := make(chan struct{})
	options.Ready = sync.OnceFunc(func() { close(ready) })
	go func() {
		defer output.Close()
		run.ended <- s.program.Serve(serving, options)
		died()
	}()
	if err := s.awaitUp(alive, ready, c); err != nil {
		stop()
		served := <-run.ended
		if ctx.Err() == nil && isLocked(options.Data) && s.awaitAPI(ctx, c) == nil {
			return &platformRun{joined: true, alive: ctx, stop: func() {}}, nil // another one came first
		}
		if served != nil {
			return nil, served
		}
		return nil, err
	}
	return run, nil
}

// isLocked tells whether a supervisor holds the data folder.
func isLocked(data string) bool {
	lock, err := os.Open(filepath.Join(data, "lock"))
	if err != nil {
		return false
	}
	defer lock.Close()
	return errors.Is(unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// platformLogName is the file of the platform's own log in the data folder.
const platformLogName = "logs/platform.log"

// platformLog is where the platform's own log goes, so that it does not break
// the live view.
func (s *session) platformLog(data string) (*os.File, error) {
	path := filepath.Join(data, platformLogName)
	err := os.MkdirAll(data, 0o755) // instances, which are other users, pass through it
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		var file *os.File
		if file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err == nil {
			return file, nil
		}
	}
	return nil, springtide.Errorf(springtide.Failed, "the data folder cannot be used: %w", err).WithHint("choose another with --data")
}

// awaitUp returns when the edge accepts and the API answers, or ctx ends.
func (s *session) awaitUp(ctx context.Context, ready <-chan struct{}, c *client.Client) error {
	select {
	case <-ready:
		return s.awaitAPI(ctx, c)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitAPI returns when the API answers, or ctx ends.
func (s *session) awaitAPI(ctx context.Context, c *client.Client) error {
	limited, cancel := context.WithTimeout(ctx, comeUpWithin)
	defer cancel()
	for {
		_, err := c.Status(limited)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-limited.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return springtide.Errorf(springtide.Unavailable, "the platform does not come up: %w", err)
		}
	}
}

// leave ends what bringUp began: the platform with all that runs, or on a
// platform that was joined the app.
func (s *session) leave(ctx context.Context, c *client.Client, id springtide.EnvironmentID, platform *platformRun, force <-chan os.Signal) error {
	if ctx.Err() != nil {
		s.tellLettingGo()
	}
	if !platform.joined {
		platform.stop()
		err := <-platform.ended
		if err == nil {
			s.tell("nothing runs any more; `tide up` brings it back")
		}
		return err
	}
	if ctx.Err() == nil {
		return nil // it failed by itself: what ran before runs on
	}
	stopping, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go func() {
		select {
		case <-force:
			cancel()
		case <-stopping.Done():
		}
	}()
	if err := c.Stop(stopping, id); err != nil && springtide.KindOf(err) != springtide.NotFound {
		return err
	}
	s.tell("%s is stopped, the platform on %s runs on; `tide start --app %s` brings the app back", id, c.Where(), id.App)
	return nil
}

// watch shows the environment live until ctx ends.
func (s *session) watch(ctx context.Context, c *client.Client, id springtide.EnvironmentID) error {
	file, ok := s.stdout.(*os.File)
	if s.json || s.quiet || !ok || !isTerminal(file) {
		return s.watchLines(ctx, c, id)
	}
	return s.watchScreen(ctx, c, id, file)
}

// watchLines writes a line for every event.
func (s *session) watchLines(ctx context.Context, c *client.Client, id springtide.EnvironmentID) error {
	for event, err := range c.Events(ctx, api.EventQuery{Environment: id, After: -1}) {
		if err != nil {
			return err
		}
		if s.json {
			err = s.printJSONLine(event)
		} else if !s.quiet {
			err = s.print("%s  %s", event.Time.Local().Format(time.TimeOnly), printable(event.Message))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// drawEvery is how often the screen is drawn at least.
const drawEvery = 500 * time.Millisecond

// watchScreen draws the live view: one goroutine for each thing that comes in,
// this one owns the view.
func (s *session) watchScreen(ctx context.Context, c *client.Client, id springtide.EnvironmentID, screen *os.File) error {
	v := &view{environment: id}
	decisions, err := c.Decisions(ctx, id, viewDecisions)
	if err != nil {
		return err
	}
	slices.Reverse(decisions)
	for _, d := range decisions {
		v.happened(springtide.Event{Time: d.Time, Kind: "scale.decision", Message: d.Sentence})
	}
	changes := make(chan func(*view))
	group, ctx := errgroup.WithContext(ctx)
	change := func(apply func(*view)) error {
		select {
		case changes <- apply:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	group.Go(func() error {
		for figures, err := range c.Live(ctx, id) {
			if err = errors.Join(err, change(func(v *view) { v.observe(figures) })); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error {
		for event, err := range c.Events(ctx, api.EventQuery{Environment: id, After: -1}) {
			if err = errors.Join(err, change(func(v *view) { v.happened(event) })); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error {
		query := springtide.LogQuery{Environment: id, Since: s.now().Add(-time.Minute), Tail: viewLogs, Follow: true}
		for line, err := range c.Logs(ctx, query) {
			if err = errors.Join(err, change(func(v *view) { v.wrote(line) })); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error { return s.drawScreen(ctx, v, changes, screen) })
	return group.Wait()
}

func (s *session) drawScreen(ctx context.Context, v *view, changes <-chan func(*view), screen *os.File) error {
	var f frame
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case apply := <-changes:
			apply(v)
			continue
		case <-tick.C:
		}
		width, height, err := term.GetSize(int(screen.Fd()))
		if err != nil || width < 1 || height < 2 {
			width, height = 80, 24
		}
		if _, err := fmt.Fprint(screen, f.replace(v.draw(s.now(), width, height-1, s.colours))); err != nil {
			return err
		}
	}
}
