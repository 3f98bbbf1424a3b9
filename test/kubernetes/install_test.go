package kubernetes_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide/internal/engine/kubernetes"
	"github.com/springtide/springtide/test/kubernetes/cluster"
)

const (
	ownNamespace = "springtide"
	manifestPath = "../../deploy/kubernetes/springtide.yaml"
	tideImage    = cluster.Registry + "/springtide/tide:1"
	apiNodePort  = "30743"
	apiAddress   = "10.200.0.11:" + apiNodePort // of the first node
)

// installation is a platform whose control planes and edges are pods.
type installation struct {
	*testing.T
	*stage
	tide, folder string
	environment  []string // of the tide command
	dialled      atomic.Int64
	addresses    atomic.Pointer[[]string] // of the edges
	tries        int                      // how many edges a client tries to connect to
	cut          string                   // how the addresses of pods begin that are cut off; empty: none is
}

// install makes the image and the Secrets, and installs the manifest.
func (s *stage) install(t *testing.T) *installation {
	t.Helper()
	i := &installation{T: t, stage: s, folder: t.TempDir(), tries: 1}
	i.tide = filepath.Join(i.folder, "tide")
	i.run("go", "build", "-C", "../..", "-trimpath", "-o", i.tide, "./cmd/tide")
	i.run("go", "run", "-C", "../..", "-trimpath", "./deploy/image", "-tide", i.tide, "-base", cluster.Registry+"/base:1", "-push", tideImage)
	s.namespace(t, ownNamespace)
	s.inNamespace("create", "secret", "generic", "springtide", "--from-literal=store="+servePostgres(t), "--from-literal=key="+strings.Repeat("0123456789abcdef", 4))
	s.inNamespace("create", "secret", "generic", "springtide-edge", "--from-literal=token="+strings.Repeat("fedcba9876543210", 4))
	i.applyManifest(manifestPath)
	i.until("two control planes and two edges", func() bool { return len(i.ready("control")) == 2 && len(i.ready("edge")) == 2 })
	i.logIn()
	return i
}

// applyManifest applies a manifest as it is, but for what this cluster lacks: a load
// balancer, and names.
func (i *installation) applyManifest(path string) {
	i.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		i.Fatal(err)
	}
	var services, others []string
	for object := range strings.SplitSeq(string(text), "\n---\n") {
		if strings.Contains(object, "kind: Service\n") {
			if strings.Contains(object, "targetPort: api }") {
				object = strings.Replace(object, "type: ClusterIP", "type: NodePort", 1)
				object = strings.Replace(object, "targetPort: api }", "targetPort: api, nodePort: "+apiNodePort+" }", 1)
			}
			services = append(services, object)
		} else {
			others = append(others, object)
		}
	}
	i.apply(services)
	names := fmt.Sprintf("      hostAliases: [{ip: %q, hostnames: [springtide-control, springtide-control.%s.svc]}, {ip: %q, hostnames: [springtide-edge]}]\n      containers:\n",
		i.service("springtide-control"), ownNamespace, i.service("springtide-edge"))
	for n, object := range others {
		object = regexp.MustCompile(`image: registry.example.com/\S+`).ReplaceAllString(object, "image: "+tideImage)
		object = regexp.MustCompile(`--registry-host=\S+`).ReplaceAllString(object, "--registry-host="+apiAddress)
		object = strings.ReplaceAll(object, `"cpu":"250m","memory":"384Mi"`, `"cpu":"50m","memory":"128Mi"`)
		others[n] = strings.ReplaceAll(object, "      containers:\n", names)
	}
	i.apply(others)
}

