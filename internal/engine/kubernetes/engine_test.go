package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

const patience = time.Minute

// router stands in for the edges, and says among the API server's requests when it
// was asked.
type router struct {
	server *apiServer
	mu     sync.Mutex
	held   chan struct{} // not nil: letting go takes until it is closed
}

func (r *router) say(what string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.server.requests = append(r.server.requests, what)
}

func (r *router) LetGo(ctx context.Context, id springtide.InstanceID) error {
	r.say("let go " + string(id))
	r.mu.Lock()
	held := r.held
	r.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (r *router) CloseStreams(_ context.Context, id springtide.InstanceID) error {
	r.say("close streams " + string(id))
	return nil
}

func (r *router) Load(id springtide.InstanceID) int { return len(id) }

// bench is an engine with an API server.
type bench struct {
	*testing.T
	*apiServer
	engine *Engine
	router *router
}

func newBench(t *testing.T) *bench {
	server := newAPIServer(t)
	router := &router{server: server}
	return &bench{t, server, testEngine(t, server, router), router}
}

func (b *bench) apply(group springtide.Group) {
	b.Helper()
	if err := b.engine.Apply(b.Context(), group); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) eventually(what string, condition func() bool) {
	b.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("%s did not come about; requests:\n%s", what, strings.Join(b.log(), "\n"))
		}
	}
}

// pod has the cluster tell of a pod of the group that runs, ready or not.
func (b *bench) pod(name string, group springtide.Group, isReady bool, since time.Time) {
	word := map[bool]string{true: "True", false: "False"}[isReady]
	stamp := since.UTC().Format(time.RFC3339)
	t := b.engine.options.traitsOf(group.Template.Process)
	labels := object{}
	for key, value := range groupLabels(group.ID) {
		labels[key] = value
	}
	b.put("pods/"+name, object{
		"metadata": object{"labels": labels, "annotations": object{noteGroup: group.ID.String(), noteTemplate: encode(t)}},
		"status": object{
			"phase": "Running", "podIP": "10.1.2.3",
			"conditions":        []any{object{"type": "Ready", "status": word, "lastTransitionTime": stamp}},
			"containerStatuses": []any{object{"name": container, "started": true, "ready": isReady, "state": object{"running": object{"startedAt": time.Unix(0, 0).UTC().Format(time.RFC3339)}}}},
		},
	})
}

func (b *bench) replicas(group springtide.Group) int {
	spec, _ := b.get("deployments/" + nameOf(group.ID))["spec"].(object)
	n, _ := spec["replicas"].(float64)
	return int(n)
}

func (b *bench) states() string {
	snapshot, _ := b.engine.snapshot()
	var all []string
	for _, i := range snapshot.Instances {
		all = append(all, fmt.Sprint(i.ID, " ", i.State))
	}
	return strings.Join(all, ", ")
}

func TestAGroupGetsItsPodsWhenAllThatTheyNeedIsThere(t *testing.T) {
	b := newBench(t)
	group := testGroup(2)
	b.apply(group)
	name := nameOf(group.ID)
	want := []string{"POST deployments", "POST secrets", "POST poddisruptionbudgets", "PATCH deployments/" + name + "/scale"}
	if got := b.log(); !slices.Equal(got, want) {
		t.Errorf("requests: %q, want %q", got, want)
	}
	for _, owned := range []string{"secrets/", "poddisruptionbudgets/"} {
		owners, _ := b.get(owned + name)["metadata"].(object)["ownerReferences"].([]any)
		if len(owners) != 1 || owners[0].(object)["uid"] != b.get("deployments/" + name)["metadata"].(object)["uid"] {
			t.Errorf("%s goes with nothing: %v", owned, owners)
		}
	}
	// Whoever comes after one that was killed in the middle makes the rest.
	b.remove("secrets/" + name)
	next := testEngine(t, b.apiServer, b.router)
	if err := next.Apply(t.Context(), group); err != nil || b.get("secrets/"+name) == nil {
		t.Errorf("after a restart: %v", err)
	}
}

