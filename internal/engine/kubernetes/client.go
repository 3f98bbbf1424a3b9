package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/springtide/springtide"
)

// client speaks to the API server about the few kinds that the engine needs. The
// typed clients of client-go know every kind there is, and cost the binary three
// times as much.
type client struct {
	host, namespace            string
	core, apps, policy, access rest.Interface
}

// requestLimit is how long a request may take that neither watches nor follows.
const requestLimit = 15 * time.Second

func newClient(options Options) (*client, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = options.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: options.Context})
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, configFault(loader, options, err)
	}
	namespace := options.Namespace
	if namespace == "" {
		if namespace, _, err = loader.Namespace(); err != nil {
			return nil, configFault(loader, options, err)
		}
	}
	config.QPS, config.Burst = 1000, 2000 // a server has its own limits for who asks too much
	config.UserAgent = manager
	return clientOf(config, namespace)
}

func configFault(loader clientcmd.ClientConfig, options Options, err error) error {
	fault := springtide.Errorf(springtide.Invalid, "kubernetes: %w", err)
	if raw, rawErr := loader.RawConfig(); rawErr == nil && options.Context != "" && raw.Contexts[options.Context] == nil {
		var known []string
		for name := range raw.Contexts {
			known = append(known, name)
		}
		slices.Sort(known)
		return springtide.Errorf(springtide.NotFound, "kubernetes: there is no context %q", options.Context).WithHint("there are: %s", strings.Join(known, ", "))
	}
	return fault.WithHint("name a kubeconfig that `kubectl get pods` works with")
}

func clientOf(config *rest.Config, namespace string) (*client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, policyv1.AddToScheme, authorizationv1.AddToScheme, autoscalingv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	of := func(version schema.GroupVersion) (rest.Interface, error) {
		own := rest.CopyConfig(config)
		own.GroupVersion, own.APIPath = &version, "/apis"
		if version.Group == "" {
			own.APIPath = "/api"
		}
		own.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
		own.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
		return rest.RESTClientFor(own)
	}
	c := &client{host: config.Host, namespace: namespace}
	var errs [4]error
	c.core, errs[0] = of(corev1.SchemeGroupVersion)
	c.apps, errs[1] = of(appsv1.SchemeGroupVersion)
	c.policy, errs[2] = of(policyv1.SchemeGroupVersion)
	c.access, errs[3] = of(authorizationv1.SchemeGroupVersion)
	return c, errors.Join(errs[:]...)
}

// kind is a kind of objects, and how it is reached.
type kind struct {
	api  rest.Interface
	name string
}

func (c *client) pods() kind        { return kind{c.core, "pods"} }
func (c *client) secrets() kind     { return kind{c.core, "secrets"} }
func (c *client) deployments() kind { return kind{c.apps, "deployments"} }
func (c *client) claims() kind      { return kind{c.core, "persistentvolumeclaims"} }
func (c *client) budgets() kind     { return kind{c.policy, "poddisruptionbudgets"} }

func (c *client) do(ctx context.Context, request *rest.Request, into runtime.Object) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	result := request.Do(ctx)
	if into == nil {
		return result.Error()
	}
	return result.Into(into)
}

func (c *client) create(ctx context.Context, of kind, object runtime.Object, into runtime.Object) error {
	return c.do(ctx, of.api.Post().Namespace(c.namespace).Resource(of.name).Body(object), into)
}

func (c *client) get(ctx context.Context, of kind, name string, into runtime.Object) error {
	return c.do(ctx, of.api.Get().Namespace(c.namespace).Resource(of.name).Name(name), into)
}

// patch merges what is given into an object, or into a part of it.
func (c *client) patch(ctx context.Context, of kind, name string, change any, parts ...string) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	return c.do(ctx, of.api.Patch(types.MergePatchType).Namespace(c.namespace).Resource(of.name).Name(name).SubResource(parts...).Body(body), nil)
}

// annotate writes annotations on an object.
func (c *client) annotate(ctx context.Context, of kind, name string, notes map[string]string) error {
	return c.patch(ctx, of, name, map[string]any{"metadata": map[string]any{"annotations": notes}})
}

// scale sets a Deployment's replicas.
func (c *client) scale(ctx context.Context, name string, replicas int) error {
	return c.patch(ctx, c.deployments(), name, map[string]any{"spec": map[string]any{"replicas": replicas}}, "scale")
}

// remove deletes an object, and what it owns after it.
func (c *client) remove(ctx context.Context, of kind, name string, uid types.UID) error {
	background := metav1.DeletePropagationBackground
	options := &metav1.DeleteOptions{PropagationPolicy: &background}
	if uid != "" {
		options.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	return c.do(ctx, of.api.Delete().Namespace(c.namespace).Resource(of.name).Name(name).Body(options), nil)
}

// logs reads the output of a pod's container.
func (c *client) logs(ctx context.Context, pod string, parameters map[string]string) (io.ReadCloser, error) {
	request := c.core.Get().Namespace(c.namespace).Resource("pods").Name(pod).SubResource("log").
		Param("container", container).Param("timestamps", "true")
	for name, value := range parameters {
		request = request.Param(name, value)
	}
	return request.Stream(ctx)
}

// inform gives an informer of the engine's own objects of a kind.
func (c *client) inform(of kind, example runtime.Object, indexers cache.Indexers) cache.SharedIndexInformer {
	list := cache.NewFilteredListWatchFromClient(of.api, of.name, c.namespace, func(options *metav1.ListOptions) {
		options.LabelSelector = labelManager + "=" + manager
	})
	return cache.NewSharedIndexInformer(list, example, 0, indexers)
}

// version asks the API server for its own.
func (c *client) version(ctx context.Context) (major, minor string, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	body, err := c.core.Verb(http.MethodGet).AbsPath("/version").DoRaw(ctx)
	if err != nil {
		return "", "", err
	}
	var told struct{ Major, Minor string }
	return told.Major, told.Minor, json.Unmarshal(body, &told)
}
