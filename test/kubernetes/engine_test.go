package kubernetes_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine"
	"github.com/springtide/springtide/internal/engine/enginetest"
	"github.com/springtide/springtide/internal/engine/kubernetes"
	"github.com/springtide/springtide/test/kubernetes/cluster"
)

func TestTheEngineForKubernetesPassesTheSuiteOfAllEngines(t *testing.T) {
	s := newStage(t)
	s.addSuiteApp()
	s.until("two ready nodes", func() bool { return s.nodes("Ready") == 2 })
	engines := s.engines()
	enginetest.Run(t, func(t *testing.T, router engine.Router) *enginetest.Host {
		t.Parallel() // pods come and go slowly, and each has a namespace of its own
		return engines(t, router)
	})
}

// suiteImage is the app of the conformance suite, with a shell.
const suiteImage = cluster.Registry + "/suite:1"

func (s *stage) addSuiteApp() {
	s.Helper()
	program := filepath.Join(s.TempDir(), "app")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "./engineapp")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		s.Fatalf("%v\n%s", err, output)
	}
	links := map[string]string{}
	for _, name := range []string{"sh", "cat", "sleep", "true", "kill", "test", "setsid", "tail"} {
		links["bin/"+name] = "/bin/busybox"
	}
	image := cluster.Image{Program: program, Others: map[string]string{"bin/busybox": "/bin/busybox", "app/app": program}, Links: links, Folder: "/app", User: "65532"}
	if err := s.AddImage("suite:1", image); err != nil {
		s.Fatal(err)
	}
}

// engines gives each test a namespace of its own, where only pods that satisfy the
// strictest standard are let in.
func (s *stage) engines() enginetest.Factory {
	var number atomic.Int32
	return func(t *testing.T, router engine.Router) *enginetest.Host {
		namespace := fmt.Sprintf("suite-%d", number.Add(1))
		s.namespace(t, namespace)
		h := &host{T: t, stage: s, stop: func() {}, options: kubernetes.Options{
			Kubeconfig: s.tenant(t, namespace), Namespace: namespace, Router: router,
			Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		}}
		t.Cleanup(func() { h.stop() })
		return &enginetest.Host{Engine: h.start(), Restart: func(meanwhile func()) engine.Engine {
			h.stop()
			if meanwhile != nil {
				meanwhile()
			}
			return h.start()
		}, Remote: &enginetest.Remote{
			Image: suiteImage, Patience: patience, Alive: h.alive, Kill: h.kill, Lose: h.lose,
		}}
	}
}

func (s *stage) namespace(t *testing.T, name string) {
	t.Helper()
	err := s.Create(t.Context(), "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+name+", labels: {pod-security.kubernetes.io/enforce: restricted}}\n")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := s.Kubectl(context.Background(), "delete", "namespace", name, "--wait=false"); err != nil {
			t.Error(err)
		}
	})
}

// tenant gives the credentials of a service account that may do what the engine says
// it needs, and nothing else.
func (s *stage) tenant(t *testing.T, namespace string) string {
	t.Helper()
	var rules []string
	for _, right := range slices.Concat(kubernetes.Rights(), kubernetes.ServiceRights()) {
		rules = append(rules, fmt.Sprintf("{apiGroups: [%q], resources: [%q], verbs: [%s]}",
			right.Group, strings.TrimSuffix(right.Resource+"/"+right.Subresource, "/"), strings.Join(right.Verbs, ", ")))
	}
	err := s.Create(t.Context(), strings.ReplaceAll(`apiVersion: v1
kind: ServiceAccount
metadata: {name: tide, namespace: NAMESPACE}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: tide, namespace: NAMESPACE}
rules: [`+strings.Join(rules, ", ")+`]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tide, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: tide}
subjects: [{kind: ServiceAccount, name: tide, namespace: NAMESPACE}]
`, "NAMESPACE", namespace))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	config, err := os.ReadFile(s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.Kubectl(t.Context(), "-n", namespace, "create", "token", "tide")
	if err != nil {
		t.Fatal(err)
	}
	own := regexp.MustCompile(`user: \{client-certificate.*\}`).ReplaceAll(config, []byte("user: {token: "+strings.TrimSpace(token)+"}}"))
	if bytes.Equal(own, config) {
		t.Fatalf("no certificate in %s", config)
	}
	if err := os.WriteFile(path, own, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// host is where the suite runs an engine.
type host struct {
	*testing.T
	stage   *stage
	options kubernetes.Options
	stop    func()
}

func (h *host) start() engine.Engine {
	h.Helper()
	e, err := kubernetes.New(h.options)
	if err != nil {
		h.Fatal(err)
	}
	if err := e.Check(h.Context()); err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	h.stop = func() {
		cancel()
		<-ended
	}
	return e
}

// alive asks the cluster whether this attempt of an instance still runs.
func (h *host) alive(i springtide.Instance) bool {
	const path = `jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].state.running.startedAt}`
	output, err := h.stage.Kubectl(context.Background(), "-n", h.options.Namespace, "get", "pod", string(i.ID), "-o", path)
	restarts, started, _ := strings.Cut(output, " ")
	return err == nil && restarts == strconv.Itoa(i.Restarts) && started != ""
}

// kill finds the command of an instance among the processes of this machine, where
// the nodes are.
func (h *host) kill(i springtide.Instance) {
	h.Helper()
	folders, _ := filepath.Glob("/proc/[0-9]*")
	killed := false
	for _, folder := range folders {
		environment, err := os.ReadFile(filepath.Join(folder, "environ"))
		if err != nil || !bytes.Contains(append([]byte{0}, environment...), []byte("\x00TIDE_INSTANCE="+string(i.ID)+"\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			h.Fatal(err)
		}
		killed = syscall.Kill(pid, syscall.SIGKILL) == nil || killed
	}
	if !killed {
		h.Fatalf("%s has no process", i.ID)
	}
}

// lose has the pod of an instance or of a task be forgotten by the cluster.
func (h *host) lose(id string) {
	h.Helper()
	pods, err := h.stage.Kubectl(h.Context(), "-n", h.options.Namespace, "get", "pods", "-o",
		`jsonpath={range .items[*]}{.metadata.name} {.metadata.annotations.springtide\.dev/task}{"\n"}{end}`)
	if err != nil {
		h.Fatal(err)
	}
	for line := range strings.Lines(pods) {
		name, task, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == id || task == id {
			if _, err := h.stage.Kubectl(h.Context(), "-n", h.options.Namespace, "delete", "pod", name, "--force", "--grace-period=0"); err != nil {
				h.Fatal(err)
			}
			return
		}
	}
	h.Fatalf("there is no pod of %s", id)
}
