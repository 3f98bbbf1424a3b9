// Package replicas tells of platforms whose state is in PostgreSQL: what becomes
// of them without it, and which of two leads.
package replicas

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/cert"
	"github.com/springtide/springtide/internal/client"
	"github.com/springtide/springtide/test/postgres"
	"github.com/springtide/springtide/test/story"
)

// limit is how long a test waits for what takes seconds.
const limit = 2 * time.Minute

const manifest = `app: quiz
processes:
  web: { command: python3 app.py, health: { path: /healthz }, scale: { min: 1, max: 1 } }
`

var quiz = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}

// deploy deploys the app and gives its URL.
func deploy(t *testing.T, p *platform.Platform) string {
	t.Helper()
	app := story.App(t, "python")
	if err := os.WriteFile(filepath.Join(app, "tide.yaml"), []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	return story.Deploy(t, p, app)
}

// ask is a query of one row.
func ask(t *testing.T, location, query string, into ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), query).Scan(into...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// kill ends the control plane at once and waits until another leads in its place.
func kill(t *testing.T, p *platform.Platform) time.Duration {
	t.Helper()
	before, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := syscall.Kill(before.Processes.Control, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	story.Eventually(t, "another control plane to lead", limit, func() bool {
		now, err := p.Status(t.Context())
		return err == nil && now.Store.Leads && now.Processes.Control != before.Processes.Control
	})
	return time.Since(began)
}

// addCertificate adds a file with a certificate, which our clients trust, to the app,
// and gives its host.
func addCertificate(t *testing.T, p *platform.Platform, location string) string {
	t.Helper()
	parsed, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := cert.OpenAuthority(filepath.Join(p.Data, "ca"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := authority.Certificate([]string{parsed.Hostname()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Client.AddCertificate(t.Context(), quiz, api.CertificateFile{Names: own.Names, Chain: own.Chain, Key: own.Key}); err != nil {
		t.Fatal(err)
	}
	return parsed.Hostname()
}

func TestAPlatformWhoseStateIsInPostgreSQLOutlivesItsControlPlaneAndWaitsForItsDatabase(t *testing.T) {
	server := postgres.Start(t)
	location := server.URL("tide")
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("a key that nobody guesses, as long as it has to be"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := story.Platform(t, "--store", location, "--shared-key", key)
	site := deploy(t, p)
	http := story.HTTP(t, p)
	var active, schedules int
	ask(t, location, "SELECT active FROM springtide_store.environments WHERE app = 'quiz'", &active)
	ask(t, location, "SELECT count(*) FROM pg_tables WHERE schemaname = 'springtide' AND tablename = 'schedules'", &schedules)
	if active != 1 || schedules != 1 {
		t.Errorf("release %d is active in PostgreSQL, %d ledgers are there", active, schedules)
	}
	for _, file := range []string{"tide.db", "jobs.db"} {
		if _, err := os.Stat(filepath.Join(p.Data, file)); err == nil {
			t.Errorf("there is a %s as well", file)
		}
	}
	host := addCertificate(t, p, site) // and killed at once: whoever leads next goes by what is in the store
	t.Logf("after kill -9 of the only control plane another one led after %s", kill(t, p))
	certificates, err := p.Client.Certificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(certificates, func(c api.Certificate) bool { return c.Name == host && c.Source == "file" }) {
		t.Errorf("the certificate that was added to %s is lost: %+v", host, certificates)
	}

	server.Stop()
	story.Eventually(t, "a control plane without its database to say so", limit, func() bool {
		status, err := p.Status(t.Context())
		return err == nil && !status.Store.Leads && strings.Contains(status.Store.Trouble, "does not answer")
	})
	if text := story.Refused(t, p.Command(t.Context(), "ps"), 6); !strings.Contains(text, "PostgreSQL") || !strings.Contains(text, "hint: ") {
		t.Errorf("without a database it is told: %s", text)
	}
	if body := story.Get(t, http, site+"/healthz"); body != "ok\n" {
		t.Errorf("without a database the app answers %q", body)
	}
	server.Start()
	story.Eventually(t, "the control plane to lead again", limit, func() bool {
		status, err := p.Status(t.Context())
		return err == nil && status.Store.Leads
	})
	deploy(t, p)
	ask(t, location, "SELECT active FROM springtide_store.environments WHERE app = 'quiz'", &active)
	if active != 2 {
		t.Errorf("release %d is active, want the second", active)
	}
}

func TestAnAddressOfTheStoreThatIsWrongIsToldAtOnce(t *testing.T) {
	stranger := strings.Replace(postgres.Start(t).URL("tide"), "postgres@", "nobody-there:secret@", 1)
	for location, want := range map[string]string{
		"mysql://db.example.com/tide": "--store is not a PostgreSQL URL",
		stranger:                      "does not let us in",
	} {
		command := exec.CommandContext(t.Context(), story.Binary(t), "serve", "--data", story.Folder(t))
		command.Env = append(os.Environ(), "TIDE_STORE="+location)
		if text := story.Refused(t, command, 2); !strings.Contains(text, want) || !strings.Contains(text, "hint: ") || strings.Contains(text, "secret") {
			t.Errorf("it is told: %s", text)
		}
	}
}

// second is another platform on the store of the first.
type second struct {
	*client.Client
	t       *testing.T
	command *exec.Cmd
}

// join starts a second platform, which has the root key of the first.
func join(t *testing.T, first *platform.Platform, location string) *second {
	t.Helper()
	data := story.Folder(t)
	key, err := os.ReadFile(filepath.Join(first.Data, "root-key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(data, "root-key"), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &second{t: t}
	s.command = exec.Command(story.Binary(t), "serve", "--data", data, "--https", "127.0.0.1:0", "--http", "127.0.0.1:0", "--store", location)
	s.command.Stdout, s.command.Stderr = t.Output(), t.Output()
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	if s.Client, err = client.New(client.Options{Data: data}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// end ends it as a service manager does.
func (s *second) end() {
	if s.command.ProcessState == nil {
		_ = s.command.Process.Signal(syscall.SIGTERM)
		_ = s.command.Wait()
	}
}

// await waits until what it says of the store is so.
func (s *second) await(what string, is func(api.StoreStatus) bool) {
	s.t.Helper()
	story.Eventually(s.t, what, limit, func() bool {
		status, err := s.Status(s.t.Context())
		return err == nil && is(status.Store)
	})
}

func TestASecondControlPlaneTellsWhatItKnowsAndTakesOverFromOneThatIsFrozen(t *testing.T) {
	server := postgres.Start(t)
	location := server.URL("tide")
	first := story.Platform(t, "--store", location)
	url := deploy(t, first)
	http := story.HTTP(t, first)
	other := join(t, first, location)
	other.await("the second to follow", func(s api.StoreStatus) bool { return !s.Leads && s.Leader != "" && s.Trouble == "" })
	if releases, err := other.Releases(t.Context(), quiz); err != nil || len(releases) != 1 || releases[0].State != springtide.ReleaseActive {
		t.Errorf("who follows tells of releases %+v, %v", releases, err)
	}
	if err := other.Stop(t.Context(), quiz); springtide.KindOf(err) != springtide.Unavailable || !strings.Contains(err.Error(), "leads") {
		t.Errorf("who follows stops an app: %v", err)
	}

	before, err := first.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := syscall.Kill(before.Processes.Control, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	other.await("the second to take over", func(s api.StoreStatus) bool { return s.Leads })
	t.Logf("from a frozen leader it took over after %s", time.Since(began))
	if body := story.Get(t, http, url+"/healthz"); body != "ok\n" {
		t.Errorf("the app of the first answers %q meanwhile", body)
	}
	if _, err := other.ChangeScale(t.Context(), quiz, api.ScaleChange{Set: map[springtide.ProcessName]springtide.ScaleRange{"web": {Min: 1, Max: 3}}}); err != nil {
		t.Error(err)
	}
	var token, after int64
	ask(t, location, "SELECT token FROM springtide_store.leadership", &token)
	if err := syscall.Kill(before.Processes.Control, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	story.Eventually(t, "the one that was frozen to follow", limit, func() bool {
		status, err := first.Status(t.Context())
		return err == nil && status.Processes.Control != before.Processes.Control && !status.Store.Leads && status.Store.Leader != ""
	})
	if ask(t, location, "SELECT token FROM springtide_store.leadership", &after); after != token {
		t.Errorf("the lead changed from %d to %d as the first thawed", token, after)
	}

	began = time.Now()
	other.end()
	story.Eventually(t, "the first to lead again", limit, func() bool {
		status, err := first.Status(t.Context())
		return err == nil && status.Store.Leads
	})
	t.Logf("from one that was told to end, after %s", time.Since(began))
	if environment, err := first.Client.Environment(t.Context(), quiz); err != nil || environment.Scale["web"].Max != 3 {
		t.Errorf("what the second wrote is %+v, %v", environment.Scale, err)
	}
	if body := story.Get(t, http, url+"/healthz"); body != "ok\n" {
		t.Errorf("in the end the app answers %q", body)
	}
}
