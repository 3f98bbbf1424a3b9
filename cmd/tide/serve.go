package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/backup"
	"github.com/springtide/springtide/internal/cli"
	"github.com/springtide/springtide/internal/client"
	"github.com/springtide/springtide/internal/control"
	"github.com/springtide/springtide/internal/edge"
	"github.com/springtide/springtide/internal/supervisor"
)

// ownerVariable names a pipe to the process that wants the platform only as
// long as it lives itself: `tide up`.
const ownerVariable = "TIDE_OWNER"

// ledgerVariable names the ledger's location to the control plane.
const ledgerVariable = "TIDE_LEDGER"

// storeVariable names the platform's own state to the control plane.
const storeVariable = "TIDE_STORE"

// backupVariable begins the names of what says where backups are kept, and what
// it takes to get in.
const backupVariable = "TIDE_BACKUP_"

// backupTarget reads where backups are kept from the environment: nobody sees it
// there, as arguments are seen.
func backupTarget() control.BackupTarget {
	of := func(name string) string { return os.Getenv(backupVariable + name) }
	return control.BackupTarget{
		URL: of("TARGET"), Key: of("KEY"), KnownHosts: of("KNOWN_HOSTS"), AccessKey: of("ACCESS_KEY"), SecretKey: of("SECRET_KEY"),
	}
}

// restore brings a whole platform back.
func restore(ctx context.Context, o cli.RestoreOptions) ([]cli.Restored, error) {
	from := backupTarget()
	from.URL = o.From
	brought, err := control.Restore(ctx, control.RestoreOptions{
		DataFolder: o.Data, From: from, RecoveryKey: o.Key, Progress: o.Progress, Logger: newLogger(os.Stderr, "restore", slog.LevelWarn),
	})
	restored := make([]cli.Restored, len(brought))
	for i, b := range brought {
		restored[i] = cli.Restored{Of: b.Subject.String(), Taken: b.Taken, Problem: b.Problem}
	}
	return restored, err
}

// startLimit is how long a platform that `tide up` starts may take.
const startLimit = 20 * time.Second

