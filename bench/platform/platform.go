// Package platform runs a real tide for end-to-end tests and benchmarks: the
// binary, with a data folder and ports of its own.
package platform

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

const (
	// startLimit is how long a platform may take to come up or to end.
	startLimit = 2 * time.Minute
	// remnantLimit is for how long something of it may still be there when it has ended.
	remnantLimit = 10 * time.Second
)

// Options say which tide is run.
type Options struct {
	// Tide is the binary. Needed.
	Tide string
	// Data is the data folder. Needed.
	Data string
	// Output takes what the platform logs. Default: nowhere.
	Output io.Writer
	// HTTPS and HTTP are addresses; default: free ports of 127.0.0.1.
	HTTPS, HTTP string
	// Arguments are further ones for `tide serve`.
	Arguments []string
	// User is whose platform it is, to whom the data folder belongs. nil: ours.
	User *syscall.Credential
}

// Platform is a tide that runs.
type Platform struct {
	Options
	Client *client.Client

	ended   chan struct{}
	command *exec.Cmd
	err     error
	// written is closed when nobody has the output any more.
	written chan struct{}
	// addresses stay ours while nobody listens on them, until nobody knows the platform.
	addresses []*Address
}

// Folder makes a temporary folder for a platform and what it works on. Others
// may pass through it: apps have users of their own.
func Folder(pattern string) (string, error) {
	folder, err := os.MkdirTemp("", pattern)
	if err != nil {
		return "", err
	}
	return folder, os.Chmod(folder, 0o755)
}

// Start runs `tide serve` and returns when it serves the API.
func Start(ctx context.Context, options Options) (*Platform, error) {
	var err error
	p := &Platform{Options: options}
	for _, address := range []*string{&p.HTTPS, &p.HTTP} {
		if *address != "" {
			continue
		}
		own, err := Reserve()
		if err != nil {
			return nil, err
		}
		*address, p.addresses = own.String(), append(p.addresses, own)
	}
	if p.Tide, err = filepath.Abs(options.Tide); err != nil {
		return nil, err
	}
	if p.Client, err = client.New(client.Options{Data: options.Data}); err != nil {
		return nil, err
	}
	if err := p.Serve(ctx); err != nil {
		_ = p.Stop() // why it did not come up says more than how it ended
		return nil, err
	}
	return p, nil
}

// Serve runs `tide serve`, again after it ended or was killed, and returns when
// the API answers.
func (p *Platform) Serve(ctx context.Context) error {
	arguments := append([]string{"serve", "--data", p.Data, "--https", p.HTTPS, "--http", p.HTTP}, p.Arguments...)
	p.command = exec.Command(p.Tide, arguments...)
	p.command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: p.User}
	if err := p.start(); err != nil {
		return err
	}
	p.ended = make(chan struct{})
	go func(command *exec.Cmd, ended chan struct{}) {
		p.err = command.Wait()
		close(ended)
	}(p.command, p.ended)
	return p.await(ctx)
}

// start runs the command. What survives it when it is killed keeps the output, which is
// copied by us and not by the command: that one would wait for it.
func (p *Platform) start() error {
	p.written = make(chan struct{})
	file, isFile := p.Output.(*os.File)
	if p.Output == nil || isFile {
		close(p.written)
		if isFile {
			p.command.Stdout, p.command.Stderr = file, file
		}
		return p.command.Start()
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	p.command.Stdout, p.command.Stderr = write, write
	err = p.command.Start()
	write.Close()
	go func(output io.Writer, written chan struct{}) {
		defer close(written)
		defer read.Close()
		_, _ = io.Copy(output, read)
	}(p.Output, p.written)
	return err
}

// await returns when the API answers.
func (p *Platform) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		status, err := p.Client.Status(ctx)
		if err == nil && len(status.Edges) > 0 && p.started(status.Processes.Control) {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("tide serve ended: %w", p.err)
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("tide serve did not come up: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// started says whether a process is a child of this `tide serve`, and not of one
// that was killed: what that one left behind answers for a moment.
func (p *Platform) started(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	return len(fields) > 1 && fields[1] == strconv.Itoa(p.command.Process.Pid)
}

// Supervisor is the PID of `tide serve`.
func (p *Platform) Supervisor() int { return p.command.Process.Pid }

// Command is the CLI on this platform.
func (p *Platform) Command(ctx context.Context, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, p.Tide, arguments...)
	command.Env = append(os.Environ(), "TIDE_DATA="+p.Data)
	return command
}

// CLI runs a command and gives what it printed; a failure carries stderr.
func (p *Platform) CLI(ctx context.Context, arguments ...string) (string, error) {
	var stdout, stderr strings.Builder
	command := p.Command(ctx, arguments...)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("tide %s: %w\n%s%s", strings.Join(arguments, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// CA gives the platform's own authority.
func (p *Platform) CA(ctx context.Context) (*x509.CertPool, error) {
	pem, err := p.Client.CertificateAuthority(ctx)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, errors.New("the platform's authority is not PEM")
	}
	return pool, nil
}

// Ready waits until an environment has exactly so many ready instances and no
// others, and gives them.
func (p *Platform) Ready(ctx context.Context, id springtide.EnvironmentID, n int) ([]springtide.Instance, error) {
	for {
		instances, err := p.Client.Instances(ctx, id)
		if err == nil && len(instances) == n && all(instances, springtide.InstanceReady) {
			return instances, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %d ready instances of %s, there are %v: %w", n, id, instances, errors.Join(ctx.Err(), err))
		}
	}
}

func all(instances []springtide.Instance, state springtide.InstanceState) bool {
	for _, instance := range instances {
		if instance.State != state {
			return false
		}
	}
	return true
}

// Status is what the platform says of itself.
func (p *Platform) Status(ctx context.Context) (api.Status, error) { return p.Client.Status(ctx) }

// Stop ends the platform as a service manager does and waits until it has ended.
func (p *Platform) Stop() error {
	if p.ended == nil {
		return nil // it never began
	}
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
	case <-time.After(startLimit):
		return fmt.Errorf("tide serve did not end within %s of SIGTERM", startLimit)
	}
	select {
	case <-p.written:
		return p.err
	case <-time.After(remnantLimit):
		return errors.Join(p.err, fmt.Errorf("something that tide serve started still runs %s after its end", remnantLimit))
	}
}

// Wait returns when `tide serve` has ended.
func (p *Platform) Wait() error {
	<-p.ended
	return p.err
}
