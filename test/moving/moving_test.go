// Package moving tells how apps go from one platform to another.
package moving

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/moving"
	"github.com/springtide/springtide/test/story"
)

var page = springtide.EnvironmentID{App: "page", Name: springtide.Production}

// server shows what its release, its config and its secret are.
const server = `import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(' '.join([open('VERSION').read().strip(), os.environ.get('COLOUR', '-'), os.environ['KEY']]).encode())
http.server.HTTPServer(('0.0.0.0', int(os.environ['PORT'])), H).serve_forever()
`

const manifest = `app: page
processes: { web: { command: exec python3 server.py, scale: { min: 1, max: 4 } } }
schedules: { tidy: { cron: "0 0 1 1 *", command: "true" }, sweep: { cron: "0 0 1 1 *", command: "true" } }
secrets: [KEY]
`

// source is the folder of the page.
func source(t *testing.T, release string) string {
	t.Helper()
	folder := filepath.Join(story.Folder(t), "page")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, folder, map[string]string{"server.py": server, "tide.yaml": manifest, "VERSION": release})
	return folder
}

func put(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// key makes an age key, and gives the file that it is in and its recipient.
func key(t *testing.T) (file, recipient string) {
	t.Helper()
	made, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(file, []byte(made.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, made.Recipient().String()
}

func setSecret(t *testing.T, p *platform.Platform, value string) {
	t.Helper()
	command := p.Command(t.Context(), "secrets", "set", "KEY", "--app", "page")
	command.Stdin = strings.NewReader(value)
	story.Output(t, command)
}

// shown is what the page answers.
func shown(t *testing.T, p *platform.Platform) string {
	t.Helper()
	response, err := story.HTTP(t, p).Get("https://page.localhost/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// await waits until the page answers so.
func await(t *testing.T, p *platform.Platform, want string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		got := shown(t, p)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the page is %q, want %q", got, want)
		}
	}
}

// old makes a platform with two releases of the page and all that can be set.
func old(t *testing.T) *platform.Platform {
	t.Helper()
	p := story.Platform(t)
	setSecret(t, p, "s3cret")
	folder := source(t, "one")
	story.Deploy(t, p, folder)
	story.Output(t, p.Command(t.Context(), "config", "set", "COLOUR=blue", "--app", "page"))
	await(t, p, "one blue s3cret")
	put(t, folder, map[string]string{"VERSION": "two"})
	story.Deploy(t, p, folder)
	story.Output(t, p.Command(t.Context(), "scale", "web=2", "--app", "page"))
	story.Output(t, p.Command(t.Context(), "schedules", "pause", "tidy", "--app", "page"))
	story.Output(t, p.Command(t.Context(), "domains", "add", "page.example.com", "--app", "page"))
	return p
}

func export(t *testing.T, p *platform.Platform, recipient string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "page.tide")
	story.Output(t, p.Command(t.Context(), "export", "page", "--to", recipient, "--output", file))
	return file
}

// steps reads a plan.
func steps(t *testing.T, text string) []moving.Step {
	t.Helper()
	var plan moving.ImportPlan
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&plan); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return plan.Steps
}

func TestAnAppMovesWithAllThatIsItsOwn(t *testing.T) {
	from, to := old(t), story.Platform(t)
	identity, recipient := key(t)
	file := export(t, from, recipient)
	if text, err := os.ReadFile(file); err != nil || bytes.Contains(text, []byte("s3cret")) || bytes.Contains(text, []byte("VERSION")) {
		t.Errorf("the export can be read by anybody: %v", err)
	}
	planned := steps(t, story.Output(t, to.Command(t.Context(), "plan", file, "--identity", identity, "--json")))
	if len(planned) != 1 || planned[0].Action != moving.Make || planned[0].Secrets != 1 || planned[0].Release == 0 {
		t.Errorf("the plan is %+v", planned)
	}
	if apps, err := to.Client.Environments(t.Context(), ""); err != nil || len(apps) != 0 {
		t.Errorf("the plan has made %v, %v", apps, err)
	}
	said := story.Output(t, to.Command(t.Context(), "import", file, "--identity", identity))
	if !strings.Contains(said, "+ page/production") || !strings.Contains(said, "serves") {
		t.Errorf("the import says\n%s", said)
	}
	await(t, to, "two blue s3cret")
	same(t, from, to)
	// The releases before come too: what they were can be brought back.
	story.Output(t, to.Command(t.Context(), "rollback", "--app", "page"))
	await(t, to, "one blue s3cret")
	if again := steps(t, story.Output(t, to.Command(t.Context(), "import", file, "--identity", identity, "--dry-run", "--json"))); again[0].Action != moving.Conflict {
		t.Errorf("over another release it would %+v", again)
	}
}

// same compares what two platforms have of the page, once both have the two
// instances that were set by hand.
func same(t *testing.T, from, to *platform.Platform) {
	t.Helper()
	for _, p := range []*platform.Platform{from, to} {
		if _, err := p.Ready(t.Context(), page, 2); err != nil {
			t.Fatal(err)
		}
	}
	for _, what := range [][]string{{"config", "--app", "page"}, {"domains", "--app", "page"}, {"scale", "--app", "page"}} {
		if a, b := story.Output(t, from.Command(t.Context(), what...)), story.Output(t, to.Command(t.Context(), what...)); a != b {
			t.Errorf("%v was\n%sand is\n%s", what, a, b)
		}
	}
	before, err1 := from.Client.Releases(t.Context(), page)
	after, err2 := to.Client.Releases(t.Context(), page)
	if err := errors.Join(err1, err2); err != nil || len(before) != len(after) {
		t.Fatalf("there were %d releases, and are %d; %v", len(before), len(after), err)
	}
	for i := range before {
		if b, a := before[i], after[i]; b.Number != a.Number || b.Artifact != a.Artifact || b.State != a.State {
			t.Errorf("v%d (%s, %s) is v%d (%s, %s)", b.Number, b.State, b.Artifact, a.Number, a.State, a.Artifact)
		}
	}
	schedules, err := to.Client.Schedules(t.Context(), page)
	if err != nil {
		t.Fatal(err)
	}
	for _, schedule := range schedules {
		if want := schedule.Name == "tidy"; schedule.Paused != want {
			t.Errorf("the schedule %s is paused: %v", schedule.Name, schedule.Paused)
		}
	}
}

func TestAPassphraseOpensAnExportAndWhatServesThereAlreadyIsLeftAlone(t *testing.T) {
	p := story.Platform(t)
	setSecret(t, p, "s3cret")
	folder := source(t, "one")
	story.Deploy(t, p, folder)
	phrase := filepath.Join(t.TempDir(), "phrase")
	put(t, filepath.Dir(phrase), map[string]string{"phrase": "correct horse battery staple\n", "wrong": "incorrect\n"})
	file := filepath.Join(t.TempDir(), "all.tide")
	story.Output(t, p.Command(t.Context(), "export", "--passphrase-file", phrase, "--output", file))
	wrong := p.Command(t.Context(), "import", file, "--passphrase-file", filepath.Join(filepath.Dir(phrase), "wrong"))
	if said := story.Refused(t, wrong, 5); !strings.Contains(said, "not one that the export was made for") {
		t.Errorf("with a wrong passphrase it says\n%s", said)
	}
	done := steps(t, story.Output(t, p.Command(t.Context(), "import", file, "--passphrase-file", phrase, "--json")))
	if len(done) != 1 || done[0].Action != moving.Keep || done[0].Deploy != "" {
		t.Errorf("over itself it did %+v", done)
	}
	put(t, folder, map[string]string{"VERSION": "two"})
	story.Deploy(t, p, folder)
	if said := story.Refused(t, p.Command(t.Context(), "import", file, "--passphrase-file", phrase), 4); !strings.Contains(said, "nothing was changed") {
		t.Errorf("over another release it says\n%s", said)
	}
	await(t, p, "two - s3cret")
}

func TestAFileThatIsNoWholeExportForThisKeyIsToldInOneSentence(t *testing.T) {
	p := old(t)
	identity, recipient := key(t)
	file := export(t, p, recipient)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	to := story.Platform(t)
	other, _ := key(t)
	damaged := slices.Clone(whole)
	damaged[len(damaged)*2/3] ^= 1
	for name, one := range map[string]struct {
		content  []byte
		identity string
		code     int
		says     string
	}{
		"cut":     {whole[:len(whole)-100], identity, 2, "is damaged"},
		"damaged": {damaged, identity, 2, "is damaged"},
		"foreign": {[]byte("PK\x03\x04 some archive"), identity, 2, "no export of tide"},
		"another": {whole, other, 5, "not one that the export was made for"},
		"no key":  {whole, filepath.Join(t.TempDir(), "none"), 2, "--identity"},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, one.content, 0o600); err != nil {
			t.Fatal(err)
		}
		said := story.Refused(t, to.Command(t.Context(), "import", path, "--identity", one.identity), one.code)
		if !strings.Contains(said, one.says) || strings.Count(said, "error:") != 1 {
			t.Errorf("%s: it says\n%s", name, said)
		}
		if apps, err := to.Client.Environments(t.Context(), ""); err != nil || len(apps) != 0 {
			t.Errorf("%s: it left %v, %v", name, apps, err)
		}
	}
	if said := story.Refused(t, to.Command(t.Context(), "export", "none", "--to", recipient, "--output", filepath.Join(t.TempDir(), "f")), 3); !strings.Contains(said, "there is no none here") {
		t.Errorf("of an app that is not there it says\n%s", said)
	}
}

