package build

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

const (
	longestLine = 8 << 10
	linesTold   = 20
	lineCut     = " … (cut)"
)

// lineLog passes on what a command says, a line in each Write, and keeps the
// last lines.
type lineLog struct {
	out  io.Writer
	kept []string
}

// readFrom reads to the end. A line that is too long is cut.
func (l *lineLog) readFrom(r io.Reader) {
	lines := bufio.NewReaderSize(r, longestLine)
	for {
		line, err := lines.ReadSlice('\n')
		text := strings.TrimRight(string(line), "\r\n")
		cut := errors.Is(err, bufio.ErrBufferFull)
		if cut {
			text += lineCut
		}
		if len(line) > 0 {
			l.add(text)
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

func (l *lineLog) add(text string) {
	if len(l.kept) == linesTold {
		copy(l.kept, l.kept[1:])
		l.kept = l.kept[:linesTold-1]
	}
	l.kept = append(l.kept, strings.ToValidUTF8(text, "\uFFFD"))
	// Nobody may listen any more; the build goes on.
	_, _ = io.WriteString(l.out, text+"\n")
}

// last gives the last lines; none if nothing was said.
func (l *lineLog) last() []string { return l.kept }

// said gives the last line in a form to be put into a message.
func (l *lineLog) said() string {
	if len(l.kept) == 0 {
		return ""
	}
	return " (" + clip(l.kept[len(l.kept)-1]) + ")"
}
