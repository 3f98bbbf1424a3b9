package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/springtide/springtide"
)

// Engine runs instances as pods. Make one with [New], and Run it; it implements
// engine.Engine.
type Engine struct {
	options     Options
	log         *slog.Logger
	client      *client
	pods        cache.SharedIndexInformer
	deployments cache.SharedIndexInformer

	wake   chan struct{} // has the loop look at the groups
	synced chan struct{} // closed when all that is there has been observed

	mu          sync.Mutex
	ctx         context.Context //nolint:containedctx // Run's: what goes on in the background ends with it.
	workers     sync.WaitGroup
	wanted      map[springtide.GroupID]*wish
	dirty       map[springtide.GroupID]bool
	retirements map[springtide.InstanceID]*retirement
	views       map[springtide.InstanceID]view
	published   *roster           // the views, and what retirements say of them
	shortages   map[string]string // by the names of pods and Deployments: why there cannot be more
	short       string            // whose shortage is told
	leaving     map[string]string // by the names of nodes that are about to go: what says so
	waiting     waiting
}

// view is an instance as it was observed, and the word by which its group is ordered.
type view struct {
	springtide.Instance
	group string
}

// wish is what is wanted of a group.
type wish struct {
	group   springtide.Group
	removed bool
	// asked is how many replicas the cluster was asked for, when what it said of the
	// Deployment was of this version: it is not asked again before it says more.
	asked   int
	version string
}

// What pods are found by: the name of their Deployment, and that of their node.
const (
	indexGroup = "group"
	indexNode  = "node"
)

// New gives an engine for the cluster that the options name. It asks the cluster
// nothing yet: see [Engine.Check].
func New(options Options) (*Engine, error) {
	options = options.withDefaults()
	if err := options.Validate(); err != nil {
		return nil, err
	}
	client, err := newClient(options)
	if err != nil {
		return nil, err
	}
	return newEngine(options, client)
}

func newEngine(options Options, client *client) (e *Engine, err error) {
	e = &Engine{
		options: options, log: options.Log, client: client,
		wake: make(chan struct{}, 1), synced: make(chan struct{}), waiting: waiting{}, published: newRoster(),
		wanted: map[springtide.GroupID]*wish{}, dirty: map[springtide.GroupID]bool{},
		retirements: map[springtide.InstanceID]*retirement{}, views: map[springtide.InstanceID]view{},
		shortages: map[string]string{}, leaving: map[string]string{},
	}
	byGroup := cache.Indexers{
		indexGroup: func(object any) ([]string, error) { return []string{object.(*corev1.Pod).Labels[labelGroup]}, nil },
		indexNode:  func(object any) ([]string, error) { return []string{object.(*corev1.Pod).Spec.NodeName}, nil },
	}
	e.pods, e.deployments = client.inform(client.pods(), &corev1.Pod{}, byGroup), client.inform(client.deployments(), &appsv1.Deployment{}, nil)
	return e, errors.Join(e.follow(e.pods, slimPod, e.observed), e.follow(e.deployments, slimDeployment, e.observed))
}

// follow has an informer tell what it sees, of which it keeps what is looked at.
func (e *Engine) follow(informer cache.SharedIndexInformer, slim cache.TransformFunc, observed func(object any, there bool)) error {
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { observed(object, true) },
		UpdateFunc: func(_, object any) { observed(object, true) },
		DeleteFunc: func(object any) { observed(object, false) },
	})
	return errors.Join(err, informer.SetTransform(slim), informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
		if ctx.Err() == nil && !apierrors.IsResourceExpired(err) && !errors.Is(err, io.EOF) {
			e.log.Warn("what happens on the cluster is not seen; it is tried again", "error", e.client.fault("watch", err))
		}
	}))
}

