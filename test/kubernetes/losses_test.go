package kubernetes_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/test/kubernetes/cluster"
)

// beat is how often the schedule of the story comes.
const beat = 2 * time.Second

// losses is a platform that loses what a cluster can lose, and the table of that.
type losses struct {
	*platform
	table strings.Builder
	rows  *tabwriter.Writer
}

func TestAnAppThatMovedToAClusterOutlivesWhatTheClusterLoses(t *testing.T) {
	s := newStage(t)
	s.addBase()
	s.until("two ready nodes", func() bool { return s.nodes("Ready") == 2 })
	p := s.newPlatform(t)
	file, phrase := p.exported()
	p.serve()
	defer p.stop()
	if err := s.Trust(registryHost, []byte(p.cli("trust", "--print"))); err != nil {
		t.Fatal(err)
	}
	if plan := p.cli("plan", file, "--passphrase-file", phrase); !strings.Contains(plan, "+ page/production") {
		t.Errorf("the plan is %s", plan)
	}
	p.cli("import", file, "--passphrase-file", phrase)
	if text, err := ask(t.Context(), p.client()); err != nil || !strings.HasPrefix(text, "moved on web-1-") {
		t.Fatalf("after the move: %q, %v", text, err)
	}

	l := &losses{platform: p}
	l.rows = tabwriter.NewWriter(&l.table, 0, 4, 2, ' ', 0)
	fmt.Fprintln(l.rows, "lost\trequests\tfailed\tlongest\thealed after")
	defer func() {
		_ = l.rows.Flush() // to memory
		t.Logf("\n%s", l.table.String())
	}()
	l.all()
	p.keptItsPromise()
}

// exported deploys an app on this machine, by the process engine, and gives its
// export with the passphrase's file.
func (p *platform) exported() (file, phrase string) {
	p.Helper()
	folder := p.source()
	text := fmt.Sprintf(`app: page
build: { base: "%s/base:1" }
processes:
  web: { command: exec ./web, env: { VERSION: moved }, health: { path: /, start: 20s }, drain: 5s, try_timeout: 2s, scale: { min: 2, max: 4 } }
schedules: { beat: { every: %s, url: /, overlap: allow, missed: all } }
`, cluster.Registry, beat)
	own := filepath.Dir(p.data)
	file, phrase = filepath.Join(own, "page.tide"), filepath.Join(own, "phrase")
	for path, text := range map[string]string{filepath.Join(folder, "tide.yaml"): text, phrase: "correct horse battery staple\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			p.Fatal(err)
		}
	}
	from := &platform{T: p.T, stage: p.stage, tide: p.tide, data: filepath.Join(own, "machine"), https: freeAddress(p.T)}
	from.arguments = []string{"serve", "--data", from.data, "--https", from.https, "--http", freeAddress(p.T)}
	from.serve()
	defer from.stop()
	from.cli("deploy", folder)
	from.cli("export", "page", "--passphrase-file", phrase, "--output", file)
	from.cli("stop", "--app", "page")
	return file, phrase
}

// all loses one thing after the other.
func (l *losses) all() {
	l.Helper()
	pod, _, _ := strings.Cut(l.pods("page"), " ")
	l.lose("a pod", func() {
		l.kubectl("-n", platformNamespace, "delete", "pod", pod, "--force", "--grace-period=0")
	}, l.without(pod))
	l.spread()
	node, givenUp := l.stuck()
	l.lose("the network of a node", func() { l.must(l.Cut(node)) }, l.without(fmt.Sprint("node", node)))
	givenUp()
	l.must(l.Heal(node))
	l.spread()
	l.lose("the power of a node", func() { l.must(l.PowerOff(1)) }, l.without("node1"))
	l.must(l.PowerOn(1))
	l.spread()
	long, err := time.ParseDuration(cmp.Or(os.Getenv("FREEZE"), "10s"))
	l.must(err)
	l.lose("the API server, frozen for "+long.String()+", and the control plane", func() {
		l.must(l.Freeze(cluster.APIServer))
		control := l.status().Control
		l.kill(control)
		time.Sleep(long)
		l.must(l.Thaw(cluster.APIServer))
		l.until("another control plane", func() bool { now := l.status(); return now != nil && now.Control != control })
		l.cli("scale", "web=3", "--app", "page")
	}, func() bool { return l.ready() == 3 })
}

// stuckLimit is how long what an instance has open may wait that is lost with its node:
// the cluster takes 8 s to miss that, and the edge 2 s to see for itself.
const stuckLimit = 30 * time.Second

