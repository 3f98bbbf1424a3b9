package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// progress shows the events of a deploy as they come: lines of the build as they
// are, steps with the seconds since it was asked for.
type progress struct {
	session *session
	started time.Time
}

func newProgress(s *session, started time.Time) *progress {
	return &progress{session: s, started: started}
}

func (p *progress) event(e springtide.Event) {
	s := p.session
	if s.json {
		_ = s.printJSONLine(e) // stdout may be closed: the last line tells
		return
	}
	if s.quiet {
		return
	}
	switch e.Kind {
	case "build.line", "release.line":
		name, _, _ := strings.Cut(e.Kind, ".")
		fmt.Fprintf(s.stdout, "%s %s\n", s.colours.dim(fmt.Sprintf("%9s |", name)), printable(e.Message))
	case "deploy.done", "deploy.failed": // the last line says it
	default:
		at := fmt.Sprintf("%9s  ", seconds(max(0, e.Time.Sub(p.started).Seconds())))
		fmt.Fprintf(s.stdout, "%s%s\n", s.colours.dim(at), printable(e.Message))
	}
}

// printableLines is what may be shown of a text of several lines.
func printableLines(text string) string {
	var clean []string
	for line := range strings.Lines(text) {
		clean = append(clean, printable(strings.TrimRight(line, "\r\n")))
	}
	return strings.Join(clean, "\n")
}

// printable lets through what a terminal may be shown of other people's output:
// text, tabs and colours, but nothing that moves the cursor or worse.
func printable(text string) string {
	var clean strings.Builder
	for i := 0; i < len(text); {
		if n := colourSequence(text[i:]); n > 0 {
			clean.WriteString(text[i : i+n])
			i += n
			continue
		}
		if c := text[i]; c >= ' ' && c != 0x7f || c == '\t' {
			clean.WriteByte(c)
		}
		i++
	}
	if strings.Contains(clean.String(), "\x1b[") {
		clean.WriteString("\x1b[0m")
	}
	return clean.String()
}

// colourSequence gives the length of the "\x1b[…m" that text begins with; 0 if
// it does not.
func colourSequence(text string) int {
	if !strings.HasPrefix(text, "\x1b[") {
		return 0
	}
	for i := 2; i < len(text); i++ {
		switch c := text[i]; {
		case c == 'm':
			return i + 1
		case c != ';' && (c < '0' || c > '9'):
			return 0
		}
	}
	return 0
}
