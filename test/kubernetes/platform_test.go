package kubernetes_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide/test/kubernetes/cluster"
)

const (
	platformNamespace = "apps"
	registryHost      = "10.200.0.254:7443"
	instanceAddress   = "10.200.0.254:7445"
)

// platform is a real `tide serve` on this machine whose instances are on the cluster.
type platform struct {
	*testing.T
	*stage
	tide, data, https string
	arguments         []string
	served            *exec.Cmd
}

// newPlatform builds tide and has it serve, with no rights on the cluster but those
// that are documented.
func (s *stage) newPlatform(t *testing.T) *platform {
	t.Helper()
	folder := t.TempDir()
	for _, path := range []string{filepath.Dir(folder), folder} { // builds have users of their own
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p := &platform{T: t, stage: s, tide: filepath.Join(folder, "tide"), data: filepath.Join(folder, "data"), https: freeAddress(t)}
	build := exec.Command("go", "build", "-C", "../..", "-trimpath", "-ldflags", "-s -w", "-o", p.tide, "./cmd/tide")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if err := s.AddImage("tide:1", cluster.Image{Program: p.tide}); err != nil {
		t.Fatal(err)
	}
	s.namespace(t, platformNamespace)
	p.arguments = []string{
		"serve", "--data", p.data, "--https", p.https, "--http", freeAddress(t), "--api", registryHost,
		"--engine", "kubernetes", "--kubeconfig", s.tenant(t, platformNamespace), "--namespace", platformNamespace,
		"--registry-host", registryHost, "--instance-address", instanceAddress, "--place-within", "30s",
		"--runner-image", cluster.Registry + "/tide:1",
	}
	return p
}

// freeAddress gives one that no connection which somebody opens meanwhile can take: it is
// not of the address that they come from.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.7:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// serve starts `tide serve`, also again after it was killed.
func (p *platform) serve() {
	p.Helper()
	p.served = exec.Command(p.tide, p.arguments...)
	p.served.Stderr = p.T.Output()
	p.served.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // it ends what it started
	p.served.WaitDelay = time.Second
	if err := p.served.Start(); err != nil {
		p.Fatal(err)
	}
	p.until("the platform", func() bool { // and not what one that was killed has left
		now := p.status()
		return now != nil && now.Supervisor == p.served.Process.Pid && parent(now.Control) == now.Supervisor
	})
}

// parent gives a process's; 0: it is gone.
func parent(pid int) (ppid int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil {
		_, _ = fmt.Sscanf(string(text[bytes.LastIndexByte(text, ')')+1:]), " %c %d", new(rune), &ppid)
	}
	return ppid
}

// stop ends it as an owner would.
func (p *platform) stop() {
	_ = p.served.Process.Signal(syscall.SIGTERM) // it may have been killed
	_ = p.served.Wait()
}

// processes are those of the platform.
type processes struct{ Supervisor, Control int }

func (p *platform) status() *processes {
	var status struct{ Processes processes }
	output, err := p.command("status", "--json").Output()
	if err != nil || json.Unmarshal(output, &status) != nil {
		return nil
	}
	return &status.Processes
}

func (p *platform) command(arguments ...string) *exec.Cmd {
	command := exec.CommandContext(p.T.Context(), p.tide, arguments...)
	command.Env = append(os.Environ(), "TIDE_DATA="+p.data)
	return command
}

func (p *platform) cli(arguments ...string) string {
	p.Helper()
	command := p.command(arguments...)
	var told bytes.Buffer
	command.Stderr = &told
	output, err := command.Output()
	if err != nil {
		p.Fatalf("tide %s: %v\n%s%s", strings.Join(arguments, " "), err, output, told.String())
	}
	return string(output)
}

// refused runs a command that has to fail, and gives what it says.
func (p *platform) refused(arguments ...string) string {
	p.Helper()
	said, err := p.command(arguments...).CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); !failed {
		p.Errorf("tide %s did not fail: %v", strings.Join(arguments, " "), err)
	}
	return string(said)
}

// source makes the folder of the app page, whose program is built already.
func (p *platform) source() string {
	p.Helper()
	folder := filepath.Join(filepath.Dir(p.data), "page")
	program := filepath.Join(folder, "web")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "./app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		p.Fatalf("%v\n%s", err, output)
	}
	p.manifest(folder, "")
	return folder
}

