package kubernetes_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide/test/kubernetes/cluster"
)

func TestMain(m *testing.M) {
	cluster.Main()
	if err := cluster.Check(); err != nil {
		fmt.Fprintln(os.Stderr, "no cluster can run on this machine:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// patience is how long anything on a cluster may take.
const patience = 2 * time.Minute

// stage is a cluster that a test works with.
type stage struct {
	*testing.T
	*cluster.Cluster
}

// newStage gives a cluster of two nodes.
func newStage(t *testing.T) *stage {
	t.Helper()
	programs, err := cluster.Build(t.Context(), ".")
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "cluster")
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(t.Context(), cluster.Options{Folder: folder, Programs: programs, Nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the logs are in %s", folder)
		} else if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	return &stage{t, c}
}

func (s *stage) kubectl(arguments ...string) string {
	s.Helper()
	output, err := s.Kubectl(s.Context(), arguments...)
	if err != nil {
		s.Fatal(err)
	}
	return output
}

// until waits for a condition; kubectl may fail meanwhile.
func (s *stage) until(what string, condition func() bool) {
	s.Helper()
	began := time.Now()
	for ; !condition(); time.Sleep(100 * time.Millisecond) {
		if time.Since(began) > patience {
			s.Fatalf("%s did not come about\n%s", what, s.kubectl("get", "events,pods,nodes", "-A"))
		}
	}
	s.Logf("%s after %s", what, time.Since(began).Round(10*time.Millisecond))
}

// nodes gives how many nodes say that they are, or are not, ready.
func (s *stage) nodes(state string) (count int) {
	output, _ := s.Kubectl(s.Context(), "get", "nodes", "--no-headers")
	for line := range strings.Lines(output) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == state {
			count++
		}
	}
	return count
}

// answers gives what each ready pod of the app answers.
func (s *stage) answers() (answers []string) {
	const path = `jsonpath={range .items[?(@.status.containerStatuses[0].ready==true)]}{.status.podIP}{"\n"}{end}`
	output, _ := s.Kubectl(s.Context(), "get", "pods", "-l", "app=web", "-o", path)
	for address := range strings.FieldsSeq(output) {
		ctx, cancel := context.WithTimeout(s.Context(), 2*time.Second)
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+":8080/", http.NoBody)
		if err != nil {
			s.Fatal(err)
		}
		if answer, err := http.DefaultClient.Do(request); err == nil {
			text, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			answers = append(answers, strings.TrimSpace(string(text)))
		}
		cancel()
	}
	return answers
}

func (s *stage) addApp() {
	s.Helper()
	program := filepath.Join(s.TempDir(), "app")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "./app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		s.Fatalf("%v\n%s", err, output)
	}
	for _, version := range []string{"1", "2"} {
		if err := s.AddImage("web:"+version, cluster.Image{Program: program, Environment: []string{"VERSION=" + version}}); err != nil {
			s.Fatal(err)
		}
	}
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: ` + cluster.Registry + `/web:1
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        resources: {requests: {cpu: 20m, memory: 16Mi}, limits: {memory: 64Mi}}
`

func TestAClusterRunsPodsAndLosesNodesAndItsControlPlaneAsRealOnesDo(t *testing.T) {
	s := newStage(t)
	s.addApp()
	s.until("two ready nodes", func() bool { return s.nodes("Ready") == 2 })
	if err := s.Create(t.Context(), deployment); err != nil {
		t.Fatal(err)
	}
	s.until("three pods that answer", func() bool { return len(s.answers()) == 3 })
	s.kubectl("set", "image", "deployment/web", "web="+cluster.Registry+"/web:2")
	s.until("three pods of the next version", func() bool {
		answers := s.answers()
		return len(answers) == 3 && strings.Count(strings.Join(answers, "\n"), "2 on ") == 3
	})
	s.kubectl("scale", "deployment/web", "--replicas=5")
	s.until("five pods that answer", func() bool { return len(s.answers()) == 5 })

	if err := s.Cut(2); err != nil {
		t.Fatal(err)
	}
	s.until("the node that is cut off to be missed", func() bool { return s.nodes("NotReady") == 1 })
	s.until("five pods on the other", func() bool { return len(s.answers()) == 5 })
	if err := s.Heal(2); err != nil {
		t.Fatal(err)
	}
	s.until("the node to be back", func() bool { return s.nodes("Ready") == 2 })

	if err := s.PowerOff(2); err != nil {
		t.Fatal(err)
	}
	s.until("the node without power to be missed", func() bool { return s.nodes("NotReady") == 1 })
	if err := s.PowerOn(2); err != nil {
		t.Fatal(err)
	}
	s.until("the node to be back", func() bool { return s.nodes("Ready") == 2 })

	if err := s.Kill(cluster.APIServer); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Kubectl(t.Context(), "get", "nodes"); err == nil {
		t.Error("the API server answers although it was killed")
	}
	if err := s.Restart(cluster.APIServer); err != nil {
		t.Fatal(err)
	}
	s.until("the API server to be back", func() bool { return s.nodes("Ready") == 2 })
}
