package manifest

import (
	"regexp"
	"strings"

	"github.com/springtide/springtide"
)

// simpleNode is a start script that needs no package manager around it, which
// would stand between the app and its signals.
var simpleNode = regexp.MustCompile(`^node [A-Za-z0-9_./ =-]+$`)

func detectNode(s source) (language, bool) {
	if !s.has("package.json") {
		return language{}, false
	}
	data, _, err := s.read("package.json")
	if err != nil {
		return language{}, false
	}
	pack, problems := parseJSON("package.json", data)
	if len(problems) > 0 || pack == nil || pack.kind != mapping {
		return language{}, false
	}
	manager, install := nodeManager(s, pack)
	start := pack.get("scripts").get("start").string()
	file := s.firstOf(pack.get("main").string(), "server.js", "index.js", "app.js", "server.mjs", "index.mjs", "src/server.js", "src/index.js")
	l := newLanguage("package.json", "a Node app")
	l.adapt = adaptNode
	if named := asName(pack.get("name").string()); named != "" {
		l.document.App = setTo(named)
	}
	steps := []string{}
	if install != "" {
		steps = append(steps, install)
	}
	if pack.get("scripts").get("build") != nil {
		steps = append(steps, manager+" run build")
	}
	l.build(strings.Join(steps, " && "), "Run in a clean copy of the source; what it leaves is what runs.")
	web := name(springtide.Web)
	switch {
	case simpleNode.MatchString(start):
		l.run(web, start, "The start script, without "+manager+" between the app and its signals.")
	case start != "":
		l.run(web, manager+" start", "")
	case file != "":
		l.run(web, "node "+quoteShell(file), "")
	case pack.get("devDependencies").get("vite") != nil || pack.get("dependencies").get("vite") != nil:
		l.run(web, staticServer("dist"), "This serves the folder that the build writes, with what every Debian has.")
		l.Found = []string{"a site that Vite builds"}
		return l, true
	default:
		return language{}, false
	}
	l.env("NODE_ENV", "production")
	l.probe(append(s.code(".js", ".mjs", ".cjs", ".ts"), start...))
	return l, true
}

// adaptNode makes a command find the programs of the app's packages.
func adaptNode(command string) string {
	switch word, _ := firstWord(command); word {
	case "node", "npm", "npx", "yarn", "pnpm":
		return command
	}
	return withPath("node_modules/.bin", command)
}

// nodeManager gives the package manager and its command that installs what the
// lock file says; no command if there is nothing to install.
func nodeManager(s source, pack *node) (manager, install string) {
	switch s.firstOf("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml") {
	case "package-lock.json", "npm-shrinkwrap.json":
		return "npm", "npm ci"
	case "yarn.lock":
		return "yarn", "yarn install --frozen-lockfile"
	case "pnpm-lock.yaml":
		return "pnpm", "pnpm install --frozen-lockfile"
	}
	for _, key := range []string{"dependencies", "devDependencies"} {
		if needed := pack.get(key); needed != nil && len(needed.entries) > 0 {
			return "npm", "npm install"
		}
	}
	return "npm", ""
}
