// Command server is Kubernetes in one binary: etcd, the API server, the controller
// manager, the scheduler, the kubelet, kube-proxy and kubectl, each by its name as
// the first argument. It exists so that tests can run a real cluster where nothing
// can be pulled.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	commands := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": controllers.NewControllerManagerCommand,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
		"kube-proxy":              proxy.NewProxyCommand,
		"kubelet":                 newKubeletCommand,
		"kubectl":                 kubectl.NewDefaultKubectlCommand,
	}
	name := ""
	if len(os.Args) > 1 {
		name = os.Args[1]
		os.Args = os.Args[1:]
	}
	switch command := commands[name]; {
	case name == "etcd":
		etcdmain.Main(os.Args)
	case command != nil:
		os.Exit(cli.Run(command()))
	default:
		names := slices.Sorted(maps.Keys(commands))
		fmt.Fprintf(os.Stderr, "usage: server etcd|%s ARGUMENTS\n", strings.Join(names, "|"))
		os.Exit(2)
	}
}

// newKubeletCommand is of all versions: before 1.34 it takes no context.
func newKubeletCommand() *cobra.Command {
	switch command := any(kubelet.NewKubeletCommand).(type) {
	case func() *cobra.Command:
		return command()
	case func(context.Context) *cobra.Command:
		return command(context.Background())
	}
	panic("the kubelet's command is made in another way")
}