// stuck asks the only instance of an app, which never answers, for what may be repeated
// and for what may not. It gives the instance's node, and what looks how both end once
// that is lost: nothing else ends them in that time, neither a timeout nor the drain.
func (l *losses) stuck() (node int, givenUp func()) {
	l.Helper()
	folder := filepath.Join(filepath.Dir(l.data), "page")
	text := fmt.Sprintf(`app: stuck
build: { base: "%s/base:1" }
processes:
  web: { command: exec ./web, health: { path: /, start: 20s }, drain: 5m, scale: { min: 1, max: 1 } }
`, cluster.Registry)
	l.must(os.WriteFile(filepath.Join(folder, "tide.yaml"), []byte(text), 0o600))
	l.cli("deploy", folder)
	pod := l.pods("stuck")
	if _, err := fmt.Sscanf(l.kubectl("-n", platformNamespace, "get", "pod", pod, "-o", "jsonpath={.spec.nodeName}"), "node%d", &node); err != nil {
		l.Fatal(err)
	}
	client := l.client()
	client.Timeout = stuckLimit
	outcome := func(method string) <-chan string {
		ended := make(chan string, 1)
		go func() {
			began := time.Now()
			answer, err := send(l.T.Context(), client, method, "https://stuck.localhost/stuck?on="+pod, http.NoBody)
			l.Logf("a %s was stuck for %s", method, time.Since(began).Round(100*time.Millisecond))
			ended <- fmt.Sprintln(answer, err)
		}()
		return ended
	}
	repeated, sentOnce := outcome(http.MethodGet), outcome(http.MethodPost)
	l.until("both to be stuck", func() bool {
		return strings.Count(l.kubectl("-n", platformNamespace, "logs", pod), "is stuck") == 2
	})
	return node, func() {
		l.Helper()
		if got := <-repeated; !strings.HasPrefix(got, "not stuck on ") {
			l.Errorf("what may be repeated: %s", got)
		}
		if got := <-sentOnce; !strings.Contains(got, "502 Bad Gateway") {
			l.Errorf("what may not be repeated: %s", got)
		}
	}
}

func (l *losses) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// lose asks all the while, and tells how long it took until all is well after what
// was done.
func (l *losses) lose(what string, do func(), well func() bool) {
	l.Helper()
	var healed time.Duration
	asked, failed, longest := l.under("the loss of "+what, func() {
		began := time.Now()
		do()
		l.until("all is well without "+what, well)
		healed = time.Since(began)
	})
	fmt.Fprintf(l.rows, "%s\t%d\t%d\t%s\t%s\n", what, asked, failed, longest.Round(time.Millisecond), healed.Round(100*time.Millisecond))
}

// spread waits until both nodes are back and have an instance each: what was moved
// off one does not return by itself.
func (l *losses) spread() {
	l.Helper()
	l.until("two ready nodes", func() bool { return l.nodes("Ready") == 2 })
	l.until("an instance on each", func() bool {
		pods := l.readyPods()
		if len(pods) != 2 || l.ready() != 2 {
			return false // some are still to go
		}
		if strings.Contains(pods[0], "node1") != strings.Contains(pods[1], "node1") {
			return true
		}
		l.cli("restart", "--app", "page")
		return false
	})
}

// ready counts the instances that the platform takes for ready.
func (l *losses) ready() int {
	output, _ := l.command("ps", "--app", "page").Output() // it may just be away
	return strings.Count(string(output), " ready")
}

// readyPods gives the instances that the cluster takes for ready, each with its node.
func (l *losses) readyPods() (pods []string) {
	const path = `jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName} {.metadata.deletionTimestamp} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`
	output, _ := l.Kubectl(l.T.Context(), "-n", platformNamespace, "get", "pods", "-l", "springtide.dev/role=instance,app.kubernetes.io/name=page", "-o", path)
	for line := range strings.Lines(output) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[2] == "True" {
			pods = append(pods, fields[0]+" "+fields[1])
		}
	}
	return pods
}

// without says that as many serve as should, none of them the pod or on the node that
// is lost.
func (l *losses) without(lost string) func() bool {
	return func() bool {
		pods := l.readyPods()
		return len(pods) == 2 && !strings.Contains(strings.Join(pods, " "), lost) && l.ready() == 2
	}
}

// keptItsPromise looks whether each slot of the schedule was recorded exactly once,
// and none left out: it runs late where no control plane was there.
func (p *platform) keptItsPromise() {
	p.Helper()
	var runs []springtide.Run
	text := p.cli("jobs", "ls", "--app", "page", "--schedule", "beat", "--limit", "1000", "--json")
	if err := json.Unmarshal([]byte(text), &runs); err != nil {
		p.Fatalf("%v in %s", err, text)
	}
	slices.SortFunc(runs, func(a, b springtide.Run) int { return a.Slot.Compare(b.Slot) })
	states := map[springtide.RunState]int{}
	for n, run := range runs {
		states[run.State]++
		if n > 0 && !run.Slot.Equal(runs[n-1].Slot.Add(beat)) {
			p.Errorf("after the slot of %s comes that of %s", runs[n-1].Slot, run.Slot)
		}
	}
	p.Logf("%d slots: %v", len(runs), states)
	for _, broken := range []springtide.RunState{springtide.RunMissed, springtide.RunSkipped, springtide.RunDead} {
		if len(runs) < 10 || states[broken] > 0 {
			p.Errorf("there are %d slots: %v", len(runs), states)
		}
	}
}