// manifest writes that of an app which ends at once on SIGTERM.
func (p *platform) manifest(folder, more string) {
	p.Helper()
	text := fmt.Sprintf(`app: page
build: { base: "%s/base:1" }
processes:
  web: { command: exec ./web, health: { path: /, start: 20s }, drain: 5s, scale: { min: 2, max: 4 }%s }
`, cluster.Registry, more)
	if err := os.WriteFile(filepath.Join(folder, "tide.yaml"), []byte(text), 0o644); err != nil {
		p.Fatal(err)
	}
}

// client asks the edge for an app.
func (p *platform) client() *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 8,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, p.https)
		},
	}}
}

// ask has the edge give an answer of the app page.
func ask(ctx context.Context, client *http.Client) (string, error) {
	return answerOf(ctx, client, "https://page.localhost/")
}

func answerOf(ctx context.Context, client *http.Client, url string) (string, error) {
	return send(ctx, client, http.MethodGet, url, http.NoBody)
}

func send(ctx context.Context, client *http.Client, method, url string, body io.Reader) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return strings.TrimSpace(string(text)), err
}

// under asks all the while that something is done; nothing may fail. It gives how
// many asked, how many of them failed, and the longest that one waited.
func (p *platform) under(what string, do func()) (int64, int64, time.Duration) {
	p.Helper()
	ctx, cancel := context.WithCancel(p.T.Context())
	var asking sync.WaitGroup
	var asked, failed atomic.Int64
	var longest [4]time.Duration
	for n := range longest {
		asking.Go(func() {
			client := p.client()
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				began := time.Now()
				if _, err := ask(ctx, client); err != nil && ctx.Err() == nil {
					failed.Add(1)
					p.T.Logf("%s: %v", what, err)
				}
				asked.Add(1)
				longest[n] = max(longest[n], time.Since(began))
				time.Sleep(5 * time.Millisecond) // the machine is small, and the cluster needs it
			}
		})
	}
	began := time.Now()
	do()
	took := time.Since(began)
	cancel()
	asking.Wait()
	p.T.Logf("%s: %d requests in %s, %d failed", what, asked.Load(), took.Round(10*time.Millisecond), failed.Load())
	if failed.Load() > 0 {
		p.Errorf("%s: %d of %d requests failed", what, failed.Load(), asked.Load())
	}
	return asked.Load(), failed.Load(), slices.Max(longest[:])
}

// pods gives the names of an app's pods.
func (p *platform) pods(app string) string {
	return p.kubectl("-n", platformNamespace, "get", "pods", "-l", "springtide.dev/role=instance,app.kubernetes.io/name="+app, "-o", `jsonpath={.items[*].metadata.name}`)
}

func TestAPlatformServesItsAppsOnACluster(t *testing.T) {
	s := newStage(t)
	s.addBase()
	s.until("two ready nodes", func() bool { return s.nodes("Ready") == 2 })
	p := s.newPlatform(t)
	p.refusesWhatCannotBe()
	p.serve()
	defer p.stop()
	authority := p.cli("trust", "--print")
	if err := s.Trust(registryHost, []byte(authority)); err != nil {
		t.Fatal(err)
	}

	folder := p.source()
	p.cli("secrets", "set", "PASSWORD=hunter2hunter2", "--app", "page")
	p.manifest(folder, ", env: { VERSION: one }")
	p.cli("deploy", folder)
	client := p.client()
	if text, err := ask(t.Context(), client); err != nil || !strings.HasPrefix(text, "one on web-1-1-") {
		t.Fatalf("%q, %v", text, err)
	}
	if text := p.cli("status"); !strings.Contains(text, "pods of a cluster: namespace "+platformNamespace) {
		t.Errorf("status does not say where instances run:\n%s", text)
	}
	p.under("ten rollouts", func() {
		for _, version := range []string{"b", "c", "d", "e", "f", "g", "h", "i", "j", "two"} {
			p.manifest(folder, fmt.Sprintf(", env: { VERSION: %s }", version))
			p.cli("deploy", folder)
			if text, err := ask(t.Context(), client); err != nil || !strings.HasPrefix(text, version+" on ") {
				t.Errorf("after the rollout of %s: %q, %v", version, text, err)
			}
		}
	})
	p.servesTheQuiz(client)
	p.runsAndLogs()
	p.works()
	p.under("scaling", func() {
		p.cli("scale", "web=3", "--app", "page")
		p.until("three instances", func() bool { return strings.Count(p.pods("page"), "web-") == 3 })
		p.cli("scale", "web=2", "--app", "page")
		p.until("two instances", func() bool { return strings.Count(p.pods("page"), "web-") == 2 })
	})
	p.failsForTheClustersReason(folder, []byte(authority))
	p.livesOn()
	other := append(slices.Clone(p.arguments), "--data", filepath.Join(filepath.Dir(p.data), "other"))
	if said := p.refused(other...); !strings.Contains(said, "namespace "+platformNamespace+" is used by another Springtide") {
		t.Errorf("another platform: %s", said)
	}
	var before string
	p.until("no pod that is still to go", func() bool { before = p.pods("page"); return strings.Count(before, "web-") == 2 })
	p.stop()
	if after := p.pods("page"); after != before || before == "" {
		t.Errorf("the pods were %s, and without the platform they are %s", before, after)
	}
}

