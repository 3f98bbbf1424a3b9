package cron

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/springtide/springtide"
)

const (
	// crontabLimit and lineLimit are in bytes.
	crontabLimit = 1 << 20
	lineLimit    = 64 << 10
	// problemLimit is how many lines that cannot be read are told at a time.
	problemLimit = 20
)

// CrontabOptions say how a crontab file is to be read.
type CrontabOptions struct {
	// File names it in messages. Default: crontab.
	File string
	// System says that it has a column for the user, as /etc/crontab and the files
	// of /etc/cron.d have.
	System bool
	// Timezone is that of the machine which the file is from. Empty: UTC.
	Timezone string
}

// Crontab is what a crontab file asks for.
type Crontab struct {
	Entries []Entry
	// Warnings tell what does not carry over, in order of lines.
	Warnings []Warning
}

// Entry is a command of a crontab file with its times. [Parse] takes Cron and
// Timezone.
type Entry struct {
	Line           int
	Cron, Timezone string
	Command        string
	// Stdin is what cron gives the command on its standard input.
	Stdin string
	// User is who cron runs it as; empty: whose file it is.
	User string
	// Env are the variables that were set above it, without those that are cron's
	// own.
	Env map[string]string
}

// Warning tells what does not carry over.
type Warning struct {
	File string
	Line int
	Text string
}

// String gives "crontab:3: text".
func (w Warning) String() string { return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Text) }

// ReadCrontab reads a crontab file. Lines that cron itself would refuse are
// errors of kind Invalid, all in one; what has no like here, such as @reboot, is
// left out with a warning.
func ReadCrontab(from io.Reader, options CrontabOptions) (Crontab, error) {
	if options.File == "" {
		options.File = "crontab"
	}
	if _, err := LoadZone(options.Timezone); err != nil {
		return Crontab{}, err
	}
	r := crontabReader{options: options, timezone: options.Timezone, env: map[string]string{}, told: map[string]bool{}}
	limited := &io.LimitedReader{R: from, N: crontabLimit + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(nil, lineLimit)
	for lines.Scan() {
		r.number++
		r.line(strings.TrimSpace(lines.Text()))
	}
	switch err := lines.Err(); {
	case err != nil:
		return Crontab{}, springtide.Errorf(springtide.Invalid, "%s:%d: cannot be read: %w", options.File, r.number+1, err)
	case limited.N == 0:
		return Crontab{}, springtide.Errorf(springtide.Invalid, "%s is longer than %d bytes: it is no crontab", options.File, crontabLimit)
	case len(r.problems) > problemLimit:
		more := len(r.problems) - problemLimit
		r.problems = append(r.problems[:problemLimit], fmt.Sprintf("%s: %d more problems", options.File, more))
	}
	if len(r.problems) > 0 {
		return Crontab{}, springtide.Errorf(springtide.Invalid, "%s", strings.Join(r.problems, "\n"))
	}
	return r.crontab, nil
}

// crontabReader is a crontab file on the way.
type crontabReader struct {
	options  CrontabOptions
	crontab  Crontab
	problems []string
	number   int
	// timezone and env are what the lines so far have set.
	timezone string
	env      map[string]string
	// told are the warnings that were given: each is given once.
	told map[string]bool
}

func (r *crontabReader) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !r.told[text] {
		r.told[text] = true
		r.crontab.Warnings = append(r.crontab.Warnings, Warning{r.options.File, r.number, text})
	}
}

func (r *crontabReader) refuse(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf("%s:%d: ", r.options.File, r.number)+fmt.Sprintf(format, args...))
}

var (
	variableLine = regexp.MustCompile(`^("[A-Za-z_][A-Za-z0-9_]*"|'[A-Za-z_][A-Za-z0-9_]*'|[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)$`)
	// leadingWord is a word and what follows it.
	leadingWord = regexp.MustCompile(`^(\S+)\s*(.*)$`)
)

func (r *crontabReader) line(line string) {
	switch {
	case line == "" || line[0] == '#':
		return
	case !utf8.ValidString(line) || strings.ContainsFunc(line, func(c rune) bool { return c != '\t' && (c < ' ' || c == 0x7f) }):
		r.refuse("holds what is no text")
		return
	}
	if set := variableLine.FindStringSubmatch(line); set != nil {
		r.variable(strings.Trim(set[1], `"'`), unquote(set[2]))
		return
	}
	count, rest := len(fields), line
	if line[0] == '@' {
		count = 1
	}
	words := make([]string, 0, count+1)
	if r.options.System {
		count++
	}
	for len(words) < count {
		part := leadingWord.FindStringSubmatch(rest)
		if part == nil {
			break
		}
		words, rest = append(words, part[1]), part[2]
	}
	r.entry(words, rest)
}

// entry takes a line of times, and the user in a system's file, before a command.
func (r *crontabReader) entry(words []string, rest string) {
	if strings.EqualFold(words[0], "@reboot") {
		_, err := Parse(words[0], "")
		r.warn("left out: %v", err)
		return
	}
	entry := Entry{Line: r.number, Timezone: r.timezone, Env: maps.Clone(r.env)}
	if r.options.System {
		entry.User = words[len(words)-1]
		words = words[:len(words)-1]
	}
	if rest == "" {
		r.refuse("want times and a command, like 0 8 * * * ./tidy-up")
		return
	}
	entry.Cron = strings.Join(words, " ")
	if _, err := Parse(entry.Cron, entry.Timezone); err != nil {
		r.refuse("%v", err)
		return
	}
	if entry.Command, entry.Stdin = splitStdin(rest); entry.Command == "" {
		r.refuse("there is no command before the %%")
		return
	}
	if entry.User != "" {
		r.warn("the user %s does not carry over: commands run as the app does", entry.User)
	}
	if entry.Timezone == "" {
		r.warn("the times are taken for UTC; cron takes them for those of its machine")
	}
	r.crontab.Entries = append(r.crontab.Entries, entry)
}

// variable takes a line that sets a variable for those below it.
func (r *crontabReader) variable(name, value string) {
	switch name {
	case "CRON_TZ":
		if _, err := LoadZone(value); err != nil {
			r.refuse("%s: %v", name, err)
			return
		}
		r.timezone = value
	case "MAILTO", "MAILFROM":
		if value != "" {
			r.warn("%s does not carry over: output is not mailed; see `tide jobs logs`", name)
		}
	case "SHELL":
		if value != "/bin/sh" && value != "sh" {
			r.warn("SHELL does not carry over: commands are run by sh; write %s -c '...' for what needs it", value)
		}
	case "PATH", "HOME", "LOGNAME", "USER":
		r.warn("%s does not carry over: commands have the app's", name)
	case "RANDOM_DELAY":
		r.warn("RANDOM_DELAY does not carry over: give the schedules a jitter")
	default:
		if name == "TZ" {
			r.warn("TZ is set for the commands and does not change their times, as in cron; set timezone if that was meant")
		}
		r.env[name] = value
	}
}

// unquote takes away the quotes around a value.
func unquote(value string) string {
	if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		return value[1 : n-1]
	}
	return value
}

// splitStdin divides a line at its first % that has no backslash before it: what
// follows is standard input, with a new line at each further one.
func splitStdin(line string) (command, stdin string) {
	var parts []string
	var part strings.Builder
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && i+1 < len(line) && line[i+1] == '%':
			i++
			part.WriteByte('%')
		case line[i] == '%':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(line[i])
		}
	}
	parts = append(parts, part.String())
	if len(parts) > 1 {
		stdin = strings.Join(parts[1:], "\n") + "\n"
	}
	return strings.TrimSpace(parts[0]), stdin
}