func TestAnInstanceIsLetGoBeforeTheClusterIsAskedForOneLess(t *testing.T) {
	b := newBench(t)
	run(t, b.engine)
	group := testGroup(2)
	b.apply(group)
	now := time.Now()
	b.pod("web-a", group, true, now)
	b.pod("web-busy", group, true, now)
	b.eventually("two instances", func() bool { return b.states() == "web-a ready, web-busy ready" })
	held := make(chan struct{})
	b.router.held = held
	before := len(b.log())
	group.Replicas = 1
	b.apply(group)
	b.eventually("a retiring instance", func() bool { return b.states() == "web-a retiring, web-busy ready" })
	b.eventually("the edges to be asked", func() bool { return slices.Contains(b.log(), "let go web-a") })
	close(held)
	b.eventually("one replica", func() bool { return b.replicas(group) == 1 })
	want := []string{"PATCH pods/web-a", "let go web-a", "PATCH pods/web-a", "PATCH deployments/" + nameOf(group.ID) + "/scale"}
	if got := b.log()[before:]; !slices.Equal(got[:min(len(got), len(want))], want) { // what takes the cluster too long comes after these
		t.Errorf("requests: %q, want %q", got, want)
	}
	if cost := b.get("pods/web-a")["metadata"].(object)["annotations"].(object)[noteCost]; cost != goneCost {
		t.Errorf("its cost is %v", cost)
	}
	b.put("pods/web-a", deletion(5))
	b.eventually("its stop", func() bool { return b.states() == "web-a stopping, web-busy ready" })
	b.remove("pods/web-a")
	b.eventually("its end", func() bool { return b.states() == "web-busy ready" })
	b.eventually("nothing to be remembered", func() bool {
		b.engine.mu.Lock()
		defer b.engine.mu.Unlock()
		return len(b.engine.retirements) == 0
	})
}

func TestOneThatWasLetGoIsDeletedByNameIfTheClusterTakesAnother(t *testing.T) {
	b := newBench(t)
	run(t, b.engine)
	group := testGroup(1)
	b.apply(group)
	b.pod("web-a", group, true, time.Now())
	b.eventually("an instance", func() bool { return b.states() == "web-a ready" })
	group.Replicas = 0
	b.apply(group)
	b.eventually("its deletion", func() bool { return slices.Contains(b.log(), "DELETE pods/web-a") })
}

func TestAnUnhealthyInstanceGoesWhenAnotherIsReadyInItsPlace(t *testing.T) {
	b := newBench(t)
	run(t, b.engine)
	group := testGroup(1)
	b.apply(group)
	b.pod("web-a", group, false, time.Now())
	b.eventually("one more replica", func() bool { return b.replicas(group) == 2 && b.states() == "web-a unhealthy" })
	b.pod("web-b", group, true, time.Now())
	b.eventually("one less", func() bool { return b.replicas(group) == 1 })
	if !slices.Contains(b.log(), "let go web-a") {
		t.Errorf("requests: %q", b.log())
	}
}

func TestTheEdgesLetGoOfAPodThatSomebodyElseDeletes(t *testing.T) {
	b := newBench(t)
	run(t, b.engine)
	group := testGroup(1)
	b.apply(group)
	b.pod("web-a", group, true, time.Now())
	b.eventually("an instance", func() bool { return b.states() == "web-a ready" })
	b.put("pods/web-a", deletion(30))
	b.eventually("the edges to be asked", func() bool { return slices.Contains(b.log(), "let go web-a") })
	b.eventually("its stop", func() bool { return b.states() == "web-a stopping" })
	if n := b.replicas(group); n != 1 {
		t.Errorf("%d replicas are wanted", n)
	}
}

func TestARetirementIsTriedUntilTheAPIServerAnswersAgain(t *testing.T) {
	b := newBench(t)
	run(t, b.engine)
	group := testGroup(1)
	b.apply(group)
	b.pod("web-a", group, true, time.Now())
	b.eventually("an instance", func() bool { return b.states() == "web-a ready" })
	b.mu.Lock()
	refused := 0
	b.refuse = func(method, _ string) (int, object) {
		if method == http.MethodPatch && refused < 2 {
			refused++
			return http.StatusInternalServerError, object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "message": "etcd is away"}
		}
		return 0, nil
	}
	b.mu.Unlock()
	group.Replicas = 0
	b.apply(group)
	b.eventually("no replicas", func() bool { return b.replicas(group) == 0 })
}