// servesTheQuiz deploys the example with the manifest that it has on one machine, and
// what a cluster needs beside it: a base.
func (p *platform) servesTheQuiz(client *http.Client) {
	p.Helper()
	folder := filepath.Join(filepath.Dir(p.data), "quiz")
	if err := os.CopyFS(folder, os.DirFS("../../examples/quiz")); err != nil {
		p.Fatal(err)
	}
	path := filepath.Join(folder, "tide.yaml")
	written, err := os.ReadFile(path)
	if err != nil {
		p.Fatal(err)
	}
	based := strings.Replace(string(written), `build: { command: "go build`, fmt.Sprintf(`build: { base: "%s/base:1", command: "CGO_ENABLED=0 go build`, cluster.Registry), 1)
	if err := os.WriteFile(path, []byte(based), 0o644); err != nil {
		p.Fatal(err)
	}
	p.cli("deploy", folder)
	if text, err := answerOf(p.T.Context(), client, "https://quiz.localhost/"); err != nil || !strings.Contains(text, "<title>") {
		p.Errorf("the quiz: %v\n%s", err, text)
	}
	p.cli("destroy", "--app", "quiz", "--yes")
}

// addBase makes the image that apps are laid upon.
func (s *stage) addBase() {
	s.Helper()
	links := map[string]string{}
	for _, name := range []string{"sh", "cat", "sleep", "env", "wget"} {
		links["bin/"+name] = "/bin/busybox"
	}
	if err := s.AddImage("base:1", cluster.Image{Program: "/bin/busybox", Others: map[string]string{"bin/busybox": "/bin/busybox"}, Links: links}); err != nil {
		s.Fatal(err)
	}
}

// refusesWhatCannotBe tries to serve with each mistake there is.
func (p *platform) refusesWhatCannotBe() {
	p.Helper()
	with := func(more ...string) []string { return append(append([]string{}, p.arguments...), more...) }
	for what, said := range map[string]string{
		p.refused(with("--context", "other")...):                                       `there is no context "other"`,
		p.refused(with("--namespace", "elsewhere")...):                                 "in namespace elsewhere it is not allowed to get pods",
		p.refused(with("--kubeconfig", "/nowhere")...):                                 "stat /nowhere: no such file or directory",
		p.refused(with("--instance-address", "10.1.1.1")...):                           "--instance-address 10.1.1.1 is not a host with a port",
		p.refused(with("--engine", "docker")...):                                       "--engine docker is none",
		p.refused("serve", "--data", p.data, "--namespace", "x"):                       "a cluster is described, but instances run on this machine",
		p.refused(with("--kubeconfig", p.Kubeconfig(), "--namespace", "elsewhere")...): "there is no namespace elsewhere",
	} {
		if !strings.Contains(what, said) || strings.Count(strings.TrimSpace(what), "\n") > 1 {
			p.Errorf("want %q, got %s", said, what)
		}
	}
}

// runsAndLogs looks at commands, at output, and at what is not possible.
func (p *platform) runsAndLogs() {
	p.Helper()
	said, err := p.command("run", "--app", "page", "--", `echo "the version is $VERSION"; exit 3`).CombinedOutput()
	if exit, failed := errors.AsType[*exec.ExitError](err); !failed || exit.ExitCode() != 3 || !strings.Contains(string(said), "the version is two") {
		p.Errorf("tide run: %v\n%s", err, said)
	}
	// The API of instances, by its own authority, with the instance's own token.
	said, err = p.command("run", "--app", "page", "--", `echo "$TIDE_TOKEN"; echo "$PASSWORD"; cat "$TIDE_CA"; echo "$TIDE_API"`).CombinedOutput()
	if err != nil || strings.Count(string(said), "[secret]\n") != 2 || strings.Contains(string(said), "tide_instance_") ||
		!strings.Contains(string(said), "BEGIN CERTIFICATE") || !strings.Contains(string(said), "https://"+instanceAddress+"/v1/apps/page/environments/production") {
		p.Errorf("what a command knows: %v\n%s", err, said)
	}
	pod, _, _ := strings.Cut(p.pods("page"), " ")
	if said := p.refused("shell", pod, "--app", "page"); !strings.Contains(said, "kubectl -n apps exec -it "+pod) {
		p.Errorf("a shell: %s", said)
	}
}

