package manifest

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/springtide/springtide"
)

// compose reads the few keys of a compose file that have a meaning here. It does
// so without compose-go, which adds 5 MB to the binary and 6 MB of memory to
// each of the platform's processes before it does anything.
type compose struct {
	file     string
	document *document
	notices  []Notice
	problems problems
	// web is the service that is given the requests.
	web string
	// servers are the services that the platform runs itself.
	servers map[string]bool
}

// knownImages are images of what the platform runs itself.
var knownImages = map[string]springtide.ServiceKind{
	"postgres": springtide.ServicePostgres, "mysql": springtide.ServiceMariaDB, "mariadb": springtide.ServiceMariaDB,
	"redis": springtide.ServiceRedis, "valkey": springtide.ServiceRedis,
}

func parseCompose(file string, data []byte) (*document, []Notice, problems) {
	root, found := parseYAML(file, data, true)
	c := compose{file: file, document: &document{At: position{file, 1, 1}}, problems: found}
	services := root.get("services")
	if services == nil || services.kind != mapping {
		if len(found) == 0 {
			c.problems.add(position{File: file}, "has no services")
		}
		return c.document, nil, c.problems
	}
	if named := root.get("name"); named != nil && asName(named.text) != "" {
		c.document.App = setAt(asName(named.text), named.at)
	}
	c.document.Processes = map[name]*processSection{}
	c.web, c.servers = chooseWeb(services), map[string]bool{}
	for _, e := range services.entries {
		c.servers[e.key] = e.value.get("build") == nil && knownImages[imageName(e.value.get("image").string())] != ""
	}
	for _, e := range services.entries {
		c.readService(e)
	}
	if len(c.document.Processes) == 0 && len(c.problems) == 0 {
		texts := make([]string, 0, len(c.notices))
		for _, n := range c.notices {
			texts = append(texts, n.Text)
		}
		c.problems.add(services.at, "no service can be run: it needs build and command (%s)", strings.Join(texts, "; "))
	}
	return c.document, c.notices, c.problems
}

// chooseWeb names the runnable service that is given the requests: the one so
// named, or the first that publishes a port.
func chooseWeb(services *node) string {
	var publishing, called string
	for _, e := range services.entries {
		if e.value.get("build") == nil || !runs(e.value) {
			continue
		}
		if ports := e.value.get("ports"); publishing == "" && ports != nil && len(ports.items) > 0 {
			publishing = e.key
		}
		if e.key == string(springtide.Web) || e.key == "app" && called == "" {
			called = e.key
		}
	}
	if called == string(springtide.Web) || publishing == "" {
		return called
	}
	return publishing
}

func runs(service *node) bool {
	return words(service.get("entrypoint")) != "" || words(service.get("command")) != ""
}

func (c *compose) readService(e entry) {
	service, at := e.value, e.at
	if service.kind == refused {
		return
	}
	if service.kind != mapping {
		c.problems.add(service.at, "services.%s: want a mapping, got %s", e.key, service.shown())
		return
	}
	image := service.get("image").string()
	switch {
	case service.get("build") != nil && runs(service):
		c.readProcess(e)
	case service.get("build") != nil:
		c.note(at, "service %s: its container image is not runnable by this version; give it a command", e.key)
	case knownImages[imageName(image)] != "" && asName(e.key) != "":
		c.readServer(e, knownImages[imageName(image)], imageVersion(image))
	case image != "":
		c.note(at, "service %s: the container image %s is not runnable by this version", e.key, shorten(image))
	default:
		c.note(at, "service %s: has neither image nor build", e.key)
	}
}

// readServer has the platform run what an image would. Its version is left to
// what is installed, unless it is of PostgreSQL, where data is tied to it.
func (c *compose) readServer(e entry, kind springtide.ServiceKind, version string) {
	section := &serviceSection{At: e.at, Kind: setAt(serviceKind(kind), e.at)}
	if major, _, _ := strings.Cut(version, "."); kind == springtide.ServicePostgres && major != "" {
		section.Kind, section.Postgres = set[serviceKind]{}, setAt(serviceVersion(major), e.at)
	}
	if c.document.Services == nil {
		c.document.Services = map[name]*serviceSection{}
	}
	c.document.Services[asName(e.key)] = section
	c.note(e.at, "service %s: a server of this machine, not a container; its URL is in %s", e.key, urlVariable(kind))
}

// urlVariable is where an app finds a server of a kind.
func urlVariable(kind springtide.ServiceKind) string {
	if kind == springtide.ServiceRedis {
		return "REDIS_URL"
	}
	return "DATABASE_URL"
}