func TestWhyThereCannotBeMoreIsTold(t *testing.T) {
	b := newBench(t)
	run(t, b.engine)
	group := testGroup(1)
	b.apply(group)
	b.put("deployments/"+nameOf(group.ID), object{"status": object{"conditions": []any{object{
		"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
		"message": `pods "web-1" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1`,
	}}}})
	b.eventually("the quota's words", func() bool {
		snapshot, _ := b.engine.snapshot()
		return snapshot.Capacity == "quota exceeded: small, requested: pods=1, used: pods=1, limited: pods=1"
	})
}

func TestATaskThatMayHaveBegunIsNotBegunAgain(t *testing.T) {
	task := springtide.Task{ID: "migrate", Environment: testGroup(1).ID.Environment, Release: 3, Command: "./migrate", Template: testGroup(1).Template}
	pod := "pods/" + taskName(task.ID)
	b := newBench(t)
	run(t, b.engine)
	exec := func() (result chan string) {
		result = make(chan string, 1)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		go func() {
			defer cancel()
			exit, err := b.engine.Exec(ctx, task)
			result <- fmt.Sprint(exit.Code, " ", springtide.KindOf(err))
		}()
		return result
	}
	left, cancel := context.WithCancel(t.Context())
	go func() { _, _ = b.engine.Exec(left, task) }()
	b.eventually("the gate to open", func() bool {
		made := b.get(pod)
		return made != nil && made["spec"].(object)["schedulingGates"] == nil
	})
	cancel()
	opened := b.log()
	started, gone := slices.Index(opened, "PATCH secrets/"+taskName(task.ID)), slices.Index(opened, "PATCH "+pod)
	if started < 0 || gone < started {
		t.Errorf("it could begin before that was known: %q", opened)
	}
	b.remove(pod)
	if got := <-exec(); got != "0 failed" || b.get(pod) != nil {
		t.Errorf("when its pod is gone: %s, %v", got, b.get(pod))
	}
	if got := <-exec(); got != "0 failed" {
		t.Errorf("and again: %s", got)
	}

	task.ID = "other" // one that was recorded, and never begun
	pod = "pods/" + taskName(task.ID)
	if _, err := b.engine.recordTask(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	result := exec()
	b.eventually("the gate to open", func() bool {
		made := b.get(pod)
		return made != nil && made["spec"].(object)["schedulingGates"] == nil
	})
	b.put(pod, object{"status": object{"phase": "Failed", "containerStatuses": []any{object{
		"name": container, "state": object{"terminated": object{"exitCode": 5, "reason": "Error"}},
	}}}})
	if got := <-result; got != "5 " {
		t.Errorf("its end: %s", got)
	}
	b.remove(pod)
	if got := <-exec(); got != "5 " {
		t.Errorf("its end, when the pod is gone: %s", got)
	}
}

func TestWhatTheAPIServerRefusesIsToldWithAHint(t *testing.T) {
	b := newBench(t)
	for _, test := range []struct {
		code    int
		status  object
		kind    springtide.ErrorKind
		message string
	}{
		{403, object{"reason": "Forbidden", "message": `deployments.apps is forbidden: User "ci" cannot create resource "deployments"`}, springtide.Denied, `User "ci" cannot create`},
		{403, object{"reason": "Forbidden", "message": `deployments "x" is forbidden: exceeded quota: q, requested: pods=1`}, springtide.Failed, "quota exceeded: q, requested: pods=1"},
		{403, object{"reason": "Forbidden", "message": "no", "details": object{"causes": []any{object{"reason": "NamespaceTerminating"}}}}, springtide.Conflict, "namespace apps is being deleted"},
		{404, object{"reason": "NotFound", "message": `namespaces "apps" not found`}, springtide.NotFound, "there is no namespace apps"},
		{401, object{"reason": "Unauthorized", "message": "Unauthorized"}, springtide.Unauthorized, "does not accept the credentials"},
		{422, object{"reason": "Invalid", "message": "spec: bad"}, springtide.Invalid, "spec: bad"},
		{503, object{"reason": "ServiceUnavailable", "message": "etcd is away"}, springtide.Unavailable, "etcd is away"},
		{409, object{"reason": "Conflict", "message": "it has changed"}, springtide.Failed, "it has changed"},
	} {
		b.mu.Lock()
		b.refuse = func(string, string) (int, object) {
			return test.code, merged(object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": test.code}, test.status)
		}
		b.mu.Unlock()
		err := b.engine.Apply(t.Context(), testGroup(1))
		if springtide.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.message) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", test.status, err)
		}
		if fault, ok := errors.AsType[*springtide.Error](err); !ok || fault.Hint == "" {
			t.Errorf("%v: %v: there is no hint", test.status, err)
		}
	}
	b.CloseClientConnections()
	b.Close()
	err := b.engine.Apply(t.Context(), testGroup(1))
	if springtide.KindOf(err) != springtide.Unavailable || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("when nobody answers: %v", err)
	}
}

