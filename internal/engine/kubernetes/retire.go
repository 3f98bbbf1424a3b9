package kubernetes

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/springtide/springtide"
)

// retirement is an instance on its way out.
type retirement struct {
	id    springtide.InstanceID
	group springtide.GroupID
	// noted says that the cluster knows it, so that who comes next does as well.
	noted bool
	// letGo says that no edge gives it anything any more: the cluster may delete it.
	letGo bool
	// told says that it was sent SIGTERM, or will be at once.
	told bool
}

// state is that of the instance, given what the cluster says of it.
func (r *retirement) state(observed springtide.InstanceState) springtide.InstanceState {
	switch {
	case r.told:
		return springtide.InstanceStopping
	case r.noted:
		return springtide.InstanceRetiring
	}
	return observed
}

const (
	// retiringCost and goneCost have a Deployment that shrinks give up pods that are
	// let go first, then those that will be.
	retiringCost = "-1000"
	goneCost     = "-1000000"
	// choosing is how long the cluster has to delete the cheapest pod by itself.
	choosing = 5 * time.Second
)

// retiring counts the instances of a group that are still to be let go, and that the
// cluster counts as its own; the mutex is held.
func (e *Engine) retiring(id springtide.GroupID) (count int) {
	for _, pod := range e.podsOf(id) {
		if r := e.retirements[springtide.InstanceID(pod.Name)]; r != nil && !r.letGo && pod.DeletionTimestamp == nil {
			count++
		}
	}
	return count
}

// retire has an instance go; the mutex is held.
func (e *Engine) retire(id springtide.InstanceID) {
	if view, known := e.views[id]; known {
		e.begin(id, view.Group, e.runRetirement)
	}
}

// retiresUnasked has the edges let go of a pod that somebody else has deleted; the
// mutex is held.
func (e *Engine) retiresUnasked(pod *corev1.Pod) {
	if view, known := e.views[springtide.InstanceID(pod.Name)]; known && pod.DeletionTimestamp != nil {
		e.begin(view.ID, view.Group, e.runDeletion)
	}
}

// begin starts the goroutine of a retirement, once; the mutex is held.
func (e *Engine) begin(id springtide.InstanceID, group springtide.GroupID, run func(context.Context, springtide.InstanceID, *retirement)) {
	if e.retirements[id] != nil || e.ctx == nil || e.ctx.Err() != nil {
		return
	}
	r, ctx := &retirement{id: id, group: group}, e.ctx
	e.retirements[id] = r
	e.workers.Go(func() {
		run(ctx, id, r)
		e.settle(r)
	})
}

// settle forgets a retirement whose pod is gone.
func (e *Engine) settle(r *retirement) {
	e.advance(r, func() { delete(e.retirements, r.id) })
}

// advance takes a step of a retirement, and has everybody see it.
func (e *Engine) advance(r *retirement, step func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	step()
	e.show(r.id)
	e.touch(r.group)
}

// runRetirement takes an instance through the steps that doc.go draws.
func (e *Engine) runRetirement(ctx context.Context, id springtide.InstanceID, r *retirement) {
	if !e.note(ctx, id, map[string]string{noteRetiring: time.Now().UTC().Format(time.RFC3339), noteCost: retiringCost}) {
		return
	}
	pod := e.pod(string(id))
	if pod == nil {
		return
	}
	e.advance(r, func() { r.noted = true })
	e.letGo(ctx, id, traitsOfPod(pod).Drain)
	if !e.note(ctx, id, map[string]string{noteCost: goneCost}) {
		return
	}
	e.advance(r, func() { r.letGo = true })
	if pod := e.awaitDeletion(ctx, r, choosing); pod != nil && pod.DeletionTimestamp == nil && ctx.Err() == nil {
		// The cluster took another one, which was not ready: this one is replaced.
		if err := e.client.remove(ctx, e.client.pods(), pod.Name, pod.UID); err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
			e.log.Warn("an instance that was let go could not be deleted", "instance", id, "error", err)
		}
		e.awaitDeletion(ctx, r, requestLimit)
	}
	e.end(ctx, id, r)
}

