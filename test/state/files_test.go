package state

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/supervisor"
	"github.com/springtide/springtide/test/story"
)

// attic deploys the app that keeps things as S3, by a name and with files.
func attic(t *testing.T, p *platform.Platform, name, files string) *shelf {
	t.Helper()
	source := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(source, 0o755); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(source, "attic"), "./test/state/attic")
	command.Dir, command.Env = story.Root(t), append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	s := &shelf{Platform: p, t: t, source: source, client: story.HTTP(t, p)}
	s.describe(name, files)
	s.url = story.Deploy(t, p, source)
	return s
}

// describe writes the manifest of an attic.
func (s *shelf) describe(name, files string) {
	s.t.Helper()
	text := fmt.Sprintf("app: %s\nprocesses: { web: { command: ./attic, scale: { min: 2, max: 2 } } }\nfiles: %s\n", name, files)
	if err := os.WriteFile(filepath.Join(s.source, "tide.yaml"), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// told gives what the app's variables say.
func (s *shelf) told() map[string]string {
	s.t.Helper()
	variables := map[string]string{}
	for line := range strings.Lines(s.ask("GET", "/variables", "")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		variables[name] = value
	}
	return variables
}

func TestASharedFolderIsABucketTooWhateverDies(t *testing.T) {
	p := story.Platform(t)
	s := attic(t, p, "attic", "{ uploads: /data/uploads }")
	seen := func(when string) {
		t.Helper()
		s.ask("PUT", "/kept/a", when)
		s.ask("PUT", "/direct/b", when)
		for range 4 { // whichever instance answers
			if direct, kept := s.ask("GET", "/direct/a", ""), s.ask("GET", "/kept/b", ""); direct != when || kept != when {
				t.Fatalf("%s: directly there is %q, as S3 %q", when, direct, kept)
			}
		}
	}
	seen("at first")
	told := s.told()
	if told["S3_BUCKET"] != "uploads" || told["AWS_ENDPOINT_URL_S3"] != told["S3_ENDPOINT"] || told["FILES_UPLOADS"] != "/data/uploads" {
		t.Errorf("the app was told %v", told)
	}
	nowhereElse(t, p.Data, told["S3_SECRET_ACCESS_KEY"])
	lock := filepath.Join(p.Data, "run", "files.lock")
	gateway := supervisor.Holder(lock)
	if gateway == 0 { // which would be all of us
		t.Fatal("there is no gateway")
	}
	s.killControl()
	seen("while the control plane is away")
	story.Eventually(t, "the control plane to be back", limit, func() bool {
		_, err := p.Client.Status(t.Context())
		return err == nil
	})
	if now := supervisor.Holder(lock); now != gateway {
		t.Errorf("the gateway was process %d, and is %d", gateway, now)
	}
	if err := syscall.Kill(gateway, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	story.Eventually(t, "S3 to be back", limit, func() bool {
		_, err := s.try(t.Context(), "GET", "/kept/a", "")
		return err == nil
	})
	seen("after the gateway was killed")
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	story.NothingLeft(t, p.Data)
}

func TestThePlatformOfAnOrdinaryUserHasBucketsToo(t *testing.T) {
	s := attic(t, story.Ordinary(t), "attic", "{ uploads: { path: uploads, public: /media } }")
	s.ask("PUT", "/kept/a", "as S3")
	s.ask("PUT", "/direct/b", "directly")
	if direct, kept, public := s.ask("GET", "/direct/a", ""), s.ask("GET", "/kept/b", ""), s.ask("GET", "/media/a", ""); direct != "as S3" || kept != "directly" || public != "as S3" {
		t.Errorf("directly there is %q, as S3 %q, in public %q", direct, kept, public)
	}
}

// nowhereElse looks for a secret in the arguments of every process, and in the
// platform's files.
func nowhereElse(t *testing.T, data, secret string) {
	t.Helper()
	if len(secret) < 40 {
		t.Fatalf("the secret is %q", secret)
	}
	arguments, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(data, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(arguments, files...) {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), secret) {
			t.Errorf("the secret is in %s", path)
		}
	}
}

// writer has an attic keep one thing after the other until it is stopped.
type writer struct {
	*shelf
	mu   sync.Mutex
	kept []string
	errs []error
}

func (w *writer) begin() (stop func()) {
	end := make(chan struct{})
	var all sync.WaitGroup
	for of := range 2 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-end:
					return
				case <-time.After(5 * time.Millisecond):
				}
				name := fmt.Sprintf("during-%d-%d", of, i)
				_, err := w.try(w.t.Context(), "PUT", "/kept/"+name, name)
				w.mu.Lock()
				if err != nil {
					w.errs = append(w.errs, err)
				} else {
					w.kept = append(w.kept, name)
				}
				w.mu.Unlock()
			}
		})
	}
	return func() { close(end); all.Wait() }
}