func TestAGroupThatAnotherPlatformMadeIsRefused(t *testing.T) {
	b := newBench(t)
	group := testGroup(1)
	b.put("deployments/"+nameOf(group.ID), object{"spec": object{"replicas": 1}})
	if err := b.engine.Apply(t.Context(), group); springtide.KindOf(err) != springtide.Conflict {
		t.Errorf("%v", err)
	}
}

func TestTheClusterIsLookedAtBeforeItIsUsed(t *testing.T) {
	b := newBench(t)
	version, allowed := "34", true
	b.mu.Lock()
	b.refuse = func(_, path string) (int, object) {
		if path == "/version" {
			return http.StatusOK, object{"major": "1", "minor": version}
		}
		return http.StatusCreated, object{"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": object{"allowed": allowed}}
	}
	b.mu.Unlock()
	for _, test := range []struct{ version, warned string }{ // the oldest, one less than was tried, that, one more, and what is none
		{"30", ""}, {"34", ""}, {"37+", ""}, {"38", "version=1.38"}, {"39+", "version=1.39+"}, {"x", "version=1.x"},
	} {
		var told strings.Builder
		version, b.engine.log = test.version, slog.New(slog.NewTextHandler(&told, nil))
		if err := b.engine.Check(t.Context()); err != nil {
			t.Errorf("1.%s: %v", version, err)
		}
		if warned := told.String(); (warned != "") != (test.warned != "") || !strings.Contains(warned, test.warned) {
			t.Errorf("1.%s: it is told %q", version, warned)
		}
	}
	version, allowed = "34", false
	if err := b.engine.Check(t.Context()); springtide.KindOf(err) != springtide.Denied || !strings.Contains(err.Error(), "patch deployments/scale") {
		t.Errorf("without rights: %v", err)
	}
	version = "29+"
	if err := b.engine.Check(t.Context()); springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), "1.29+") {
		t.Errorf("an old one: %v", err)
	}
}

func TestAContextThatIsNotThereIsToldWithThoseThatAre(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	const config = `{"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
		"users": [{"name": "u", "user": {}}], "contexts": [{"name": "staging", "context": {"cluster": "c", "user": "u"}}]}`
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	options := b.engine.options
	options.Kubeconfig, options.Context = path, "production"
	if _, err := New(options); springtide.KindOf(err) != springtide.NotFound || !strings.Contains(err.Error(), "there are: staging") {
		t.Errorf("%v", err)
	}
	options.Context = "staging"
	if _, err := New(options); err != nil {
		t.Errorf("%v", err)
	}
	options.Kubeconfig = "/nowhere"
	if _, err := New(options); springtide.KindOf(err) != springtide.Invalid {
		t.Errorf("%v", err)
	}
}

func TestAPIRightsAreThoseOfTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, right := range slices.Concat(Rights(), ServiceRights(), ClusterRights()) {
		group, name := right.Group, strings.TrimSuffix(right.Resource+"/"+right.Subresource, "/")
		if group == "" {
			group = `""`
		}
		line := fmt.Sprintf("- { apiGroups: [%s], resources: [%s], verbs: [%s] }", group, name, strings.Join(right.Verbs, ", "))
		if !strings.Contains(string(text), line) {
			t.Errorf("docs/kubernetes.md does not say: %s", line)
		}
	}
}
