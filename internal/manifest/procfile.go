package manifest

import (
	"regexp"
	"strings"

	"github.com/springtide/springtide"
)

var procfileLine = regexp.MustCompile(`^([A-Za-z0-9_-]+)\s*:\s*(.*)$`)

// parseProcfile reads lines of "name: command". The one named release is the
// release command.
func parseProcfile(file string, data []byte) (*document, []Notice, problems) {
	data, found := checkText(file, data)
	if found != nil {
		return new(document), nil, found
	}
	written := &document{At: position{File: file}, Processes: map[name]*processSection{}}
	var notices []Notice
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		at := position{file, i + 1, 1}
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := procfileLine.FindStringSubmatch(line)
		if parts == nil {
			found.add(at, "want name: command, like web: ./server, got %q", shorten(line))
			continue
		}
		if parts[2] == "" {
			found.add(at, "%s has no command", parts[1])
			continue
		}
		run := setAt(command(parts[2]), at)
		if parts[1] == "release" {
			written.Release = run
			continue
		}
		process := asName(parts[1])
		if process == "" {
			found.add(at, "%q cannot be made a name; use letters, digits and hyphens", parts[1])
			continue
		}
		if string(process) != parts[1] {
			notices = append(notices, notice(at, "the process %s is named %s", parts[1], process))
		}
		if before := written.Processes[process]; before != nil {
			found.add(at, "there is a process %s already, in line %d", process, before.At.Line)
			continue
		}
		written.Processes[process] = &processSection{At: at, Command: run}
	}
	if len(written.Processes) == 0 && len(found) == 0 {
		found.add(position{File: file}, "names no process; write one a line, like %s: ./server", springtide.Web)
	}
	return written, notices, found
}
