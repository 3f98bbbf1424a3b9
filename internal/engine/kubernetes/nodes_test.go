package kubernetes

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/springtide/springtide"
)

func TestWhatSaysThatANodeIsAboutToGo(t *testing.T) {
	for key, want := range map[string]bool{
		"node.kubernetes.io/unschedulable": true, "ToBeDeletedByClusterAutoscaler": true, "karpenter.sh/disrupted": true,
		"aws-node-termination-handler/spot-itn": true, "cloud.google.com/impending-node-termination": true,
		"DeletionCandidateOfClusterAutoscaler": false, "node.kubernetes.io/not-ready": false, "dedicated": false, "aws-node-termination-handler": false,
	} {
		node := &corev1.Node{Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: key}}}}
		if why := leaves(node); (why != "") != want {
			t.Errorf("%s: %q", key, why)
		}
	}
	if leaves(&corev1.Node{Spec: corev1.NodeSpec{Unschedulable: true}}) == "" {
		t.Error("one that is cordoned stays")
	}
	now := metav1.Now()
	if leaves(&corev1.Node{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}}) == "" {
		t.Error("one that is being deleted stays")
	}
}

// on has the cluster tell on which node a pod is.
func (b *bench) on(pod, node string) {
	b.put("pods/"+pod, object{"spec": object{"nodeName": node}})
}

func TestInstancesOfANodeThatIsAboutToGoAreReplacedFirstAndThenLetGo(t *testing.T) {
	b := newBench(t)
	b.put("nodes/one", object{})
	run(t, b.engine)
	group := testGroup(2)
	b.apply(group)
	now := time.Now()
	for _, name := range []string{"web-a", "web-b"} {
		b.pod(name, group, true, now)
		b.on(name, "one")
	}
	b.eventually("two instances", func() bool { return b.states() == "web-a ready, web-b ready" && b.replicas(group) == 2 })
	b.put("nodes/one", object{"spec": object{"unschedulable": true, "taints": []any{object{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}}}})
	b.eventually("two more", func() bool { return b.replicas(group) == 4 })
	// There is no room for one of them yet: what is there serves on.
	b.pod("web-c", group, true, now)
	b.put("pods/web-d", object{
		"metadata": object{"labels": object{labelManager: manager, labelRole: roleInstance, labelGroup: nameOf(group.ID)}, "annotations": object{noteGroup: group.ID.String()}},
		"status":   object{"phase": "Pending", "conditions": []any{object{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available."}}},
	})
	b.eventually("the lack of room", func() bool { snapshot, _ := b.engine.snapshot(); return snapshot.Capacity != "" })
	if got := b.states(); got != "web-a ready, web-b ready, web-c ready, web-d starting" {
		t.Errorf("while there is no room: %s", got)
	}
	b.put("pods/web-d", object{"status": object{"conditions": []any{}}})
	b.pod("web-d", group, true, now)
	b.eventually("the two to be let go", func() bool { return b.replicas(group) == 2 })
	b.remove("pods/web-a")
	b.remove("pods/web-b")
	b.eventually("the two on the other node", func() bool { return b.states() == "web-c ready, web-d ready" })
}

func TestANodeThatStaysAfterAllKeepsItsInstances(t *testing.T) {
	b := newBench(t)
	b.put("nodes/one", object{"spec": object{"unschedulable": true}})
	run(t, b.engine)
	group := testGroup(1)
	b.apply(group)
	b.pod("web-a", group, true, time.Now())
	b.on("web-a", "one")
	b.eventually("one more", func() bool { return b.replicas(group) == 2 })
	b.put("nodes/one", object{"spec": object{"unschedulable": nil}})
	b.eventually("one less", func() bool { return b.replicas(group) == 1 })
	if got := b.states(); got != "web-a ready" {
		t.Errorf("%s", got)
	}
}

func TestWithoutTheRightToWatchNodesTheEngineWorks(t *testing.T) {
	b := newBench(t)
	b.denied = "nodes"
	b.put("nodes/one", object{"spec": object{"unschedulable": true}})
	run(t, b.engine)
	group := testGroup(1)
	b.apply(group)
	b.pod("web-a", group, true, time.Now())
	b.on("web-a", "one")
	b.eventually("an instance", func() bool { return b.states() == "web-a ready" })
	if err := b.engine.Check(t.Context()); springtide.KindOf(err) == springtide.Denied {
		t.Errorf("what need not be allowed is asked for: %v", err)
	}
	if n := b.replicas(group); n != 1 {
		t.Errorf("%d replicas", n)
	}
}