// serve supervises the platform until ctx ends, or its owner does. `tide up`
// has more to do than to supervise: it gets a platform in a process of its own.
func serve(ctx context.Context, o cli.ServeOptions) error {
	data, err := filepath.Abs(o.Data)
	if err != nil {
		return err
	}
	o.Data = data
	if err := cmp.Or(checkJobs(o), checkStore(ctx, o), checkBackups(o), checkACME(o), checkEdge(o), checkEngine(ctx, o), checkElsewhere(o)); err != nil {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	executable = strings.TrimSuffix(executable, " (deleted)") // replaced since it was started
	if o.Output != nil {
		return serveApart(ctx, o, executable)
	}
	if err := checkAddresses(ctx, o); err != nil {
		return err
	}
	if o.Edges != "" {
		return serveWithoutEdges(ctx, o)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	owner, err := followOwner(cancel)
	if err != nil {
		return err
	}
	var addresses []supervisor.Address
	for _, address := range o.HTTPS {
		addresses = append(addresses, supervisor.Address{Name: edge.HTTPS, Address: address})
	}
	for _, address := range o.HTTP {
		addresses = append(addresses, supervisor.Address{Name: edge.HTTP, Address: address})
	}
	logger := newLogger(os.Stderr, "supervisor", o.LogLevel)
	return supervisor.Run(ctx, supervisor.Options{
		DataFolder:       data,
		Addresses:        addresses,
		Executable:       executable,
		ControlArguments: arguments(o),
		EdgeArguments:    append(edgeArguments(o), "--log-level", o.LogLevel.String()),
		Drain:            func(ctx context.Context) error { return drain(ctx, data) },
		Ready: func() {
			logger.Info("the platform is up", "data", data, "https", o.HTTPS, "http", o.HTTP)
			if o.Ready != nil {
				o.Ready()
			}
		},
		Keep:    owner,
		NoHTTP3: !o.HTTP3,
		Output:  os.Stderr,
		Logger:  logger,
	}, o.Force)
}

// checkAddresses tries the control plane's own addresses, so that a mistake in
// them ends `tide serve` at once instead of the control plane again and again. A
// control plane that still runs may have them: then there is nothing to try.
func checkAddresses(ctx context.Context, o cli.ServeOptions) error {
	if supervisor.Holder(filepath.Join(o.Data, "run", "control.lock")) != 0 {
		return nil
	}
	var config net.ListenConfig
	for _, own := range []struct {
		flag, address string
		check         func(net.Addr) error
	}{
		{"--api", o.API, func(net.Addr) error { return nil }},
		{"--metrics", o.Metrics, api.CheckPrivate},
	} {
		if own.address == "" {
			continue
		}
		listener, err := config.Listen(ctx, "tcp", own.address)
		if err != nil {
			return springtide.Errorf(springtide.Conflict, "cannot listen on %s: %w", own.address, err).WithHint("choose another address with %s", own.flag)
		}
		err = own.check(listener.Addr())
		listener.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// checkBackups tries what is said of backups, and hands it to the control plane.
func checkBackups(o cli.ServeOptions) error {
	if backup.Restoring(o.Data) {
		return springtide.Errorf(springtide.Conflict, "%s is being restored, and not all of it is back", o.Data).
			WithHint("finish it with `tide restore`, or remove the folder")
	}
	if o.BackupTarget != "" {
		if err := os.Setenv(backupVariable+"TARGET", o.BackupTarget); err != nil {
			return err
		}
	}
	return backupTarget().Check()
}

// checkJobs tries what is said of jobs. The ledger's location may hold a
// password: it reaches the control plane by the environment, since everybody
// sees arguments.
func checkJobs(o cli.ServeOptions) error {
	if _, err := networks("--allow-calls", o.AllowCalls); err != nil || o.Ledger == "" {
		return err
	}
	if err := checkPostgres("--ledger", o.Ledger); err != nil {
		return err
	}
	return os.Setenv(ledgerVariable, o.Ledger)
}

// checkStore tries where the platform's own state is kept. A server that is away
// is waited for; one that does not let us in, or that a newer tide has used, ends
// `tide serve` at once.
func checkStore(ctx context.Context, o cli.ServeOptions) error {
	o.Store = cmp.Or(o.Store, os.Getenv(storeVariable))
	if o.Store == "" {
		return nil
	}
	if err := checkPostgres("--store", o.Store); err != nil {
		return err
	}
	if err := control.CheckStore(ctx, o.Store); err != nil {
		return err
	}
	return os.Setenv(storeVariable, o.Store)
}

func checkPostgres(flag, location string) error {
	if !strings.HasPrefix(location, "postgres://") && !strings.HasPrefix(location, "postgresql://") {
		return springtide.Errorf(springtide.Invalid, "%s is not a PostgreSQL URL", flag).WithHint("write it like postgres://tide@db.example.com/tide")
	}
	return nil
}

// checkEdge tries what is said of the edges.
func checkEdge(o cli.ServeOptions) error {
	_, err := networks("--trusted-proxy", o.TrustedProxies)
	switch {
	case err != nil:
		return err
	case o.ProxyProtocol && len(o.TrustedProxies) == 0:
		return springtide.Errorf(springtide.Invalid, "--proxy-protocol: nobody is trusted to speak it").WithHint("name the proxies: --trusted-proxy 10.1.0.0/16")
	case o.MaxConnectionsPerAddress < 0:
		return springtide.Errorf(springtide.Invalid, "--max-connections-per-address %d is negative", o.MaxConnectionsPerAddress)
	case o.RefuseFloods < 0:
		return springtide.Errorf(springtide.Invalid, "--refuse-floods %s is negative", o.RefuseFloods).WithHint("0 refuses nobody")
	case o.CacheMemory < 0 || o.CacheDisk < 0:
		return springtide.Errorf(springtide.Invalid, "the cache cannot keep less than nothing: --cache-memory %d, --cache-disk %d", o.CacheMemory, o.CacheDisk)
	}
	return nil
}

// edgeArguments are the edges' settings as flags of `tide serve` and `tide edge`.
func edgeArguments(o cli.ServeOptions) []string {
	list := []string{
		"--max-connections-per-address", strconv.Itoa(o.MaxConnectionsPerAddress), "--refuse-floods", o.RefuseFloods.String(),
		"--cache-memory", strconv.Itoa(o.CacheMemory), "--cache-disk", strconv.Itoa(o.CacheDisk),
	}
	for _, network := range o.TrustedProxies {
		list = append(list, "--trusted-proxy", network)
	}
	if o.ProxyProtocol {
		list = append(list, "--proxy-protocol")
	}
	return list
}

// arguments are the platform's settings as flags of `tide serve` and `tide control`.
func arguments(o cli.ServeOptions) []string {
	list := []string{"--log-level", o.LogLevel.String()}
	for _, address := range o.HTTPS {
		list = append(list, "--https", address)
	}
	for _, address := range o.HTTP {
		list = append(list, "--http", address)
	}
	if o.API != "" {
		list = append(list, "--api", o.API)
	}
	if o.Metrics != "" {
		list = append(list, "--metrics", o.Metrics)
	}
	for _, network := range o.AllowCalls {
		list = append(list, "--allow-calls", network)
	}
	return append(list, elsewhereArguments(o)...)
}

// followOwner calls end when the process that wanted the platform is gone. It
// gives the pipe that tells so, if there is one.
func followOwner(end func()) ([]*os.File, error) {
	text := os.Getenv(ownerVariable)
	if text == "" {
		return nil, nil
	}
	descriptor, err := strconv.Atoi(text)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "%s=%s is not a file descriptor", ownerVariable, text)
	}
	syscall.CloseOnExec(descriptor)
	owner := os.NewFile(uintptr(descriptor), "owner")
	go func() {
		_, _ = io.Copy(io.Discard, owner) // nothing is written; it ends with its writer
		end()
	}()
	return []*os.File{owner}, nil
}

// drain asks the control plane to let go of every instance.
func drain(ctx context.Context, data string) error {
	c, err := client.New(client.Options{Data: data})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Drain(ctx)
}

// serveApart runs `tide serve` as a process that ends when this one does,
// however that comes about.
func serveApart(ctx context.Context, o cli.ServeOptions, executable string) error {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ours.Close()
	command := exec.Command(executable, slices.Concat([]string{"serve", "--json", "--data", o.Data}, arguments(o), edgeArguments(o))...)
	command.Env = append(os.Environ(), ownerVariable+"=3")
	command.Stderr = o.Output
	command.ExtraFiles = []*os.File{theirs}
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C is ours to pass on
	if !o.HTTP3 {
		command.Args = append(command.Args, "--http3=false")
	}
	err = command.Start()
	theirs.Close()
	if err != nil {
		return err
	}
	var result error
	ended := make(chan struct{})
	go func() {
		result = command.Wait()
		close(ended)
	}()
	if err := await(ctx, o, ended); err != nil {
		ours.Close()
		<-ended
		return err
	}
	if o.Ready != nil {
		o.Ready()
	}
	select {
	case <-ended:
		return result
	case <-ctx.Done():
	}
	ours.Close()
	for {
		select {
		case <-ended:
			return result
		case <-o.Force:
			if err := command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return err
			}
		}
	}
}

// await returns when the platform serves, or says why it does not.
func await(ctx context.Context, o cli.ServeOptions, ended <-chan struct{}) error {
	c, err := client.New(client.Options{Data: o.Data})
	if err != nil {
		return err
	}
	defer c.Close()
	limited, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		if status, err := c.Status(limited); err == nil && len(status.Edges) > 0 {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ended:
			return startFailure(o.Output.Name())
		case <-limited.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return springtide.Errorf(springtide.Unavailable, "the platform did not come up within %s", startLimit).WithHint("see %s", o.Output.Name())
		}
	}
}

// startFailure says what `tide serve` said before it ended.
func startFailure(log string) error {
	failure := springtide.Errorf(springtide.Failed, "the platform did not start").WithHint("see %s", log)
	text, err := os.ReadFile(log)
	if err != nil {
		return failure
	}
	for line := range strings.Lines(string(text)) {
		var said struct{ Error *springtide.Error }
		if json.Unmarshal([]byte(line), &said) == nil && said.Error != nil {
			failure = said.Error // the last one is of this start
		}
	}
	return failure
}
