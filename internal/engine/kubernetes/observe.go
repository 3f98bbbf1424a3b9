package kubernetes

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"reflect"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/springtide/springtide"
)

// slimPod leaves of a pod what the engine looks at: there can be ten thousand.
func slimPod(object any) (any, error) {
	if pod, ok := object.(*corev1.Pod); ok {
		pod.ManagedFields = nil
		pod.Spec = corev1.PodSpec{NodeName: pod.Spec.NodeName, SchedulingGates: pod.Spec.SchedulingGates}
	}
	return object, nil
}

func slimDeployment(object any) (any, error) {
	if deployment, ok := object.(*appsv1.Deployment); ok {
		deployment.ManagedFields = nil
		deployment.Spec = appsv1.DeploymentSpec{Replicas: deployment.Spec.Replicas}
	}
	return object, nil
}

// observed takes up what the cluster says of a pod or a Deployment.
func (e *Engine) observed(object any, there bool) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	meta, ok := object.(metav1.Object)
	if !ok {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	name, shortage := meta.GetName(), ""
	switch object := object.(type) {
	case *corev1.Pod:
		instance, isInstance := observe(object)
		if there && isInstance {
			e.views[instance.ID] = view{instance, instance.Group.String()}
			e.retiresUnasked(object)
		} else {
			delete(e.views, springtide.InstanceID(name))
		}
		shortage = unschedulable(object)
	case *appsv1.Deployment:
		name = "deployment/" + name
		shortage = shortageOf(object)
	}
	delete(e.shortages, name)
	if there && shortage != "" && meta.GetDeletionTimestamp() == nil {
		e.shortages[name] = shortage
	}
	if id, err := springtide.ParseGroupID(meta.GetAnnotations()[noteGroup]); err == nil {
		e.dirty[id] = true
	}
	e.notify()
	e.poke()
}

// shortageOf says why the cluster makes no further pods for a Deployment.
func shortageOf(deployment *appsv1.Deployment) string {
	for _, c := range deployment.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return quotaText(oneLine(c.Message))
		}
	}
	return ""
}

// Watch implements engine.Engine.
func (e *Engine) Watch(ctx context.Context) iter.Seq2[springtide.Snapshot, error] {
	return func(yield func(springtide.Snapshot, error) bool) {
		select {
		case <-e.synced:
		case <-ctx.Done():
			return
		}
		var last *springtide.Snapshot
		for ctx.Err() == nil {
			snapshot, changed := e.snapshot()
			// Much changes on a cluster that nobody here cares about.
			if last == nil || !reflect.DeepEqual(*last, snapshot) {
				if !yield(snapshot, nil) {
					return
				}
				last = &snapshot
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

func (e *Engine) snapshot() (snapshot springtide.Snapshot, changed <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	snapshot.Capacity = e.shortage()
	views := slices.SortedFunc(maps.Values(e.views), func(a, b view) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.ID, b.ID))
	})
	snapshot.Instances = make([]springtide.Instance, len(views))
	for n, view := range views {
		if r := e.retirements[view.ID]; r != nil {
			view.State = r.state(view.State)
		}
		view.LastLines = slices.Clone(view.LastLines)
		snapshot.Instances[n] = view.Instance
	}
	return snapshot, e.changed
}

// shortage says why there cannot be more pods, the same as long as it is so.
func (e *Engine) shortage() string {
	if len(e.shortages) == 0 {
		return ""
	}
	return e.shortages[slices.Min(slices.Collect(maps.Keys(e.shortages)))]
}
