// Package docs_test holds the documentation against the code: what is named
// exists, and what exists is named.
package docs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/cli"
	"github.com/springtide/springtide/internal/manifest"
	"github.com/springtide/springtide/internal/observe"
)

func TestEveryKeyOfTheSchemaIsInTheManifestsReferenceWithItsDefault(t *testing.T) {
	type section struct {
		Properties map[string]struct{ Description string }
		OneOf      []section
	}
	var schema struct {
		section
		Definitions map[string]section `json:"$defs"`
	}
	if err := json.Unmarshal(manifest.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	reference := sections(t, "manifest.md", "## ")
	schema.Definitions["The file"] = schema.section
	later := reference["Recognised, not carried out yet"]
	byDefault := regexp.MustCompile(`Default: ([a-z0-9]+)`)
	checked := 0
	for name, defined := range schema.Definitions {
		rows := tableRows(reference[name])
		for _, way := range append(defined.OneOf, defined) {
			for key, property := range way.Properties {
				checked++
				row := strings.Join(rows["`"+key+"`"], " | ")
				if strings.Contains(property.Description, "Not carried out") {
					if !strings.Contains(later, "`"+key+"`") {
						t.Errorf("%s.%s is not among what is not carried out yet", name, key)
					}
				} else if row == "" {
					t.Errorf("manifest.md: %q has no row for %s", name, key)
				} else if value := byDefault.FindStringSubmatch(property.Description); value != nil && name != "environment" &&
					!slices.Contains([]string{"no", "whether", "learnt"}, value[1]) && !strings.Contains(row, value[1]) {
					t.Errorf("manifest.md: %s.%s: %q does not tell the default %s", name, key, row, value[1])
				}
			}
		}
		for key := range rows {
			key = strings.Trim(key, "`")
			known := slices.ContainsFunc(append(defined.OneOf, defined), func(s section) bool {
				_, has := s.Properties[key]
				return has
			})
			if !known && key != "key" {
				t.Errorf("manifest.md: %s has no key %s", name, key)
			}
		}
	}
	if checked < 60 {
		t.Errorf("only %d keys were found", checked)
	}
}

func TestEveryManifestInTheDocumentationIsOne(t *testing.T) {
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	found := 0
	for _, file := range pages(t) {
		for _, match := range block.FindAllStringSubmatch(read(t, file), -1) {
			found++
			m, err := manifest.Parse("tide.yaml", []byte(match[1]))
			if err != nil {
				t.Errorf("%s: %v in\n%s", file, err, match[1])
			} else if len(m.Notices) > 0 {
				t.Errorf("%s: %v in\n%s", file, m.Notices, match[1])
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d manifests were found", found)
	}
}

func TestEveryCommandAndFlagHasItsPlaceInTheReferenceOfCommands(t *testing.T) {
	reference := sections(t, "commands.md", "### ")
	maps.Copy(reference, sections(t, "commands.md", "## "))
	global := flagsOf(help(t))
	for _, flag := range global {
		if !strings.Contains(reference["Flags of all commands"], "`--"+flag+"`") {
			t.Errorf("commands.md does not name the global flag --%s", flag)
		}
	}
	commands := allCommands(t)
	for _, command := range commands {
		text, ok := reference["tide "+command]
		if !ok {
			t.Errorf("commands.md has no section for tide %s", command)
			continue
		}
		if command == "up" { // it has those of serve
			text += reference["tide serve"]
		}
		own := flagsOf(help(t, strings.Fields(command)...))
		for _, flag := range own {
			if flag != "help" && !strings.Contains(text, "`--"+flag+"`") {
				t.Errorf("commands.md: tide %s does not name --%s", command, flag)
			}
		}
		for _, named := range regexp.MustCompile("`--([a-z-]+)`").FindAllStringSubmatch(reference["tide "+command], -1) {
			if !slices.Contains(own, named[1]) && !slices.Contains(global, named[1]) {
				t.Errorf("commands.md: tide %s has no flag --%s", command, named[1])
			}
		}
	}
	for heading := range reference {
		if command, ok := strings.CutPrefix(heading, "tide "); ok && !slices.Contains(commands, command) {
			t.Errorf("commands.md has a section for tide %s, which does not exist", command)
		}
	}
}

func TestEveryCommandThatIsNamedExists(t *testing.T) {
	commands := append(allCommands(t), "control", "edge", "env")
	named := regexp.MustCompile("(?:`|\\$ |^    |^    sudo |\\()tide ([a-z]+(?:-[a-z]+)*)")
	for _, file := range append(pages(t), "../README.md", "../ARCHITECTURE.md") {
		for line := range strings.Lines(read(t, file)) {
			for _, match := range named.FindAllStringSubmatch(line, -1) {
				if !slices.Contains(commands, match[1]) {
					t.Errorf("%s names tide %s, which does not exist: %s", file, match[1], line)
				}
			}
		}
	}
}

func TestEveryVariableThatACommandReadsIsInTheReferenceOfCommands(t *testing.T) {
	files, err := filepath.Glob("../internal/cli/*.go")
	if err != nil {
		t.Fatal(err)
	}
	text := read(t, "commands.md")
	found := 0
	for _, file := range files {
		for _, match := range regexp.MustCompile(`getenv\("([A-Z_]+)"\)`).FindAllStringSubmatch(read(t, file), -1) {
			found++
			if !strings.Contains(text, "`"+match[1]+"`") && !strings.Contains(text, "`"+match[1]+"=") {
				t.Errorf("commands.md does not name %s, which %s reads", match[1], file)
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d variables were found", found)
	}
}

func TestTheTableOfErrorsIsThatOfTheCode(t *testing.T) {
	rows := tableRows(sections(t, "api.md", "## ")["Errors"])
	codes := tableRows(sections(t, "commands.md", "## ")["Output and exit codes"])
	for _, kind := range []springtide.ErrorKind{
		springtide.Invalid, springtide.NotFound, springtide.Conflict, springtide.Denied,
		springtide.Unauthorized, springtide.Failed, springtide.Unavailable, springtide.Internal,
	} {
		status, exit := fmt.Sprint(kind.Status()), fmt.Sprint(kind.ExitCode())
		if row := rows["`"+string(kind)+"`"]; len(row) < 2 || row[0] != status || row[1] != exit {
			t.Errorf("api.md: %s: %v, want %s and %s", kind, row, status, exit)
		}
		if codes[exit] == nil {
			t.Errorf("commands.md has no exit code %s", exit)
		}
	}
}

func TestTheRoutesAreThoseOfTheAPI(t *testing.T) {
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "api.sock"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	server := api.New(api.Options{Logger: slog.New(slog.DiscardHandler), Recordings: t.TempDir()})
	go func() { served <- server.ServeOwner(t.Context(), listener) }()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", listener.Addr().String())
	}}}
	defer client.CloseIdleConnections()
	response, err := client.Get("http://tide/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var document struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&document); err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for route := range tableRows(sections(t, "api.md", "## ")["Routes"]) {
		documented[strings.Replace(strings.Trim(route, "`"), "ENV", "/v1/apps/{app}/environments/{environment}", 1)] = true
	}
	delete(documented, "route")
	for path, methods := range document.Paths {
		for method := range methods {
			route := strings.ToUpper(method) + " " + path
			if !documented[route] {
				t.Errorf("api.md does not list %s", route)
			}
			delete(documented, route)
		}
	}
	for route := range documented {
		t.Errorf("api.md lists %s, which does not exist", route)
	}
}

func TestTheMetricsAreThoseThatAreExposed(t *testing.T) {
	documented := map[string]string{}
	for name, row := range tableRows(sections(t, "api.md", "## ")["Metrics"]) {
		if name = strings.Trim(name, "`"); name != "name" {
			documented[name] = row[0] + " " + row[1]
		}
	}
	kinds := map[string]string{}
	labels := map[string]string{}
	sample := regexp.MustCompile(`^(tide_[a-z0-9_]+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? `)
	for line := range strings.Lines(scrape(t)) {
		if fields := strings.Fields(line); len(fields) == 4 && fields[1] == "TYPE" && strings.HasPrefix(fields[2], "tide_") {
			kinds[fields[2]] = fields[3]
		}
		if match := sample.FindStringSubmatch(line); match != nil {
			labels[match[1]] = labelNames(match[2])
		}
	}
	for name, kind := range kinds {
		if want := kind + " " + labels[name]; documented[name] != want {
			t.Errorf("api.md: %s is %q, want %q", name, documented[name], want)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("api.md lists the metric %s, which does not exist", name)
	}
}

func TestEveryLinkLeadsToAFileOrAHeading(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`)
	for _, file := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(read(t, file), -1) {
			target := match[1]
			if target == "" {
				target = file
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if match[2] != "" && !slices.Contains(anchors(t, target), match[2]) {
				t.Errorf("%s leads to #%s, which %s does not have", file, match[2], target)
			}
		}
	}
}

// pages are the files of the documentation.
func pages(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.md")
	if err != nil || len(files) < 6 {
		t.Fatalf("pages: %v, %v", files, err)
	}
	return files
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sections gives the text below each heading of a level, by heading.
func sections(t *testing.T, file, level string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for part := range strings.SplitSeq("\n"+read(t, file), "\n"+level) {
		heading, text, _ := strings.Cut(part, "\n")
		found[strings.TrimSpace(heading)] = text
	}
	return found
}

// tableRows gives the cells of every row of the tables in a text, by the first.
func tableRows(text string) map[string][]string {
	rows := map[string][]string{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows[cells[0]] = cells[1:]
	}
	return rows
}

// anchors gives the headings of a page as links name them.
func anchors(t *testing.T, file string) []string {
	t.Helper()
	var found []string
	for _, match := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(read(t, file), -1) {
		found = append(found, strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-"))
	}
	return found
}

// help gives what a command says of itself.
func help(t *testing.T, command ...string) string {
	t.Helper()
	var out, problems bytes.Buffer
	none := func(string) string { return "" }
	if code := cli.New(cli.Program{}).Execute(t.Context(), append(command, "--help"), none, strings.NewReader(""), &out, &problems); code != 0 {
		t.Fatalf("tide %s --help: %d: %s", strings.Join(command, " "), code, problems.String())
	}
	return out.String()
}

// allCommands lists the commands that help shows, those below others too.
func allCommands(t *testing.T, above ...string) []string {
	t.Helper()
	var found []string
	listed := regexp.MustCompile(`^  ([a-z]+(?:-[a-z]+)*) +[A-Z]`)
	_, list, _ := strings.Cut(help(t, above...), "Usage:")
	list, _, _ = strings.Cut(list, "\nFlags:")
	for line := range strings.Lines(list) {
		if match := listed.FindStringSubmatch(line); match != nil && match[1] != "tide" {
			command := append(slices.Clone(above), match[1])
			found = append(found, strings.Join(command, " "))
			if match[1] != "help" {
				found = append(found, allCommands(t, command...)...)
			}
		}
	}
	if len(above) == 0 && len(found) < 25 {
		t.Fatalf("only these commands were found: %v", found)
	}
	return found
}

// flagsOf lists the flags of a command's own in its help.
func flagsOf(text string) []string {
	_, list, _ := strings.Cut(text, "\nFlags:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	var found []string
	for _, match := range regexp.MustCompile(`(?m)^ +(?:-[a-zA-Z], )?--([a-z0-9-]+)`).FindAllStringSubmatch(list, -1) {
		found = append(found, match[1])
	}
	return found
}

// labelNames gives the names of a sample's labels in the order of the reference.
func labelNames(written string) string {
	order := []string{"app", "environment", "release", "process", "service", "name", "state", "direction", "result"}
	var names []string
	for _, match := range regexp.MustCompile(`([a-z]+)="`).FindAllStringSubmatch(written, -1) {
		if match[1] != "le" {
			names = append(names, match[1])
		}
	}
	slices.SortFunc(names, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	return strings.Join(names, ", ")
}

// scrape gives the metrics of a platform in which everything has happened once.
func scrape(t *testing.T) string {
	t.Helper()
	environment := springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	group := springtide.GroupID{Environment: environment, Release: 1, Process: springtide.Web, Generation: 1}
	m := observe.NewMetrics(observe.NewEvents(nil, slog.New(slog.DiscardHandler)))
	m.Groups([]springtide.Group{{ID: group, Replicas: 1}})
	m.Machine(1<<30, 2<<30, map[springtide.GroupID]int{group: 1})
	m.Snapshot(springtide.Snapshot{Instances: []springtide.Instance{{ID: "web-1-aaaaa", Group: group, State: springtide.InstanceReady}}})
	m.Edges([]string{"edge"})
	m.EdgeReport(springtide.EdgeReport{Edge: "edge", Demand: []springtide.Demand{{
		Group: group, Arrived: 1, Cache: map[springtide.CacheResult]int{springtide.CacheHit: 1}, Limited: map[springtide.RatePer]int{springtide.RatePerClient: 1},
	}}})
	m.Decision(springtide.Decision{Group: group, From: 1, To: 2})
	m.RolloutOver(springtide.Rollout{Release: springtide.ReleaseID{Environment: environment, Number: 1}, Step: springtide.RolloutDone}, time.Second)
	m.BuildOver(time.Second, nil)
	m.TableVersion(1)
	m.Certificates(func() []observe.Certificate {
		return []observe.Certificate{{Environment: environment, Name: "quiz.example.com", NotAfter: time.Now()}}
	})
	m.Services(func() []observe.Service {
		return []observe.Service{{
			ID: springtide.ServiceID{Environment: environment, Name: "db"}, Up: true, Replica: true,
			Sample: &observe.ServiceSample{Memory: 1, Latency: 1},
		}}
	})
	m.Outside(func() []observe.OutsideSample {
		return []observe.OutsideSample{{Environment: environment, Process: "worker", Waiting: 1, Up: true}}
	})
	recorder := httptest.NewRecorder()
	m.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	text, err := io.ReadAll(recorder.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
