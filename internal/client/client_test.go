package client_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/api/apitest"
	"github.com/springtide/springtide/internal/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiz = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}

func serve(t *testing.T) (*apitest.Server, *client.Client) {
	t.Helper()
	server, err := apitest.Serve(apitest.New(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, client.Options{Data: server.Data})
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server, c
}

func connect(t *testing.T, options client.Options) *client.Client {
	t.Helper()
	c, err := client.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// source is an app's folder as tar.gz.
func source(t *testing.T, files ...string) io.Reader {
	t.Helper()
	var text bytes.Buffer
	zipped := gzip.NewWriter(&text)
	archive := tar.NewWriter(zipped)
	for _, name := range files {
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return &text
}

func deploy(t *testing.T, c *client.Client, files ...string) (api.Deploy, []string) {
	t.Helper()
	started, err := c.Deploy(t.Context(), quiz, source(t, files...), "commit 4ab2")
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	done, err := c.FollowDeploy(t.Context(), started.ID, func(e springtide.Event) { kinds = append(kinds, e.Kind) })
	if err != nil {
		t.Fatal(err)
	}
	return done, kinds
}

func TestADeployIsFollowedToItsEnd(t *testing.T) {
	_, c := serve(t)
	done, kinds := deploy(t, c, "tide.yaml")
	if !done.Done || done.Error != nil || done.Release != 1 || done.URL != "https://quiz.localhost:8443" {
		t.Errorf("got %+v", done)
	}
	want := []string{"build.line", "build.done", "rollout.step", "instance.state", "rollout.step", "deploy.done"}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Error(diff)
	}
	broken, kinds := deploy(t, c, "FAIL")
	if broken.Error == nil || broken.Error.Kind != springtide.Failed || len(broken.Error.Lines) != 2 {
		t.Errorf("got %+v", broken.Error)
	}
	if kinds[len(kinds)-1] != "deploy.failed" {
		t.Errorf("got %v", kinds)
	}
}

func TestWhatIsSetIsGivenBack(t *testing.T) {
	_, c := serve(t)
	deploy(t, c, "tide.yaml")
	ctx := t.Context()
	config, err := c.ChangeConfig(ctx, quiz, api.ConfigChange{Set: map[string]string{"COLOUR": "blue", "SIZE": "1"}})
	if err != nil || config["COLOUR"] != "blue" {
		t.Errorf("got %v, %v", config, err)
	}
	if _, err := c.ChangeConfig(ctx, quiz, api.ConfigChange{Remove: []string{"SIZE"}}); err != nil {
		t.Error(err)
	}
	if config, err = c.Config(ctx, quiz); err != nil || !cmp.Equal(config, map[string]string{"COLOUR": "blue"}) {
		t.Errorf("got %v, %v", config, err)
	}
	if _, err := c.ChangeDomains(ctx, quiz, api.DomainsChange{Add: []string{"Quiz.Example.com"}}); err != nil {
		t.Error(err)
	}
	if domains, err := c.Domains(ctx, quiz); err != nil || !cmp.Equal(domains, []string{"quiz.example.com"}) {
		t.Errorf("got %v, %v", domains, err)
	}
	set := map[springtide.ProcessName]springtide.ScaleRange{"web": {Min: 2, Max: 10}}
	processes, err := c.ChangeScale(ctx, quiz, api.ScaleChange{Set: set})
	if err != nil || len(processes) != 1 || processes[0].Max != 10 || !processes[0].Fixed {
		t.Errorf("got %v, %v", processes, err)
	}
	environment, err := c.Environment(ctx, quiz)
	if err != nil || environment.Active != 1 || environment.ID != quiz {
		t.Errorf("got %+v, %v", environment, err)
	}
	all, err := c.Environments(ctx, "")
	if err != nil || len(all) != 1 {
		t.Errorf("got %v, %v", all, err)
	}
	app := springtide.App{Name: "quiz", Processes: map[springtide.ProcessName]springtide.Process{"web": {Command: "./web"}}}
	plan, err := c.Plan(ctx, quiz, app)
	if err != nil || len(plan.Changes) != 1 || plan.Changes[0].To != "./web" {
		t.Errorf("got %v, %v", plan, err)
	}
}

func TestAnErrorArrivesAsItWas(t *testing.T) {
	_, c := serve(t)
	_, err := c.Rollback(t.Context(), quiz, 3)
	told, ok := errors.AsType[*springtide.Error](err)
	if !ok || told.Kind != springtide.NotFound || told.Message != "there is no environment quiz/production" || told.Hint == "" {
		t.Errorf("got %#v", err)
	}
}

func TestNobodyListeningIsSaidInOneSentence(t *testing.T) {
	data := t.TempDir()
	c := connect(t, client.Options{Data: data})
	_, err := c.Status(t.Context())
	want := "no tide is running on " + data + "; start one with `tide serve` or `tide up`"
	if err == nil || err.Error() != want || springtide.KindOf(err) != springtide.Unavailable {
		t.Errorf("got %v", err)
	}
	started := time.Now()
	for _, err := range c.Events(t.Context(), api.EventQuery{}) {
		if springtide.KindOf(err) != springtide.Unavailable {
			t.Errorf("got %v", err)
		}
	}
	if time.Since(started) > 30*time.Second { // it has patience for a minute with one that was there
		t.Error("it waited for a server that was never there")
	}
}

func TestWhatFollowsSurvivesARestartOfTheServer(t *testing.T) {
	data := t.TempDir()
	platform := apitest.New()
	server, err := apitest.Serve(platform, data, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, client.Options{Data: data})
	deploy(t, c, "tide.yaml")
	for i := range 3 {
		platform.Log(quiz, "web-1-aaaaa", fmt.Sprint("line ", i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	restarted := make(chan error, 1)
	restart := func() {
		err := server.Close()
		if err == nil {
			server, err = apitest.Serve(platform, data, nil)
		}
		platform.Log(quiz, "web-1-aaaaa", "line 3")
		platform.Event(springtide.Event{Environment: quiz, Kind: "edge.started", Message: "after"})
		restarted <- err
	}
	var texts []string
	for line, err := range c.Logs(ctx, springtide.LogQuery{Environment: quiz, Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, line.Text)
		if line.Text == "line 2" {
			go restart()
		}
		if line.Text == "line 3" {
			break
		}
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"line 0", "line 1", "line 2", "line 3"}, texts); diff != "" {
		t.Error(diff)
	}
	var last int64
	for event, err := range c.Events(ctx, api.EventQuery{Environment: quiz}) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Sequence != last+1 {
			t.Errorf("event %d after %d", event.Sequence, last)
		}
		last = event.Sequence
		if event.Sequence == 3 {
			go restart()
		}
		if event.Sequence == 8 {
			break
		}
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
}

func TestLiveFiguresCome(t *testing.T) {
	_, c := serve(t)
	for _, err := range c.Live(t.Context(), quiz) {
		if springtide.KindOf(err) != springtide.NotFound {
			t.Errorf("of an unknown environment: %v", err)
		}
	}
	deploy(t, c, "tide.yaml")
	for figures, err := range c.Live(t.Context(), quiz) {
		if err != nil || figures.RequestsPerSecond != 12.5 || figures.P99 != 40*time.Millisecond || len(figures.Instances) != 1 {
			t.Errorf("got %+v, %v", figures, err)
		}
		break
	}
}

func TestARunGivesItsExit(t *testing.T) {
	_, c := serve(t)
	deploy(t, c, "tide.yaml")
	run, err := c.StartRun(t.Context(), api.OneOffRequest{Environment: quiz, Command: "exit 3", Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	over, err := c.WaitRun(t.Context(), quiz, run.ID)
	if err != nil || over.Exit.Code != 3 {
		t.Errorf("got %+v, %v", over, err)
	}
	for line, err := range c.Logs(t.Context(), springtide.LogQuery{Environment: quiz, Task: run.ID}) {
		if err != nil || line.Text != "exit 3" {
			t.Errorf("got %+v, %v", line, err)
		}
	}
}

func TestAShellIsATerminalAndIsRecorded(t *testing.T) {
	server, c := serve(t)
	deploy(t, c, "tide.yaml")
	shell, err := c.OpenShell(t.Context(), client.ShellRequest{
		Environment: quiz, Instance: "web-1-aaaaa", Size: api.TerminalSize{Rows: 30, Columns: 90}, Terminal: "xterm-256color",
		Command: []string{"sh", "-c", `stty size; echo "$TERM"; read -r line; echo "got $line"; exit 7`},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shell.Write([]byte("żółw\n")); err != nil {
		t.Fatal(err)
	}
	shown, err := io.ReadAll(shell)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"30 90", "xterm-256color", "got żółw"} {
		if !strings.Contains(string(shown), want) {
			t.Errorf("no %q in %q", want, shown)
		}
	}
	if shell.ExitCode() != 7 {
		t.Errorf("exit code %d", shell.ExitCode())
	}
	if err := shell.Close(); err != nil {
		t.Error(err)
	}
	casts, err := filepath.Glob(filepath.Join(server.Data, "shells", "*-web-1-aaaaa-*.cast"))
	if err != nil || len(casts) != 1 {
		t.Fatalf("recordings: %v, %v", casts, err)
	}
	recorded, err := os.ReadFile(casts[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"version":2`, `"width":90`, `got żółw`, `by owner`} {
		if !strings.Contains(string(recorded), want) {
			t.Errorf("no %s in %s", want, recorded)
		}
	}
}

func TestWhatGoesThroughPipesArrivesAsItIs(t *testing.T) {
	_, c := serve(t)
	deploy(t, c, "tide.yaml")
	shell, err := c.OpenShell(t.Context(), client.ShellRequest{
		Environment: quiz, Instance: "web-1-aaaaa", Pipes: true, Command: []string{"sh", "-c", `sha256sum; tty >&2; exit 7`},
	})
	if err != nil {
		t.Fatal(err)
	}
	dump := strings.Repeat("INSERT\t\x03\x04\r\n", 100_000)
	if _, err := io.Copy(shell, strings.NewReader(dump)); err != nil {
		t.Fatal(err)
	}
	if err := shell.End(); err != nil {
		t.Fatal(err)
	}
	shown, err := io.ReadAll(shell)
	if want := fmt.Sprintf("%x  -\nnot a tty\n", sha256.Sum256([]byte(dump))); err != nil || string(shown) != want || shell.ExitCode() != 7 {
		t.Errorf("it gave %q, exit code %d, %v; want %q", shown, shell.ExitCode(), err, want)
	}
}

func TestWhatACommandWroteLastArrivesHoweverSlowlyItIsRead(t *testing.T) {
	_, c := serve(t)
	deploy(t, c, "tide.yaml")
	const size = 220_000 // more than a socket holds, and less than that and a pipe do
	shell, err := c.OpenShell(t.Context(), client.ShellRequest{
		Environment: quiz, Instance: "web-1-aaaaa", Pipes: true, Command: []string{"sh", "-c", fmt.Sprintf("head -c %d /dev/zero; exit 7", size)},
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second) // the command has ended long ago, or goes on
	shown, err := io.ReadAll(shell)
	if err != nil || len(shown) != size || shell.ExitCode() != 7 {
		t.Errorf("it gave %d bytes of %d, exit code %d, %v", len(shown), size, shell.ExitCode(), err)
	}
}

func TestClosingAShellEndsItsCommand(t *testing.T) {
	// Under nohup the signal is ignored by this process, and by what it starts
	// unless it is handled here, as it is in the platform.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	server, c := serve(t)
	deploy(t, c, "tide.yaml")
	place := filepath.Join(t.TempDir(), "process")
	ctx, cancel := context.WithCancel(t.Context())
	shell, err := c.OpenShell(ctx, client.ShellRequest{
		Environment: quiz, Instance: "web-1-aaaaa",
		Command: []string{"sh", "-c", `trap ': >"$0.hung-up"; exit' HUP; echo $$ >"$0"; echo up; while :; do sleep 0.05; done`, place},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shell.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(place)
	if err != nil {
		t.Fatal(err)
	}
	process, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for deadline := time.Now().Add(time.Minute); syscall.Kill(process, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the command still runs")
		}
	}
	if _, err := os.Stat(place + ".hung-up"); err != nil {
		t.Errorf("it was not hung up: %v", err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
}

func TestOverTLSWithATokenAndAPinnedAuthority(t *testing.T) {
	borrowed := httptest.NewUnstartedServer(nil)
	borrowed.StartTLS()
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: borrowed.Certificate().Raw}))
	config := &tls.Config{Certificates: borrowed.TLS.Certificates}
	borrowed.Close()
	server, err := apitest.Serve(apitest.New(), t.TempDir(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	owner := connect(t, client.Options{Data: server.Data})
	token, err := owner.CreateToken(t.Context(), "ci")
	if err != nil {
		t.Fatal(err)
	}
	url := "https://" + server.Address
	remote := connect(t, client.Options{URL: url, Token: token.Secret, CA: authority})
	if done, _ := deploy(t, remote, "tide.yaml"); done.Release != 1 {
		t.Errorf("got %+v", done)
	}
	shell, err := remote.OpenShell(t.Context(), client.ShellRequest{Environment: quiz, Instance: "web-1-aaaaa", Command: []string{"echo", "hello"}})
	if err != nil {
		t.Fatal(err)
	}
	if shown, err := io.ReadAll(shell); err != nil || !strings.Contains(string(shown), "hello") {
		t.Errorf("got %q, %v", shown, err)
	}
	shell.Close()
	if err := remote.Drain(t.Context()); springtide.KindOf(err) != springtide.Denied || server.Drained() {
		t.Errorf("drained by a token: %v", err)
	}
	_, err = connect(t, client.Options{URL: url, Token: token.Secret}).Status(t.Context())
	if springtide.KindOf(err) != springtide.Denied || !strings.Contains(err.Error(), "TIDE_CA") {
		t.Errorf("without the authority: %v", err)
	}
	_, err = connect(t, client.Options{URL: url, Token: "tide_wrong", CA: authority}).Status(t.Context())
	if springtide.KindOf(err) != springtide.Unauthorized {
		t.Errorf("with a wrong token: %v", err)
	}
	if err := owner.DeleteToken(t.Context(), "ci"); err != nil {
		t.Error(err)
	}
	if tokens, err := owner.Tokens(t.Context()); err != nil || len(tokens) != 0 {
		t.Errorf("got %v, %v", tokens, err)
	}
}

func TestAServerThatIsNotTideIsSaidSo(t *testing.T) {
	other := httptest.NewTLSServer(nil)
	defer other.Close()
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Certificate().Raw}))
	c := connect(t, client.Options{URL: other.URL, Token: "tide_x", CA: authority})
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "check that the URL is that of tide's API") {
		t.Errorf("got %v", err)
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, options := range []client.Options{
		{URL: "tide.example.com", Token: "x"},
		{URL: "http://tide.example.com", Token: "x"},
		{URL: "https://tide.example.com"},
		{URL: "https://tide.example.com", Token: "x", CA: "none"},
	} {
		if _, err := client.New(options); err == nil {
			t.Errorf("%+v was taken", options)
		}
	}
}
