package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// startTime is how long a pod takes until it is ready, endTime until it is gone.
	startTime = 500 * time.Millisecond
	endTime   = 200 * time.Millisecond
	costNote  = "controller.kubernetes.io/pod-deletion-cost"
)

// object is one of the cluster's, as JSON.
type object = map[string]any

// simulation is as much of an API server, of the controller of Deployments and of
// nodes as the engine needs to meet.
type simulation struct {
	mu      sync.Mutex
	kinds   map[string]*collection // by the names of resources
	changes int
	pods    int // how many there ever were
}

// collection is what there is of a kind, and what happened to it.
type collection struct {
	objects map[string]object
	owned   map[string]map[string]bool // of pods: their names by that of their Deployment
	events  []event
	changed chan struct{}
}

type event struct {
	version int
	line    []byte
}

// startCluster starts a simulated cluster as a process, and gives its URL.
func startCluster(ctx context.Context) (url string, end func(), err error) {
	program, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	command := exec.CommandContext(ctx, program, clusterArgument)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also if this one is killed
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := command.Start(); err != nil {
		return "", nil, err
	}
	end = func() {
		_ = command.Process.Kill()
		_ = command.Wait() // it was killed
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		end()
		return "", nil, fmt.Errorf("the simulated cluster does not start: %w", err)
	}
	return strings.TrimSpace(line), end, nil
}

// serve is the simulated cluster; it says its URL.
func serve(ctx context.Context, stdout io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &simulation{kinds: map[string]*collection{}}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	fmt.Fprintf(stdout, "http://%s\n", listener.Addr())
	return server.Serve(listener)
}

func (s *simulation) kind(name string) *collection {
	if s.kinds[name] == nil {
		s.kinds[name] = &collection{objects: map[string]object{}, owned: map[string]map[string]bool{}, changed: make(chan struct{})}
	}
	return s.kinds[name]
}

