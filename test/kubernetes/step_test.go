package kubernetes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/springtide/springtide/test/kubernetes/cluster"
)

// What the step is, and when an answer is late.
const (
	calmRate, stepRate = 10, 200 // requests a second
	calmFor, stepFor   = 10 * time.Second, 40 * time.Second
	late               = 500 * time.Millisecond
)

// peer is the same program as a Deployment, and the cluster's own autoscaler of it.
// An instance that has no time to spare takes 77m of a processor; of what it asks for
// half is aimed at, which leaves it a third to spare.
const peer = `apiVersion: apps/v1
kind: Deployment
metadata: {name: page, namespace: peer}
spec:
  selector: {matchLabels: {app: page}}
  template:
    metadata: {labels: {app: page}}
    spec:
      containers:
      - name: web
        image: ` + cluster.Registry + `/web:1
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        resources: {requests: {cpu: 100m, memory: 16Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: page, namespace: peer}
spec: {type: NodePort, selector: {app: page}, ports: [{port: 80, targetPort: 8080, nodePort: 30880}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: page, namespace: peer}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: page}
  minReplicas: 1
  maxReplicas: 12
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
`

func TestAStepIsServedByTheLawAndByTheClustersOwnAutoscaler(t *testing.T) {
	if os.Getenv("STEP") == "" {
		t.Skip("it measures, and wants the machine for itself: STEP=1")
	}
	s := newStage(t)
	s.addBase()
	s.addApp()
	s.until("two ready nodes", func() bool { return s.nodes("Ready") == 2 })
	var table strings.Builder
	rows := tabwriter.NewWriter(&table, 0, 4, 2, ' ', 0)
	fmt.Fprintln(rows, "scaled by\trequests\tfailed\tlate\tlongest\tnone is late after")

	s.kubectl("create", "namespace", "peer")
	s.serveMetrics()
	if err := s.Create(t.Context(), peer); err != nil {
		t.Fatal(err)
	}
	plain := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	fmt.Fprintln(rows, "the cluster's autoscaler\t"+s.step(func() int {
		return strings.Count(s.kubectl("-n", "peer", "get", "pods", "--field-selector=status.phase=Running", "-o", "name"), "pod/")
	}, func() error {
		return fetch(t.Context(), plain, "http://10.200.0.11:30880/work")
	}))
	s.kubectl("delete", "namespace", "peer")

	p := s.newPlatform(t)
	p.serve()
	defer p.stop()
	if err := s.Trust(registryHost, []byte(p.cli("trust", "--print"))); err != nil {
		t.Fatal(err)
	}
	folder := p.source()
	text := fmt.Sprintf(`app: page
build: { base: "%s/base:1" }
processes:
  web: { command: exec ./web, health: { path: / }, scale: { min: 1, max: 12, target: { concurrency: 2 } } }
`, cluster.Registry)
	if err := os.WriteFile(filepath.Join(folder, "tide.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cli("deploy", folder)
	client := p.client()
	client.Timeout = 30 * time.Second
	fmt.Fprintln(rows, "Springtide\t"+s.step(func() int { return strings.Count(p.pods("page"), "web-") }, func() error {
		return fetch(t.Context(), client, "https://page.localhost/work")
	}))
	_ = rows.Flush() // to memory
	t.Logf("\n%s", table.String())
}

func fetch(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err = io.Copy(io.Discard, answer.Body); err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return err
}

// step asks at one rate and then at another, whatever the answers, and gives a row.
func (s *stage) step(instances func() int, ask func() error) string {
	s.Helper()
	s.until("the app", func() bool { return ask() == nil })
	var (
		mu                   sync.Mutex
		asking               sync.WaitGroup
		asked, failed, tardy int
		took                 []time.Duration
		lastLate             time.Duration
	)
	began := time.Now()
	for due := time.Duration(0); due < calmFor+stepFor; {
		time.Sleep(time.Until(began.Add(due)))
		asked++
		asking.Go(func() {
			err := ask()
			lasted := time.Since(began.Add(due))
			mu.Lock()
			defer mu.Unlock()
			took = append(took, lasted)
			if err != nil {
				failed++
			}
			if lasted > late {
				tardy, lastLate = tardy+1, max(lastLate, due+lasted-calmFor)
			}
		})
		if due < calmFor {
			due += time.Second / calmRate
		} else {
			due += time.Second / stepRate
		}
	}
	reached := instances()
	asking.Wait()
	s.Logf("%d instances at the end", reached)
	return fmt.Sprintf("%d\t%d\t%d\t%s\t%s", asked, failed, tardy, slices.Max(took).Round(time.Millisecond), lastLate.Round(100*time.Millisecond))
}
