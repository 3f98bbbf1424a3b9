package engine

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
)

// ExitReason says in words how a command ended: with a code, or by a signal that is
// not 0; for want of memory, where that is known.
func ExitReason(code, signal int, outOfMemory bool, limits springtide.Limits, command string) string {
	switch {
	case outOfMemory && (code != 0 || signal != 0):
		return MemoryReason(limits)
	case signal != 0:
		return "killed by " + unix.SignalName(unix.Signal(signal))
	case code == 127:
		return "command not found: " + program(command)
	case code == 126:
		return "not executable: " + program(command)
	}
	return fmt.Sprintf("exit status %d", code)
}

// MemoryReason says that something was killed for want of memory.
func MemoryReason(limits springtide.Limits) string {
	if limits.Memory == 0 {
		return "killed: out of memory"
	}
	return fmt.Sprintf("killed: out of memory (limit %s)", Size(limits.Memory))
}

// Size puts a number of bytes into words.
func Size(bytes int64) string {
	if bytes%(1<<30) == 0 {
		return fmt.Sprintf("%d GiB", bytes>>30)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

// program gives the word of a command line that names the program, as far as
// that can be told without being a shell.
func program(command string) string {
	for word := range strings.FieldsSeq(command) {
		if name, _, assigned := strings.Cut(word, "="); word != "exec" && !(assigned && !strings.ContainsAny(name, "/.")) {
			return word
		}
	}
	return command
}
