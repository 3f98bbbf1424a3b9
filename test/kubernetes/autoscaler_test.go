package kubernetes_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide/test/kubernetes/cluster"
)

// autoscaler stands in for Cluster Autoscaler: it has a third server be there while
// pods find no room, and takes it away when few instances are left.
type autoscaler struct {
	*testing.T
	cluster   *cluster.Cluster
	namespace string
	// enough is how many instances have room without the server.
	enough int
	ended  sync.WaitGroup
	stop   context.CancelFunc
}

func startAutoscaler(t *testing.T, c *cluster.Cluster, namespace string, enough int) *autoscaler {
	ctx, cancel := context.WithCancel(t.Context())
	a := &autoscaler{T: t, cluster: c, namespace: namespace, enough: enough, stop: cancel}
	a.ended.Go(func() { a.run(ctx) })
	t.Cleanup(a.end)
	return a
}

func (a *autoscaler) end() {
	a.stop()
	a.ended.Wait()
}

func (a *autoscaler) run(ctx context.Context) {
	for there := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		pods, err := a.pods(ctx)
		if err != nil {
			continue // the next second may be better
		}
		switch pending, instances := pods["Unschedulable"], pods["instance"]; {
		case !there && pending > 0:
			a.Logf("%d pods find no room: a third server is started", pending)
			if err := a.cluster.PowerOn(3); err != nil {
				a.Error(err)
				return
			}
			there = true
		case there && pending == 0 && instances <= a.enough:
			if err := a.takeAway(ctx); err != nil && ctx.Err() == nil {
				a.Error(err)
			}
			return
		}
	}
}

// pods counts instances, and pods that find no room.
func (a *autoscaler) pods(ctx context.Context) (map[string]int, error) {
	const path = `jsonpath={range .items[?(@.metadata.labels.springtide\.dev/role)]}{.metadata.labels.springtide\.dev/role} {.status.conditions[?(@.type=="PodScheduled")].reason}{"\n"}{end}`
	output, err := a.cluster.Kubectl(ctx, "-n", a.namespace, "get", "pods", "-o", path)
	count := map[string]int{}
	for word := range strings.FieldsSeq(output) {
		count[word]++
	}
	return count, err
}

func (a *autoscaler) takeAway(ctx context.Context) error {
	began := time.Now()
	for _, step := range [][]string{
		{"taint", "node", "node3", fmt.Sprintf("ToBeDeletedByClusterAutoscaler=%d:NoSchedule", began.Unix())},
		{"drain", "node3", "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s"},
		{"delete", "node", "node3"},
	} {
		if _, err := a.cluster.Kubectl(ctx, step...); err != nil {
			return err
		}
	}
	a.Logf("the third server was drained in %s", time.Since(began).Round(10*time.Millisecond))
	return a.cluster.PowerOff(3)
}
