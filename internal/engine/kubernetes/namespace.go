package kubernetes

import (
	"bytes"
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/springtide/springtide"
)

// What a platform keeps in its namespace besides groups and tasks.
const (
	ownerSecret = "springtide-owner" // which platform the namespace is of
	ownerKey    = "platform"
	// PullSecret is the name of the Secret that [Engine.KeepPullSecret] writes.
	PullSecret = "springtide-pull"
)

// Where tells the API server's URL and the namespace.
func (e *Engine) Where() (host, namespace string) { return e.client.host, e.client.namespace }

// CheckNamespace asks whether things can be made in the namespace: it may be missing,
// or just being deleted.
func (e *Engine) CheckNamespace(ctx context.Context) error {
	request := e.client.core.Post().Namespace(e.client.namespace).Resource("secrets").Param("dryRun", metav1.DryRunAll)
	err := e.client.do(ctx, request.Body(e.ownSecret("springtide-check", corev1.SecretTypeOpaque, nil)), nil)
	return e.client.fault("kubernetes", err)
}

// Own makes the namespace the platform's own, or finds that it is: what another one
// runs there would be removed as what nobody knows. An error of kind Conflict says
// that it is another's.
func (e *Engine) Own(ctx context.Context, platform string) error {
	made := e.ownSecret(ownerSecret, corev1.SecretTypeOpaque, map[string][]byte{ownerKey: []byte(platform)})
	if err := e.ensure(ctx, e.client.secrets(), made); err != nil {
		return e.client.fault("kubernetes", err)
	}
	return e.CheckOwner(ctx, platform)
}

// CheckOwner looks whether the namespace is another platform's, which is an error of
// kind Conflict. platform is empty for one that has no name yet.
func (e *Engine) CheckOwner(ctx context.Context, platform string) error {
	found := &corev1.Secret{}
	err := e.client.get(ctx, e.client.secrets(), ownerSecret, found)
	switch {
	case apierrors.IsNotFound(err):
		return nil // nobody's
	case err != nil:
		return e.client.fault("kubernetes", err)
	case string(found.Data[ownerKey]) != platform:
		return springtide.Errorf(springtide.Conflict, "namespace %s is used by another Springtide", e.client.namespace).
			WithHint("each needs one of its own; if the other is gone for good: kubectl -n %s delete secret %s", e.client.namespace, ownerSecret)
	}
	return nil
}

// KeepPullSecret has the Secret [PullSecret] hold a docker config, by which nodes
// pull images.
func (e *Engine) KeepPullSecret(ctx context.Context, config []byte) error {
	const key = corev1.DockerConfigJsonKey
	wanted, found := e.ownSecret(PullSecret, corev1.SecretTypeDockerConfigJson, map[string][]byte{key: config}), &corev1.Secret{}
	err := e.client.create(ctx, e.client.secrets(), wanted, nil)
	if apierrors.IsAlreadyExists(err) {
		if err = e.client.get(ctx, e.client.secrets(), PullSecret, found); err == nil && !bytes.Equal(found.Data[key], config) {
			err = e.client.patch(ctx, e.client.secrets(), PullSecret, map[string]any{"data": wanted.Data})
		}
	}
	return e.client.fault("keep what nodes pull images with", err)
}

func (e *Engine) ownSecret(name string, kind corev1.SecretType, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{labelManager: manager}}, Type: kind, Data: data,
	}
}

// Knows reports whether a task was begun and is not forgotten.
func (e *Engine) Knows(ctx context.Context, task string) (bool, error) {
	if !isName(task) {
		return false, nil
	}
	err := e.client.get(ctx, e.client.secrets(), taskName(task), &corev1.Secret{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, e.client.fault("task "+task, err)
}
