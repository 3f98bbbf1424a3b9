package kubernetes

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/springtide/springtide"
)

const (
	standardGrace = 10 * time.Second
	standardStart = time.Minute
	// reporting is how long it may take until the cluster tells that a container has
	// ended: only what has not by then is taken to go on.
	reporting = 3 * time.Second
	// closing is how long edges have after that to end streams.
	closing = 2 * time.Second

	// nobody is the user of containers that are not the app's, whatever their image says,
	// and the group that may write to a pod's own folders, whatever user the app's names.
	nobody = int64(65532)

	homeFolder      = "/home/app"
	temporaryFolder = "/tmp"
	// CredentialsFolder is where instances find what they are given as files.
	CredentialsFolder = "/run/credentials"

	// What is asked for where the manifest sets no limit, so that the scheduler, and
	// whoever adds nodes, has something to go by.
	leastCPU    = "50m"
	leastMemory = "64Mi"
	// cpuShare is which part of its CPU limit a pod asks for: limits are for peaks,
	// and no node would be full otherwise.
	cpuShare = 0.25
)

// traits are what observing a pod needs to know of its template.
type traits struct {
	Command string        `json:"command"`
	HTTP    bool          `json:"http,omitempty"`
	Port    int           `json:"port"`
	Drain   time.Duration `json:"drain,omitempty"`
	Grace   time.Duration `json:"grace,omitempty"`
	LetGo   time.Duration `json:"let_go,omitempty"`
	Start   time.Duration `json:"start,omitempty"`
	Memory  int64         `json:"memory,omitempty"`
}

func (o Options) traitsOf(process springtide.Process) traits {
	t := traits{
		Command: process.Command, HTTP: process.HTTP, Port: o.Port, Drain: process.Drain,
		Grace: cmp.Or(max(process.Grace, 0), standardGrace), Memory: process.Limits.Memory,
	}
	if worker := process.Worker; worker != nil { // it finishes what it has begun
		t.Grace = max(t.Grace, worker.Longest()+worker.Grace+standardGrace)
	}
	if process.HTTP {
		t.LetGo = o.LetGo
	}
	if probe(process, o.Port) != nil {
		t.Start = cmp.Or(max(process.Health.Start, 0), standardStart)
	}
	return t
}

// deployment makes a group's Deployment, without replicas: it gets them when all
// that its pods need is there. files says that there are credentials.
func (o Options) deployment(group springtide.Group, files bool) *appsv1.Deployment {
	labels, selector := groupLabels(group.ID), map[string]string{labelGroup: nameOf(group.ID)}
	t := o.traitsOf(group.Template.Process)
	notes := map[string]string{noteGroup: group.ID.String(), noteTemplate: encode(t), noteMayGo: "true"}
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: nameOf(group.ID), Labels: labels, Annotations: map[string]string{noteGroup: group.ID.String()}},
		Spec: appsv1.DeploymentSpec{
			Replicas:                new(int32),
			RevisionHistoryLimit:    new(int32), // there is never another revision
			ProgressDeadlineSeconds: new(int32(seconds(t.Start) + 60)),
			Selector:                &metav1.LabelSelector{MatchLabels: selector},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: notes},
				Spec:       o.podSpec(group, t, selector, files),
			},
		},
	}
}

func (o Options) podSpec(group springtide.Group, t traits, selector map[string]string, files bool) corev1.PodSpec {
	process := group.Template.Process
	main := o.container(nameOf(group.ID), commandOf(process), group.Template, files)
	main.Env = append(main.Env, variable("TIDE_APP", string(group.ID.Environment.App)), variable("TIDE_ENV", string(group.ID.Environment.Name)),
		variable("TIDE_RELEASE", strconv.Itoa(group.ID.Release)),
		corev1.EnvVar{Name: "TIDE_INSTANCE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}})
	if process.HTTP {
		main.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: int32(o.Port)}}
	}
	if t.LetGo > 0 {
		main.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: seconds(t.LetGo)}}}
	}
	setProbes(&main, process, o.Port)
	spec := o.pod(nameOf(group.ID), main, files)
	if isRunner(process) {
		o.addRunner(&spec)
	}
	spec.TerminationGracePeriodSeconds = new(seconds(t.LetGo) + seconds(t.Grace+reporting+closing))
	spread(&spec, &metav1.LabelSelector{MatchLabels: selector})
	for _, taint := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		spec.Tolerations = append(spec.Tolerations, corev1.Toleration{
			Key: taint, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(seconds(o.Evicted)),
		})
	}
	return spec
}