func TestAnImportThatIsKilledAnywhereIsRunAgain(t *testing.T) {
	from, to := old(t), story.Platform(t)
	folder := source(t, "three")
	large := make([]byte, 48<<20)
	if _, err := rand.Read(large); err != nil {
		t.Fatal(err)
	}
	put(t, folder, map[string]string{"large": string(large)})
	story.Deploy(t, from, folder)
	identity, recipient := key(t)
	file := export(t, from, recipient)
	for round := range 8 {
		command := to.Command(t.Context(), "import", file, "--identity", identity)
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(pick(t, 700)) * time.Millisecond) // at any moment
		if round%2 == 0 {
			_ = command.Process.Kill()
		} else {
			status, err := to.Status(t.Context())
			if err == nil {
				err = syscall.Kill(status.Processes.Control, syscall.SIGKILL)
			}
			if err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Logf("round %d: nothing to kill: %v", round, err)
			}
		}
		_ = command.Wait()
		wholeOrNothing(t, to, round)
	}
	again(t, to, file, identity)
	await(t, to, "three blue s3cret")
	same(t, from, to)
}

// pick gives a number below n.
func pick(t *testing.T, n int64) int64 {
	t.Helper()
	number, err := rand.Int(rand.Reader, big.NewInt(n))
	if err != nil {
		t.Fatal(err)
	}
	return number.Int64()
}

// wholeOrNothing checks that there is either no page, or one with all of its
// releases and its secret.
func wholeOrNothing(t *testing.T, p *platform.Platform, round int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		releases, err := p.Client.Releases(t.Context(), page)
		secrets, secretsErr := p.Client.Secrets(t.Context(), page)
		kind := springtide.KindOf(err)
		if (kind == springtide.Unavailable || springtide.KindOf(secretsErr) == springtide.Unavailable) && time.Now().Before(deadline) {
			continue // it is being started again, or about to be
		}
		if kind != springtide.NotFound && (len(releases) < 4 || len(secrets) != 1 || secrets[0].Version == 0) {
			t.Errorf("round %d: %d releases, %v, secrets %v, %v", round, len(releases), err, secrets, secretsErr)
		}
		return
	}
}

// again runs the import until the page is there; a rollout of one that was killed
// may still be under way.
func again(t *testing.T, p *platform.Platform, file, identity string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		said, err := p.CLI(t.Context(), "import", file, "--identity", identity)
		if err == nil {
			return
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 4 && exit.ExitCode() != 6 || time.Now().After(deadline) {
			t.Fatal(fmt.Errorf("%w\n%s", err, said))
		}
	}
}
