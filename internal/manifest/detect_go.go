package manifest

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/springtide/springtide"
)

var (
	goModule  = regexp.MustCompile(`(?m)^module\s+"?([^\s"]+)"?`)
	goMain    = regexp.MustCompile(`(?m)^package main\b`)
	goMajor   = regexp.MustCompile(`^v[0-9]+$`)
	goIgnored = regexp.MustCompile(`(?m)^//go:build ignore\b`)
)

func detectGo(s source) (language, bool) {
	if !s.has("go.mod") {
		return language{}, false
	}
	module := "app"
	if found := goModule.FindStringSubmatch(s.text("go.mod")); found != nil {
		module = found[1]
	}
	base := path.Base(module)
	if goMajor.MatchString(base) {
		base = path.Base(path.Dir(module))
	}
	l := newLanguage("go.mod", "a Go module, "+module)
	l.adapt = func(command string) string { return withPath("bin", command) }
	if named := asName(base); named != "" {
		l.document.App = setTo(named)
	}
	mains := s.goMains()
	if len(mains) == 0 {
		return language{}, false
	}
	web := chooseGoMain(mains, base)
	build := []string{"go build -o bin/" + string(web) + " " + quoteShell(mains[web])}
	l.run(name(springtide.Web), "./bin/"+string(web), "")
	l.found("the server is the package %s", mains[web])
	for _, main := range sortedKeys(mains) {
		if main == web {
			continue
		}
		if strings.Contains(string(main), "worker") {
			build = append(build, "go build -o bin/"+string(main)+" "+quoteShell(mains[main]))
			l.run(main, "./bin/"+string(main), "")
			l.found("a worker is the package %s", mains[main])
			continue
		}
		l.found("%s is another program; it is not run", mains[main])
	}
	l.build(strings.Join(build, " && "), "Run in a clean copy of the source; what it leaves is what runs.")
	l.probe(s.code(".go"))
	return l, true
}

// goMains gives the folders that hold a program, by the program's name.
func (s source) goMains() map[name]string {
	mains := map[name]string{}
	folders := []string{"."}
	for _, within := range []string{".", "cmd"} {
		for _, folder := range s.folders(within) {
			folders = append(folders, path.Join(within, folder))
		}
	}
	for _, folder := range folders {
		if !s.isGoMain(folder) {
			continue
		}
		as := asName(path.Base(folder))
		if folder == "." {
			as = name(springtide.Web)
		}
		if as != "" && mains[as] == "" {
			mains[as] = "./" + strings.TrimPrefix(folder, ".")
			if folder == "." {
				mains[as] = "."
			}
		}
	}
	return mains
}

func (s source) isGoMain(folder string) bool {
	files, err := filepath.Glob(filepath.Join(globQuote(s.dir), globQuote(folder), "*.go"))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(files, func(file string) bool {
		if strings.HasSuffix(file, "_test.go") {
			return false
		}
		info, err := os.Stat(file)
		if err != nil || !info.Mode().IsRegular() || info.Size() > codeFileLimit {
			return false
		}
		data, err := os.ReadFile(file)
		return err == nil && goMain.Match(data) && !goIgnored.Match(data)
	})
}

// globQuote gives a pattern that matches the path and nothing else.
func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// chooseGoMain gives the program that is most likely the server.
func chooseGoMain(mains map[name]string, module string) name {
	for _, likely := range []string{"web", "server", "app", "api", "serve", "http", string(asName(module))} {
		if mains[name(likely)] != "" {
			return name(likely)
		}
	}
	names := sortedKeys(mains)
	for _, one := range names {
		if !strings.Contains(string(one), "worker") && !strings.Contains(string(one), "migrate") {
			return one
		}
	}
	return names[0]
}
