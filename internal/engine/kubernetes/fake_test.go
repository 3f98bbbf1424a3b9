package kubernetes

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/springtide/springtide/internal/engine"
)

const testNamespace = "apps"

// object is one of the cluster's, as JSON.
type object = map[string]any

// apiServer is as much of an API server as the engine speaks to. It keeps objects
// by their paths, tells watchers of changes, and writes requests down. It is no
// cluster: pods come and go as a test says.
type apiServer struct {
	*httptest.Server
	mu       sync.Mutex
	objects  map[string]object
	events   []event
	changed  chan struct{}
	requests []string
	uids     int
	denied   string // the resource that nothing is allowed with
	// refuse answers in place of the server, if it gives a status.
	refuse func(method, path string) (code int, status object)
}

type event struct {
	collection string
	kind       string
	object     object
}

func newAPIServer(t *testing.T) *apiServer {
	s := &apiServer{objects: map[string]object{}, changed: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// path is that of an object: "pods/web-1".
func path(name string) string {
	of, _, _ := strings.Cut(name, "/")
	base := map[string]string{"deployments": "/apis/apps/v1", "poddisruptionbudgets": "/apis/policy/v1"}[of]
	switch {
	case of == "nodes":
		return "/api/v1/" + name
	case of == "priorityclasses":
		return "/apis/scheduling.k8s.io/v1/" + name
	case of == "clusters":
		base = "/apis/postgresql.cnpg.io/v1"
	case base == "":
		base = "/api/v1"
	}
	return base + "/namespaces/" + testNamespace + "/" + name
}

// get gives an object, as a copy; nil if there is none.
func (s *apiServer) get(name string) (copied object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.objects[path(name)]
	if found == nil {
		return nil
	}
	text, _ := json.Marshal(found)
	_ = json.Unmarshal(text, &copied)
	return copied
}

// put creates or changes an object by merging.
func (s *apiServer) put(name string, change object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.merge(path(name), change)
}

func (s *apiServer) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(path(name))
}

func (s *apiServer) drop(path string) {
	if gone := s.objects[path]; gone != nil {
		delete(s.objects, path)
		s.tell("DELETED", path, gone)
	}
}

func (s *apiServer) merge(path string, change object) object {
	known, kind := s.objects[path], "MODIFIED"
	if known == nil {
		s.uids++
		typed := object{"kind": "Pod", "apiVersion": "v1"}
		switch {
		case strings.Contains(path, "/deployments/"):
			typed = object{"kind": "Deployment", "apiVersion": "apps/v1"}
		case strings.Contains(path, "/nodes/"):
			typed = object{"kind": "Node", "apiVersion": "v1"}
		}
		known, kind = merged(typed, object{"metadata": object{
			"name": path[strings.LastIndexByte(path, '/')+1:], "namespace": testNamespace,
			"uid": fmt.Sprint("uid-", s.uids), "creationTimestamp": time.Now().UTC().Format(time.RFC3339),
		}}), "ADDED"
	}
	made := merged(merged(known, change), object{"metadata": object{"resourceVersion": fmt.Sprint(len(s.events) + 1)}})
	s.objects[path] = made
	s.tell(kind, path, made)
	return made
}

func (s *apiServer) tell(kind, path string, changed object) {
	s.events = append(s.events, event{path[:strings.LastIndexByte(path, '/')], kind, changed})
	close(s.changed)
	s.changed = make(chan struct{})
}

// merged is RFC 7396.
func merged(into, change object) object {
	made := maps.Clone(into)
	if made == nil {
		made = object{}
	}
	for key, value := range change {
		inner, nested := value.(object)
		switch {
		case value == nil:
			delete(made, key)
		case nested:
			before, _ := made[key].(object)
			made[key] = merged(before, inner)
		default:
			made[key] = value
		}
	}
	return made
}

// log gives the requests that change something.
func (s *apiServer) log() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var given object
	_ = json.Unmarshal(body, &given)
	if r.URL.Query().Get("watch") != "" {
		s.watch(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		if code, status := s.refuse(r.Method, r.URL.Path); code != 0 {
			answer(w, code, status)
			return
		}
	}
	if strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews") {
		attributes := given["spec"].(object)["resourceAttributes"].(object)
		given["status"] = object{"allowed": attributes["resource"] != s.denied}
		answer(w, http.StatusCreated, given)
		return
	}
	if r.Method != http.MethodGet {
		_, text, _ := strings.Cut(r.URL.Path, "/namespaces/"+testNamespace+"/")
		s.requests = append(s.requests, r.Method+" "+text)
	}
	at := strings.TrimSuffix(r.URL.Path, "/scale")
	known := s.objects[at]
	switch r.Method {
	case http.MethodPost:
		at += "/" + given["metadata"].(object)["name"].(string)
		if s.objects[at] != nil {
			answer(w, http.StatusConflict, failure("AlreadyExists"))
			return
		}
		answer(w, http.StatusCreated, s.merge(at, given))
	case http.MethodPatch, http.MethodDelete:
		if known == nil {
			answer(w, http.StatusNotFound, failure("NotFound"))
			return
		}
		if r.Method == http.MethodPatch {
			known = s.merge(at, given)
		} else if strings.Contains(at, "/pods/") { // the kubelet has it go, later
			known = s.merge(at, deletion(5))
		} else {
			s.drop(at)
		}
		answer(w, http.StatusOK, known)
	default:
		s.read(w, at, known)
	}
}

