package kubernetes

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/springtide/springtide"
)

const (
	// runnerFolder has the program that takes runs, in the pods of workers whose
	// command is started for each.
	runnerFolder  = "/run/tide"
	runnerProgram = runnerFolder + "/tide"
)

// isRunner reports whether the process's command is started by `tide runner`, once
// for each run.
func isRunner(process springtide.Process) bool { return process.Worker != nil && !process.Worker.Own }

// commandOf is what the container of an instance is to run.
func commandOf(process springtide.Process) string {
	if isRunner(process) {
		return "exec " + runnerProgram + " runner"
	}
	return process.Command
}

// addRunner has a pod bring the runner along: of an image of tide, beside the app's
// own, which knows nothing of it.
func (o Options) addRunner(spec *corev1.PodSpec) {
	volume := corev1.Volume{Name: "tide", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
	mount := corev1.VolumeMount{Name: volume.Name, MountPath: runnerFolder}
	bring := corev1.Container{
		Name: "runner", Image: o.RunnerImage, Args: []string{"runner", "--install", runnerProgram},
		VolumeMounts: []corev1.VolumeMount{mount}, Resources: resources(springtide.Limits{}),
		SecurityContext: spec.Containers[0].SecurityContext.DeepCopy(),
	}
	bring.SecurityContext.RunAsUser = new(nobody)
	mount.ReadOnly = true
	spec.Volumes = append(spec.Volumes, volume)
	spec.Containers[0].VolumeMounts = append(spec.Containers[0].VolumeMounts, mount)
	spec.InitContainers = append(spec.InitContainers, bring)
}