// runDeletion is for a pod that was deleted by somebody else.
func (e *Engine) runDeletion(ctx context.Context, id springtide.InstanceID, r *retirement) {
	pod := e.pod(string(id))
	if pod == nil {
		return
	}
	e.advance(r, func() { r.noted, r.letGo = true, true }) // it does not count for the Deployment any more
	t := traitsOfPod(pod)
	before, cancel := context.WithDeadline(ctx, deletedAt(pod).Add(t.LetGo))
	e.letGo(before, id, t.Drain)
	<-before.Done()
	cancel()
	e.end(ctx, id, r)
}

// deletedAt is when a pod's deletion was asked for.
func deletedAt(pod *corev1.Pod) time.Time {
	if pod.DeletionTimestamp == nil || pod.DeletionGracePeriodSeconds == nil {
		return time.Now()
	}
	return pod.DeletionTimestamp.Add(-time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second)
}

// end follows a pod that is being deleted until it is gone, and has the edges close
// what is still open when its grace is over.
func (e *Engine) end(ctx context.Context, id springtide.InstanceID, r *retirement) {
	e.advance(r, func() { r.told = true })
	pod := e.pod(string(id))
	if pod == nil {
		return
	}
	t := traitsOfPod(pod)
	if e.awaitEnd(ctx, r, time.Until(deletedAt(pod).Add(t.LetGo+t.Grace+reporting))) || ctx.Err() != nil {
		return
	}
	closingTime, cancel := context.WithTimeout(ctx, closing)
	if err := e.options.Router.CloseStreams(closingTime, id); err != nil && ctx.Err() == nil {
		e.log.Warn("streams of an instance were not closed in time", "instance", id, "error", err)
	}
	cancel()
	e.awaitEnd(ctx, r, -1)
}

func (e *Engine) letGo(ctx context.Context, id springtide.InstanceID, drain time.Duration) {
	limited, cancel := context.WithTimeout(ctx, max(drain, time.Second))
	defer cancel()
	if err := e.options.Router.LetGo(limited, id); err != nil && ctx.Err() == nil {
		e.log.Warn("an instance was not let go in time; it is stopped all the same", "instance", id, "error", err)
	}
}

// note writes annotations on a pod, as often as it takes. It reports false if the
// pod is gone, or being deleted, or ctx has ended.
func (e *Engine) note(ctx context.Context, id springtide.InstanceID, notes map[string]string) bool {
	for {
		pod := e.pod(string(id))
		if pod == nil || pod.DeletionTimestamp != nil {
			return pod != nil && ctx.Err() == nil
		}
		err := e.client.annotate(ctx, e.client.pods(), string(id), notes)
		if err == nil {
			return true
		}
		if apierrors.IsNotFound(err) || ctx.Err() != nil {
			return false
		}
		e.log.Warn("an instance that is to go could not be marked; it is tried again", "instance", id, "error", err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(retryAfter):
		}
	}
}

// awaitDeletion waits until a pod is being deleted, and gives it; nil if it is gone.
func (e *Engine) awaitDeletion(ctx context.Context, r *retirement, limit time.Duration) (pod *corev1.Pod) {
	e.until(ctx, r.group, limit, func() bool {
		pod = e.pod(string(r.id))
		return pod == nil || pod.DeletionTimestamp != nil
	})
	return pod
}

// awaitEnd waits until a pod's container has ended; limit < 0: until the pod is gone.
func (e *Engine) awaitEnd(ctx context.Context, r *retirement, limit time.Duration) bool {
	return e.until(ctx, r.group, limit, func() bool {
		pod := e.pod(string(r.id))
		return pod == nil || limit >= 0 && containerStatus(pod).State.Terminated != nil
	})
}
