package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/springtide/springtide"
)

// taskGrace is how long a task may go on after SIGTERM.
const taskGrace = 10 * time.Second

// outcome is how a task ended, as its Secret keeps it.
type outcome struct {
	springtide.Exit
	// Unknown says that it may have run, to its end or not.
	Unknown bool `json:"unknown,omitempty"`
}

// Exec implements engine.Engine.
func (e *Engine) Exec(ctx context.Context, task springtide.Task) (springtide.Exit, error) {
	switch {
	case !isName(task.ID):
		return springtide.Exit{}, springtide.Errorf(springtide.Invalid, "%q is not the name of a task", task.ID)
	case task.Command == "":
		return springtide.Exit{}, springtide.Errorf(springtide.Invalid, "task %s: there is no command", task.ID)
	}
	if err := validateTemplate(task.Command, task.Template); err != nil {
		return springtide.Exit{}, err
	}
	record, err := e.recordTask(ctx, task)
	if err != nil {
		return springtide.Exit{}, e.taskFault(ctx, task, err)
	}
	if record.Annotations[noteEnded] == "" {
		if err := e.startTask(ctx, task, record); err != nil {
			return springtide.Exit{}, e.taskFault(ctx, task, err)
		}
	}
	ended, err := e.taskOutcome(ctx, task, record)
	if err != nil {
		return springtide.Exit{}, e.taskFault(ctx, task, err)
	}
	if ended.Unknown {
		return springtide.Exit{}, springtide.Errorf(springtide.Failed, "it is not known how task %s ended: %s", task.ID, ended.Reason).
			WithHint("it may have done its work; it is not run again by itself")
	}
	return ended.Exit, nil
}

func (e *Engine) taskFault(ctx context.Context, task springtide.Task, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return e.client.fault("task "+task.ID, err)
}

// recordTask makes the Secret of a task, or finds that of an earlier call.
func (e *Engine) recordTask(ctx context.Context, task springtide.Task) (*corev1.Secret, error) {
	record, name := &corev1.Secret{}, taskName(task.ID)
	err := e.client.get(ctx, e.client.secrets(), name, record)
	if apierrors.IsNotFound(err) {
		record, err = e.newRecord(ctx, task)
	}
	if apierrors.IsAlreadyExists(err) { // somebody else was quicker
		record = &corev1.Secret{}
		err = e.client.get(ctx, e.client.secrets(), name, record)
	}
	if err != nil {
		return nil, err
	}
	var known springtide.Task
	if err := json.Unmarshal([]byte(record.Annotations[noteTask]), &known); err != nil {
		return nil, fmt.Errorf("read the record of task %s: %w", task.ID, err)
	}
	if known.Command != task.Command || known.Environment != task.Environment || known.Release != task.Release {
		return nil, springtide.Errorf(springtide.Conflict, "task %s is known, with another command", task.ID).WithHint("give the task another ID")
	}
	return record, nil
}

func (e *Engine) newRecord(ctx context.Context, task springtide.Task) (*corev1.Secret, error) {
	grant, err := e.grant(Subject{Environment: task.Environment, Release: task.Release, Task: task.ID})
	if err != nil {
		return nil, err
	}
	known := task
	known.Template = springtide.Template{} // its variables are not for annotations
	meta := metav1.ObjectMeta{
		Name: taskName(task.ID), Labels: labels(task.Environment, task.Release, roleTask), Annotations: map[string]string{noteTask: encode(known)},
	}
	if len(grant.Credentials) > 0 {
		meta.Annotations[noteFiles] = "yes"
	}
	if len(grant.Mounts) > 0 {
		meta.Annotations[noteMounts] = encode(grant.Mounts)
	}
	secrets := secretsOf(meta, task.Template, nil, grant)
	record := &corev1.Secret{}
	if err := e.client.create(ctx, e.client.secrets(), secrets[0], record); err != nil {
		return nil, err
	}
	for _, files := range secrets[1:] {
		files.OwnerReferences = []metav1.OwnerReference{ownerOf(record)}
		if err := e.ensure(ctx, e.client.secrets(), files); err != nil {
			return nil, err
		}
	}
	return record, nil
}

func ownerOf(record *corev1.Secret) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "Secret", Name: record.Name, UID: record.UID}
}

