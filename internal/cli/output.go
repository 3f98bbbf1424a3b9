package cli

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"github.com/springtide/springtide"
)

// print writes a line of plain text.
func (s *session) print(format string, args ...any) error {
	_, err := fmt.Fprintf(s.stdout, format+"\n", args...)
	return err
}

// tell writes a line of progress to stderr, unless it is not wanted.
func (s *session) tell(format string, args ...any) {
	if !s.quiet && !s.json {
		fmt.Fprintf(s.stderr, format+"\n", args...)
	}
}

// printJSON writes one object, indented for people.
func (s *session) printJSON(value any) error {
	encoder := json.NewEncoder(s.stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// printJSONLine writes one object on one line.
func (s *session) printJSONLine(value any) error {
	encoder := json.NewEncoder(s.stdout)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// printList writes a list: as JSON, or as a table with a row for each element,
// or what there is to say when it is empty.
func printList[T any](s *session, list []T, empty, header string, row func(T) []string) error {
	if s.json {
		if list == nil {
			list = []T{}
		}
		return s.printJSON(list)
	}
	if len(list) == 0 {
		s.tell("%s", empty)
		return nil
	}
	rows := [][]string{strings.Split(header, "|")}
	for _, element := range list {
		rows = append(rows, row(element))
	}
	return table(s.stdout, rows)
}

// table aligns columns by spaces.
func table(w io.Writer, rows [][]string) error {
	var text strings.Builder
	writer := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = oneLine(row[i])
		}
		fmt.Fprintln(writer, strings.Join(row, "\t"))
	}
	if err := writer.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// oneLine makes text safe for a table or a terminal: no control characters.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

// printError writes an error with its hint and its last lines.
func (s *session) printError(e *springtide.Error) {
	if s.json {
		_ = json.NewEncoder(s.stderr).Encode(map[string]*springtide.Error{"error": e}) // stderr may be closed: nothing to be done
		return
	}
	fmt.Fprintf(s.stderr, "error: %s\n", e.Message)
	if e.Hint != "" {
		fmt.Fprintf(s.stderr, "hint: %s\n", e.Hint)
	}
	if len(e.Lines) > 0 {
		fmt.Fprintln(s.stderr, "last lines:")
	}
	for _, line := range e.Lines {
		fmt.Fprintf(s.stderr, "  %s\n", strings.TrimRight(line, "\n"))
	}
}

// colours paints text, or leaves it as it is.
type colours bool

// coloursOf paints only on terminals, and not where NO_COLOR is set.
func coloursOf(w io.Writer, getenv func(string) string) colours {
	return colours(isTerminal(w) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb")
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

func (c colours) paint(code, text string) string {
	if !c || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (c colours) bold(text string) string  { return c.paint("1", text) }
func (c colours) dim(text string) string   { return c.paint("2", text) }
func (c colours) red(text string) string   { return c.paint("31", text) }
func (c colours) green(text string) string { return c.paint("32", text) }

// named paints text in a colour that is always the same for a name.
func (c colours) named(name, text string) string {
	hash := fnv.New32a()
	hash.Write([]byte(name))
	palette := []string{"36", "33", "35", "34", "32", "96", "93", "95", "94", "92"}
	return c.paint(palette[hash.Sum32()%uint32(len(palette))], text)
}

// state paints the state of an instance.
func (c colours) state(state springtide.InstanceState) string {
	switch state {
	case springtide.InstanceReady:
		return c.green(string(state))
	case springtide.InstanceCrashed, springtide.InstanceUnhealthy:
		return c.red(string(state))
	default:
		return c.dim(string(state))
	}
}
