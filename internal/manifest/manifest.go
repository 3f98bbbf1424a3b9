package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/springtide/springtide"
)

// FileName is the name of a manifest.
const FileName = "tide.yaml"

// manyLimit is how many environments, processes or queues an app may have,
// schedulesLimit how many schedules.
const (
	manyLimit      = 100
	schedulesLimit = 1000
)

// The other files that are read as a manifest, in the order of preference.
const (
	procfileName = "Procfile"
	appJSONName  = "app.json"
)

// composeNames are the names of a compose file, in the order of preference.
func composeNames() []string {
	return []string{"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"}
}

// Manifest is what a folder says about its app. It holds no mistakes: whatever
// environment is asked for, it can be deployed.
type Manifest struct {
	// File is the name of the file it was read from, within the folder.
	File string
	// Found says what was concluded from other files of the folder, where there is
	// no tide.yaml to say it.
	Found []string
	// Notices say what it asks for and will not get.
	Notices []Notice

	document *document
}

// Notice is something a manifest says that is recognised and not carried out.
type Notice struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Text   string `json:"text"`
}

// String gives "tide.yaml:12: services: not carried out by this version".
func (n Notice) String() string { return position{n.File, n.Line, 0}.String() + ": " + n.Text }

func notice(at position, format string, args ...any) Notice {
	return Notice{at.File, at.Line, at.Column, oneLine(fmt.Sprintf(format, args...))}
}

// Load reads the manifest of a folder for one environment.
func Load(dir string, environment springtide.EnvironmentName) (springtide.App, []Notice, error) {
	m, err := Read(dir)
	if err != nil {
		return springtide.App{}, nil, err
	}
	if err := new(name).parse(&node{kind: text, text: string(environment)}); err != nil {
		return springtide.App{}, nil, springtide.Errorf(springtide.Invalid, "the environment: %w", err)
	}
	if !m.fits(name(environment)) {
		return springtide.App{}, nil, springtide.Errorf(springtide.Invalid, "%s", tooLong(m.document.App.Value, name(environment)))
	}
	app := m.App(environment)
	app.Protection.ErrorPages, err = new(resolver).inEnvironment(m.document, name(environment)).pages(dir)
	return app, m.Notices, err
}

// Read reads the manifest of a folder.
func Read(dir string) (*Manifest, error) {
	source, err := openSource(dir)
	if err != nil {
		return nil, err
	}
	data, found, err := source.read(FileName)
	if err != nil {
		return nil, err
	}
	if !found {
		if source.has("tide.yml") {
			return nil, springtide.Errorf(springtide.Invalid, "tide.yml is not read: the manifest is named %s", FileName).
				WithHint("rename it: mv tide.yml %s", FileName)
		}
		return readForeign(source)
	}
	m, err := parseManifest(FileName, data)
	if err == nil && source.has("tide.yml") {
		m.Notices = append(m.Notices, Notice{File: "tide.yml", Text: "is not read, " + FileName + " is"})
	}
	return m, err
}

// readForeign reads the manifest of a folder without a tide.yaml.
func readForeign(source source) (*Manifest, error) {
	draft, found, err := convert(source)
	if err != nil {
		return nil, err
	}
	if !found {
		looked := strings.Join(slices.Concat([]string{FileName, procfileName}, composeNames()), ", ")
		return nil, springtide.Errorf(springtide.NotFound, "%s has no manifest: looked for %s and %s", source.dir, looked, appJSONName).
			WithHint("run `tide init` to write a %s", FileName)
	}
	m, err := finish(draft.From, draft.document, draft.Notices, nil)
	if err == nil {
		m.Found = draft.Found
	}
	return m, err
}

// Parse reads a manifest from memory. The base name of the file says what format
// it has: a Procfile, a compose file, app.json, or else tide.yaml. The folder in
// the name, if any, names the app where the format does not.
func Parse(file string, data []byte) (*Manifest, error) {
	base := filepath.Base(file)
	fallback := asName(filepath.Base(filepath.Dir(file)))
	if fallback == "" {
		fallback = "app"
	}
	read := func(d *document, notices []Notice, found problems) (*Manifest, error) {
		if err := found.err(); err != nil {
			return nil, err
		}
		if !d.App.IsSet {
			d.App = setTo(fallback)
		}
		return finish(base, d, notices, nil)
	}
	switch {
	case base == procfileName:
		return read(parseProcfile(base, data))
	case slices.Contains(composeNames(), base):
		return read(parseCompose(base, data))
	case base == appJSONName:
		return read(parseAppJSON(base, data))
	}
	return parseManifest(base, data)
}