func (s *apiServer) read(w http.ResponseWriter, at string, known object) {
	if known != nil {
		answer(w, http.StatusOK, known)
		return
	}
	kind := map[string]string{"pods": "PodList", "deployments": "DeploymentList", "nodes": "NodeList", "clusters": "ClusterList"}[at[strings.LastIndexByte(at, '/')+1:]]
	if kind == "" {
		answer(w, http.StatusNotFound, failure("NotFound"))
		return
	}
	items := []object{}
	for path, each := range s.objects {
		if strings.HasPrefix(path, at+"/") {
			items = append(items, each)
		}
	}
	version := "v1"
	if kind == "DeploymentList" {
		version = "apps/v1"
	}
	answer(w, http.StatusOK, object{"kind": kind, "apiVersion": version, "metadata": object{"resourceVersion": fmt.Sprint(len(s.events))}, "items": items})
}

func (s *apiServer) watch(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("sendInitialEvents") != "" {
		answer(w, http.StatusUnprocessableEntity, failure("Invalid"))
		return
	}
	var next int
	_, _ = fmt.Sscan(r.URL.Query().Get("resourceVersion"), &next)
	w.Header().Set("Content-Type", "application/json")
	for {
		s.mu.Lock()
		news, changed := s.events[min(next, len(s.events)):], s.changed
		s.mu.Unlock()
		for _, each := range news {
			next++
			if each.collection == r.URL.Path {
				_ = json.NewEncoder(w).Encode(object{"type": each.kind, "object": each.object})
			}
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func answer(w http.ResponseWriter, code int, body object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func failure(reason string) object {
	code := map[string]int{"NotFound": 404, "AlreadyExists": 409, "Invalid": 422, "Forbidden": 403}[reason]
	return object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code}
}

func deletion(grace int) object {
	return object{"metadata": object{
		"deletionTimestamp": time.Now().Add(time.Duration(grace) * time.Second).UTC().Format(time.RFC3339), "deletionGracePeriodSeconds": grace,
	}}
}

// testEngine runs an engine on an API server until the test ends.
func testEngine(t *testing.T, server *apiServer, router engine.Router) *Engine {
	t.Helper()
	c, err := clientOf(&rest.Config{Host: server.URL, QPS: -1}, testNamespace)
	if err != nil {
		t.Fatal(err)
	}
	options := Options{Router: router, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), LetGo: 50 * time.Millisecond}
	e, err := newEngine(options.withDefaults(), c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// run has an engine run until the test ends.
func run(t *testing.T, e *Engine) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- e.Run(t.Context()) }()
	t.Cleanup(func() { <-ended })
}
