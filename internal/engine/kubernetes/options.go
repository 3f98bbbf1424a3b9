package kubernetes

import (
	"log/slog"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine"
)

// Options say how to run instances on a cluster. Router and Log are required.
type Options struct {
	// Kubeconfig is the path of the file that says where the cluster is. Empty: what
	// kubectl would take, or, in a pod, the pod's own service account.
	Kubeconfig string
	// Context of the file. Empty: its current one.
	Context string
	// Namespace has everything the engine makes. It must exist. Empty: that of the
	// context.
	Namespace string
	// Router is asked to let go of an instance before it is told to stop.
	Router engine.Router
	Log    *slog.Logger
	// Port is what instances listen on. Default: 8080.
	Port int
	// LetGo is how long a pod that somebody else deletes goes on as before, while
	// edges let go of it; in whole seconds. Default: 3 s.
	LetGo time.Duration
	// Evicted is how long a pod stays bound to a node that does not answer. It was
	// replaced long before; in whole seconds. Default: 60 s.
	Evicted time.Duration
	// PriorityClass of instances and tasks of the usual priority. Empty: the cluster's
	// standard.
	PriorityClass string
	// Spare is room that is kept for a surge.
	Spare Spare
	// FilesClass is the StorageClass of shared folders, which several nodes write to at
	// the same time. Empty: the cluster's standard.
	FilesClass string
	// PullSecrets are names of Secrets with which nodes pull images.
	PullSecrets []string
	// RunnerImage is an image of tide, whose entry point is `tide`: with it come the
	// runners of workers whose command is started for each run. Empty: there are none.
	RunnerImage string
	// TaskKeep is how long the outcome of a task is kept. Default: 24 h.
	TaskKeep time.Duration
	// Access gives what the instances of a group or a task are given besides what the
	// template says. nil: nothing.
	Access func(Subject) (Grant, error)
}

// Subject is a group whose instances are about to start, or a task.
type Subject struct {
	Environment springtide.EnvironmentID
	Release     int
	// Generation and Process are those of a group; Task is the ID of a task.
	Generation int
	Process    springtide.ProcessName
	Task       string
}

// Grant is what instances are given: it becomes a Secret.
type Grant struct {
	// Env are further variables. What an app says itself wins over them.
	Env map[string]string
	// Credentials are files, by their names, in the folder $CREDENTIALS_DIRECTORY,
	// which is in memory.
	Credentials map[string][]byte
	// Mounts are the shared folders that it is shown.
	Mounts []Mount
}

// Validate says what is missing or makes no sense.
func (o Options) Validate() error {
	switch {
	case o.Router == nil || o.Log == nil:
		return springtide.Errorf(springtide.Internal, "kubernetes engine: a router and a log are required")
	case o.Port < 1024 || o.Port > 65535:
		return springtide.Errorf(springtide.Invalid, "kubernetes engine: instances cannot listen on port %d: 1024 to 65535", o.Port)
	}
	return o.Spare.validate()
}

func (o Options) withDefaults() Options {
	or(&o.Port, 8080)
	or(&o.LetGo, 3*time.Second)
	or(&o.Evicted, time.Minute)
	or(&o.TaskKeep, 24*time.Hour)
	return o
}

func or[T comparable](value *T, standard T) {
	var zero T
	if *value == zero {
		*value = standard
	}
}
