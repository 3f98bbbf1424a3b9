package kubernetes

import (
	"errors"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/springtide/springtide"
)

// fault makes of what the API server answered, or did not, an error that a user can
// act on. what says what was tried: "start group x".
func (c *client) fault(what string, err error) error {
	if err == nil {
		return nil
	}
	if own, ok := errors.AsType[*springtide.Error](err); ok {
		return own
	}
	text := oneLine(err.Error())
	of := func(kind springtide.ErrorKind, format string, args ...any) *springtide.Error {
		fault := springtide.Errorf(kind, "%s: "+format, append([]any{what}, args...)...)
		fault.Cause = err
		return fault
	}
	switch status := apierrors.APIStatus(nil); {
	case !errors.As(err, &status):
		return of(springtide.Unavailable, "the API server %s does not answer: %s", c.host, text).WithHint("what runs goes on; see whether `kubectl get pods` works with the same context")
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return of(springtide.Conflict, "namespace %s is being deleted", c.namespace).WithHint("wait until it is gone and make it again, or name another")
	case apierrors.IsForbidden(err) && strings.Contains(text, "exceeded quota"):
		return of(springtide.Failed, "%s", quotaText(text)).WithHint("raise the ResourceQuota of namespace %s, or ask for less", c.namespace)
	case apierrors.IsForbidden(err):
		return of(springtide.Denied, "%s", text).WithHint("give the user or service account the rights that docs/kubernetes.md lists")
	case apierrors.IsUnauthorized(err):
		return of(springtide.Unauthorized, "the API server %s does not accept the credentials", c.host).WithHint("log in again, or name another context")
	case apierrors.IsNotFound(err) && strings.Contains(text, "namespaces"):
		return of(springtide.NotFound, "there is no namespace %s", c.namespace).WithHint("make it: kubectl create namespace %s", c.namespace)
	case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err):
		return of(springtide.Invalid, "%s", text).WithHint("the cluster's own policies may ask for more than the platform sets: see docs/kubernetes.md")
	case status.Status().Code >= http.StatusInternalServerError || status.Status().Code == http.StatusTooManyRequests || apierrors.IsTimeout(err):
		return of(springtide.Unavailable, "the API server %s is not able to: %s", c.host, text).WithHint("what runs goes on, and it is tried again")
	default:
		return of(springtide.Failed, "%s", text).WithHint("see `kubectl -n %s get events`", c.namespace)
	}
}

// quotaText leaves of the API server's words what the quota says.
func quotaText(text string) string {
	if _, after, found := strings.Cut(text, "exceeded quota"); found {
		return "quota exceeded" + after
	}
	return text
}

// oneLine makes one line of what the cluster says. What it quotes can be long: the
// beginning says what failed, the end why.
func oneLine(text string) string {
	const first, last = 150, 250 // bytes
	line := strings.Join(strings.Fields(text), " ")
	if len(line) > first+last {
		line = strings.ToValidUTF8(line[:first], "") + " … " + strings.ToValidUTF8(line[len(line)-last:], "")
	}
	return line
}
