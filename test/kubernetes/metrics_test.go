package kubernetes_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"
)

// metricsService has the API server ask this test for metrics.k8s.io.
const metricsService = `apiVersion: v1
kind: Service
metadata: {name: metrics, namespace: kube-system}
spec: {ports: [{port: 443, targetPort: 4443}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: metrics, namespace: kube-system, labels: {kubernetes.io/service-name: metrics}}
addressType: IPv4
ports: [{name: "", port: 4443, protocol: TCP}]
endpoints: [{addresses: [10.200.0.254], conditions: {ready: true}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: metrics, namespace: kube-system}
`

// usedLine is what a kubelet says that a container has used, in seconds of a
// processor, and when, in milliseconds.
var usedLine = regexp.MustCompile(`^container_cpu_usage_seconds_total\{container="([^"]+)",namespace="([^"]+)",pod="([^"]+)"\} (\S+) (\d+)$`)

// metrics stands in for the metrics server, as far as an autoscaler asks it.
type metrics struct {
	client *http.Client
	mu     sync.Mutex
	last   map[string]sample
	pods   map[string]podMetrics // by namespace and name
}

type sample struct{ used, at float64 }

// podMetrics is one of metrics.k8s.io, of a pod with one container.
type podMetrics struct {
	Metadata   map[string]string  `json:"metadata"`
	Timestamp  time.Time          `json:"timestamp"`
	Window     string             `json:"window"`
	Containers []containerMetrics `json:"containers"`
}

type containerMetrics struct {
	Name  string            `json:"name"`
	Usage map[string]string `json:"usage"`
}

// serveMetrics serves them until the test ends.
func (s *stage) serveMetrics() {
	s.Helper()
	folder := filepath.Dir(s.Kubeconfig())
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "admin.crt"), filepath.Join(folder, "admin.key"))
	if err != nil {
		s.Fatal(err)
	}
	m := &metrics{last: map[string]sample{}, pods: map[string]podMetrics{}, client: &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}},
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /apis/metrics.k8s.io/v1beta1", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"metrics.k8s.io/v1beta1","resources":[{"name":"pods","singularName":"","namespaced":true,"kind":"PodMetrics","verbs":["get","list"]}]}`)
	})
	mux.HandleFunc("GET /apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods", m.list)
	listener, err := net.Listen("tcp", "10.200.0.254:4443")
	if err != nil {
		s.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		mux.ServeHTTP(w, r)
	})}
	ctx, cancel := context.WithCancel(s.Context())
	var running sync.WaitGroup
	running.Go(func() {
		_ = server.ServeTLS(listener, filepath.Join(folder, "apiserver.crt"), filepath.Join(folder, "apiserver.key")) // until it is closed
	})
	running.Go(func() { m.watch(ctx, "10.200.0.11", "10.200.0.12") })
	s.Cleanup(func() {
		cancel()
		server.Close()
		running.Wait()
	})
	if err := s.Create(s.Context(), metricsService); err != nil {
		s.Fatal(err)
	}
}

// watch asks the nodes each second.
func (m *metrics) watch(ctx context.Context, nodes ...string) {
	for ctx.Err() == nil {
		for _, node := range nodes {
			_ = m.look(ctx, node) // it is asked again
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

func (m *metrics) look(ctx context.Context, node string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+node+":10250/metrics/resource", http.NoBody)
	if err != nil {
		return err
	}
	answer, err := m.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if match := usedLine.FindStringSubmatch(lines.Text()); match != nil {
			m.take(match)
		}
	}
	return lines.Err()
}

func (m *metrics) take(match []string) {
	used, err1 := strconv.ParseFloat(match[4], 64)
	at, err2 := strconv.ParseFloat(match[5], 64)
	key := match[2] + "/" + match[3]
	before, known := m.last[key]
	if err1 != nil || err2 != nil || known && at <= before.at {
		return
	}
	m.last[key] = sample{used, at}
	if !known {
		return
	}
	milli := int64((used - before.used) / (at - before.at) * 1e6)
	m.pods[key] = podMetrics{
		Metadata:  map[string]string{"name": match[3], "namespace": match[2]},
		Timestamp: time.UnixMilli(int64(at)).UTC().Truncate(time.Second), Window: fmt.Sprintf("%.0fs", (at-before.at)/1000),
		Containers: []containerMetrics{{Name: match[1], Usage: map[string]string{"cpu": fmt.Sprint(milli, "m"), "memory": "8Mi"}}},
	}
}

func (m *metrics) list(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	items := []podMetrics{}
	for _, key := range slices.Sorted(maps.Keys(m.pods)) {
		if pod := m.pods[key]; pod.Metadata["namespace"] == r.PathValue("namespace") {
			items = append(items, pod)
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{ // who is gone gets none
		"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": map[string]string{}, "items": items,
	})
}
