package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/springtide/springtide"
)

// problemLimit is how many problems of one file are reported at a time.
const problemLimit = 20

// position is where something is written. A zero line means that it is not
// written anywhere, but was found or follows from something else.
type position struct {
	File         string
	Line, Column int
}

// String gives "tide.yaml:7:5", as far as it is known.
func (p position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// problem is one mistake in a manifest.
type problem struct {
	at   position
	text string
}

// problems collects mistakes, so that a user sees all of them at once.
type problems []problem

func (p *problems) add(at position, format string, args ...any) {
	*p = append(*p, problem{at, oneLine(fmt.Sprintf(format, args...))})
}

// oneLine keeps what a user wrote from breaking a message into lines.
func oneLine(s string) string {
	return strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ").Replace(s)
}

// about reports whether there is a problem with what a path names: what seems to
// be missing there may have been refused.
func (p problems) about(path string) bool {
	return slices.ContainsFunc(p, func(one problem) bool {
		_, after, found := strings.Cut(one.text, path)
		return found && (after == "" || !nameByte(after[0]))
	})
}

func nameByte(c byte) bool {
	return c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z'
}

// err gives one error for all problems in the order in which they are written;
// nil if there is none.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.at.File, b.at.File), cmp.Compare(a.at.Line, b.at.Line), cmp.Compare(a.at.Column, b.at.Column))
	})
	// An environment inherits what is wrong with the rest of the file.
	p = slices.Compact(p)
	lines := make([]string, 0, problemLimit+1)
	for i, one := range p {
		if i == problemLimit {
			lines = append(lines, fmt.Sprintf("%s: %d more problems", one.at.File, len(p)-i))
			break
		}
		lines = append(lines, one.at.String()+": "+one.text)
	}
	return springtide.Errorf(springtide.Invalid, "%s", strings.Join(lines, "\n"))
}

// didYouMean gives "; did you mean "command"?" for the known name nearest to the
// unknown one, and nothing if none is near.
func didYouMean(unknown string, known []string) string {
	best, distance := "", 1+max(1, min(3, len(unknown)/2))
	if len(unknown) > 40 {
		return ""
	}
	for _, name := range slices.Sorted(slices.Values(known)) {
		if d := levenshtein.ComputeDistance(strings.ToLower(unknown), name); d < distance {
			best, distance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}