// startTask has the task's pod run, unless one may have run before.
func (e *Engine) startTask(ctx context.Context, task springtide.Task, record *corev1.Secret) error {
	pod := &corev1.Pod{}
	err := e.client.get(ctx, e.client.pods(), record.Name, pod)
	if apierrors.IsNotFound(err) {
		if record.Annotations[noteStarted] != "" {
			return nil // it is gone, and what it did is not known
		}
		pod = &corev1.Pod{}
		err = e.client.create(ctx, e.client.pods(), e.options.taskPod(task, record), pod)
		if apierrors.IsAlreadyExists(err) {
			pod = &corev1.Pod{}
			err = e.client.get(ctx, e.client.pods(), record.Name, pod)
		}
	}
	if err != nil || len(pod.Spec.SchedulingGates) == 0 {
		return err
	}
	if err := e.client.annotate(ctx, e.client.secrets(), record.Name, map[string]string{noteStarted: string(pod.UID)}); err != nil {
		return err
	}
	open := map[string]any{"metadata": map[string]any{"uid": pod.UID}, "spec": map[string]any{"schedulingGates": nil}}
	if err := e.client.patch(ctx, e.client.pods(), record.Name, open); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

// taskPod makes the pod of a task, behind its gate.
func (o Options) taskPod(task springtide.Task, record *corev1.Secret) *corev1.Pod {
	files := record.Annotations[noteFiles] != ""
	main := o.container(record.Name, task.Command, task.Template, files)
	main.Env = append(main.Env, variable("TIDE_APP", string(task.Environment.App)), variable("TIDE_ENV", string(task.Environment.Name)),
		variable("TIDE_RELEASE", strconv.Itoa(task.Release)), variable("TIDE_TASK", task.ID), variable("TIDE_INSTANCE", task.ID))
	spec := o.pod(record.Name, main, files)
	var mounts []Mount
	_ = json.Unmarshal([]byte(record.Annotations[noteMounts]), &mounts) // there need not be any
	mount(&spec, mounts)
	spec.RestartPolicy = corev1.RestartPolicyNever
	spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: gate}}
	spec.TerminationGracePeriodSeconds = new(seconds(taskGrace))
	if task.Timeout > 0 {
		spec.ActiveDeadlineSeconds = new(seconds(task.Timeout))
	}
	notes := map[string]string{
		noteTask:     task.ID,
		noteTemplate: encode(traits{Command: task.Command, Memory: task.Template.Process.Limits.Memory}),
		noteMayGo:    "false", noteMustStay: "true", // nobody runs it again
	}
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: record.Name, Labels: labels(task.Environment, task.Release, roleTask), Annotations: notes,
			OwnerReferences: []metav1.OwnerReference{ownerOf(record)},
		},
		Spec: spec,
	}
}

// taskOutcome waits for the end of a task, and has its Secret remember it.
func (e *Engine) taskOutcome(ctx context.Context, task springtide.Task, record *corev1.Secret) (ended outcome, err error) {
	if kept := record.Annotations[noteEnded]; kept != "" {
		return ended, json.Unmarshal([]byte(kept), &ended)
	}
	ended, err = e.awaitTask(ctx, task, record.Name)
	if err != nil {
		return ended, err
	}
	return ended, e.client.annotate(ctx, e.client.secrets(), record.Name, map[string]string{noteEnded: encode(ended)})
}

// awaitTask waits until the pod of a task that was started has ended, or is gone.
func (e *Engine) awaitTask(ctx context.Context, task springtide.Task, name string) (ended outcome, err error) {
	select {
	case <-e.synced:
	case <-ctx.Done():
		return ended, ctx.Err()
	}
	seen := e.pod(name) != nil
	for {
		e.mu.Lock()
		changed := e.waiting.on(name)
		e.mu.Unlock()
		pod := e.pod(name)
		if pod != nil && over(pod) {
			return explainTask(pod, task), nil
		}
		if pod == nil { // not observed yet, or not any more: the API server knows
			asked := &corev1.Pod{}
			switch err := e.client.get(ctx, e.client.pods(), name, asked); {
			case apierrors.IsNotFound(err):
				return outcome{Unknown: true, Exit: springtide.Exit{Reason: goneReason(seen)}}, nil
			case err != nil:
				return ended, err
			}
		}
		seen = seen || pod != nil
		select {
		case <-changed:
		case <-time.After(requestLimit): // it may have been gone before it was observed
		case <-ctx.Done():
			return ended, ctx.Err()
		}
	}
}

func goneReason(seen bool) string {
	if seen {
		return "its pod was deleted while it ran"
	}
	return "its pod was deleted"
}

// explainTask puts the end of a task's pod into words.
func explainTask(pod *corev1.Pod, task springtide.Task) outcome {
	ended := containerStatus(pod).State.Terminated
	code := 128 + 15
	if ended != nil {
		code = int(ended.ExitCode)
	}
	switch {
	case pod.Status.Reason == "DeadlineExceeded":
		return outcome{Exit: springtide.Exit{Code: code, Reason: fmt.Sprintf("timed out after %s", task.Timeout)}}
	case ended == nil || ended.Reason == "ContainerStatusUnknown":
		return outcome{Unknown: true, Exit: springtide.Exit{Reason: reasonOf(pod)}}
	}
	return outcome{Exit: springtide.Exit{Code: code, Reason: terminationReason(ended, traitsOfPod(pod))}}
}

// reasonOf is why a pod as a whole has failed, in the cluster's own words.
func reasonOf(pod *corev1.Pod) string {
	return oneLine(strings.TrimSpace(pod.Status.Reason + ": " + pod.Status.Message))
}
