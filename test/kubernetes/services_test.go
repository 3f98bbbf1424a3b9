package kubernetes_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/kubernetes"
)

// cnpgDefinition has the API server know CloudNativePG's kind, without its schema.
const cnpgDefinition = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: clusters.postgresql.cnpg.io}
spec:
  group: postgresql.cnpg.io
  scope: Namespaced
  names: {kind: Cluster, plural: clusters, singular: cluster, listKind: ClusterList}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

// startOperator has the kind be known, and operates it until the test ends, or the
// function is called.
func (s *stage) startOperator(t *testing.T, namespace string) (stop func()) {
	t.Helper()
	if err := s.Create(t.Context(), cnpgDefinition); err != nil {
		t.Fatal(err)
	}
	s.until("the kind to be known", func() bool {
		_, err := s.Kubectl(t.Context(), "get", "clusters.postgresql.cnpg.io", "-A")
		return err == nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.operate(ctx, namespace) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// operate stands in for the operator of CloudNativePG: it makes the Secret and the
// Service of a new cluster, and says that it is ready.
func (s *stage) operate(ctx context.Context, namespace string) error {
	for known := map[string]bool{}; ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		output, err := s.Kubectl(ctx, "-n", namespace, "get", "clusters.postgresql.cnpg.io", "-o", "json")
		var list struct {
			Items []struct {
				Metadata struct{ Name string }
				Spec     struct{ Instances int }
			}
		}
		if err != nil || json.Unmarshal([]byte(output), &list) != nil {
			continue
		}
		for _, item := range list.Items {
			name := item.Metadata.Name
			if known[name] {
				continue
			}
			err := s.Create(ctx, strings.NewReplacer("NAME", name, "PLACE", namespace).Replace(`apiVersion: v1
kind: Secret
metadata: {name: NAME-app, namespace: PLACE}
type: kubernetes.io/basic-auth
stringData: {username: app, password: 's3/cret', dbname: app}
---
apiVersion: v1
kind: Service
metadata: {name: NAME-rw, namespace: PLACE}
spec: {selector: {cnpg.io/cluster: NAME}, ports: [{port: 5432}]}
`))
			status := fmt.Sprintf(`{"status": {"phase": "Cluster in healthy state", "readyInstances": %d, "conditions": [{"type": "Ready", "status": "True"}]}}`, item.Spec.Instances)
			_, patched := s.Kubectl(ctx, "-n", namespace, "patch", "clusters.postgresql.cnpg.io", name, "--subresource=status", "--type=merge", "-p", status)
			if err := errors.Join(err, patched); err != nil && ctx.Err() == nil {
				return err
			}
			known[name] = true
		}
	}
	return nil
}

func TestDatabasesAndSharedFilesAreTheClustersOwn(t *testing.T) {
	s := newStage(t)
	s.addSuiteApp()
	s.namespace(t, serversNamespace)
	s.sharedFolder(t)
	s.until("two ready nodes", func() bool { return s.nodes("Ready") == 2 })
	var grant kubernetes.Grant
	w := s.watched(t, kubernetes.Options{FilesClass: "shared", Access: func(kubernetes.Subject) (kubernetes.Grant, error) { return grant, nil }})
	own := w.engine.(*kubernetes.Engine)
	web := suiteGroup("web", 0)
	environment := web.ID.Environment

	id := springtide.ServiceID{Environment: environment, Name: "db"}
	spec := springtide.Service{Kind: springtide.ServicePostgres, Version: "17", Replica: true}
	databases := own.Postgres(kubernetes.PostgresOptions{Every: 100 * time.Millisecond})
	if err := databases.Check(t.Context(), id.Name, spec); springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), "has no CloudNativePG") {
		t.Errorf("without the operator: %v", err)
	}
	stop := s.startOperator(t, serversNamespace)
	if err := errors.Join(databases.Check(t.Context(), id.Name, spec), databases.Provide(t.Context(), id, spec, func(line string) { t.Log(line) })); err != nil {
		t.Fatal(err)
	}
	database, err := databases.Find(t.Context(), id, spec)
	if err != nil {
		t.Fatal(err)
	}
	service := s.kubectl("-n", serversNamespace, "get", "services", "-o", "jsonpath={.items[0].metadata.name}")
	if want := "postgres://app:s3%2Fcret@" + service + "." + serversNamespace + ":5432/app"; database.URL != want {
		t.Errorf("%s, want %s", database.URL, want)
	}
	stop()
	if err := databases.Keep(t.Context(), environment, nil); err != nil {
		t.Error(err)
	}

	if err := own.Claim(t.Context(), environment, "uploads", springtide.Files{Path: "uploads", Quota: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	mounts := []kubernetes.Mount{{Claim: kubernetes.ClaimName(environment, "uploads"), Path: "/app/uploads"}}
	grant = kubernetes.Grant{Env: map[string]string{"DATABASE_URL": database.URL}, Mounts: mounts}
	task := springtide.Task{ID: "write", Environment: environment, Release: 1, Command: `echo "$DATABASE_URL" > uploads/url`, Template: web.Template}
	if exit, err := w.engine.Exec(t.Context(), task); err != nil || exit.Code != 0 {
		t.Fatalf("%v, %v", exit, err)
	}
	web.Template.Process.Command = `test "$(cat uploads/url)" = "$DATABASE_URL" && exec ./app`
	w.apply(web, 2)
	w.until("two instances that see the file", func() bool { return w.ready(web) == 2 })
	if on := w.on("instance"); on["node1"] != 1 || on["node2"] != 1 {
		t.Errorf("they are on one server: %v", on)
	}
}
