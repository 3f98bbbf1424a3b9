package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/redact"
)

// ShellCommand gives a command that runs where the instance runs: in its
// namespaces, as its user, in its folder, with its environment. Without a
// command it is an interactive shell. The caller connects its input and output
// and starts it.
func (e *Engine) ShellCommand(id springtide.InstanceID, command string) (*exec.Cmd, error) {
	e.mu.Lock()
	i := e.instances[id]
	pid := 0
	if i != nil {
		pid = i.view.PID
	}
	e.mu.Unlock()
	if i == nil {
		return nil, springtide.Errorf(springtide.NotFound, "there is no instance %s", id).WithHint("`tide ps` lists them")
	}
	if pid == 0 {
		return nil, springtide.Errorf(springtide.Unavailable, "instance %s does not run now", id)
	}
	s, err := i.folder.readSpec()
	if err != nil {
		return nil, err
	}
	if command == "" {
		// The foreground group it finds is outside of its PID namespace. bash copes
		// with that; dash fails to give it back and ends with a code of its own.
		command = `exec "$(command -v bash || command -v sh)" -i`
	}
	grant, err := e.grant(s)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), begunLimit)
	defer cancel()
	if awaitBegun(ctx, pid) != nil {
		return nil, springtide.Errorf(springtide.Unavailable, "instance %s has not begun yet", id)
	}
	return e.inside(context.Background(), s, pid, grant, command)
}

// begunLimit is how long a shell waits for an instance to begin.
const begunLimit = 10 * time.Second

// inside gives a command that runs in the namespaces of the init.
func (e *Engine) inside(ctx context.Context, s spec, pid int, grant Grant, command string) (*exec.Cmd, error) {
	var words []string
	if e.isolation.PIDNamespace {
		words = []string{"nsenter", "--target", strconv.Itoa(pid), "--pid", "--ipc", "--uts"}
		if e.isolation.MountNamespace {
			words = append(words, "--mount")
		}
		if e.isolation.Network == networkNamespace {
			words = append(words, "--net")
		}
		if e.isolation.UserNamespace {
			words = append(words, "--user", "--preserve-credentials")
		}
		if _, err := exec.LookPath("nsenter"); err != nil {
			return nil, springtide.Errorf(springtide.Failed, "nsenter is not installed").WithHint("install util-linux")
		}
	}
	if e.isolation.UserPerApp {
		user, err := e.user(s)
		if err != nil {
			return nil, err
		}
		id := strconv.Itoa(user)
		if len(words) > 0 {
			words = append(words, "--setuid", id, "--setgid", id)
		} else {
			words = []string{"setpriv", "--reuid", id, "--regid", id, "--clear-groups"}
		}
	}
	root := e.rootOf(s)
	words = append(words, "sh", "-c", `cd "$1" && eval "$2"`, "sh", root, command)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // Running what the user asks for is the purpose.
	cmd.Env = e.variables(s, grant)
	return cmd, nil
}

// runInside runs a health command.
func (e *Engine) runInside(ctx context.Context, s spec, pid int, command string) error {
	grant, err := e.grant(s)
	if err == nil {
		err = awaitBegun(ctx, pid)
	}
	if err != nil {
		return err
	}
	cmd, err := e.inside(ctx, s, pid, grant, command)
	if err != nil {
		return err
	}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	// All of it ends when the time is over, not only nsenter.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		last := strings.TrimSpace(string(redact.New(grant.Hide...).Text(output.Bytes())))
		if cut := strings.LastIndexByte(last, '\n'); cut >= 0 {
			last = last[cut+1:]
		}
		if last == "" {
			return fmt.Errorf("the health command ended with %w", failed)
		}
		return fmt.Errorf("the health command ended with %w: %s", failed, last[:min(len(last), 200)])
	}
	return err
}

// rootOf is the working directory of a process: the unpacked release, or its
// home where there is none.
func (e *Engine) rootOf(s spec) string {
	root := s.Group.Template.Root
	if s.Task != nil {
		root = s.Task.Template.Root
	}
	if root == "" {
		return e.folderOf(s).file(homeFolder)
	}
	return root
}
