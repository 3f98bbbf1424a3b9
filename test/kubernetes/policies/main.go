// Command policies has a node keep away from its pods what the network policies of the
// cluster do not let in: a stand-in for that part of a real cluster's network. It knows
// IPv4 and what comes in; a policy of what goes out ends it.
//
//	policies KUBECONFIG NODE
//
// It runs in the node's network namespace. That pods of one node are kept apart takes
// br_netfilter, which shows a bridge's packets to the rules of IP.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: policies KUBECONFIG NODE")
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, run(os.Args[1], os.Args[2]))
	os.Exit(1)
}

func run(kubeconfig, node string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	w := &watcher{config: config, changed: make(chan struct{}, 1)}
	pods, err := watch[*corev1.Pod](w, corev1.SchemeGroupVersion, "/api", "pods", &corev1.Pod{})
	if err != nil {
		return err
	}
	namespaces, err := watch[*corev1.Namespace](w, corev1.SchemeGroupVersion, "/api", "namespaces", &corev1.Namespace{})
	if err != nil {
		return err
	}
	policies, err := watch[*networkingv1.NetworkPolicy](w, networkingv1.SchemeGroupVersion, "/apis", "networkpolicies", &networkingv1.NetworkPolicy{})
	if err != nil {
		return err
	}
	cache.WaitForCacheSync(nil, w.synced...)
	for inForce := ""; ; <-w.changed {
		text, err := rules(node, pods(), namespaces(), policies())
		if err != nil {
			return err
		}
		if text == inForce {
			continue
		}
		command := exec.Command("nft", "-f", "-")
		command.Stdin = strings.NewReader(text)
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w\n%s\n%s", err, output, text)
		}
		inForce = text
	}
}

// watcher is what the watches of all kinds have in common.
type watcher struct {
	config  *rest.Config
	changed chan struct{}
	synced  []cache.InformerSynced
}

// watch gives what lists the objects of a kind, as they are now.
func watch[T runtime.Object](w *watcher, version schema.GroupVersion, path, name string, example T) (func() []T, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, networkingv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	config := rest.CopyConfig(w.config)
	config.GroupVersion, config.APIPath = &version, path
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	informer := cache.NewSharedIndexInformer(cache.NewListWatchFromClient(client, name, "", fields.Everything()), example, 0, nil)
	ring := func() {
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { ring() }, UpdateFunc: func(any, any) { ring() }, DeleteFunc: func(any) { ring() },
	}); err != nil {
		return nil, err
	}
	w.synced = append(w.synced, informer.HasSynced)
	go informer.Run(nil)
	return func() (objects []T) {
		for _, object := range informer.GetStore().List() {
			objects = append(objects, object.(T))
		}
		return objects
	}, nil
}
