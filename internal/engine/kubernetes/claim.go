package kubernetes

import (
	"context"
	slashed "path"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/springtide/springtide"
)

// claimSize is asked for where the manifest sets no quota.
const claimSize = 10 << 30

// Mount is a shared folder that instances find at a place.
type Mount struct {
	// Claim is what [ClaimName] gives.
	Claim string `json:"claim"`
	// Path is absolute.
	Path string `json:"path"`
}

func (m Mount) validate() error {
	if !slashed.IsAbs(m.Path) || slashed.Clean(m.Path) != m.Path || m.Path == "/" {
		return springtide.Errorf(springtide.Invalid, "shared files cannot be shown at %q", m.Path).WithHint("name an absolute path, as /app/uploads")
	}
	return nil
}

// ClaimName gives the name of the claim that [Engine.Claim] makes.
func ClaimName(environment springtide.EnvironmentID, name springtide.FilesName) string {
	word := wordOf(environment, name)
	return "files-" + dnsLabel(word, 40) + "-" + short(word)
}

func wordOf(environment springtide.EnvironmentID, name springtide.FilesName) string {
	return environment.String() + "/" + string(name)
}

// Claim has an environment have a folder that the instances on all nodes share. It
// outlives releases and environments: nothing here ever deletes one. A quota that
// grows makes it grow, where the storage can.
func (e *Engine) Claim(ctx context.Context, environment springtide.EnvironmentID, name springtide.FilesName, files springtide.Files) error {
	word, claim := wordOf(environment, name), ClaimName(environment, name)
	size := files.Quota
	if size == 0 {
		size = claimSize
	}
	asked := corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(size, resource.BinarySI)}
	wanted := &corev1.PersistentVolumeClaim{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{
			Name: claim, Annotations: map[string]string{noteOf: word},
			Labels: map[string]string{labelManager: manager, "app.kubernetes.io/name": string(environment.App), "app.kubernetes.io/instance": string(environment.Name)},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			Resources:   corev1.VolumeResourceRequirements{Requests: asked},
		},
	}
	if e.options.FilesClass != "" {
		wanted.Spec.StorageClassName = &e.options.FilesClass
	}
	what := "shared files " + word
	err := e.client.create(ctx, e.client.claims(), wanted, nil)
	if !apierrors.IsAlreadyExists(err) {
		return e.client.fault(what, err)
	}
	have := &corev1.PersistentVolumeClaim{}
	if err := e.client.get(ctx, e.client.claims(), claim, have); err != nil {
		return e.client.fault(what, err)
	}
	if have.Annotations[noteOf] != word {
		return springtide.Errorf(springtide.Conflict, "%s: there is a claim %s already, which somebody else made", what, claim)
	}
	if have.Spec.Resources.Requests.Storage().Cmp(asked[corev1.ResourceStorage]) < 0 {
		grown := map[string]any{"spec": map[string]any{"resources": map[string]any{"requests": asked}}}
		if err := e.client.patch(ctx, e.client.claims(), claim, grown); err != nil {
			return e.client.fault(what, err)
		}
	}
	return nil
}

// mount shows a pod's container shared folders.
func mount(spec *corev1.PodSpec, mounts []Mount) {
	main := &spec.Containers[0]
	for _, m := range mounts {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: m.Claim, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: m.Claim},
		}})
		main.VolumeMounts = append(main.VolumeMounts, corev1.VolumeMount{Name: m.Claim, MountPath: m.Path})
	}
	if len(mounts) > 0 { // not all files of a large folder at each start
		spec.SecurityContext.FSGroupChangePolicy = new(corev1.FSGroupChangeOnRootMismatch)
	}
}
