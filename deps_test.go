package springtide_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/springtide/springtide"

// allowed is the import table: what each package of the project may import of
// it, besides the vocabulary. Test files may import more. A package that is not
// in the table must not exist.
var allowed = map[string][]string{
	"internal/socket":  {},
	"internal/durable": {},
	"internal/peer":    {},
	"deploy/image":     {},

	"internal/calendar":                {"internal/cron"},
	"internal/manifest":                {"internal/cron", "internal/calendar"},
	"internal/health":                  {},
	"internal/engine":                  {},
	"internal/engine/process":          {"internal/engine/process/order", "internal/engine/process/embedded", "internal/engine", "internal/health", "internal/durable", "internal/redact"},
	"internal/engine/process/init":     {"internal/engine/process/order", "internal/engine/process/children", "internal/redact"},
	"internal/engine/process/order":    {},
	"internal/engine/process/embedded": {},
	"internal/engine/process/children": {},
	"internal/engine/enginetest":       {"internal/engine"},
	"internal/engine/kubernetes":       {"internal/engine"},
	"internal/build":                   {"internal/durable", "internal/redact"},
	"internal/registry":                {},
	"internal/moving":                  {},
	"internal/store":                   {},
	"internal/store/tables":            {"internal/store"},
	"internal/store/server":            {},
	"internal/store/postgres":          {"internal/store", "internal/store/tables", "internal/store/server"},
	"internal/store/sqlite":            {"internal/store", "internal/store/tables"},
	"internal/store/storetest":         {"internal/store"},
	"internal/cert":                    {"internal/durable"},
	"internal/scale":                   {"internal/engine"},
	"internal/simulate":                {"internal/scale"},
	"internal/demand":                  {"internal/store"},
	"internal/backlog":                 {},
	"internal/deploy":                  {"internal/engine", "internal/health"},
	"internal/routing":                 {},
	"internal/message":                 {},
	"internal/http2":                   {"internal/message"},
	"internal/cache":                   {"internal/message", "internal/durable"},
	"internal/edge":                    {"internal/socket", "internal/durable", "internal/message", "internal/http2", "internal/cache"},
	"internal/observe":                 {"internal/jobs"},
	"internal/cron":                    {},
	"internal/jobs":                    {"internal/durable"},
	"internal/store/ledger":            {"internal/jobs", "internal/cron", "internal/store/server"},
	"internal/call":                    {"internal/jobs"},
	"internal/runner":                  {"internal/redact", "internal/jobs", "internal/engine/process/order", "internal/engine/process/embedded", "internal/engine/process/children"},
	"internal/mail":                    {"internal/jobs", "internal/durable", "internal/call"},
	"internal/service":                 {"internal/durable"},
	"internal/service/postgres":        {"internal/service", "internal/durable", "internal/socket"},
	"internal/service/mariadb":         {"internal/service", "internal/durable", "internal/socket"},
	"internal/service/redis":           {"internal/service", "internal/durable", "internal/socket"},
	"internal/service/servicetest":     {"internal/service"},
	"internal/secret":                  {"internal/store", "internal/durable"},
	"internal/redact":                  {},
	"internal/files":                   {"internal/durable"},
	"internal/files/embedded":          {},
	"internal/files/gateway":           {"internal/files"},
	"internal/files/program":           {"internal/files", "internal/files/gateway"},
	"internal/backup":                  {"internal/service", "internal/jobs", "internal/durable"},
	"internal/supervisor":              {"internal/edge"},
	"internal/api":                     {"internal/jobs", "internal/moving"},
	"internal/api/apitest":             {"internal/api", "internal/moving", "internal/jobs", "internal/socket"},
	"internal/client":                  {"internal/api", "internal/moving", "internal/jobs", "internal/socket"},
	"internal/cli":                     {"internal/client", "internal/api", "internal/moving", "internal/manifest", "internal/build", "internal/jobs", "internal/cron", "internal/runner", "internal/secret", "internal/calendar", "internal/simulate"},
}

// free are the places where everything is joined: they may import anything.
var free = []string{"cmd/tide", "internal/control", "test", "bench"}

func TestPackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	for _, file := range goFiles(t) {
		folder := filepath.ToSlash(filepath.Dir(file))
		if strings.HasSuffix(file, "_test.go") || isFree(folder) {
			continue
		}
		permitted, known := allowed[folder]
		if !known && folder != "." {
			t.Errorf("%s: package %s is not in the import table", file, folder)
			continue
		}
		for _, path := range imports(t, file) {
			own, ours := strings.CutPrefix(path, module+"/")
			switch {
			case folder == "." && strings.Contains(path, "."):
				t.Errorf("%s imports %s: the vocabulary imports only the standard library", file, path)
			case ours && !slices.Contains(permitted, own):
				t.Errorf("%s imports %s, which the import table does not allow", file, own)
			case path == "testing" && !strings.HasSuffix(folder, "test"):
				t.Errorf("%s imports testing", file)
			// The driver of MariaDB speaks to servers of apps, whose client there is no other for.
			case path == "database/sql" && !strings.HasPrefix(folder, "internal/store/") && folder != "internal/service/mariadb":
				t.Errorf("%s imports database/sql: SQL lives in the store", file)
			}
		}
	}
}

func TestEveryPackageInTheImportTableExists(t *testing.T) {
	for folder := range allowed {
		if matches, _ := filepath.Glob(filepath.Join(folder, "*.go")); len(matches) == 0 {
			t.Errorf("%s is in the import table but has no Go files", folder)
		}
	}
}

func isFree(folder string) bool {
	return slices.ContainsFunc(free, func(root string) bool {
		return folder == root || strings.HasPrefix(folder, root+"/")
	})
}

// goFiles lists the project's Go files; the examples are modules of their own.
func goFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "examples" || name == "bin") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".go") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func imports(t *testing.T, file string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, spec := range parsed.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}
