package hpa

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing/synctest"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	hpaclient "k8s.io/client-go/kubernetes/typed/autoscaling/v2"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	hpalisters "k8s.io/client-go/listers/autoscaling/v2"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	podmetrics "k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
)

// cluster is what the controller sees of a cluster: one deployment and a metric.
type cluster struct {
	mu       sync.Mutex
	replicas int32
	inFlight float64
}

// answer runs the controller with its defaults, on the mean of requests in
// flight, 70% of the slots for each instance.
func answer(ctx context.Context, slots float64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	w := &cluster{}
	scaled := autoscaler(slots)
	scalers, pods := newInformer(), newInformer()
	if err := scalers.indexer.Add(scaled); err != nil {
		return err
	}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Group: "apps", Version: "v1"}})
	mapper.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, meta.RESTScopeNamespace)
	controller := podautoscaler.NewHorizontalController(ctx, noEvents{}, w, noStatus{}, mapper, gauge{w: w},
		listed[hpalisters.HorizontalPodAutoscalerLister]{scalers, hpalisters.NewHorizontalPodAutoscalerLister(scalers.indexer)},
		listed[corelisters.PodLister]{pods, corelisters.NewPodLister(pods.indexer)},
		15*time.Second, 5*time.Minute, 0.1, 5*time.Minute, 30*time.Second)
	for _, handler := range scalers.handlers {
		handler.OnAdd(scaled, true)
	}
	started := false
	return converse(func(instances int, inFlight float64) int {
		w.mu.Lock()
		w.inFlight = inFlight
		if !started {
			w.replicas = int32(instances)
		}
		w.mu.Unlock()
		if !started {
			started = true
			go controller.Run(ctx, 1)
		}
		time.Sleep(every)
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		return int(w.replicas)
	})
}

func autoscaler(slots float64) *autoscalingv2.HorizontalPodAutoscaler {
	one, up, down, highest := int32(1), int32(0), int32(300), autoscalingv2.MaxChangePolicySelect
	target := resource.MustParse(fmt.Sprintf("%dm", int(700*slots)))
	spec := autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: "app", APIVersion: "apps/v1"},
		MinReplicas:    &one, MaxReplicas: 10_000,
		Metrics: []autoscalingv2.MetricSpec{{
			Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: "in_flight", Selector: &metav1.LabelSelector{}},
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &target},
			},
		}},
		// What the API server fills in where nothing is said.
		Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{
			ScaleUp: &autoscalingv2.HPAScalingRules{
				StabilizationWindowSeconds: &up, SelectPolicy: &highest,
				Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15}, {Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}},
			},
			ScaleDown: &autoscalingv2.HPAScalingRules{
				StabilizationWindowSeconds: &down, SelectPolicy: &highest,
				Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}},
			},
		},
	}
	return &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: "ns"}, Spec: spec}
}

// Scales, Get and Update are the deployment's scale.
func (w *cluster) Scales(string) scale.ScaleInterface { return deployment{w: w} }

type deployment struct {
	scale.ScaleInterface
	w *cluster
}

func (d deployment) Get(context.Context, schema.GroupResource, string, metav1.GetOptions) (*autoscalingv1.Scale, error) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	return d.w.scale(), nil
}

func (d deployment) Update(_ context.Context, _ schema.GroupResource, wanted *autoscalingv1.Scale, _ metav1.UpdateOptions) (*autoscalingv1.Scale, error) {
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	d.w.replicas = wanted.Spec.Replicas
	return d.w.scale(), nil
}

func (w *cluster) scale() *autoscalingv1.Scale {
	return &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: "ns"},
		Spec:       autoscalingv1.ScaleSpec{Replicas: w.replicas},
		Status:     autoscalingv1.ScaleStatus{Replicas: w.replicas, Selector: "app=app"},
	}
}

// gauge is the external metric.
type gauge struct {
	podmetrics.MetricsClient
	w *cluster
}

func (g gauge) GetExternalMetric(string, string, labels.Selector) ([]int64, time.Time, error) {
	g.w.mu.Lock()
	defer g.w.mu.Unlock()
	return []int64{int64(g.w.inFlight * 1000)}, time.Now(), nil
}

// noEvents and noStatus take what nobody reads.
type noEvents struct{ coreclient.EventInterface }

func (noEvents) Events(string) coreclient.EventInterface { return noEvents{} }

func (noEvents) CreateWithEventNamespaceWithContext(_ context.Context, e *corev1.Event) (*corev1.Event, error) {
	return e, nil
}

func (noEvents) CreateWithEventNamespace(e *corev1.Event) (*corev1.Event, error) { return e, nil }

func (noEvents) PatchWithEventNamespace(e *corev1.Event, _ []byte) (*corev1.Event, error) {
	return e, nil
}

func (noEvents) PatchWithEventNamespaceWithContext(_ context.Context, e *corev1.Event, _ []byte) (*corev1.Event, error) {
	return e, nil
}

type noStatus struct {
	hpaclient.HorizontalPodAutoscalerInterface
}

func (noStatus) HorizontalPodAutoscalers(string) hpaclient.HorizontalPodAutoscalerInterface {
	return noStatus{}
}

func (noStatus) UpdateStatus(_ context.Context, h *autoscalingv2.HorizontalPodAutoscaler, _ metav1.UpdateOptions) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	return h, nil
}

type listed[T any] struct {
	informer cache.SharedIndexInformer
	lister   T
}

func (l listed[T]) Informer() cache.SharedIndexInformer { return l.informer }
func (l listed[T]) Lister() T                           { return l.lister }

// informer holds what it was given: a real one waits on a channel of the whole
// process, and fake time would stand still.
type informer struct {
	cache.SharedIndexInformer
	indexer  cache.Indexer
	handlers []cache.ResourceEventHandler
}

func newInformer() *informer {
	return &informer{indexer: cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})}
}

func (f *informer) AddEventHandlerWithResyncPeriod(h cache.ResourceEventHandler, _ time.Duration) (cache.ResourceEventHandlerRegistration, error) {
	f.handlers = append(f.handlers, h)
	return nil, nil
}

func (f *informer) HasSynced() bool           { return true }
func (f *informer) GetIndexer() cache.Indexer { return f.indexer }
