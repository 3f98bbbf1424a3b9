package kubernetes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/springtide/springtide"
)

// at is a second of the test's own time.
func at(second int) metav1.Time { return metav1.NewTime(time.Unix(1_800_000_000+int64(second), 0)) }

// testPod gives a pod that was ordered at second 0.
func testPod(change func(*corev1.Pod, *corev1.ContainerStatus)) *corev1.Pod {
	group := testGroup(1)
	t := Options{}.withDefaults().traitsOf(group.Template.Process)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: "web-1", Labels: groupLabels(group.ID), CreationTimestamp: at(0),
		Annotations: map[string]string{noteGroup: group.ID.String(), noteTemplate: encode(t)},
	}, Spec: corev1.PodSpec{NodeName: "node1"}, Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.1.2.3"}}
	status := corev1.ContainerStatus{Name: container}
	change(pod, &status)
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{status}
	return pod
}

func ready(pod *corev1.Pod, is corev1.ConditionStatus, since int) {
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady, Status: is, LastTransitionTime: at(since)})
}

func ended(from, to int, code int32, reason, message string) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{StartedAt: at(from), FinishedAt: at(to), ExitCode: code, Reason: reason, Message: message}
}

func TestAnInstanceIsToldFromWhatTheClusterSaysOfItsPod(t *testing.T) {
	type (
		pod    = *corev1.Pod
		status = *corev1.ContainerStatus
	)
	running := func(since int) corev1.ContainerState {
		return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(since)}}
	}
	waiting := func(reason, message string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
	for _, test := range []struct {
		what   string
		change func(pod, status)
		state  springtide.InstanceState
		reason string
		loop   bool
	}{
		{"ordered", func(pod, status) {}, springtide.InstanceStarting, "", false},
		{"no room", func(p pod, _ status) {
			p.Status.Conditions = []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
				Message: "0/2 nodes are available: 2 Insufficient memory. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.",
			}}
		}, springtide.InstanceStarting, "no node has room: 0/2 nodes are available: 2 Insufficient memory.", false},
		{"pulling", func(_ pod, s status) { s.State = waiting("ContainerCreating", "") }, springtide.InstanceStarting, "", false},
		{
			"no image", func(_ pod, s status) {
				s.State = waiting("ImagePullBackOff", "Back-off pulling\n image \"x:1\": not found")
			},
			springtide.InstanceStarting, `the image cannot be pulled: ImagePullBackOff: Back-off pulling image "x:1": not found`, false,
		},
		{
			"no secret", func(_ pod, s status) { s.State = waiting("CreateContainerConfigError", `secret "web" not found`) },
			springtide.InstanceStarting, `could not be started: CreateContainerConfigError: secret "web" not found`, false,
		},
		{"runs", func(p pod, s status) {
			s.State = running(2)
			ready(p, corev1.ConditionFalse, 0)
		}, springtide.InstanceStarting, "", false},
		{"is ready", func(p pod, s status) {
			s.State, s.Started, s.Ready = running(2), new(true), true
			ready(p, corev1.ConditionTrue, 4)
		}, springtide.InstanceReady, "", false},
		{"lost its readiness", func(p pod, s status) {
			s.State, s.Started = running(2), new(true)
			ready(p, corev1.ConditionFalse, 60)
			p.Status.Conditions[0].Message = "containers with unready status: [app]"
		}, springtide.InstanceUnhealthy, "its health check fails: containers with unready status: [app]", false},
		{"lost its node", func(p pod, s status) {
			s.State, s.Started, s.Ready = running(2), new(true), true
			ready(p, corev1.ConditionFalse, 60)
		}, springtide.InstanceUnhealthy, "its node does not answer: node1", false},
		{"crashed", func(p pod, s status) {
			s.State = corev1.ContainerState{Terminated: ended(2, 9, 7, "Error", "one\ntwo\n")}
			ready(p, corev1.ConditionFalse, 9)
		}, springtide.InstanceCrashed, "exit status 7", false},
		{"crashes again and again", func(p pod, s status) {
			s.State, s.RestartCount = waiting("CrashLoopBackOff", "back-off 20s"), 2
			s.LastTerminationState.Terminated = ended(30, 31, 127, "Error", "sh: ./web: not found")
			ready(p, corev1.ConditionFalse, 0)
		}, springtide.InstanceCrashed, "command not found: ./web", true},
		{"out of memory", func(p pod, s status) {
			s.State, s.RestartCount = waiting("CrashLoopBackOff", ""), 1
			s.LastTerminationState.Terminated = ended(30, 40, 137, "OOMKilled", "")
			ready(p, corev1.ConditionFalse, 0)
		}, springtide.InstanceCrashed, "killed: out of memory (limit 256 MiB)", false},
		{"killed", func(p pod, s status) {
			s.State = corev1.ContainerState{Terminated: ended(2, 90, 137, "Error", "")}
			ready(p, corev1.ConditionFalse, 90)
		}, springtide.InstanceCrashed, "killed by SIGKILL", false},
		{"too late", func(p pod, s status) {
			s.State, s.RestartCount = running(24), 1
			s.LastTerminationState.Terminated = ended(2, 23, 143, "Error", "")
			ready(p, corev1.ConditionFalse, 0)
		}, springtide.InstanceStarting, "did not listen on $PORT (8080), or was not healthy there, within 20s", false},
		{"has no shell", func(_ pod, s status) {
			s.State = corev1.ContainerState{Terminated: ended(0, 0, 128, "StartError", `exec: "/bin/sh": no such file`)}
		}, springtide.InstanceCrashed, `could not be started: exec: "/bin/sh": no such file`, false},
		{"is to go", func(p pod, s status) {
			s.State, s.Started = running(2), new(true)
			ready(p, corev1.ConditionTrue, 4)
			p.Annotations[noteRetiring] = "yes"
		}, springtide.InstanceRetiring, "", false},
		{"is being deleted", func(p pod, s status) {
			s.State, s.Started = running(2), new(true)
			ready(p, corev1.ConditionTrue, 4)
			p.DeletionTimestamp = new(at(90))
		}, springtide.InstanceStopping, "", false},
	} {
		got, ok := observe(testPod(test.change))
		if !ok || got.State != test.state || got.Reason != test.reason || got.CrashLoop != test.loop || got.Address != "10.1.2.3:8080" || !got.Ordered.Equal(at(0).Time) {
			t.Errorf("%s: %+v", test.what, got)
		}
		// Edges have to know of what was ready, as long as it may have something open.
		if unready := test.state == springtide.InstanceUnhealthy; unready && got.Ready.IsZero() || got.Lost != (test.what == "lost its node") {
			t.Errorf("%s: %+v", test.what, got)
		}
	}
	evicted := testPod(func(p *corev1.Pod, _ *corev1.ContainerStatus) { p.Status.Phase = corev1.PodFailed })
	if got, ok := observe(evicted); ok {
		t.Errorf("what was evicted is still an instance: %+v", got)
	}
}

func TestTheLastTwentyLinesOfAnInstanceThatFailedAreKept(t *testing.T) {
	var lines strings.Builder
	for n := range 30 {
		fmt.Fprintln(&lines, "line", n)
	}
	got, _ := observe(testPod(func(_ *corev1.Pod, s *corev1.ContainerStatus) {
		s.State.Terminated = ended(2, 3, 1, "Error", lines.String())
	}))
	if len(got.LastLines) != 20 || got.LastLines[0] != "line 10" || got.LastLines[19] != "line 29" {
		t.Errorf("%q", got.LastLines)
	}
}