func (i *installation) run(arguments ...string) {
	i.Helper()
	command := exec.Command(arguments[0], arguments[1:]...)
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		i.Fatalf("%s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
}

func (i *installation) apply(objects []string) {
	i.Helper()
	path := filepath.Join(i.folder, "objects.yaml")
	if err := os.WriteFile(path, []byte(strings.Join(objects, "\n---\n")), 0o600); err != nil {
		i.Fatal(err)
	}
	i.inNamespace("apply", "-f", path)
}

func (s *stage) inNamespace(arguments ...string) string {
	s.Helper()
	return s.kubectl(append([]string{"-n", ownNamespace}, arguments...)...)
}

func (i *installation) service(name string) string {
	i.Helper()
	return i.inNamespace("get", "service", name, "-o", "jsonpath={.spec.clusterIP}")
}

// ready gives the names and addresses of the ready pods of a role that are not cut off.
func (i *installation) ready(role string) map[string]string {
	const path = `jsonpath={range .items[?(@.status.containerStatuses[0].ready==true)]}{.metadata.name} {.status.podIP}{"\n"}{end}`
	output, _ := i.Kubectl(i.T.Context(), "-n", ownNamespace, "get", "pods", "-l", "springtide.dev/role="+role, "-o", path)
	found := map[string]string{}
	for line := range strings.Lines(output) {
		name, address, _ := strings.Cut(strings.TrimSpace(line), " ")
		if i.cut == "" || !strings.HasPrefix(address, i.cut) {
			found[name] = address
		}
	}
	return found
}

// useEdges has clients use the edges that are ready.
func (i *installation) useEdges() {
	addresses := slices.Collect(maps.Values(i.ready("edge")))
	i.addresses.Store(&addresses)
}

// logIn has the tide command speak to the API by a node's port, like any user's.
func (i *installation) logIn() {
	i.Helper()
	var created struct{ Secret string }
	text := i.inNamespace("exec", "deploy/springtide-control", "--", "/usr/bin/tide", "tokens", "create", "test", "--json")
	if err := json.Unmarshal([]byte(text), &created); err != nil {
		i.Fatalf("%v in %s", err, text)
	}
	authority := filepath.Join(i.folder, "ca.pem")
	text = i.inNamespace("exec", "deploy/springtide-control", "--", "/usr/bin/tide", "trust", "--print")
	if err := os.WriteFile(authority, []byte(text), 0o600); err != nil {
		i.Fatal(err)
	}
	i.environment = append(os.Environ(), "TIDE_SERVER=https://"+apiAddress, "TIDE_TOKEN="+created.Secret, "TIDE_CA="+authority)
}

func (i *installation) cli(arguments ...string) (string, error) {
	command := exec.CommandContext(i.T.Context(), i.tide, arguments...)
	command.Env = i.environment
	output, err := command.CombinedOutput()
	return string(output), err
}

// leader gives the pod that leads; empty: none does, or more than one.
func (i *installation) leader() (leader string) {
	for name := range i.ready("control") {
		said, err := i.Kubectl(i.T.Context(), "-n", ownNamespace, "exec", name, "--", "/usr/bin/tide", "status", "--json")
		var own struct{ Store struct{ Leads bool } }
		if err == nil && json.Unmarshal([]byte(said), &own) == nil && own.Store.Leads {
			if leader != "" {
				return ""
			}
			leader = name
		}
	}
	return leader
}

// deploy writes a version of the app and deploys it.
func (i *installation) deploy(version string) error {
	folder := filepath.Join(i.folder, "page")
	if _, err := os.Stat(folder); err != nil {
		i.run("go", "build", "-trimpath", "-o", filepath.Join(folder, "web"), "./app")
	}
	text := fmt.Sprintf(`app: page
build: { base: "%[1]s/base:1", push: "%[1]s/page" }
processes:
  web: { command: exec ./web, env: { VERSION: %[2]s }, health: { path: /, start: 20s }, drain: 5s, try_timeout: 2s, scale: { min: 2, max: 4 } }
`, cluster.Registry, version)
	if err := os.WriteFile(filepath.Join(folder, "tide.yaml"), []byte(text), 0o644); err != nil {
		return err
	}
	output, err := i.cli("deploy", folder)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	return nil
}

// errUnconnected says that a client has found no edge to speak to.
var errUnconnected = errors.New("no connection")

// client spreads its connections over the edges.
func (i *installation) client() *http.Client {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: "page.localhost"}}
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialTLSContext: func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
			all, first := *i.addresses.Load(), int(i.dialled.Add(1))
			for n := range i.tries {
				if conn, err = dialer.DialContext(ctx, network, all[(first+n)%len(all)]+":443"); err == nil {
					return conn, nil
				}
			}
			return nil, fmt.Errorf("%w: %w", errUnconnected, err)
		},
	}}
}

// serves says whether each edge answers by a version of the app.
func (i *installation) serves(version string) func() bool {
	client := i.client()
	return func() bool {
		for range 2 * len(*i.addresses.Load()) {
			if text, err := ask(i.T.Context(), client); err != nil || !strings.HasPrefix(text, version+" on web-") {
				return false
			}
		}
		return true
	}
}

func TestThePlatformItselfRunsOnAClusterByItsManifests(t *testing.T) {
	s := newStage(t)
	s.addBase()
	s.until("two ready nodes", func() bool { return s.nodes("Ready") == 2 })
	i := s.install(t)
	i.useEdges()
	if err := i.deploy("one"); err != nil {
		t.Fatal(err)
	}
	i.until("every edge to serve the app", i.serves("one"))

	i.under("a rollout whose leader is lost", func() {
		leader := i.leader()
		deployed := make(chan error, 1)
		go func() { deployed <- i.deploy("two") }()
		i.until("the rollout to be under way", func() bool {
			pods, _ := i.Kubectl(t.Context(), "-n", ownNamespace, "get", "pods", "-l", "springtide.dev/role=instance", "-o", "name")
			return strings.Contains(pods, "web-2-")
		})
		began := time.Now()
		i.inNamespace("delete", "pod", leader, "--force", "--grace-period=0")
		i.until("the next one to finish the rollout", i.serves("two"))
		t.Logf("healed after %s", time.Since(began).Round(100*time.Millisecond))
		if err := <-deployed; err != nil {
			t.Errorf("who followed the rollout did not see its end: %v", err)
		}
		if next := i.leader(); next == leader || next == "" {
			t.Errorf("%s leads, after %s", next, leader)
		}
	})
	i.spreads()
	i.isolates()
	i.losesTheLeadersNode()
	i.servesOnTheNodes()
}

