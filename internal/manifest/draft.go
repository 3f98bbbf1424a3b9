package manifest

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/springtide/springtide"
)

// Draft is a manifest that was made of what a folder has.
type Draft struct {
	// From is what it was made of: "Procfile", "go.mod".
	From string
	// Found says what was found and concluded, a sentence each.
	Found []string
	// Notices say what was found and will not be carried out.
	Notices []Notice

	document *document
	// comments explain keys, by path; they may have several lines.
	comments map[string]string
}

// Manifest gives the draft as if it had been written and read.
func (d Draft) Manifest() (*Manifest, error) { return Parse(FileName, d.YAML()) }

// comment explains the key at a path.
func (d *Draft) comment(path, format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if before := d.comments[path]; before != "" {
		line = before + "\n" + line
	}
	if d.comments == nil {
		d.comments = map[string]string{}
	}
	d.comments[path] = line
}

// found records a fact.
func (d *Draft) found(format string, args ...any) {
	d.Found = append(d.Found, fmt.Sprintf(format, args...))
}

// YAML gives the draft as a tide.yaml with comments.
func (d Draft) YAML() []byte {
	w := yamlWriter{comments: d.comments}
	w.comment(0, "The manifest of this app, written by `tide init` from "+d.From+".")
	for _, line := range d.Found {
		w.comment(0, "Found: "+line)
	}
	for _, n := range d.Notices {
		w.comment(0, "Note: "+n.String())
	}
	w.section(reflect.ValueOf(d.document).Elem(), "", 0)
	return w.out.Bytes()
}

// yamlWriter writes a document.
type yamlWriter struct {
	out      bytes.Buffer
	comments map[string]string
}

func (w *yamlWriter) comment(depth int, lines string) {
	for line := range strings.SplitSeq(lines, "\n") {
		line = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return ' '
			}
			return r
		}, line)
		fmt.Fprintf(&w.out, "%s# %s\n", strings.Repeat("  ", depth), strings.ToValidUTF8(line, "?"))
	}
}

// key begins a line, below its comment.
func (w *yamlWriter) key(depth int, path, key string) {
	if depth == 0 {
		w.out.WriteByte('\n')
	}
	if comment := w.comments[path]; comment != "" {
		w.comment(depth, comment)
	}
	fmt.Fprintf(&w.out, "%s%s:", strings.Repeat("  ", depth), key)
}

func (w *yamlWriter) section(section reflect.Value, path string, depth int) {
	for _, f := range fieldsOf(section) {
		w.value(f.value, join(path, f.key), f.key, depth)
	}
}

// value writes a key with its value; nothing if it is not set.
func (w *yamlWriter) value(value reflect.Value, path, key string, depth int) {
	if scalar, ok := reflect.TypeAssert[scalarField](value.Addr()); ok {
		if scalar.isSet() {
			w.key(depth, path, key)
			w.out.WriteString(" " + written(scalar.scalar()) + "\n")
		}
		return
	}
	switch value.Kind() {
	case reflect.Pointer:
		if !value.IsNil() {
			w.key(depth, path, key)
			w.out.WriteByte('\n')
			w.section(value.Elem(), path, depth+1)
		}
	case reflect.Map:
		if value.Len() == 0 {
			return
		}
		w.key(depth, path, key)
		w.out.WriteByte('\n')
		keys := value.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return webFirst(a.String(), b.String()) })
		for _, k := range keys {
			element := reflect.New(value.Type().Elem()).Elem()
			element.Set(value.MapIndex(k))
			w.value(element, join(path, k.String()), quoteYAML(k.String()), depth+1)
		}
	case reflect.Slice:
		if value.IsNil() {
			return
		}
		w.key(depth, path, key)
		items := make([]string, value.Len())
		for i := range items {
			items[i] = written(value.Index(i).Addr().Interface().(scalarField).scalar())
		}
		fmt.Fprintf(&w.out, " [%s]\n", strings.Join(items, ", "))
	}
}

// webFirst orders processes as a reader expects them.
func webFirst(a, b string) int {
	switch web := string(springtide.Web); {
	case a == b:
		return 0
	case a == web:
		return -1
	case b == web:
		return 1
	}
	return strings.Compare(a, b)
}

func written(value scalar) string {
	text, bare := value.write()
	if bare {
		return text
	}
	return quoteYAML(text)
}

