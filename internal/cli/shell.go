package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

func (s *session) shell() *cobra.Command {
	command := &cobra.Command{
		Use:   "shell [INSTANCE] [-- COMMAND [ARGUMENT]...]",
		Short: "Open a terminal in an instance; what it shows is recorded",
		Long: `Open a terminal in an instance, by default in a ready one of web. What it shows is
recorded on the server, in the folder shells of its data.`,
		RunE: func(c *cobra.Command, args []string) error {
			var instance string
			dash := c.ArgsLenAtDash()
			if dash < 0 {
				dash = len(args)
			}
			if dash > 1 {
				return springtide.Errorf(springtide.Invalid, "%q: one instance at a time", args[1]).WithHint("a command comes behind --")
			}
			if dash == 1 {
				instance = args[0]
			}
			return s.openShell(c.Context(), springtide.InstanceID(instance), args[dash:])
		},
	}
	return command
}

func (s *session) openShell(ctx context.Context, instance springtide.InstanceID, command []string) error {
	c, id, err := s.target()
	if err != nil {
		return err
	}
	if instance == "" {
		if instance, err = anyInstance(ctx, c, id); err != nil {
			return err
		}
	}
	return s.openTerminal(ctx, c, client.ShellRequest{Environment: id, Instance: instance, Command: command, Terminal: s.getenv("TERM")})
}

// openTerminal joins this terminal, if it is one, to that of a command.
func (s *session) openTerminal(ctx context.Context, c *client.Client, request client.ShellRequest) error {
	keyboard, ok := s.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(keyboard.Fd())) {
		request.Pipes = request.Service != "" // like a dump, which no terminal would take
		return s.talk(ctx, c, request, func(*client.Shell) {})
	}
	request.Size = terminalSize(keyboard)
	before, err := term.MakeRaw(int(keyboard.Fd()))
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(int(keyboard.Fd()), before) }()
	return s.talk(ctx, c, request, func(shell *client.Shell) { followSize(ctx, keyboard, shell) })
}

// anyInstance gives a ready instance, of web if there is one.
func anyInstance(ctx context.Context, c *client.Client, id springtide.EnvironmentID) (springtide.InstanceID, error) {
	instances, err := c.Instances(ctx, id)
	if err != nil {
		return "", err
	}
	var found springtide.InstanceID
	for _, i := range instances {
		if i.State != springtide.InstanceReady {
			continue
		}
		if i.Group.Process == springtide.Web {
			return i.ID, nil
		}
		found = i.ID
	}
	if found == "" {
		return "", springtide.Errorf(springtide.Conflict, "%s has no ready instance", id).WithHint("`tide ps` shows what there is; name one to look into it all the same")
	}
	return found, nil
}

// talk joins this terminal with the shell until the shell ends.
func (s *session) talk(ctx context.Context, c *client.Client, request client.ShellRequest, opened func(*client.Shell)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	shell, err := c.OpenShell(ctx, request)
	if err != nil {
		return err
	}
	defer shell.Close()
	opened(shell)
	go s.typeInto(ctx, shell, request.Pipes) // ends with the process, or with the shell at the next key
	if _, err := io.Copy(s.stdout, shell); err != nil {
		return err
	}
	if code := shell.ExitCode(); code != 0 {
		return exitError{code}
	}
	return nil
}

// endOfTransmission is Ctrl-D.
const endOfTransmission = "\x04"

// typeInto passes on what comes in, until ctx ends. If the other end is a
// terminal, that nothing more comes has to be typed, and again if a program that
// was just setting the terminal up lost it.
func (s *session) typeInto(ctx context.Context, shell *client.Shell, pipes bool) {
	_, err := io.Copy(shell, s.stdin)
	if err == nil && pipes {
		_ = shell.End() // what failed is found by who reads
		return
	}
	for err == nil {
		_, err = io.WriteString(shell, endOfTransmission)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

func terminalSize(keyboard *os.File) api.TerminalSize {
	columns, rows, err := term.GetSize(int(keyboard.Fd()))
	if err != nil {
		return api.TerminalSize{}
	}
	return api.TerminalSize{Rows: uint16(rows), Columns: uint16(columns)}
}

// followSize tells the shell when the window changes, until ctx ends.
func followSize(ctx context.Context, keyboard *os.File, shell *client.Shell) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		defer signal.Stop(changed)
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				if shell.Resize(terminalSize(keyboard)) != nil {
					return
				}
			}
		}
	}()
}
