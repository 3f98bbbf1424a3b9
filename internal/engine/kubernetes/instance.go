package kubernetes

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine"
)

const (
	// crashesOfLoop is from how many ends on it is a loop, as springtide.Instance says.
	crashesOfLoop = 3
	steadyFor     = time.Minute
	mostLines     = 20
)

// observe makes an instance of a pod's status. It reports false for what is no
// instance, or none any more: the cluster has another pod made in its place.
func observe(pod *corev1.Pod) (instance springtide.Instance, ok bool) {
	group, err := springtide.ParseGroupID(pod.Annotations[noteGroup])
	if err != nil || pod.Labels[labelRole] != roleInstance || over(pod) {
		return instance, false
	}
	t := traitsOfPod(pod)
	status := containerStatus(pod)
	instance = springtide.Instance{
		ID: springtide.InstanceID(pod.Name), Group: group, State: springtide.InstanceStarting,
		Ordered: pod.CreationTimestamp.Time, Restarts: int(status.RestartCount),
	}
	if t.HTTP && pod.Status.PodIP != "" {
		instance.Address = net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(t.Port))
	}
	ready := condition(pod, corev1.PodReady)
	last := status.LastTerminationState.Terminated
	switch running, ended := status.State.Running, status.State.Terminated; {
	case running != nil && ready.Status == corev1.ConditionTrue:
		instance.State, instance.Started, instance.Ready = springtide.InstanceReady, running.StartedAt.Time, ready.LastTransitionTime.Time
	case running != nil:
		instance.Started = running.StartedAt.Time
		// Readiness was lost after this start, not before it.
		if status.Started != nil && *status.Started && ready.LastTransitionTime.After(running.StartedAt.Time) {
			instance.State, instance.Reason = springtide.InstanceUnhealthy, unreadyReason(pod, ready)
			instance.Lost = nodeLost(pod)
			// What it has open goes on: edges have to know of it still. When it became
			// ready is not in the status any more.
			instance.Ready = running.StartedAt.Time
		} else if last != nil {
			instance.Reason = endReason(last, t, ready)
		}
	case ended != nil:
		instance.State, instance.Started, last = springtide.InstanceCrashed, ended.StartedAt.Time, ended
	case last != nil:
		instance.State, instance.Started = springtide.InstanceCrashed, last.StartedAt.Time
	default:
		instance.Reason = waitingReason(pod, status)
		instance.Stuck = status.State.Waiting != nil && unpullable(status.State.Waiting.Reason)
	}
	if last != nil {
		if instance.State == springtide.InstanceCrashed {
			instance.Reason = endReason(last, t, ready)
		}
		instance.LastLines = lastLines(last)
		instance.CrashLoop = looping(instance, last)
	}
	switch {
	case pod.DeletionTimestamp != nil:
		instance.State = springtide.InstanceStopping
	case pod.Annotations[noteRetiring] != "":
		instance.State = springtide.InstanceRetiring
	}
	return instance, true
}

// over reports whether a pod's containers have ended for good: it was evicted, or
// the node did not take it.
func over(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}

func traitsOfPod(pod *corev1.Pod) (t traits) {
	_ = json.Unmarshal([]byte(pod.Annotations[noteTemplate]), &t) // without it less can be said
	return t
}

func containerStatus(pod *corev1.Pod) corev1.ContainerStatus {
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == container {
			return status
		}
	}
	return corev1.ContainerStatus{}
}

func condition(pod *corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

// waitingReason is why a container has not been started yet, in the cluster's own
// words, in one line.
func waitingReason(pod *corev1.Pod, status corev1.ContainerStatus) string {
	if text := unschedulable(pod); text != "" {
		return text
	}
	waiting := status.State.Waiting
	if waiting == nil {
		return ""
	}
	switch {
	case waiting.Reason == "ContainerCreating", waiting.Reason == "PodInitializing", waiting.Reason == "":
		return ""
	case unpullable(waiting.Reason):
		return oneLine("the image cannot be pulled: " + waiting.Reason + ": " + waiting.Message)
	default:
		return oneLine("could not be started: " + waiting.Reason + ": " + waiting.Message)
	}
}

// unpullable reports whether a container waits because its image cannot be had.
func unpullable(reason string) bool {
	return slices.Contains([]string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}, reason)
}

// unschedulable is why no node takes the pod; empty if one does.
func unschedulable(pod *corev1.Pod) string {
	scheduled := condition(pod, corev1.PodScheduled)
	if scheduled.Status != corev1.ConditionFalse || scheduled.Reason != corev1.PodReasonUnschedulable {
		return ""
	}
	text, _, _ := strings.Cut(scheduled.Message, " preemption:")
	return oneLine("no node has room: " + text)
}

func unreadyReason(pod *corev1.Pod, ready corev1.PodCondition) string {
	if nodeLost(pod) {
		return "its node does not answer: " + pod.Spec.NodeName
	}
	return oneLine("its health check fails: " + ready.Message)
}

// nodeLost says of a pod that is not ready that its node does not answer: its
// container was ready when that was last heard of.
func nodeLost(pod *corev1.Pod) bool { return containerStatus(pod).Ready }

// endReason is how an attempt ended. One that was never ready, and lived as long as
// a start may take, was ended for that by the kubelet.
func endReason(ended *corev1.ContainerStateTerminated, t traits, ready corev1.PodCondition) string {
	if t.Start > 0 && ended.FinishedAt.Sub(ended.StartedAt.Time) >= t.Start && !ready.LastTransitionTime.After(ended.StartedAt.Time) {
		if t.HTTP {
			return fmt.Sprintf("did not listen on $PORT (%d), or was not healthy there, within %s", t.Port, t.Start)
		}
		return fmt.Sprintf("was not healthy within %s", t.Start)
	}
	return terminationReason(ended, t)
}

func terminationReason(ended *corev1.ContainerStateTerminated, t traits) string {
	if ended.Reason == "StartError" || ended.Reason == "ContainerCannotRun" {
		return oneLine("could not be started: " + ended.Message)
	}
	code, signal := int(ended.ExitCode), int(ended.Signal)
	if signal == 0 && code > 128 && code < 160 {
		signal = code - 128
	}
	return engine.ExitReason(code, signal, ended.Reason == "OOMKilled", springtide.Limits{Memory: t.Memory}, t.Command)
}

// lastLines are in the status of a container that failed.
func lastLines(ended *corev1.ContainerStateTerminated) []string {
	if strings.TrimSpace(ended.Message) == "" || ended.Reason == "StartError" {
		return nil
	}
	lines := strings.Split(strings.TrimRight(ended.Message, "\n"), "\n")
	return lines[max(len(lines)-mostLines, 0):]
}

func looping(instance springtide.Instance, last *corev1.ContainerStateTerminated) bool {
	ends := instance.Restarts
	if instance.State == springtide.InstanceCrashed {
		ends++
	}
	return ends >= crashesOfLoop && instance.State != springtide.InstanceReady && last.FinishedAt.Sub(last.StartedAt.Time) < steadyFor
}