func TestFilesMoveToABucketWhileTheAppRuns(t *testing.T) {
	p := story.Platform(t)
	s := attic(t, p, "attic", "{ uploads: /data/uploads }")
	elsewhere := attic(t, p, "depot", "{ store: /data/store }").told()
	for i := range 50 {
		s.ask("PUT", fmt.Sprintf("/kept/before-%d", i), fmt.Sprint(i))
	}
	bucket := fmt.Sprintf("s3://store/of/attic?endpoint=%s", url.QueryEscape(elsewhere["S3_ENDPOINT"]))
	s.refused(2, "has no secret S3_ACCESS_KEY_ID_UPLOADS", "files", "move", "uploads", bucket)
	for secret, value := range map[string]string{
		"S3_ACCESS_KEY_ID_UPLOADS": elsewhere["S3_ACCESS_KEY_ID"], "S3_SECRET_ACCESS_KEY_UPLOADS": elsewhere["S3_SECRET_ACCESS_KEY"],
	} {
		command := s.command("secrets", "set", secret)
		command.Stdin = strings.NewReader(value + "\n")
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
	}
	w := &writer{shelf: s}
	stop := w.begin()
	if said := s.tide("files", "move", "uploads", bucket); !strings.Contains(said, "are in the bucket") {
		t.Errorf("it said\n%s", said)
	}
	s.describe("attic", fmt.Sprintf("{ uploads: { s3: %q } }", bucket))
	s.tide("deploy")
	// What is carried over while releases change is so by the next control plane too.
	s.killControl()
	story.Eventually(t, "all to be in the bucket", limit, func() bool {
		all, err := p.Client.FilesUsage(t.Context(), springtide.EnvironmentID{App: "attic", Name: springtide.Production})
		return err == nil && len(all) == 1 && all[0].Moved
	})
	stop()
	if said := s.tide("files"); !strings.Contains(said, "all of it is in s3://store/of/attic") {
		t.Errorf("it said\n%s", said)
	}
	if len(w.errs) > 0 || len(w.kept) < 20 {
		t.Fatalf("of %d files %d were not kept: %v", len(w.kept), len(w.errs), w.errs)
	}
	if told := s.told(); told["S3_BUCKET"] != "store" || told["S3_PREFIX"] != "of/attic/" || told["FILES_UPLOADS"] != "" {
		t.Errorf("the app was told %v", told)
	}
	for _, name := range w.kept {
		if content := s.ask("GET", "/kept/"+name, ""); content != name {
			t.Errorf("%s holds %q", name, content)
		}
	}
	for i := range 50 {
		if content := s.ask("GET", fmt.Sprintf("/kept/before-%d", i), ""); content != fmt.Sprint(i) {
			t.Errorf("before-%d holds %q", i, content)
		}
	}
	s.tide("files", "destroy", "attic/production/uploads")
	if _, err := os.Stat(filepath.Join(p.Data, "files", "attic", "production", "uploads")); !os.IsNotExist(err) {
		t.Errorf("the folder: %v", err)
	}
}

func TestASharedFolderOfWhatIsGoneIsKeptUntilItIsDestroyed(t *testing.T) {
	p := story.Platform(t)
	s := attic(t, p, "attic", "{ uploads: /data/uploads }")
	s.ask("PUT", "/direct/a", "x")
	s.refused(4, "is in use", "files", "destroy", "attic/production/uploads")
	s.tide("destroy", "--yes")
	if all := s.tide("files", "--all"); !strings.Contains(all, "no release names it") {
		t.Errorf("the folders are told as\n%s", all)
	}
	s.tide("files", "destroy", "attic/production/uploads")
	if all := s.tide("files", "--all"); strings.Contains(all, "attic") {
		t.Errorf("the folders are told as\n%s", all)
	}
}
