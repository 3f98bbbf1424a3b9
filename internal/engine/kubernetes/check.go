package kubernetes

import (
	"context"
	"slices"
	"strconv"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/springtide/springtide"
)

// The oldest minor version of Kubernetes 1 that has what the engine needs (pods with
// gates, hooks that sleep), and the newest that it was tried on. Newer ones are
// expected to do, and are not refused.
const (
	oldestMinor = 30
	newestMinor = 37
)

// Right is something that the engine must be allowed to do in its namespace.
type Right struct {
	Group, Resource, Subresource string
	Verbs                        []string
}

// Rights are all that the engine must be allowed to do in its namespace.
func Rights() []Right {
	return []Right{
		{"", "pods", "", []string{"get", "list", "watch", "create", "patch", "delete"}},
		{"", "pods", "log", []string{"get"}},
		{"", "secrets", "", []string{"get", "create", "patch", "delete"}},
		{"apps", "deployments", "", []string{"get", "list", "watch", "create", "delete"}},
		{"apps", "deployments", "scale", []string{"patch"}},
		{"policy", "poddisruptionbudgets", "", []string{"create"}},
	}
}

// ServiceRights are what it must be allowed besides if databases and shared files
// are to be the cluster's own.
func ServiceRights() []Right {
	return []Right{
		{"", "persistentvolumeclaims", "", []string{"get", "create", "patch"}},
		{cnpgGroup, "clusters", "", []string{"get", "list", "create", "patch"}},
	}
}

// ClusterRights are what it must be allowed in the cluster as a whole in order to see
// nodes go, and to have priorities. It does without.
func ClusterRights() []Right {
	return []Right{
		{"", "nodes", "", []string{"list", "watch"}},
		{"scheduling.k8s.io", "priorityclasses", "", []string{"get"}},
	}
}

// Check asks the cluster whether the engine can work on it: whether its API server
// answers, is of a version that has what is needed, and allows what is needed.
func (e *Engine) Check(ctx context.Context) error {
	const what = "kubernetes"
	major, minor, err := e.client.version(ctx)
	if err != nil {
		return e.client.fault(what, err)
	}
	if number, err := strconv.Atoi(strings.TrimRight(minor, "+")); err != nil || major != "1" {
		e.log.Warn("the cluster runs a Kubernetes that nobody has tried", "version", major+"."+minor, "tried", "1."+strconv.Itoa(newestMinor))
	} else {
		if number < oldestMinor {
			return springtide.Errorf(springtide.Invalid, "the cluster at %s runs Kubernetes 1.%s, which is too old", e.client.host, minor).
				WithHint("it has to be 1.%d or newer; 1.%d was tried", oldestMinor, newestMinor)
		}
		if number > newestMinor {
			e.log.Warn("the cluster runs a newer Kubernetes than was tried", "version", "1."+minor, "tried", "1."+strconv.Itoa(newestMinor))
		}
	}
	missing, err := e.missing(ctx, e.client.namespace, Rights())
	if err != nil {
		return e.client.fault(what, err)
	}
	if len(missing) > 0 {
		return springtide.Errorf(springtide.Denied, "in namespace %s it is not allowed to %s", e.client.namespace, strings.Join(missing, ", ")).
			WithHint("give the user or service account the rights that docs/kubernetes.md lists")
	}
	return e.checkSpare(ctx)
}

// missing gives which of the rights the engine does not have.
func (e *Engine) missing(ctx context.Context, namespace string, rights []Right) (missing []string, err error) {
	for _, right := range rights {
		for _, verb := range right.Verbs {
			allowed, err := e.may(ctx, namespace, right, verb)
			if err != nil {
				return nil, err
			}
			if !allowed {
				missing = append(missing, verb+" "+strings.TrimSuffix(right.Resource+"/"+right.Subresource, "/"))
			}
		}
	}
	return missing, nil
}

// missingAnywhere is for a resource that belongs to no namespace.
func (e *Engine) missingAnywhere(ctx context.Context, resource string) ([]string, error) {
	rights := ClusterRights()
	return e.missing(ctx, metav1.NamespaceAll, slices.DeleteFunc(rights, func(r Right) bool { return r.Resource != resource }))
}

// may asks the API server whether it would allow something; namespace is empty for
// what belongs to none.
func (e *Engine) may(ctx context.Context, namespace string, right Right, verb string) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"},
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: verb, Group: right.Group, Resource: right.Resource, Subresource: right.Subresource,
		}},
	}
	err := e.client.do(ctx, e.client.access.Post().Resource("selfsubjectaccessreviews").Body(review), review)
	return review.Status.Allowed, err
}