func (s *simulation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var given object
	_ = json.NewDecoder(r.Body).Decode(&given)
	switch {
	case r.URL.Path == "/version":
		answer(w, http.StatusOK, object{"major": "1", "minor": "34"})
		return
	case r.URL.Path == "/simulate":
		s.mu.Lock()
		restarts, _ := strconv.Atoi(r.FormValue("restarts"))
		s.ready(r.FormValue("pod"), restarts)
		s.lose(r.FormValue("gone"))
		s.mu.Unlock()
		return
	case strings.HasSuffix(r.URL.Path, "reviews"):
		given["status"] = object{"allowed": true}
		answer(w, http.StatusCreated, given)
		return
	}
	_, path, found := strings.Cut(r.URL.Path, "/namespaces/apps/")
	if !found {
		path = r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	}
	of, name, _ := strings.Cut(path, "/")
	if r.URL.Query().Get("watch") != "" {
		s.watch(w, r, of)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handle(w, r.Method, of, name, given)
}

func (s *simulation) handle(w http.ResponseWriter, method, of, name string, given object) {
	kind := s.kind(of)
	name, part, _ := strings.Cut(name, "/")
	known := kind.objects[name]
	switch {
	case method == http.MethodPost:
		name = given["metadata"].(object)["name"].(string)
		if kind.objects[name] != nil {
			answer(w, http.StatusConflict, failure(http.StatusConflict, "AlreadyExists"))
			return
		}
		answer(w, http.StatusCreated, s.put(of, name, given))
	case name == "" && method == http.MethodGet:
		s.list(w, of)
	case known == nil:
		answer(w, http.StatusNotFound, failure(http.StatusNotFound, "NotFound"))
	case method == http.MethodPatch:
		known = s.put(of, name, given)
		if part == "scale" {
			s.scale(name, known)
		}
		answer(w, http.StatusOK, known)
	case method == http.MethodDelete:
		s.remove(of, name)
		answer(w, http.StatusOK, known)
	default:
		answer(w, http.StatusOK, known)
	}
}

// put makes an object, or merges a change into it.
func (s *simulation) put(of, name string, change object) object {
	kind := s.kind(of)
	s.changes++
	known, what := kind.objects[name], "MODIFIED"
	if known == nil {
		known, what = object{"metadata": object{"uid": "uid-" + strconv.Itoa(s.changes), "namespace": "apps", "creationTimestamp": stamp()}}, "ADDED"
	}
	made := merged(merged(known, change), object{"metadata": object{"name": name, "resourceVersion": strconv.Itoa(s.changes)}})
	kind.objects[name] = made
	s.tell(of, what, made)
	return made
}

func (s *simulation) drop(of, name string) {
	kind := s.kind(of)
	known := kind.objects[name]
	if known == nil {
		return
	}
	delete(kind.objects, name)
	if of == "pods" {
		delete(kind.owned[groupOf(known)], name)
	}
	s.changes++
	s.tell(of, "DELETED", merged(known, object{"metadata": object{"resourceVersion": strconv.Itoa(s.changes)}}))
}

// lose has a pod be gone from one moment to the next; its Deployment has it replaced.
func (s *simulation) lose(name string) {
	pod := s.kind("pods").objects[name]
	if pod == nil {
		return
	}
	s.drop("pods", name)
	of := groupOf(pod)
	if deployment := s.kind("deployments").objects[of]; deployment != nil {
		s.scale(of, deployment)
	}
}

func (s *simulation) tell(of, what string, changed object) {
	if of != "pods" && of != "deployments" {
		return // nobody watches
	}
	kind := s.kind(of)
	line, _ := json.Marshal(object{"type": what, "object": changed})
	kind.events = append(kind.events, event{s.changes, append(line, '\n')})
	close(kind.changed)
	kind.changed = make(chan struct{})
}

// scale has a Deployment have as many pods as it says; the cheapest go first.
func (s *simulation) scale(name string, deployment object) {
	spec := deployment["spec"].(object)
	wanted, pods := int(spec["replicas"].(float64)), s.kind("pods")
	var there []string
	for pod := range pods.owned[name] {
		if pods.objects[pod]["metadata"].(object)["deletionTimestamp"] == nil {
			there = append(there, pod)
		}
	}
	slices.SortFunc(there, func(a, b string) int { return cmp.Or(cmp.Compare(s.cost(a), s.cost(b)), cmp.Compare(a, b)) })
	for n := range max(len(there)-wanted, 0) {
		s.remove("pods", there[n])
	}
	for range max(wanted-len(there), 0) {
		s.pods++
		pod := name + "-" + strconv.Itoa(100_000+s.pods)
		if pods.owned[name] == nil {
			pods.owned[name] = map[string]bool{}
		}
		pods.owned[name][pod] = true
		template := spec["template"].(object)
		s.put("pods", pod, object{
			"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": merged(template["spec"].(object), object{"nodeName": "node1"}),
			"status": object{"phase": "Pending", "podIP": "10.1.2.3"},
		})
		s.later(startTime, func() { s.ready(pod, 0) })
	}
}

func (s *simulation) cost(pod string) int {
	notes, _ := s.kind("pods").objects[pod]["metadata"].(object)["annotations"].(object)
	text, _ := notes[costNote].(string)
	cost, _ := strconv.Atoi(text)
	return cost
}

// ready has a pod be ready, which was started again that often.
func (s *simulation) ready(pod string, restarts int) {
	if s.kind("pods").objects[pod] == nil {
		return
	}
	s.put("pods", pod, object{"status": object{
		"phase":      "Running",
		"conditions": []any{object{"type": "Ready", "status": "True", "lastTransitionTime": stamp()}},
		"containerStatuses": []any{object{
			"name": "app", "started": true, "ready": true, "restartCount": restarts, "state": object{"running": object{"startedAt": "2020-01-01T00:00:00Z"}},
		}},
	}})
}

// remove has an object go: pods take a while, and a Deployment takes its own along.
func (s *simulation) remove(of, name string) {
	switch of {
	case "pods":
		s.put(of, name, object{"metadata": object{"deletionTimestamp": stamp(), "deletionGracePeriodSeconds": 0}})
		s.later(endTime, func() { s.drop(of, name) })
		return
	case "deployments":
		for pod := range s.kind("pods").owned[name] {
			s.remove("pods", pod)
		}
	}
	s.drop(of, name)
}

func (s *simulation) later(after time.Duration, what func()) {
	time.AfterFunc(after, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		what()
	})
}

func (s *simulation) list(w http.ResponseWriter, of string) {
	kind := map[string]string{"pods": "PodList", "deployments": "DeploymentList", "nodes": "NodeList"}[of]
	version := map[string]string{"deployments": "apps/v1"}[of]
	items := slices.Collect(maps.Values(s.kind(of).objects))
	if items == nil {
		items = []object{}
	}
	answer(w, http.StatusOK, object{
		"kind": kind, "apiVersion": cmp.Or(version, "v1"), "metadata": object{"resourceVersion": strconv.Itoa(s.changes)}, "items": items,
	})
}

func (s *simulation) watch(w http.ResponseWriter, r *http.Request, of string) {
	if r.FormValue("sendInitialEvents") != "" {
		answer(w, http.StatusUnprocessableEntity, failure(http.StatusUnprocessableEntity, "Invalid"))
		return
	}
	since, _ := strconv.Atoi(r.FormValue("resourceVersion"))
	w.Header().Set("Content-Type", "application/json")
	w.(http.Flusher).Flush()
	next := 0
	for {
		s.mu.Lock()
		kind := s.kind(of)
		events, changed := kind.events, kind.changed
		s.mu.Unlock()
		for ; next < len(events); next++ {
			if events[next].version > since {
				_, _ = w.Write(events[next].line) // whoever is gone is seen by the context
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

func groupOf(pod object) string {
	labels, _ := pod["metadata"].(object)["labels"].(object)
	name, _ := labels["springtide.dev/group"].(string)
	return name
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

func stamp() string { return time.Now().UTC().Format(time.RFC3339) }

func answer(w http.ResponseWriter, code int, body object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func failure(code int, reason string) object {
	return object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code}
}