// under asks all the while that something is done; nothing may fail.
func (i *installation) under(what string, do func()) {
	i.Helper()
	ctx, cancel := context.WithCancel(i.T.Context())
	client := i.client()
	asked, failed, longest, over := 0, 0, time.Duration(0), make(chan struct{})
	go func() {
		defer close(over)
		for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
			began := time.Now()
			if _, err := ask(ctx, client); err != nil && ctx.Err() == nil {
				failed++
				i.T.Log(err)
			}
			asked++
			longest = max(longest, time.Since(began))
		}
	}()
	defer func() {
		cancel()
		<-over
		i.T.Logf("%s: %d requests, %d failed, the longest took %s", what, asked, failed, longest.Round(time.Millisecond))
		if failed > 0 || asked == 0 {
			i.Errorf("%s: %d of %d requests failed", what, failed, asked)
		}
	}()
	do()
}

// spreads has one of each kind of pods be on each node.
func (i *installation) spreads() {
	i.Helper()
	i.until("one of each on each node", func() bool {
		for _, role := range []string{"control", "edge", "instance"} {
			on := slices.Sorted(maps.Values(i.ready(role)))
			if len(on) != 2 {
				return false // some are still to go
			}
			if !strings.HasPrefix(on[0], "10.244.1.") || !strings.HasPrefix(on[1], "10.244.2.") {
				if role == "instance" {
					_, _ = i.cli("restart", "--app", "page")
				}
				return false
			}
		}
		return true
	})
}

// losesTheLeadersNode cuts off the node of the leader, of an edge and of an instance:
// the others go on, and one of them leads.
func (i *installation) losesTheLeadersNode() {
	i.Helper()
	leader := ""
	i.until("a leader", func() bool { leader = i.leader(); return leader != "" })
	node, prefix := 1, "10.244.1."
	if strings.HasPrefix(i.ready("control")[leader], "10.244.2.") {
		node, prefix = 2, "10.244.2."
	}
	i.cut = prefix
	i.useEdges()
	i.under("the loss of the leader's node", func() {
		if err := i.Cut(node); err != nil {
			i.Fatal(err)
		}
		began := time.Now()
		next := ""
		i.until("another leader", func() bool { next = i.leader(); return next != "" })
		i.T.Logf("there was no leader for %s", time.Since(began).Round(100*time.Millisecond))
		i.inNamespace("exec", next, "--", "/usr/bin/tide", "scale", "web=3", "--app", "page")
		i.until("three instances on the other node", func() bool { return len(i.ready("instance")) == 3 })
	})
	if err := i.Heal(node); err != nil {
		i.Fatal(err)
	}
	i.cut = ""
	i.until("the node to be back", func() bool { return i.nodes("Ready") == 2 })
	i.until("one leader", func() bool { return i.leader() != "" })
}

func TestTheManifestGivesTheRightsThatAreNeeded(t *testing.T) {
	text, err := os.ReadFile(manifestPath)
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`(?m)^- \{ apiGroups: \["?([^"\]]*)"?\], resources: \[(\S+)\], verbs: \[([^\]]+)\] \}$`)
	var given, needed []string
	for _, match := range rule.FindAllStringSubmatch(string(text), -1) {
		given = append(given, strings.Join(match[1:], " "))
	}
	for _, right := range append(kubernetes.Rights(), kubernetes.ServiceRights()...) {
		needed = append(needed, strings.Join([]string{
			right.Group, strings.TrimSuffix(right.Resource+"/"+right.Subresource, "/"), strings.Join(right.Verbs, ", "),
		}, " "))
	}
	if !slices.Equal(given, needed) {
		t.Errorf("given are\n%s\nneeded are\n%s", strings.Join(given, "\n"), strings.Join(needed, "\n"))
	}
}

// servePostgres runs a server that pods reach, and gives the URL of its database.
func servePostgres(t *testing.T) string {
	t.Helper()
	const host, nobody = "10.200.0.254", 65534
	programs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(programs) == 0 {
		t.Fatal("PostgreSQL is missing: make setup")
	}
	folder, err := os.MkdirTemp("", "store")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(folder, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	command := func(name string, arguments ...string) *exec.Cmd {
		c := exec.Command(filepath.Join(programs[0], name), append([]string{"-D", folder}, arguments...)...)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Pdeathsig: syscall.SIGKILL}
		return c
	}
	if output, err := command("initdb", "-U", "tide", "--auth=trust", "-N").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if err := os.WriteFile(filepath.Join(folder, "pg_hba.conf"), []byte("host all all 10.0.0.0/8 trust\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	server := command("postgres", "-h", host, "-p", "5432", "-k", "", "-c", "fsync=off")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT)
		if err := server.Wait(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Logf("PostgreSQL: %v", err)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("tcp", host+":5432")
		if err == nil {
			conn.Close()
			return "postgres://tide@" + host + ":5432/postgres?sslmode=disable"
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