// spread has the pods of a group on as many zones and nodes as there are, where there
// is room. Zones are a constraint of the topology. Nodes cannot be another: the
// scheduler leaves a node out of what it weighs that has not the labels of all of a
// pod's constraints, and without zones that would be every node.
func spread(spec *corev1.PodSpec, group *metav1.LabelSelector) {
	spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.ScheduleAnyway, LabelSelector: group,
	}}
	spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
			Weight: 100, PodAffinityTerm: corev1.PodAffinityTerm{TopologyKey: corev1.LabelHostname, LabelSelector: group},
		}},
	}}
}

// container is what instances and tasks have in common. secret has the variables;
// files says that there are credentials.
func (o Options) container(secret, command string, template springtide.Template, files bool) corev1.Container {
	variables := []corev1.EnvVar{
		variable("PORT", strconv.Itoa(o.Port)), variable("HOME", homeFolder), variable("TMPDIR", temporaryFolder),
	}
	mounts := []corev1.VolumeMount{
		{Name: "home", MountPath: homeFolder, SubPath: "home"}, {Name: "home", MountPath: temporaryFolder, SubPath: "tmp"},
	}
	if files {
		variables = append(variables, variable("CREDENTIALS_DIRECTORY", CredentialsFolder))
		mounts = append(mounts, corev1.VolumeMount{Name: "credentials", MountPath: CredentialsFolder, ReadOnly: true})
	}
	return corev1.Container{
		// A dollar sign is doubled, since the cluster replaces $$ and $(NAME) by itself.
		Name: container, Image: template.Image, Command: []string{"/bin/sh", "-c", strings.ReplaceAll(command, "$", "$$")},
		EnvFrom:      []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}}},
		Env:          variables,
		VolumeMounts: mounts,
		Resources:    resources(template.Process.Limits),
		// The last lines of one that fails are in its pod's status.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
}

// pod is what the pods of instances and tasks have in common. It satisfies the Pod
// Security Standard "restricted".
func (o Options) pod(secret string, main corev1.Container, files bool) corev1.PodSpec {
	volumes := []corev1.Volume{{Name: "home", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	if files {
		volumes = append(volumes, corev1.Volume{Name: "credentials", VolumeSource: corev1.VolumeSource{
			Secret: &corev1.SecretVolumeSource{SecretName: secret + filesSuffix, DefaultMode: new(int32(0o440))},
		}})
	}
	var pull []corev1.LocalObjectReference
	for _, name := range o.PullSecrets {
		pull = append(pull, corev1.LocalObjectReference{Name: name})
	}
	return corev1.PodSpec{
		Containers: []corev1.Container{main}, Volumes: volumes, ImagePullSecrets: pull,
		PriorityClassName:            o.PriorityClass,
		AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
		// The command is not PID 1 then, which shells and many others need in order
		// to end on SIGTERM, and somebody reaps what it leaves.
		ShareProcessNamespace: new(true),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), FSGroup: new(nobody),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
}

// setProbes has the kubelet find out when an instance is ready. One that is not any
// more is replaced by the engine; the kubelet restarts it only much later, for the
// case that the engine is away.
func setProbes(main *corev1.Container, process springtide.Process, port int) {
	handler := probe(process, port)
	if handler == nil {
		return
	}
	health := process.Health
	base := corev1.Probe{
		ProbeHandler:  *handler,
		PeriodSeconds: int32(seconds(cmp.Or(health.Interval, time.Second))), TimeoutSeconds: int32(seconds(cmp.Or(health.Timeout, time.Second))),
	}
	startup, readiness, liveness := base, base, base
	startup.PeriodSeconds = 1
	startup.FailureThreshold = int32(seconds(cmp.Or(max(health.Start, 0), standardStart)))
	readiness.FailureThreshold = int32(max(health.Failures, 1))
	liveness.FailureThreshold = max(10*readiness.FailureThreshold, 60/base.PeriodSeconds)
	main.StartupProbe, main.ReadinessProbe, main.LivenessProbe = &startup, &readiness, &liveness
}

func probe(process springtide.Process, port int) *corev1.ProbeHandler {
	health, on := process.Health, intstr.FromInt32(int32(port))
	switch {
	case health.Path != "":
		return &corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: health.Path, Port: on}}
	case health.Command != "":
		return &corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/sh", "-c", health.Command}}}
	case health.TCP || process.HTTP:
		return &corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: on}}
	}
	return nil
}

func resources(limits springtide.Limits) corev1.ResourceRequirements {
	asked, most := corev1.ResourceList{}, corev1.ResourceList{}
	asked[corev1.ResourceCPU], asked[corev1.ResourceMemory] = resource.MustParse(leastCPU), resource.MustParse(leastMemory)
	if limits.CPU > 0 {
		most[corev1.ResourceCPU] = *resource.NewMilliQuantity(max(int64(math.Ceil(limits.CPU*1000)), 1), resource.DecimalSI)
		asked[corev1.ResourceCPU] = *resource.NewMilliQuantity(max(int64(math.Ceil(limits.CPU*1000*cpuShare)), 1), resource.DecimalSI)
	}
	if limits.Memory > 0 {
		most[corev1.ResourceMemory] = *resource.NewQuantity(limits.Memory, resource.BinarySI)
		asked[corev1.ResourceMemory] = most[corev1.ResourceMemory]
	}
	return corev1.ResourceRequirements{Requests: asked, Limits: most}
}

