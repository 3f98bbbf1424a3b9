package control

import (
	"context"
	"os/exec"
	"strings"

	"github.com/springtide/springtide"
)

// shells implements api.Shells.
type shells struct{ engine hosting }

// Shell implements api.Shells.
func (s shells) Shell(_ context.Context, id springtide.InstanceID, command []string) (*exec.Cmd, error) {
	return s.engine.ShellCommand(id, quote(command))
}

// quote makes one line for sh of a command's words.
func quote(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}
