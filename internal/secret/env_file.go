package secret

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/springtide/springtide"
)

// importLimit is how large a file of secrets may be, in bytes.
const importLimit = 4 << 20

// ImportEnv reads a .env file: a NAME=value on each line, "export" before it if
// need be. A value in double quotes may go over several lines and have \n, \r,
// \t, \", \$ and \\ in it; one in single quotes is taken as it is; one without
// quotes ends before " #". Nothing is expanded. Errors are of kind Invalid and say
// in which line.
func ImportEnv(from io.Reader) (map[springtide.SecretName][]byte, error) {
	text, err := readFile(from)
	if err != nil {
		return nil, err
	}
	p := envParser{rest: text, line: 1}
	values, lines := map[springtide.SecretName][]byte{}, map[springtide.SecretName]int{}
	for p.skip() {
		line := p.line
		name, value, err := p.assignment()
		if err != nil {
			return nil, err
		}
		if lines[name] != 0 {
			return nil, springtide.Errorf(springtide.Invalid, "line %d: %s is set in line %d already", line, name, lines[name])
		}
		values[name], lines[name] = value, line
	}
	return values, nil
}

// readFile reads all of a file, without a mark at its beginning and with plain
// line feeds.
func readFile(from io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(from, importLimit+1))
	if err != nil {
		return nil, err
	}
	if len(text) > importLimit {
		return nil, springtide.Errorf(springtide.Invalid, "the file has more than %d MiB", importLimit>>20)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), nil
}

type envParser struct {
	rest []byte
	line int
}

func (p *envParser) wrong(line int, format string, args ...any) error {
	return springtide.Errorf(springtide.Invalid, "line %d: "+format, append([]any{line}, args...)...)
}

// take gives the next so many bytes.
func (p *envParser) take(n int) []byte {
	taken := p.rest[:n]
	p.rest, p.line = p.rest[n:], p.line+bytes.Count(taken, []byte("\n"))
	return taken
}

// lineEnd is how many bytes come before the end of the line.
func (p *envParser) lineEnd() int {
	if end := bytes.IndexByte(p.rest, '\n'); end >= 0 {
		return end
	}
	return len(p.rest)
}

// skip goes to the next assignment and reports whether there is one.
func (p *envParser) skip() bool {
	for {
		p.take(len(p.rest) - len(bytes.TrimLeft(p.rest, " \t\n")))
		if len(p.rest) == 0 || p.rest[0] != '#' {
			return len(p.rest) > 0
		}
		p.take(p.lineEnd())
	}
}

func (p *envParser) assignment() (springtide.SecretName, []byte, error) {
	line := p.line
	before, _, found := bytes.Cut(p.rest[:p.lineEnd()], []byte("="))
	if !found {
		return "", nil, p.wrong(line, "there is no = in it")
	}
	p.take(len(before) + 1)
	word := strings.TrimSpace(string(before))
	if exported, ok := strings.CutPrefix(word, "export"); ok && strings.TrimLeft(exported, " \t") != exported {
		word = strings.TrimSpace(exported)
	}
	name := springtide.SecretName(word)
	if err := CheckName(name); err != nil {
		return "", nil, p.wrong(line, "%w", err)
	}
	p.take(len(p.rest) - len(bytes.TrimLeft(p.rest, " \t")))
	var value []byte
	var err error
	switch {
	case len(p.rest) > 0 && p.rest[0] == '"':
		value, err = p.doubleQuoted()
	case len(p.rest) > 0 && p.rest[0] == '\'':
		value, err = p.singleQuoted()
	default:
		return name, p.plain(), nil
	}
	if err != nil {
		return "", nil, err
	}
	if after := strings.TrimSpace(string(p.take(p.lineEnd()))); after != "" && after[0] != '#' {
		return "", nil, p.wrong(p.line, "there is something after the closing quote of %s", name)
	}
	return name, value, nil
}

// plain reads a value without quotes.
func (p *envParser) plain() []byte {
	value := p.take(p.lineEnd())
	for n := range value {
		if value[n] == '#' && (n == 0 || value[n-1] == ' ' || value[n-1] == '\t') {
			value = value[:n]
			break
		}
	}
	return bytes.Clone(bytes.TrimSpace(value))
}

func (p *envParser) singleQuoted() ([]byte, error) {
	line := p.line
	end := bytes.IndexByte(p.rest[1:], '\'')
	if end < 0 {
		return nil, p.wrong(line, "the quote ' is not closed")
	}
	return bytes.Clone(p.take(end + 2)[1 : end+1]), nil
}

func (p *envParser) doubleQuoted() ([]byte, error) {
	value := []byte{}
	for n := 1; n < len(p.rest); n++ {
		switch c := p.rest[n]; {
		case c == '"':
			p.take(n + 1)
			return value, nil
		case c == '\\' && n+1 < len(p.rest):
			n++
			value = append(value, unescaped(p.rest[n])...)
		default:
			value = append(value, c)
		}
	}
	return nil, p.wrong(p.line, `the quote " is not closed`)
}

// unescaped gives what a character after a backslash means.
func unescaped(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	case 't':
		return "\t"
	case '"', '\\', '$':
		return string(c)
	}
	return `\` + string([]byte{c})
}

// formatEnv writes what ImportEnv reads. A value with a zero byte is of kind
// Invalid.
func formatEnv(values map[springtide.SecretName][]byte) ([]byte, error) {
	escapes := strings.NewReplacer("\\", `\\`, `"`, `\"`, "$", `\$`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	var text []byte
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if bytes.IndexByte(values[name], 0) >= 0 {
			return nil, springtide.Errorf(springtide.Invalid, "%s has a zero byte in it: a .env file cannot hold it", name)
		}
		text = append(text, string(name)+`="`+escapes.Replace(string(values[name]))+"\"\n"...)
	}
	return text, nil
}
