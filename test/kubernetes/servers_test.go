package kubernetes_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine"
	"github.com/springtide/springtide/internal/engine/kubernetes"
)

const serversNamespace = "servers"

// clusterObjects gives what docs/kubernetes.md has an administrator make once, with
// the names of the test's own.
func clusterObjects(t *testing.T, namespace string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	var objects strings.Builder
	began := false
	for line := range strings.Lines(string(text)) {
		own, indented := strings.CutPrefix(line, "    ")
		if began = began && indented || own == "apiVersion: scheduling.k8s.io/v1\n"; began {
			objects.WriteString(own)
		}
	}
	return strings.NewReplacer("name: springtide, namespace: springtide", "name: tide, namespace: "+namespace).Replace(objects.String())
}

// watched is an engine with what was seen of it last.
type watched struct {
	*testing.T
	*stage
	engine engine.Engine
	edge   *edge
	mu     sync.Mutex
	seen   springtide.Snapshot
}

func (s *stage) watched(t *testing.T, options kubernetes.Options) *watched {
	t.Helper()
	w := &watched{T: t, stage: s, edge: newEdge()}
	options.Kubeconfig, options.Namespace, options.Router = s.tenant(t, serversNamespace), serversNamespace, w.edge
	options.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	h := &host{T: t, stage: s, options: options}
	w.engine = h.start()
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		for snapshot := range w.engine.Watch(ctx) {
			w.edge.observe(snapshot)
			w.mu.Lock()
			w.seen = snapshot
			w.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		cancel()
		watching.Wait()
		h.stop()
	})
	return w
}

func (w *watched) ready(group springtide.Group) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return ready(w.seen.Of(group.ID))
}

func (w *watched) apply(group springtide.Group, replicas int) {
	w.T.Helper()
	group.Replicas = replicas
	if err := w.engine.Apply(w.T.Context(), group); err != nil {
		w.T.Fatal(err)
	}
}

// on gives how many pods of a role, which are not on their way out, each node has.
func (w *watched) on(role string) map[string]int {
	const path = `jsonpath={range .items[*]}{.spec.nodeName}{.metadata.deletionTimestamp} {end}`
	output, _ := w.Kubectl(w.T.Context(), "-n", serversNamespace, "get", "pods", "-l", "springtide.dev/role="+role, "-o", path)
	count := map[string]int{}
	for node := range strings.FieldsSeq(output) {
		count[node]++
	}
	return count
}

func TestServersComeAndGoAndNoRequestFails(t *testing.T) {
	s := newStage(t)
	s.addSuiteApp()
	s.namespace(t, serversNamespace)
	if err := s.Create(t.Context(), clusterObjects(t, serversNamespace)); err != nil {
		t.Fatal(err)
	}
	s.until("two ready nodes", func() bool { return s.nodes("Ready") == 2 })
	for node, zone := range map[string]string{"node1": "a", "node2": "b"} {
		s.kubectl("label", "node", node, "topology.kubernetes.io/zone="+zone)
	}
	s.kubectl("taint", "nodes", "--all", "--overwrite", "dedicated=tests:PreferNoSchedule") // a taint that says nothing

	// A pod asks for a fifth of what a server has.
	cpu := s.processors()
	w := s.watched(t, kubernetes.Options{Spare: kubernetes.Spare{CPU: 2 * cpu / 5, Pods: 2}})
	web := suiteGroup("web", 0)
	web.Template.Process.Limits.CPU = 4 * cpu / 5
	w.apply(web, 4)
	w.until("four instances", func() bool { return w.ready(web) == 4 })
	if on := w.on("instance"); on["node1"] != 2 || on["node2"] != 2 {
		t.Errorf("four instances in two zones: %v", on)
	}
	w.until("spare room", func() bool { return len(w.on("spare")) > 0 })
	stop := w.edge.load(t, 4)

	s.kubectl("drain", "node2", "--delete-emptydir-data", "--force", "--timeout=120s")
	if on := w.on("instance"); on["node2"] != 0 {
		t.Errorf("what was drained still has instances: %v", on)
	}
	w.until("four instances on the other server", func() bool { return w.ready(web) == 4 && w.on("instance")["node1"] == 4 })
	s.kubectl("uncordon", "node2")
	w.until("spare room again", func() bool { on := w.on("spare"); return on["node1"]+on["node2"] == 2 })

	began := time.Now()
	w.apply(web, 9) // of ten places in all, two are held
	w.until("nine instances", func() bool { return w.ready(web) == 9 })
	t.Logf("five more instances took %s, without another server", time.Since(began).Round(10*time.Millisecond))
	autoscaler := startAutoscaler(t, s.Cluster, serversNamespace, 5)
	w.until("a third server for what had to give way", func() bool { return w.on("spare")["node3"] > 0 })
	w.apply(web, 11)
	w.until("eleven instances", func() bool { return w.ready(web) == 11 && w.on("instance")["node3"] > 0 })

	w.apply(web, 5)
	autoscaler.ended.Wait()
	w.until("five instances on two servers", func() bool {
		on := w.on("instance")
		return w.ready(web) == 5 && on["node1"]+on["node2"] == 5 && s.nodes("Ready") == 2
	})
	answered, failed := stop()
	t.Logf("%d requests, the longest took %s", answered, w.edge.longest.Round(time.Millisecond))
	if len(failed) > 0 || answered == 0 {
		t.Errorf("%d failed, %d answered: %s", len(failed), answered, strings.Join(failed, "\n"))
	}

	high := suiteGroup("high", 0) // it takes the room of others where there is none
	high.Template.Process.Limits.CPU, high.Template.Process.Scale.Priority = 4*cpu/5, 100
	w.apply(web, 10)
	w.until("no room", func() bool { return w.ready(web) == 10 })
	w.apply(high, 2)
	w.until("two of high priority", func() bool { return w.ready(high) == 2 })
}

// processors gives how many a server has for pods.
func (s *stage) processors() (count float64) {
	s.Helper()
	text := s.kubectl("get", "node", "node1", "-o", "jsonpath={.status.allocatable.cpu}")
	if _, err := fmt.Sscan(text, &count); err != nil {
		s.Fatalf("%q: %v", text, err)
	}
	return count
}

// sharedFolder makes storage that all nodes write to, as NFS would be: they are on
// one machine here.
func (s *stage) sharedFolder(t *testing.T) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "shared")
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	err := s.Create(t.Context(), fmt.Sprintf(`apiVersion: v1
kind: PersistentVolume
metadata: {name: shared}
spec: {capacity: {storage: 20Gi}, accessModes: [ReadWriteMany], storageClassName: shared, hostPath: {path: %q}}
`, folder))
	if err != nil {
		t.Fatal(err)
	}
}
