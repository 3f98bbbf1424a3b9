package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/client"
	"github.com/springtide/springtide/internal/control"
	"github.com/springtide/springtide/internal/store/sqlite"
)

// plane is a control plane that is measured: a process of its own, with a data folder,
// the API that it is asked by, and an edge that it gives its tables to.
type plane struct {
	folder, kubeconfig string
	api                *client.Client
	edge               *edge
	command            *exec.Cmd
	cancel             context.CancelFunc
	ended              chan struct{}
}

var errControlEnded = errors.New("the control plane has ended")

// serveControl is a control plane, as a process.
func serveControl(ctx context.Context, data, kubeconfig string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	err := control.Run(ctx, control.Options{
		DataFolder: data, API: "127.0.0.1:0", Logger: log,
		Engine: control.EngineOptions{Kind: control.EngineKubernetes, Kubeconfig: kubeconfig, RegistryHost: "registry.example.com:7443"},
	})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// newPlane makes a data folder in which so many apps have the traffic already.
func newPlane(ctx context.Context, url string, apps, pods int) (p *plane, err error) {
	p = &plane{}
	if p.folder, err = os.MkdirTemp("", "bench-kubernetes"); err != nil {
		return nil, err
	}
	if err = os.Mkdir(filepath.Join(p.folder, "run"), 0o755); err != nil {
		return nil, err
	}
	if p.kubeconfig, err = writeConfig(p.folder, url); err != nil {
		return nil, err
	}
	if p.api, err = client.New(client.Options{Data: p.folder}); err != nil {
		return nil, err
	}
	store, err := sqlite.Open(ctx, filepath.Join(p.folder, "tide.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for n := range apps {
		if err := deployed(ctx, store, group(n, pods)); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// deployed records that a group has the traffic, as its rollout would have.
func deployed(ctx context.Context, store *sqlite.Store, group springtide.Group) error {
	id := group.ID.Environment
	if _, err := store.CreateEnvironment(ctx, id); err != nil {
		return err
	}
	release, err := store.AddRelease(ctx, springtide.Release{Environment: id, Artifact: "sha256:5f0c", App: springtide.App{
		Name: id.App, Processes: map[springtide.ProcessName]springtide.Process{springtide.Web: group.Template.Process},
	}})
	if err != nil {
		return err
	}
	rollout, err := store.BeginRollout(ctx, springtide.Rollout{Release: release.ID()})
	if err != nil {
		return err
	}
	group.ID.Release, group.ID.Generation = release.Number, rollout.Generation
	return cmp.Or(store.PutGroup(ctx, group), store.SwitchRollout(ctx, rollout), store.FinishRollout(ctx, rollout))
}

// start starts the control plane, and an edge that connects to it.
func (p *plane) start(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, p.cancel = context.WithCancel(ctx)
	p.command = exec.CommandContext(ctx, program, controlArgument, p.folder, p.kubeconfig)
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also if this one is killed
	p.command.Stderr = os.Stderr
	p.command.WaitDelay = time.Second
	if err := p.command.Start(); err != nil {
		return err
	}
	p.ended = make(chan struct{})
	go func(command *exec.Cmd, ended chan struct{}) {
		_ = command.Wait() // it tells itself why it ended
		close(ended)
	}(p.command, p.ended)
	p.edge = newEdge(filepath.Join(p.folder, "run", "feed.sock"), p.ended)
	go p.edge.run(ctx)
	return nil
}

// kill ends the control plane as a power cut would.
func (p *plane) kill() {
	p.cancel()
	<-p.ended
}

// answers waits until the API answers.
func (p *plane) answers(ctx context.Context) error {
	for {
		if _, err := p.api.Status(ctx); err == nil {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-p.ended:
			return errControlEnded
		case <-ctx.Done():
			return fmt.Errorf("the control plane does not come up: %w", ctx.Err())
		}
	}
}