func parseManifest(file string, data []byte) (*Manifest, error) {
	root, found := parseYAML(file, data, false)
	at := position{file, 1, 1}
	if root == nil || root.kind == nothing {
		if len(found) == 0 {
			found.add(position{File: file}, "is empty; run `tide init` in an empty folder to see one, or begin with app: NAME")
		}
		return nil, found.err()
	}
	if root.kind != mapping {
		found.add(root.at, "want a mapping (key: value), got %s; begin with app: NAME", root.shown())
		return nil, found.err()
	}
	d := &decoder{problems: found}
	written := new(document)
	d.decodeSection(root, at, reflect.ValueOf(written), "")
	return finish(file, written, d.notices, d.problems)
}

// finish checks a document in all its environments.
func finish(file string, written *document, notices []Notice, found problems) (*Manifest, error) {
	r := &resolver{problems: found}
	// Each environment is checked with each process.
	for _, many := range []struct {
		key           string
		number, limit int
	}{
		{"environments", len(written.Environments), manyLimit},
		{"processes", len(written.Processes), manyLimit},
		{"queues", len(written.Queues), manyLimit},
		{"schedules", len(written.Schedules), schedulesLimit},
	} {
		if many.number > many.limit {
			r.problems.add(written.At, "%s: there are %d, at most %d are allowed", many.key, many.number, many.limit)
			return nil, r.problems.err()
		}
	}
	m := &Manifest{File: file, Notices: notices, document: written}
	for _, environment := range append(sortedKeys(written.Environments), name(springtide.Production)) {
		r.resolve(r.inEnvironment(written, environment))
		if !m.fits(environment) {
			r.problems.add(written.Environments[environment].At, "%s", tooLong(written.App.Value, environment))
		}
	}
	if err := r.problems.err(); err != nil {
		return nil, err
	}
	return m, nil
}

// fits reports whether the app has a host name in the environment.
func (m *Manifest) fits(environment name) bool {
	return environment == name(springtide.Production) || len(m.document.App.Value)+len("--")+len(environment) <= labelLimit
}

func tooLong(app, environment name) string {
	return fmt.Sprintf("environments.%s: %s--%s is longer than the %d characters that a part of a host name has; choose a shorter name", environment, app, environment, labelLimit)
}

// Name gives the app's name.
func (m *Manifest) Name() springtide.AppName { return springtide.AppName(m.document.App.Value) }

// App gives the app as it should be in an environment. One that the manifest
// does not name has nothing different, and no domains. Pages that it names in
// files are read by [Load].
func (m *Manifest) App(environment springtide.EnvironmentName) springtide.App {
	r := new(resolver)
	return r.resolve(r.inEnvironment(m.document, name(environment)))
}

// BuildPlace says where the manifest says how to build: "tide.yaml:2:1".
func (m *Manifest) BuildPlace() string {
	if m.document.Build == nil {
		return m.File
	}
	return m.document.Build.At.String()
}

// Environments gives the names of the environments that the manifest names.
func (m *Manifest) Environments() []springtide.EnvironmentName {
	var names []springtide.EnvironmentName
	for _, environment := range sortedKeys(m.document.Environments) {
		names = append(names, springtide.EnvironmentName(environment))
	}
	return names
}

// source is an app's folder.
type source struct {
	dir string
	// name is that of the folder, as the name of an app.
	name name
}

func openSource(dir string) (source, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return source{}, springtide.Errorf(springtide.Invalid, "the folder %s: %w", dir, err)
	}
	info, err := os.Stat(absolute)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return source{}, springtide.Errorf(springtide.NotFound, "there is no folder %s", dir)
	case err != nil:
		return source{}, springtide.Errorf(springtide.Invalid, "the folder %s cannot be read: %w", dir, err)
	case !info.IsDir():
		return source{}, springtide.Errorf(springtide.Invalid, "%s is a file, not the folder of an app", dir)
	}
	named := asName(filepath.Base(absolute))
	if named == "" {
		named = "app"
	}
	return source{dir: absolute, name: named}, nil
}

// has reports whether there is such a file.
func (s source) has(file string) bool {
	info, err := os.Stat(filepath.Join(s.dir, file))
	return err == nil && info.Mode().IsRegular()
}

// read gives a file's content; not found is no error.
func (s source) read(file string) (data []byte, found bool, err error) {
	path := filepath.Join(s.dir, file)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, springtide.Errorf(springtide.Invalid, "%s cannot be read: %w", file, err)
	}
	// Reading a pipe would wait for ever.
	if !info.Mode().IsRegular() {
		return nil, false, springtide.Errorf(springtide.Invalid, "%s is no ordinary file", file)
	}
	opened, err := os.Open(path)
	if err != nil {
		return nil, false, springtide.Errorf(springtide.Invalid, "%s cannot be read: %w", file, err)
	}
	defer opened.Close()
	data, err = io.ReadAll(io.LimitReader(opened, sizeLimit+1))
	if err != nil {
		return nil, false, springtide.Errorf(springtide.Invalid, "%s cannot be read: %w", file, err)
	}
	return data, true, nil
}
