package build

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
)

// marker is the variable by which a build's processes are found, whatever
// session or process group they have moved to.
const marker = "TIDE_BUILD"

// PassedOn gives the variables of the platform's environment that say how to
// reach the network and its package registries.
func PassedOn() []string {
	return []string{
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO",
		"GOPROXY", "GONOSUMDB", "GOSUMDB", "GOPRIVATE", "PIP_INDEX_URL", "PIP_CERT", "NPM_CONFIG_REGISTRY",
	}
}

// run runs the build command until it and all that it started have ended.
func (b *Builder) run(ctx context.Context, request Request, place *place, who owner) error {
	timeout := request.App.Build.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	limited, cancel := context.WithTimeoutCause(ctx, timeout, errTooSlow)
	defer cancel()
	cmd, err := b.command(limited, request.App, place, who)
	if err != nil {
		return err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reader.Close()
	// Files, not writers of our own: Wait must not wait for who inherited them.
	cmd.Stdout, cmd.Stderr = writer, writer
	stop, err := b.options.Limiter.Start(cmd, "build-"+filepath.Base(place.folder), request.App.Build.Limits)
	writer.Close()
	if err != nil {
		return fmt.Errorf("start the build: %w", err)
	}
	yield(cmd.Process.Pid)
	lines := &lineLog{out: request.Output}
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines.readFrom(request.Hide.Reader(reader))
	}()
	err = cmd.Wait()
	outOfMemory := stop()
	evict(place.folder)
	// All writers are dead but in the strangest cases; on a machine that is busy
	// what they wrote takes a while to be read.
	_ = reader.SetReadDeadline(time.Now().Add(10 * time.Second))
	<-read
	switch {
	case ctx.Err() != nil:
		return cancelled(ctx)
	case err == nil:
		return nil
	case errors.Is(context.Cause(limited), errTooSlow):
		return failed(lines, "build timed out after %s", timeout).WithHint("make it faster, or raise build.timeout")
	case outOfMemory:
		return failed(lines, "build failed: it needed more memory than its limit of %d MiB", request.App.Build.Limits.Memory>>20).
			WithHint("raise build.limits.memory")
	}
	return b.explain(err, lines)
}

// errTooSlow is why a command is ended that takes longer than it may.
var errTooSlow = errors.New("build timed out")

// command prepares the build command, in a session of its own.
func (b *Builder) command(ctx context.Context, app springtide.App, place *place, who owner) (*exec.Cmd, error) {
	home, err := b.home(app.Name, who)
	if err == nil {
		err = makeFolder(place.temporary(), who)
	}
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", app.Build.Command)
	cmd.Dir = place.source()
	cmd.Env = b.environment(app, place, home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if who.other {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(who.uid), Gid: uint32(who.gid)}
	}
	return cmd, nil
}

// explain says how a command ended.
func (b *Builder) explain(err error, lines *lineLog) error {
	if left, statErr := free(b.options.Data); statErr == nil && left < fullBelow {
		full := failed(lines, "no space left in %s: build failed: %w", b.options.Data, err).WithHint(spaceHint)
		full.Kind = springtide.Unavailable
		return full
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return fmt.Errorf("wait for the build: %w", err)
	}
	switch exit.ExitCode() {
	case 127:
		return failed(lines, "build failed: a command was not found%s: %w", lines.said(), err).
			WithHint("install it on the machine that builds, or correct build.command")
	case 126:
		return failed(lines, "build failed: a command cannot be executed%s: %w", lines.said(), err).
			WithHint("chmod +x it, or correct build.command")
	}
	return failed(lines, "build failed: %w", err)
}

func failed(lines *lineLog, format string, args ...any) *springtide.Error {
	failure := springtide.Errorf(springtide.Failed, format, args...)
	failure.Lines = lines.last()
	return failure
}

// environment is all that the command sees; of the platform's own environment
// it is PATH and what Options.Pass names.
func (b *Builder) environment(app springtide.App, place *place, home string) []string {
	variables := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LANG": "C.UTF-8",
		// Compilers that would write the time into what they make write this
		// instead, so that the same source gives the same artifact. It is 1980: zip
		// knows no earlier time.
		"SOURCE_DATE_EPOCH": strconv.FormatInt(time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), 10),
	}
	for _, name := range append([]string{"PATH"}, b.options.Pass...) {
		if value, ok := os.LookupEnv(name); ok {
			variables[name] = value
		}
	}
	variables["HOME"] = home
	variables["TMPDIR"] = place.temporary()
	maps.Copy(variables, app.Build.Env)
	variables["TIDE_APP"] = string(app.Name)
	variables[marker] = place.folder
	var list []string
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		list = append(list, name+"="+variables[name])
	}
	return list
}

// home gives the command's $HOME: as root a folder of the app's own, with the
// caches of its package managers, else the user's.
func (b *Builder) home(app springtide.AppName, who owner) (string, error) {
	if os.Geteuid() != 0 {
		if home, err := os.UserHomeDir(); err == nil {
			return home, nil
		}
	}
	if err := openFolder(b.caches, 0o711); err != nil {
		return "", err
	}
	home := filepath.Join(b.caches, string(app))
	return home, makeFolder(home, who)
}

// makeFolder makes a folder that only its owner can enter.
func makeFolder(path string, who owner) error {
	if err := os.Mkdir(path, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	if who.other {
		return os.Lchown(path, who.uid, who.gid)
	}
	return nil
}

// yield makes the command, and all that it will start, give way to what serves:
// for the processor, the disk, and when memory runs out. It is an attempt: not
// every machine lets everybody do each of these.
func yield(pid int) {
	const (
		niceness          = 10
		ioWhoProcessGroup = 2
		ioBestEffortLast  = 2<<13 | 7
	)
	_ = unix.Setpriority(unix.PRIO_PGRP, pid, niceness)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioWhoProcessGroup, uintptr(pid), ioBestEffortLast)
	folder := "/proc/" + strconv.Itoa(pid)
	// Where the kernel weighs whole sessions, niceness counts only within one.
	_ = os.WriteFile(folder+"/autogroup", []byte(strconv.Itoa(niceness)), 0)
	_ = os.WriteFile(folder+"/oom_score_adj", []byte("500"), 0)
}
