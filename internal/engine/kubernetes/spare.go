package kubernetes

import (
	"context"
	"math"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/springtide/springtide"
)

// Spare is room that is kept for a surge. Pods that do nothing hold it; they are of
// the lowest priority, so that those of apps take their place at once, and the
// cluster adds a server for them instead, which nobody waits for.
type Spare struct {
	// CPU is in processors, Memory in bytes; 0 and 0: no room is kept.
	CPU    float64 `json:"cpu,omitempty"`
	Memory int64   `json:"memory,omitempty"`
	// Pods are how many pieces it is cut into; an app's pod takes whole ones.
	// Default: of half a processor and 512 MiB at most; in all 100 at most.
	Pods int `json:"pods,omitempty"`
}

const (
	spareName   = "springtide-spare"
	spareEvery  = 5 * time.Second
	mostSpare   = 100
	spareCPU    = 0.5
	spareMemory = 512 << 20
)

// pods is how many there are, and what each asks for.
func (s Spare) pods() (count int, asked corev1.ResourceList) {
	count = s.Pods
	if count == 0 {
		count = min(int(max(math.Ceil(s.CPU/spareCPU), math.Ceil(float64(s.Memory)/spareMemory))), mostSpare)
	}
	if s.CPU == 0 && s.Memory == 0 {
		return 0, nil
	}
	return count, corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(int64(math.Ceil(s.CPU*1000/float64(count))), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(s.Memory/int64(count), resource.BinarySI),
	}
}

func (s Spare) validate() error {
	if s.CPU < 0 || s.Memory < 0 || s.Pods < 0 || s.Pods > mostSpare {
		return springtide.Errorf(springtide.Invalid, "spare room cannot be %g processors and %d bytes in %d pods: up to %d pods, and nothing below 0", s.CPU, s.Memory, s.Pods, mostSpare)
	}
	return nil
}

// checkSpare refuses room that nobody could take: without its PriorityClass the pods
// that hold it would never give way.
func (e *Engine) checkSpare(ctx context.Context) error {
	if count, _ := e.options.Spare.pods(); count == 0 {
		return nil
	}
	if there, err := e.hasClass(ctx, classSpare); there || err != nil {
		return e.client.fault("kubernetes", err)
	}
	return springtide.Errorf(springtide.Invalid, "spare room needs the PriorityClass %s, which is not there, or may not be seen", classSpare).
		WithHint("have an administrator apply the objects of docs/kubernetes.md, \"Servers come and go\"")
}

// keepSpare has as much spare room as is wanted. A Deployment that is another than is
// wanted is removed, and made anew the next time.
func (e *Engine) keepSpare(ctx context.Context) error {
	count, _ := e.options.Spare.pods()
	note := encode(e.options.Spare)
	have := e.deploymentNamed(spareName)
	switch {
	case have != nil && (have.DeletionTimestamp != nil || have.Annotations[noteSpare] == note), have == nil && count == 0:
		return nil
	case have != nil:
		err := e.client.remove(ctx, e.client.deployments(), spareName, have.UID)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	image := e.someImage()
	if image == "" {
		return nil // there is no app yet
	}
	return e.ensure(ctx, e.client.deployments(), e.options.spareDeployment(image, note))
}

// someImage gives an image that nodes are likely to have.
func (e *Engine) someImage() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, wanted := range e.wanted {
		if image := wanted.group.Template.Image; image != "" {
			return image
		}
	}
	return ""
}

func (o Options) spareDeployment(image, note string) *appsv1.Deployment {
	count, asked := o.Spare.pods()
	all := map[string]string{labelManager: manager, labelRole: roleSpare}
	spec := o.pod("", corev1.Container{
		Name: "spare", Image: image, Command: []string{"/bin/sh", "-c", "while sleep 86400; do :; done"},
		Resources: corev1.ResourceRequirements{Requests: asked},
		SecurityContext: &corev1.SecurityContext{
			RunAsUser: new(nobody), AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}, false)
	spec.Volumes, spec.PriorityClassName = nil, classSpare
	spec.TerminationGracePeriodSeconds = new(int64(0))
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: spareName, Labels: all, Annotations: map[string]string{noteSpare: note}},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(count)), RevisionHistoryLimit: new(int32),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{labelRole: roleSpare}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: all, Annotations: map[string]string{noteMayGo: "true"}}, Spec: spec,
			},
		},
	}
}
