package kubernetes

import (
	"context"
	"iter"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/springtide/springtide"
)

// slimPod leaves of a pod what the engine looks at: there can be ten thousand.
func slimPod(object any) (any, error) {
	if pod, ok := object.(*corev1.Pod); ok {
		pod.ManagedFields, pod.OwnerReferences = nil, nil
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
		e.observedPod(object, there)
		shortage = unschedulable(object)
		e.waiting.wake(name) // who waits for a task
		e.waiting.wake(anyPod)
	case *appsv1.Deployment:
		name = "deployment/" + name
		shortage = shortageOf(object)
	}
	if !there || meta.GetDeletionTimestamp() != nil || meta.GetLabels()[labelRole] == roleSpare {
		shortage = ""
	}
	e.runShort(name, shortage)
	if id, err := springtide.ParseGroupID(meta.GetAnnotations()[noteGroup]); err == nil {
		e.touch(id)
	}
}

// observedPod takes up what the cluster says of an instance's pod; the mutex is held.
func (e *Engine) observedPod(pod *corev1.Pod, there bool) {
	id := springtide.InstanceID(pod.Name)
	if instance, isInstance := observe(pod); there && isInstance {
		e.views[id] = view{instance, instance.Group.String()}
		e.retiresUnasked(pod)
		e.show(id)
	} else if known, ok := e.views[id]; ok {
		delete(e.views, id)
		e.published.drop(known.group, id)
	}
}

// show publishes an instance; the mutex is held.
func (e *Engine) show(id springtide.InstanceID) {
	view, known := e.views[id]
	if !known {
		return
	}
	if r := e.retirements[id]; r != nil {
		view.State = r.state(view.State)
	}
	e.published.put(view.group, view.Instance)
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

// perInstance is how much time is between two snapshots at least, for each instance in
// them: what they cost, here and where they are read, grows with their number. After a
// quiet time a change is told at once.
const perInstance = 5 * time.Microsecond

// Watch implements engine.Engine.
func (e *Engine) Watch(ctx context.Context) iter.Seq2[springtide.Snapshot, error] {
	return func(yield func(springtide.Snapshot, error) bool) {
		select {
		case <-e.synced:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			snapshot, changed := e.snapshot()
			began := time.Now()
			if !yield(snapshot, nil) {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
			select {
			case <-time.After(time.Until(began.Add(time.Duration(len(snapshot.Instances)) * perInstance))):
			case <-ctx.Done():
			}
		}
	}
}

func (e *Engine) snapshot() (snapshot springtide.Snapshot, changed <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return springtide.Snapshot{Instances: e.published.instances(), Capacity: e.shortage()}, e.published.changed
}

// runShort takes note of why there cannot be more of what is named, or that there
// can; the mutex is held.
func (e *Engine) runShort(name, why string) {
	told := e.shortage()
	if delete(e.shortages, name); why != "" {
		e.shortages[name] = why
	}
	if e.shortages[e.short] == "" {
		e.short = ""
		for e.short = range e.shortages {
			break
		}
	}
	if e.shortage() != told {
		e.published.tell()
	}
}

// shortage says why there cannot be more pods, the same as long as it is so; the
// mutex is held.
func (e *Engine) shortage() string { return e.shortages[e.short] }
