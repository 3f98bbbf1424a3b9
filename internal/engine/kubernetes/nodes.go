package kubernetes

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"

	"github.com/springtide/springtide"
)

// leavingTaints say that a node is about to go: its instances are replaced on others
// before anybody has to evict them. One that ends with a slash is the beginning of
// several.
var leavingTaints = []string{
	corev1.TaintNodeUnschedulable,                       // cordoned, which draining begins with
	"ToBeDeletedByClusterAutoscaler",                    // Cluster Autoscaler takes it away
	"karpenter.sh/disrupted", "karpenter.sh/disruption", // Karpenter does, by its old and its new name
	"aws-node-termination-handler/", // spot, rebalancing, maintenance
	"cloud.google.com/impending-node-termination",
	"node.cloudprovider.kubernetes.io/shutdown",
	corev1.TaintNodeOutOfService,
}

// leaves says why a node is about to go; empty if it is not.
func leaves(node *corev1.Node) string {
	if node.DeletionTimestamp != nil {
		return "it is being deleted"
	}
	for _, taint := range node.Spec.Taints {
		for _, known := range leavingTaints {
			if taint.Key == known || strings.HasSuffix(known, "/") && strings.HasPrefix(taint.Key, known) {
				return taint.Key
			}
		}
	}
	if node.Spec.Unschedulable {
		return corev1.TaintNodeUnschedulable
	}
	return ""
}

// slimNode leaves of a node what the engine looks at.
func slimNode(object any) (any, error) {
	if node, ok := object.(*corev1.Node); ok {
		node.ManagedFields, node.Annotations, node.Labels, node.Status = nil, nil, nil, corev1.NodeStatus{}
	}
	return object, nil
}

// watchNodes observes nodes until ctx ends, if that is allowed: the right goes
// beyond the engine's namespace.
func (e *Engine) watchNodes(ctx context.Context) {
	missing, err := e.missingAnywhere(ctx, "nodes")
	for ; err != nil; missing, err = e.missingAnywhere(ctx, "nodes") {
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryAfter):
		}
	}
	if len(missing) > 0 {
		e.log.Info("nodes may not be watched: what is on a node that is drained moves when it is evicted, not before; docs/kubernetes.md has the rights")
		return
	}
	list := cache.NewListWatchFromClient(e.client.core, "nodes", metav1.NamespaceAll, fields.Everything())
	informer := cache.NewSharedIndexInformer(list, &corev1.Node{}, 0, nil)
	if err := e.follow(informer, slimNode, e.observedNode); err != nil {
		e.log.Error("nodes cannot be watched", "error", err)
		return
	}
	informer.RunWithContext(ctx)
}

// observedNode takes up what the cluster says of a node.
func (e *Engine) observedNode(object any, there bool) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	node, ok := object.(*corev1.Node)
	if !ok {
		return
	}
	why := leaves(node)
	if !there {
		why = ""
	}
	pods, err := e.pods.GetIndexer().ByIndex(indexNode, node.Name)
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.leaving[node.Name]
	if before == why || err != nil {
		return
	}
	if delete(e.leaving, node.Name); why != "" {
		e.leaving[node.Name] = why
	}
	if before != "" && why != "" {
		return
	}
	for _, object := range pods {
		if id, err := springtide.ParseGroupID(object.(*corev1.Pod).Annotations[noteGroup]); err == nil {
			e.touch(id)
		}
	}
	if why != "" {
		e.log.Info("a node is about to go; its instances are replaced on others first", "node", node.Name, "reason", why, "pods", len(pods))
	}
}