func (c *compose) readProcess(e entry) {
	service := e.value
	process := asName(e.key)
	if e.key == c.web {
		process = name(springtide.Web)
	}
	if process == "" || c.document.Processes[process] != nil {
		c.problems.add(e.at, "services.%s: cannot be made a process named %q", shorten(e.key), process)
		return
	}
	run := strings.TrimSpace(words(service.get("entrypoint")) + " " + words(service.get("command")))
	if ports := service.get("ports"); ports != nil && len(ports.items) > 0 {
		if e.key == c.web {
			run = c.listening(e.key, run, ports)
		} else {
			c.note(ports.at, "service %s: ports: one process is given requests, and that is %s", e.key, c.web)
		}
	}
	section := &processSection{At: e.at, Command: setAt(command(run), e.at)}
	c.document.Processes[process] = section
	c.note(e.at, "service %s: %q runs on this machine itself, not in a container", e.key, shorten(run))
	c.readEnvironment(e.key, service.get("environment"), section)
	if replicas := service.get("deploy").get("replicas"); replicas != nil {
		var least count
		if err := least.parse(replicas); err != nil || least < 0 || least > springtide.MostInstances {
			c.problems.add(replicas.at, "services.%s.deploy.replicas: want a whole number from 0 to 10000, got %s", e.key, replicas.shown())
		} else {
			section.Scale = &scaleSection{At: replicas.at, Min: setAt(least, replicas.at)}
		}
	}
	c.readVolumes(e.key, service.get("volumes"))
	for _, key := range []string{"env_file", "secrets", "configs"} {
		if other := service.get(key); other != nil && other.kind != nothing {
			c.note(other.at, "service %s: %s: not carried out by this version", e.key, key)
		}
	}
}

// listening has a command listen on $PORT where it names the port of its container.
func (c *compose) listening(service, run string, ports *node) string {
	published := ports.items[0].text
	if target := ports.items[0].get("target"); target != nil {
		published = target.text
	}
	published, _, _ = strings.Cut(published[strings.LastIndexByte(published, ':')+1:], "/")
	named := regexp.MustCompile(`(^|[ :=])` + regexp.QuoteMeta(published) + `($| )`)
	if published == "" || len(named.FindAllString(run, 2)) != 1 || strings.ContainsAny(run, `'"\`) {
		c.note(ports.at, "service %s: must listen on $PORT; its ports are not published", service)
		return run
	}
	c.note(ports.at, "service %s: listens on $PORT in place of %s; its ports are not published", service, published)
	return named.ReplaceAllString(run, "${1}$$PORT${2}")
}

func (c *compose) readEnvironment(service string, env *node, section *processSection) {
	if env == nil || env.kind == nothing {
		return
	}
	section.Env = map[variable]set[content]{}
	entries := env.entries
	for _, item := range env.items {
		key, value, has := strings.Cut(item.text, "=")
		e := entry{key, item.at, &node{kind: nothing, at: item.at}}
		if has {
			e.value = &node{kind: text, text: value, at: item.at}
		}
		entries = append(entries, e)
	}
	for _, e := range entries {
		var key variable
		var value content
		if e.key == "PORT" || c.leadsToServer(e.value.text) {
			continue // the platform sets it
		}
		if err := key.parse(&node{kind: text, text: e.key}); err != nil {
			c.problems.add(e.at, "services.%s.environment: %v", service, err)
			continue
		}
		if e.value.kind == nothing || strings.Contains(strings.ReplaceAll(e.value.text, "$$", ""), "$") {
			c.note(e.at, "service %s: %s is not taken from the environment; set it with `tide config set %s=...`", service, key, key)
			continue
		}
		if err := value.parse(e.value); err != nil {
			c.problems.add(e.value.at, "services.%s.environment.%s: %v", service, key, err)
			continue
		}
		section.Env[key] = setAt(content(strings.ReplaceAll(string(value), "$$", "$")), e.at)
	}
}

// leadsToServer reports whether a value is the URL of a service of the file that
// the platform runs: it gives the app another.
func (c *compose) leadsToServer(value string) bool {
	to, err := url.Parse(value)
	return err == nil && schemes[to.Scheme] != "" && c.servers[to.Hostname()]
}

func (c *compose) note(at position, format string, args ...any) {
	c.notices = append(c.notices, notice(at, format, args...))
}

// imageName gives "postgres" for "docker.io/library/postgres:15-alpine". Images
// of other owners are not what they are named after.
func imageName(image string) string {
	repository, _, _ := strings.Cut(image, "@")
	if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
		repository = repository[:i]
	}
	switch owner := path.Dir(repository); strings.TrimPrefix(owner, "docker.io/") {
	case ".", "library", "valkey", "docker.io":
		return path.Base(repository)
	}
	return repository
}

var majorVersion = regexp.MustCompile(`:v?([0-9]+(?:\.[0-9]+)?)`)

func imageVersion(image string) string {
	if found := majorVersion.FindStringSubmatch(image); found != nil {
		return found[1]
	}
	return ""
}

// words gives a command as one line for sh, whether it is a line or a list. In a
// line, compose writes $$ for $.
func words(n *node) string {
	if n == nil {
		return ""
	}
	if n.kind != list {
		return strings.TrimSpace(strings.ReplaceAll(n.text, "$$", "$"))
	}
	quoted := make([]string, 0, len(n.items))
	for _, item := range n.items {
		quoted = append(quoted, quoteShell(strings.ReplaceAll(item.text, "$$", "$")))
	}
	return strings.Join(quoted, " ")
}

var shellSafe = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quoteShell gives a word that sh reads as it is.
func quoteShell(word string) string {
	if shellSafe.MatchString(word) {
		return word
	}
	return fmt.Sprintf("'%s'", strings.ReplaceAll(word, "'", `'\''`))
}
