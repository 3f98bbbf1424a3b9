package story

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// Output runs a command that has to succeed, and gives what it prints.
func Output(t testing.TB, command *exec.Cmd) string {
	t.Helper()
	var told strings.Builder
	command.Stderr = &told
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(command.Args, " "), err, output, told.String())
	}
	return string(output)
}

// Refused runs a command that has to fail with an exit code, and gives what it
// says.
func Refused(t testing.TB, command *exec.Cmd, code int) string {
	t.Helper()
	said, err := command.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != code {
		t.Errorf("%s: %v, want exit code %d\n%s", strings.Join(command.Args, " "), err, code, said)
	}
	return string(said)
}
