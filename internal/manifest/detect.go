package manifest

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/springtide/springtide"
)

// language is a draft that was made of source code.
type language struct {
	Draft
	// adapt makes a command that was written for the language's usual host find
	// what the build has put into the app's folder. May be nil.
	adapt func(command string) string
}

// Detect drafts a manifest for a folder: from a Procfile, a compose file or an
// app.json if there is one, else from the source code. It does not look for a
// tide.yaml.
func Detect(dir string) (Draft, error) {
	source, err := openSource(dir)
	if err != nil {
		return Draft{}, err
	}
	draft, found, err := convert(source)
	if err == nil && !found {
		var l language
		if l, found = detectLanguage(source); found {
			draft = l.Draft
		} else {
			return Draft{}, springtide.Errorf(springtide.NotFound, "%s has nothing that shows how to run it", dir).
				WithHint("looked for Go, Ruby, PHP, Python, Node and index.html; add a Procfile with a line like web: ./server")
		}
	}
	if err != nil {
		return Draft{}, err
	}
	if _, err := draft.Manifest(); err != nil {
		return Draft{}, err
	}
	return draft, nil
}

// detectLanguage asks each language in turn. Node comes late: many apps in other
// languages have a package.json for their style sheets.
func detectLanguage(s source) (language, bool) {
	for _, detect := range []func(source) (language, bool){
		detectGo, detectRuby, detectPHP, detectDeclaredPython, detectNode, detectPlainPython, detectStatic,
	} {
		if l, found := detect(s); found {
			if !l.document.App.IsSet {
				l.document.App = setTo(s.name)
			}
			return l, true
		}
	}
	return language{}, false
}

// newLanguage begins a draft of source code.
func newLanguage(from, found string) language {
	return language{Draft: Draft{
		From: from, Found: []string{found}, comments: map[string]string{},
		document: &document{At: position{File: FileName}, Processes: map[name]*processSection{}},
	}}
}

func (l *language) build(command_, why string) {
	if command_ != "" {
		l.document.Build = &buildSection{Command: setTo(command(command_))}
		l.comment("build", "%s", why)
	}
}

func (l *language) run(process name, run, why string) {
	l.document.Processes[process] = &processSection{Command: setTo(command(run))}
	if why != "" {
		l.comment("processes."+string(process)+".command", "%s", why)
	}
}

func (l *language) env(key variable, value content) {
	if l.document.Env == nil {
		l.document.Env = map[variable]set[content]{}
	}
	l.document.Env[key] = setTo(value)
}

// probe adds a health path to web if the source code has one, and notes a source
// that does not know $PORT.
func (l *language) probe(code sourceCode) {
	web := l.document.Processes[name(springtide.Web)]
	if web == nil {
		return
	}
	if path := code.healthPath(); path != "" {
		web.Health = &healthSection{Path: setTo(urlPath(path))}
		l.found("the source answers %s", path)
	}
	if !strings.Contains(string(web.Command.Value), "$PORT") && !code.mentions("PORT") {
		l.comment("processes.web.command", "The app must listen on the port that the variable PORT names; its source does not mention it.")
	}
}

// sourceCode is the text of an app's source files of one language.
type sourceCode []byte

const (
	codeFileLimit = 256 << 10
	codeLimit     = 16 << 20
	codeFiles     = 3000
)

// skippedFolders hold no source code of the app's own.
func skippedFolders() []string {
	return []string{"node_modules", "vendor", "testdata", "dist", "build", "target", "venv", "env", "__pycache__", "test", "tests", "spec"}
}

// code reads the source files with one of the extensions, as far as is reasonable.
func (s source) code(extensions ...string) sourceCode {
	var code bytes.Buffer
	files := 0
	// What cannot be read is not looked at: this is a guess already.
	_ = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // See above.
		case d.IsDir():
			if path != s.dir && (strings.HasPrefix(d.Name(), ".") || slices.Contains(skippedFolders(), d.Name())) {
				return filepath.SkipDir
			}
			return nil
		case !d.Type().IsRegular() || !slices.Contains(extensions, filepath.Ext(path)) || isTest(d.Name()):
			return nil
		}
		info, err := d.Info()
		if err != nil || info.Size() > codeFileLimit {
			return nil //nolint:nilerr // See above.
		}
		if files++; files > codeFiles || code.Len() > codeLimit {
			return filepath.SkipAll
		}
		if data, err := os.ReadFile(path); err == nil {
			code.Write(data)
			code.WriteByte('\n')
		}
		return nil
	})
	return code.Bytes()
}

func isTest(file string) bool {
	return strings.Contains(file, "_test.") || strings.Contains(file, ".test.") || strings.Contains(file, ".spec.") || strings.HasPrefix(file, "test_")
}

func (c sourceCode) mentions(word string) bool { return bytes.Contains(c, []byte(word)) }

var healthRoute = regexp.MustCompile("[\"'`](?:GET |\\^)?(/healthz|/health|/_health|/livez|/readyz|/up)/?[\"'`$]")

// healthPath gives the path under which the app answers that it is well; empty
// if none is found.
func (c sourceCode) healthPath() string {
	found := map[string]bool{}
	for _, match := range healthRoute.FindAllSubmatch(c, 100) {
		found[string(match[1])] = true
	}
	for _, path := range []string{"/readyz", "/healthz", "/health", "/_health", "/livez", "/up"} {
		if found[path] {
			return path
		}
	}
	return ""
}

// firstOf gives the first of the files that the folder has; empty if it has none.
func (s source) firstOf(files ...string) string {
	for _, file := range files {
		if s.has(file) {
			return file
		}
	}
	return ""
}

// text gives a file's content, empty if it cannot be read.
func (s source) text(file string) string {
	data, _, err := s.read(file)
	if err != nil {
		return ""
	}
	return string(data)
}

// folders gives the names of the folders within one, without hidden ones.
func (s source) folders(within string) []string {
	entries, err := os.ReadDir(filepath.Join(s.dir, within))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(skippedFolders(), e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// firstWord gives a command's first word and the rest with its space.
func firstWord(command string) (word, rest string) {
	if i := strings.IndexAny(command, " \t"); i >= 0 {
		return command[:i], command[i:]
	}
	return command, ""
}

// withPath puts a folder of the app before the PATH for a command that is called
// by its name alone.
func withPath(folder, command string) string {
	if word, _ := firstWord(command); strings.ContainsAny(word, "/=") {
		return command
	}
	return `PATH="$PWD/` + folder + `:$PATH"; ` + command
}
