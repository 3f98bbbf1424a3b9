package kubernetes

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/springtide/springtide"
)

// KeptDatabase is a database on the cluster, as its operator tells of it.
type KeptDatabase struct {
	ID springtide.ServiceID
	// Cluster is the name of its object, Version the tag of its image; empty: the
	// operator's choice.
	Cluster, Version string
	// Instances are as many as are wanted, Serving those of them that are ready.
	Instances, Serving int
	// Ready says that it is as wanted; Asleep, that nothing needs it: its data is kept.
	Ready, Asleep bool
	// Phase is what the operator is doing, in its words.
	Phase   string
	Created time.Time
}

// List gives the databases that were ever provided and are there, in order; none where
// there is no operator, or its objects may not be seen.
func (p *Postgres) List(ctx context.Context) ([]KeptDatabase, error) {
	var list struct {
		Items []cnpgCluster `json:"items"`
	}
	err := p.request(ctx, http.MethodGet, "", nil, &list)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, p.client.fault("services", err)
	}
	var all []KeptDatabase
	for _, c := range list.Items {
		words := strings.Split(c.Metadata.Annotations[noteOf], "/")
		if len(words) != 3 {
			continue // somebody else's
		}
		_, version, _ := strings.Cut(c.Spec.ImageName[strings.LastIndexByte(c.Spec.ImageName, '/')+1:], ":")
		all = append(all, KeptDatabase{
			ID: springtide.ServiceID{
				Environment: springtide.EnvironmentID{App: springtide.AppName(words[0]), Name: springtide.EnvironmentName(words[1])},
				Name:        springtide.ServiceName(words[2]),
			},
			Cluster: c.Metadata.Name, Version: version, Instances: c.Spec.Instances, Serving: c.Status.ReadyInstances,
			Ready: c.ready(c.Spec.Instances), Asleep: c.Metadata.Annotations[cnpgHibernate] == "on",
			Phase: oneLine(strings.Trim(c.Status.Phase+": "+c.Status.PhaseReason, ": ")), Created: c.Metadata.Created,
		})
	}
	slices.SortFunc(all, func(a, b KeptDatabase) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	return all, nil
}

// KeptFiles is the claim of a shared folder.
type KeptFiles struct {
	Claim string
	// Phase is Bound when there is a volume; empty: there is no claim.
	Phase string
	// Capacity of the volume, in bytes.
	Capacity int64
}

// Claimed tells of the claim of a shared folder.
func (e *Engine) Claimed(ctx context.Context, environment springtide.EnvironmentID, name springtide.FilesName) (KeptFiles, error) {
	kept, found := KeptFiles{Claim: ClaimName(environment, name)}, &corev1.PersistentVolumeClaim{}
	err := e.client.get(ctx, e.client.claims(), kept.Claim, found)
	if apierrors.IsNotFound(err) {
		return kept, nil
	}
	kept.Phase, kept.Capacity = string(found.Status.Phase), found.Status.Capacity.Storage().Value()
	return kept, e.client.fault("shared files "+wordOf(environment, name), err)
}