// Groups gives the groups that were applied or are on the cluster, so that the
// caller can remove those it does not know.
func (e *Engine) Groups() []springtide.GroupID {
	known := map[springtide.GroupID]bool{}
	for _, object := range e.deployments.GetStore().List() {
		if id, err := springtide.ParseGroupID(object.(*appsv1.Deployment).Annotations[noteGroup]); err == nil {
			known[id] = true
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for id := range e.wanted {
		known[id] = true
	}
	return slices.SortedFunc(maps.Keys(known), func(a, b springtide.GroupID) int { return cmp.Compare(a.String(), b.String()) })
}

// Apply implements engine.Engine.
func (e *Engine) Apply(ctx context.Context, group springtide.Group) error {
	if err := e.validate(group); err != nil {
		return err
	}
	e.mu.Lock()
	known := e.wanted[group.ID]
	if known != nil && !known.removed {
		same := known.group.Replicas == group.Replicas
		known.group.Replicas = group.Replicas
		if !same {
			e.touch(group.ID)
		}
		e.mu.Unlock()
		return nil
	}
	e.mu.Unlock()
	version, err := e.make(ctx, group)
	if err != nil {
		return e.client.fault("start "+group.ID.String(), err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.wanted[group.ID] = &wish{group: group, asked: group.Replicas, version: version}
	e.touch(group.ID)
	return nil
}

// make makes what a group consists of, or what is missing of it. It gives the
// version of the Deployment that got its replicas, if it is a new one.
func (e *Engine) make(ctx context.Context, group springtide.Group) (version string, err error) {
	grant, err := e.grant(Subject{
		Environment: group.ID.Environment, Release: group.ID.Release, Generation: group.ID.Generation, Process: group.ID.Process,
	})
	if err != nil {
		return "", err
	}
	options := e.options
	if options.PriorityClass, err = e.class(ctx, group.Template.Process); err != nil {
		return "", err
	}
	made, fresh := &appsv1.Deployment{}, true
	wanted := options.deployment(group, len(grant.Credentials) > 0)
	mount(&wanted.Spec.Template.Spec, grant.Mounts)
	err = e.client.create(ctx, e.client.deployments(), wanted, made)
	if apierrors.IsAlreadyExists(err) {
		fresh = false
		err = e.client.get(ctx, e.client.deployments(), nameOf(group.ID), made)
	}
	if err != nil {
		return "", err
	}
	if made.Annotations[noteGroup] != group.ID.String() || made.DeletionTimestamp != nil {
		return "", springtide.Errorf(springtide.Conflict, "%s: a Deployment %s is there already, or is just being deleted", group.ID, made.Name).
			WithHint("does another Springtide use namespace %s? Each needs one of its own", e.client.namespace)
	}
	owner := metav1.OwnerReference{APIVersion: "apps/v1", Kind: "Deployment", Name: made.Name, UID: made.UID}
	meta := metav1.ObjectMeta{Name: made.Name, Labels: groupLabels(group.ID), OwnerReferences: []metav1.OwnerReference{owner}}
	for _, secret := range secretsOf(meta, group.Template, workerVariables(group.Template.Process), grant) {
		if err := e.ensure(ctx, e.client.secrets(), secret); err != nil {
			return "", err
		}
	}
	if err := e.ensure(ctx, e.client.budgets(), budget(group, owner)); err != nil {
		return "", err
	}
	if !fresh || group.Replicas == 0 {
		return "", nil // who goes, if somebody does, is for the loop to say
	}
	return made.ResourceVersion, e.client.scale(ctx, made.Name, group.Replicas)
}

// ensure creates an object unless it is there.
func (e *Engine) ensure(ctx context.Context, of kind, object runtime.Object) error {
	if err := e.client.create(ctx, of, object, nil); !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}

func (e *Engine) grant(subject Subject) (Grant, error) {
	if e.options.Access == nil {
		return Grant{}, nil
	}
	grant, err := e.options.Access(subject)
	if err != nil {
		return Grant{}, err
	}
	for _, m := range grant.Mounts {
		if err := m.validate(); err != nil {
			return Grant{}, err
		}
	}
	for name := range grant.Credentials {
		if !isName(name) {
			return Grant{}, springtide.Errorf(springtide.Invalid, "the credential %q cannot be the name of a file", name)
		}
	}
	return grant, nil
}

// Remove implements engine.Engine.
func (e *Engine) Remove(ctx context.Context, id springtide.GroupID) error {
	select {
	case <-e.synced:
	case <-ctx.Done():
		return ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	wanted := e.wanted[id]
	if wanted == nil {
		wanted = &wish{group: springtide.Group{ID: id}}
		e.wanted[id] = wanted
	}
	wanted.removed, wanted.group.Replicas = true, 0
	e.touch(id)
	for e.wanted[id] == wanted && !e.isGone(id) {
		if err := e.await(ctx, id); err != nil {
			return err
		}
	}
	if e.wanted[id] == wanted {
		delete(e.wanted, id)
	}
	return nil
}

// isGone reports whether nothing of a group is on the cluster.
func (e *Engine) isGone(id springtide.GroupID) bool {
	return e.deploymentOf(id) == nil && len(e.podsOf(id)) == 0
}

func (e *Engine) deploymentOf(id springtide.GroupID) *appsv1.Deployment {
	return e.deploymentNamed(nameOf(id))
}

func (e *Engine) deploymentNamed(name string) *appsv1.Deployment {
	object, found, err := e.deployments.GetStore().GetByKey(e.client.namespace + "/" + name)
	if err != nil || !found {
		return nil
	}
	return object.(*appsv1.Deployment)
}

func (e *Engine) podsOf(id springtide.GroupID) []*corev1.Pod {
	objects, err := e.pods.GetIndexer().ByIndex(indexGroup, nameOf(id))
	if err != nil {
		return nil
	}
	pods := make([]*corev1.Pod, len(objects))
	for n, object := range objects {
		pods[n] = object.(*corev1.Pod)
	}
	return pods
}

// pod gives a pod as it was observed last; nil if there is none.
func (e *Engine) pod(name string) *corev1.Pod {
	object, found, err := e.pods.GetStore().GetByKey(e.client.namespace + "/" + name)
	if err != nil || !found {
		return nil
	}
	return object.(*corev1.Pod)
}

const (
	// retryAfter is how long to wait after the cluster refused something.
	retryAfter = time.Second
	pruneEvery = 10 * time.Minute
)

// Run makes the cluster be as it was wished until ctx ends. The instances live on.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	e.ctx = ctx
	e.mu.Unlock()
	var informers sync.WaitGroup
	defer informers.Wait()
	defer e.workers.Wait()
	logged := klog.NewContext(ctx, logr.FromSlogHandler(e.log.Handler())) // else it writes to standard error
	for _, informer := range []cache.SharedIndexInformer{e.pods, e.deployments} {
		informers.Go(func() { informer.RunWithContext(logged) })
	}
	if !cache.WaitForCacheSync(ctx.Done(), e.pods.HasSynced, e.deployments.HasSynced) {
		return ctx.Err()
	}
	close(e.synced)
	informers.Go(func() { e.watchNodes(logged) })
	prune, retry, spare := time.NewTicker(pruneEvery), time.NewTicker(retryAfter), time.NewTicker(spareEvery)
	defer prune.Stop()
	defer spare.Stop()
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.wake:
			e.reconcile(ctx)
		case <-retry.C:
			e.reconcile(ctx)
		case <-spare.C:
			if err := e.keepSpare(ctx); err != nil && ctx.Err() == nil {
				e.log.Warn("there is not the spare room that is wanted; it is tried again", "error", e.client.fault("keep room", err))
			}
		case <-prune.C:
			e.prune(ctx, time.Now())
		}
	}
}
