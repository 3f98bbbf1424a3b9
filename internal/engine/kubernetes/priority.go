package kubernetes

import (
	"cmp"
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/springtide/springtide"
)

// The PriorityClasses of docs/kubernetes.md. They belong to no namespace, so that an
// administrator makes them once; where they are not, all pods are of the same.
const (
	classSpare = "springtide-spare"
	classLow   = "springtide-low"
	classHigh  = "springtide-high"
)

// classOf gives the PriorityClass for a process's weight. The weights of the
// manifest's words are powers of ten.
func classOf(weight int) string {
	switch weight = cmp.Or(weight, springtide.DefaultPriority); {
	case weight < springtide.DefaultPriority:
		return classLow
	case weight >= 10*springtide.DefaultPriority:
		return classHigh
	}
	return ""
}

// class gives the PriorityClass of a process's pods: by its weight if there is such a
// class, or else the platform's.
func (e *Engine) class(ctx context.Context, process springtide.Process) (string, error) {
	name := classOf(process.Scale.Priority)
	if name == "" {
		return e.options.PriorityClass, nil
	}
	there, err := e.hasClass(ctx, name)
	if there || err != nil {
		return name, err
	}
	e.log.Info("a process's priority is not the cluster's, which has no such PriorityClass, or does not let it be seen; docs/kubernetes.md has them", "class", name)
	return e.options.PriorityClass, nil
}

func (e *Engine) hasClass(ctx context.Context, name string) (bool, error) {
	err := e.client.do(ctx, e.client.core.Get().AbsPath("/apis/scheduling.k8s.io/v1/priorityclasses", name), nil)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return false, nil
	}
	return err == nil, err
}