// budget has those who drain nodes take one instance of the group at a time.
func budget(group springtide.Group, owner metav1.OwnerReference) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"},
		ObjectMeta: metav1.ObjectMeta{Name: nameOf(group.ID), Labels: groupLabels(group.ID), OwnerReferences: []metav1.OwnerReference{owner}},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable:             new(intstr.FromInt32(1)),
			Selector:                   &metav1.LabelSelector{MatchLabels: map[string]string{labelGroup: nameOf(group.ID)}},
			UnhealthyPodEvictionPolicy: new(policyv1.AlwaysAllow),
		},
	}
}

// filesSuffix tells the Secret with the credentials from that with the variables.
const filesSuffix = "-files"

// secretsOf are the variables, and the credentials if there are any.
func secretsOf(meta metav1.ObjectMeta, template springtide.Template, worker map[string]string, grant Grant) []*corev1.Secret {
	all := map[string]string{"LANG": "C.UTF-8", "HOST": "0.0.0.0"}
	for _, more := range []map[string]string{grant.Env, template.Env, worker} { // what comes later wins
		maps.Copy(all, more)
	}
	variables := &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: meta, Data: map[string][]byte{}}
	for name, value := range all {
		variables.Data[name] = []byte(value)
	}
	if len(grant.Credentials) == 0 {
		return []*corev1.Secret{variables}
	}
	files := &corev1.Secret{TypeMeta: variables.TypeMeta, ObjectMeta: meta, Data: grant.Credentials}
	files.Name += filesSuffix
	files.Annotations = nil
	return []*corev1.Secret{variables, files}
}

// workerVariables tell a worker what it is to do.
func workerVariables(process springtide.Process) map[string]string {
	if process.Worker == nil {
		return nil
	}
	queues := make([]string, len(process.Worker.Queues))
	for n, queue := range process.Worker.Queues {
		queues[n] = string(queue)
	}
	variables := map[string]string{"TIDE_QUEUES": strings.Join(queues, ","), "TIDE_SLOTS": strconv.Itoa(max(process.Scale.Concurrency, 1))}
	if isRunner(process) {
		variables["TIDE_RUNNER_COMMAND"] = process.Command
		variables["TIDE_RUNNER_TIMEOUT"] = process.Worker.Timeout.String()
		variables["TIDE_RUNNER_GRACE"] = process.Worker.Grace.String()
	}
	return variables
}

func variable(name, value string) corev1.EnvVar { return corev1.EnvVar{Name: name, Value: value} }

// seconds rounds up: the cluster knows no shorter time.
func seconds(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }

// encode writes what always can be written.
func encode(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// validate refuses what no cluster can run.
func (e *Engine) validate(group springtide.Group) error {
	process := group.Template.Process
	switch id := group.ID; {
	case !isName(string(id.Environment.App)) || !isName(string(id.Environment.Name)) || !isName(string(id.Process)):
		return springtide.Errorf(springtide.Invalid, "%q is not the name of a group", id)
	case group.Replicas < 0:
		return springtide.Errorf(springtide.Invalid, "%s: %d replicas are not possible", id, group.Replicas)
	case strings.TrimSpace(process.Command) == "":
		return springtide.Errorf(springtide.Invalid, "%s: there is no command", id)
	case isRunner(process) && e.options.RunnerImage == "":
		return springtide.Errorf(springtide.Invalid, "%s: there is no image of tide to take the runner from", id).
			WithHint("name one, or have the worker lease its runs itself")
	}
	return validateTemplate(process.Command, group.Template)
}

// validateTemplate refuses what no container can be given.
func validateTemplate(command string, template springtide.Template) error {
	if template.Image == "" {
		return springtide.Errorf(springtide.Invalid, "the artifact %s has no image that a cluster could pull", template.Artifact).
			WithHint("name a registry")
	}
	if strings.Contains(command, "\x00") {
		return springtide.Errorf(springtide.Invalid, "the command has a zero byte in it")
	}
	for _, name := range slices.Sorted(maps.Keys(template.Env)) {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" || name == "" || strings.Contains(template.Env[name], "\x00") {
			return springtide.Errorf(springtide.Invalid, "the variable %q cannot be set: its name has other characters than letters, digits, \"-\", \"_\" and \".\", or there is a zero byte in it", name)
		}
	}
	return nil
}
