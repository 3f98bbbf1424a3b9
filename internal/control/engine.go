package control

import (
	"context"
	"net"
	"os/exec"
	"strconv"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine"
)

// The engines that there are.
const (
	EngineProcess    = "process"
	EngineKubernetes = "kubernetes"
)

// EngineOptions say where instances run.
type EngineOptions struct {
	// Kind is EngineProcess or EngineKubernetes. Empty: the former. All else is for
	// the latter.
	Kind string
	// Kubeconfig, Context and Namespace say which cluster, as kubernetes.Options do.
	Kubeconfig, Context, Namespace string
	// RegistryHost is the address by which nodes reach the API, to pull images from
	// it. Empty: the API's own, with the name of this machine.
	RegistryHost string
	// InstanceAddress is the address by which pods reach this machine, with a port for
	// the API of instances; mails are caught on the next one. Empty: instances have no
	// API.
	InstanceAddress string
	// RunnerImage is an image of tide, for workers whose command is started for each run.
	RunnerImage string
	// PlaceWithin is how long a cluster may take to find a node for an instance and to
	// pull its image, before a rollout fails. Default: 5 minutes.
	PlaceWithin time.Duration
	// SpareCPU, in processors, and SpareMemory, in bytes, are room that is kept for a
	// surge.
	SpareCPU    float64
	SpareMemory int64
	// FilesClass and DatabaseClass are the StorageClasses of shared files and of
	// databases. Empty: the cluster's standard.
	FilesClass, DatabaseClass string
}

// onCluster reports whether instances run on a cluster.
func (o EngineOptions) onCluster() bool { return o.Kind == EngineKubernetes }

// Validate says what is missing or makes no sense.
func (o EngineOptions) Validate() error {
	switch {
	case o.Kind != "" && o.Kind != EngineProcess && o.Kind != EngineKubernetes:
		return springtide.Errorf(springtide.Invalid, "--engine %s is none", o.Kind).WithHint("one of %s, %s", EngineProcess, EngineKubernetes)
	case o.PlaceWithin < 0:
		return springtide.Errorf(springtide.Invalid, "--place-within %s is negative", o.PlaceWithin)
	case !o.onCluster() && (o.SpareCPU != 0 || o.SpareMemory != 0 || o.FilesClass != "" || o.DatabaseClass != ""),
		!o.onCluster() && (o.Kubeconfig != "" || o.Context != "" || o.Namespace != "" || o.InstanceAddress != "" || o.PlaceWithin != 0):
		return springtide.Errorf(springtide.Invalid, "a cluster is described, but instances run on this machine").WithHint("say so: --engine %s", EngineKubernetes)
	}
	for _, named := range []struct{ flag, address string }{{"--registry-host", o.RegistryHost}, {"--instance-address", o.InstanceAddress}} {
		if named.address == "" {
			continue
		}
		host, port, err := net.SplitHostPort(named.address)
		if number, wrong := strconv.ParseUint(port, 10, 16); err != nil || wrong != nil || number == 0 || number == 65535 || host == "" {
			return springtide.Errorf(springtide.Invalid, "%s %s is not a host with a port", named.flag, named.address).WithHint("write it like tide.example.com:7443")
		}
	}
	return nil
}

// hosting is an engine as the control plane runs it. Implemented by process.Engine,
// and by cluster.
type hosting interface {
	engine.Engine
	tasks
	// Run makes the engine work until ctx ends; instances live on.
	Run(ctx context.Context) error
	// Groups gives the groups that are wanted or run.
	Groups() []springtide.GroupID
	// ShellCommand gives a command that runs where an instance runs.
	ShellCommand(id springtide.InstanceID, command string) (*exec.Cmd, error)
}
