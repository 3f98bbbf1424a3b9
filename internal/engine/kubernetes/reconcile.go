package kubernetes

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine"
)

// reconcile looks at the groups of which something has changed. What fails is tried
// again.
func (e *Engine) reconcile(ctx context.Context) {
	e.mu.Lock()
	dirty := e.dirty
	e.dirty = map[springtide.GroupID]bool{}
	e.mu.Unlock()
	var groups errgroup.Group
	groups.SetLimit(atOnce)
	for id := range dirty {
		groups.Go(func() error {
			e.attempt(ctx, id)
			return nil
		})
	}
	_ = groups.Wait() // what failed is told, and tried again
}

// atOnce is how many groups are seen to at the same time: a surge of many apps must
// not wait for the API server's answers one by one.
const atOnce = 16

func (e *Engine) attempt(ctx context.Context, id springtide.GroupID) {
	err := e.reconcileGroup(ctx, id)
	if err == nil || ctx.Err() != nil {
		return
	}
	e.log.Warn("the cluster did not do what a group needs; it is tried again", "group", id.String(), "error", e.client.fault("scale "+id.String(), err))
	e.mu.Lock()
	defer e.mu.Unlock()
	if wanted := e.wanted[id]; wanted != nil {
		wanted.version = ""
	}
	e.dirty[id] = true // and looked at with the next tick
}

// reconcileGroup does nothing for a group before it has been applied or removed.
func (e *Engine) reconcileGroup(ctx context.Context, id springtide.GroupID) error {
	deployment, members, settled, moving := e.members(id)
	e.mu.Lock()
	defer e.mu.Unlock()
	wanted := e.wanted[id]
	if wanted == nil {
		return nil
	}
	n := wanted.group.Replicas
	_, retire := engine.Plan(n, members, e.shortage() != "" && !moving)
	for _, name := range retire {
		e.retire(name)
	}
	replicas := n + e.retiring(id)
	for _, m := range members {
		if m.State == springtide.InstanceUnhealthy && !slices.Contains(retire, m.ID) {
			replicas++
		}
	}
	removed, group := wanted.removed, wanted.group
	asked := deployment != nil && wanted.asked == replicas && wanted.version == deployment.ResourceVersion
	if deployment != nil {
		wanted.asked, wanted.version = replicas, deployment.ResourceVersion
	}
	e.mu.Unlock() // nobody else's code is called with the mutex held
	defer e.mu.Lock()
	switch {
	case deployment == nil && removed:
		return nil
	case deployment == nil || deployment.DeletionTimestamp != nil:
		if removed {
			return nil
		}
		_, err := e.make(ctx, group) // somebody has deleted it
		return err
	case removed && settled && *deployment.Spec.Replicas == 0:
		err := e.client.remove(ctx, e.client.deployments(), deployment.Name, deployment.UID)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	case int(*deployment.Spec.Replicas) != replicas && !asked:
		return e.client.scale(ctx, deployment.Name, replicas)
	}
	return nil
}

// members are the instances of a group that are to stay, as far as is known.
// settled says that there are no pods at all; moving, that some are on nodes that are
// about to go: they count as unhealthy, which has them replaced first, but serve on.
func (e *Engine) members(id springtide.GroupID) (deployment *appsv1.Deployment, members []engine.Member, settled, moving bool) {
	pods := e.podsOf(id)
	e.mu.Lock()
	for _, pod := range pods {
		view, known := e.views[springtide.InstanceID(pod.Name)]
		if !known || pod.DeletionTimestamp != nil || e.retirements[view.ID] != nil {
			continue
		}
		if pod.Annotations[noteRetiring] != "" {
			if e.wanted[id] != nil { // an earlier engine had begun
				e.retire(view.ID)
			}
			continue
		}
		member := engine.Member{ID: view.ID, State: view.State, Ordered: view.Ordered}
		if e.leaving[pod.Spec.NodeName] != "" {
			member.State, moving = springtide.InstanceUnhealthy, true
		}
		members = append(members, member)
	}
	e.mu.Unlock()
	for n := range members {
		members[n].Load = e.options.Router.Load(members[n].ID)
	}
	return e.deploymentOf(id), members, len(pods) == 0, moving
}

// prune removes pods that have ended for good, and tasks whose time is over.
func (e *Engine) prune(ctx context.Context, now time.Time) {
	for _, object := range e.pods.GetStore().List() {
		pod := object.(*corev1.Pod)
		if !over(pod) || pod.DeletionTimestamp != nil {
			continue
		}
		of, uid := e.client.pods(), pod.UID
		if pod.Labels[labelRole] == roleTask {
			if now.Sub(endOf(pod)) < e.options.TaskKeep {
				continue
			}
			of, uid = e.client.secrets(), "" // the pod goes with it
		}
		if err := e.client.remove(ctx, of, pod.Name, uid); err != nil && !apierrors.IsNotFound(err) {
			e.log.Warn("what has ended could not be removed", "pod", pod.Name, "error", err)
		}
	}
}

func endOf(pod *corev1.Pod) time.Time {
	if ended := containerStatus(pod).State.Terminated; ended != nil {
		return ended.FinishedAt.Time
	}
	return pod.CreationTimestamp.Time
}