// works has jobs carried out by pods, each by a command of its own.
func (p *platform) works() {
	p.Helper()
	folder := filepath.Join(filepath.Dir(p.data), "tasks")
	manifest := fmt.Sprintf(`app: tasks
build: { base: "%s/base:1" }
processes:
  worker: { queues: [default], command: 'echo "$RUN_ID of $TIDE_INSTANCE: $(cat)"', scale: { min: 1, max: 1 } }
`, cluster.Registry)
	if err := errors.Join(os.Mkdir(folder, 0o755), os.WriteFile(filepath.Join(folder, "tide.yaml"), []byte(manifest), 0o644)); err != nil {
		p.Fatal(err)
	}
	p.cli("deploy", folder)
	said := p.cli("jobs", "enqueue", "--app", "tasks", "--payload", `{"order":7}`, "--wait")
	if pod := p.pods("tasks"); !strings.Contains(said, " of "+pod+`: {"order":7}`) {
		p.Errorf("what a job in pod %q said: %s", pod, said)
	}
}

// failsForTheClustersReason deploys what nodes cannot pull, and what none has room
// for: what serves goes on.
func (p *platform) failsForTheClustersReason(folder string, authority []byte) {
	p.Helper()
	p.under("two rollouts that fail", func() {
		if err := p.Trust(registryHost, nil); err != nil {
			p.Fatal(err)
		}
		p.manifest(folder, ", env: { VERSION: three }")
		if err := os.WriteFile(filepath.Join(folder, "another"), []byte("image"), 0o644); err != nil {
			p.Fatal(err)
		}
		if said := p.refused("deploy", folder); !regexp.MustCompile(`does not start: the image cannot be pulled: .*x509`).MatchString(said) {
			p.Errorf("an image that cannot be pulled: %s", said)
		}
		if err := p.Trust(registryHost, authority); err != nil {
			p.Fatal(err)
		}
		p.manifest(folder, ", limits: { memory: 500GiB }")
		if said := p.refused("deploy", folder); !strings.Contains(said, "no node has room: 0/2 nodes are available: 2 Insufficient memory") {
			p.Errorf("an app without room: %s", said)
		}
	})
}

// livesOn kills the platform and the API server, together and apart: what runs is
// served all the while, and is what it was.
func (p *platform) livesOn() {
	p.Helper()
	before := p.pods("page")
	p.under("the death of the control plane", func() {
		control := p.status().Control
		p.kill(control)
		p.until("another control plane", func() bool { now := p.status(); return now != nil && now.Control != control })
	})
	p.under("the death of the API server and of the control plane", func() {
		if err := p.Kill(cluster.APIServer); err != nil {
			p.Fatal(err)
		}
		control := p.status().Control
		p.kill(control)
		p.until("another control plane", func() bool { now := p.status(); return now != nil && now.Control != control })
		if err := p.Restart(cluster.APIServer); err != nil {
			p.Fatal(err)
		}
		p.until("two instances", func() bool { return strings.Count(p.cli("ps", "--app", "page"), " ready") == 2 })
	})
	p.kept(before)
	p.kill(p.status().Supervisor)
	_ = p.served.Wait()
	p.serve()
	p.until("an answer", func() bool { _, err := ask(p.T.Context(), p.client()); return err == nil })
	p.kept(before)
}

// kept looks whether the pods from before are there; a busy machine may have wanted more.
func (p *platform) kept(before string) {
	p.Helper()
	after := strings.Fields(p.pods("page"))
	for pod := range strings.FieldsSeq(before) {
		if !slices.Contains(after, pod) {
			p.Errorf("the pods were %s and are %v", before, after)
		}
	}
}

func (p *platform) kill(pid int) {
	p.Helper()
	if pid == 0 {
		p.Fatal("there is no such process")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		p.Fatal("kill " + strconv.Itoa(pid) + ": " + err.Error())
	}
}