// plainYAML is text that YAML reads as itself and as nothing but text.
var plainYAML = regexp.MustCompile(`^[A-Za-z./_]([A-Za-z0-9 ./_=+@$()&;|-]|:[A-Za-z0-9./_$])*$`)

// singleYAML is text that reads best in single quotes.
var singleYAML = regexp.MustCompile(`^[ -&(-~]*"[ -&(-~]*$`)

// reservedYAML are words that some reader of YAML takes for something else.
var reservedYAML = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|y|n|null|~|\.(inf|nan))$`)

// numberYAML begins what could be read as a number.
var numberYAML = regexp.MustCompile(`^\.?[0-9]`)

func quoteYAML(s string) string {
	if plainYAML.MatchString(s) && !reservedYAML.MatchString(s) && !numberYAML.MatchString(s) && s == strings.TrimSpace(s) {
		return s
	}
	if singleYAML.MatchString(s) {
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"', r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// merge adds what is set in the other document.
func (d *document) merge(other *document) {
	overlay(reflect.ValueOf(d).Elem(), reflect.ValueOf(other).Elem())
}

// convert makes a draft of a Procfile, a compose file or an app.json, whichever
// is found first.
func convert(source source) (draft Draft, found bool, err error) {
	for _, file := range slices.Concat([]string{procfileName}, composeNames(), []string{appJSONName}) {
		data, here, err := source.read(file)
		if err != nil {
			return Draft{}, false, err
		}
		if here {
			draft, err := convertFile(source, file, data)
			return draft, err == nil, err
		}
	}
	return Draft{}, false, nil
}

func convertFile(source source, file string, data []byte) (Draft, error) {
	read := parseCompose
	switch file {
	case procfileName:
		read = parseProcfile
	case appJSONName:
		read = parseAppJSON
	}
	document, notices, problems := read(file, data)
	draft := Draft{From: file, document: document, Notices: notices, comments: map[string]string{}}
	if file == procfileName {
		beside, here, err := source.read(appJSONName)
		if err != nil {
			return Draft{}, err
		}
		if here {
			problems = append(problems, draft.addAppJSON(beside)...)
		}
	}
	if err := problems.err(); err != nil {
		return Draft{}, err
	}
	if !document.App.IsSet {
		document.App = setTo(source.name)
	}
	language, known := detectLanguage(source)
	if file == appJSONName {
		return draft, draft.addProcesses(language, known)
	}
	if known {
		draft.addBuild(language)
	}
	return draft, nil
}

// addAppJSON adds what app.json says to what the Procfile says.
func (d *Draft) addAppJSON(data []byte) problems {
	beside, notices, found := parseAppJSON(appJSONName, data)
	d.From += " and " + appJSONName
	d.Notices = append(d.Notices, notices...)
	for _, process := range sortedKeys(beside.Processes) {
		if d.document.Processes[process] == nil {
			found.add(beside.Processes[process].At, "formation: the %s has no process %s", procfileName, process)
			delete(beside.Processes, process)
		}
	}
	at := d.document.At
	d.document.merge(beside)
	d.document.At = at
	return found
}

// addProcesses takes what runs from the source code, since app.json does not say it.
func (d *Draft) addProcesses(l language, known bool) error {
	if !known || len(l.document.Processes) == 0 {
		return springtide.Errorf(springtide.Invalid, "%s says nothing about what to run", appJSONName).
			WithHint("add a Procfile with a line like web: ./server")
	}
	base, own := l.document, d.document
	for process := range own.Processes {
		if base.Processes[process] == nil {
			delete(own.Processes, process)
		}
	}
	app := own.App
	base.merge(own)
	base.App = app
	d.document = base
	d.Found = append(d.Found, l.Found...)
	maps.Copy(d.comments, l.comments)
	return nil
}

// addBuild takes the build from the source code, and lets the commands find what
// it built.
func (d *Draft) addBuild(l language) {
	d.document.Build = l.document.Build
	if d.document.Build != nil {
		d.comment("build", "%s", l.comments["build"])
	}
	d.found("%s", l.Found[0])
	rewrite := func(run *set[command]) {
		if run.IsSet && l.adapt != nil {
			run.Value = command(l.adapt(string(run.Value)))
		}
	}
	rewrite(&d.document.Release)
	for _, process := range d.document.Processes {
		rewrite(&process.Command)
	}
	for key, value := range l.document.Env {
		if _, own := d.document.Env[key]; !own {
			if d.document.Env == nil {
				d.document.Env = map[variable]set[content]{}
			}
			d.document.Env[key] = value
		}
	}
}
