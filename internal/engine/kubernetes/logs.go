package kubernetes

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/springtide/springtide"
)

// Logs implements engine.Engine. What a pod wrote goes with it: the cluster keeps
// the output of the container that runs and of the one before. It does not tell
// which stream a line was written to.
func (e *Engine) Logs(ctx context.Context, query springtide.LogQuery) (io.ReadCloser, error) {
	select {
	case <-e.synced:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(ctx)
	var lines []springtide.LogLine
	from := map[string]time.Time{} // by pods: what is before it has been told
	for _, pod := range e.selectPods(query) {
		own, err := e.kept(ctx, pod, query)
		if err != nil {
			cancel()
			return nil, e.client.fault("logs", err)
		}
		lines = append(lines, own...)
		if len(own) > 0 {
			from[pod.Name] = own[len(own)-1].Time.Add(1)
		}
	}
	slices.SortStableFunc(lines, func(a, b springtide.LogLine) int { return a.Time.Compare(b.Time) })
	if query.Tail > 0 {
		lines = lines[max(len(lines)-query.Tail, 0):]
	}
	read, write := io.Pipe()
	go func() {
		defer cancel()
		_ = write.CloseWithError(e.tell(ctx, write, lines, query, from)) // the reader is told
	}()
	return closer{read, cancel}, nil
}

// closer ends what writes when the reader has had enough.
type closer struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (c closer) Close() error {
	c.cancel()
	return c.PipeReader.Close()
}

// tell writes lines, and goes on with those that come, if they are to be followed.
func (e *Engine) tell(ctx context.Context, to io.Writer, lines []springtide.LogLine, query springtide.LogQuery, from map[string]time.Time) error {
	f := &following{engine: e, encoder: json.NewEncoder(to), from: from}
	for _, line := range lines {
		if err := f.write(line); err != nil {
			return err
		}
	}
	if !query.Follow {
		return nil
	}
	defer f.readers.Wait()
	known := map[string]int{} // restarts of pods that are being read
	for {
		e.mu.Lock()
		changed := e.waiting.on(anyPod)
		e.mu.Unlock()
		for _, pod := range e.selectPods(query) {
			status := containerStatus(pod)
			if last, ok := known[pod.Name]; (!ok || last != int(status.RestartCount)) && (status.State.Running != nil || status.State.Terminated != nil) {
				known[pod.Name] = int(status.RestartCount)
				f.readers.Go(func() { f.read(ctx, pod, ok) })
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// following writes the lines of several pods to one reader.
type following struct {
	engine  *Engine
	readers sync.WaitGroup
	mu      sync.Mutex
	encoder *json.Encoder
	from    map[string]time.Time
}

func (f *following) write(line springtide.LogLine) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.encoder.Encode(line)
}

// read follows one attempt of a pod. After a restart it says first how the one
// before ended.
func (f *following) read(ctx context.Context, pod *corev1.Pod, restarted bool) {
	if restarted {
		if end, ended := endLine(pod); ended && f.write(end) != nil {
			return
		}
	}
	parameters := map[string]string{"follow": "true"}
	f.mu.Lock()
	from := f.from[pod.Name]
	f.mu.Unlock()
	if !from.IsZero() {
		parameters["sinceTime"] = from.UTC().Format(time.RFC3339) // whole seconds are understood
	}
	stream, err := f.engine.client.logs(ctx, pod.Name, parameters)
	if err != nil {
		return // the pod is gone, or it is tried again with its next attempt
	}
	defer stream.Close()
	_ = scan(stream, pod, func(line springtide.LogLine) error {
		if line.Time.Before(from) {
			return nil
		}
		return f.write(line)
	})
}

// selectPods gives the pods that a query is about.
func (e *Engine) selectPods(query springtide.LogQuery) (selected []*corev1.Pod) {
	for _, object := range e.pods.GetStore().List() {
		pod := object.(*corev1.Pod)
		if query.Task != "" {
			if pod.Name == taskName(query.Task) {
				selected = append(selected, pod)
			}
			continue
		}
		environment := springtide.EnvironmentID{
			App: springtide.AppName(pod.Labels["app.kubernetes.io/name"]), Name: springtide.EnvironmentName(pod.Labels["app.kubernetes.io/instance"]),
		}
		if pod.Labels[labelRole] == roleInstance &&
			(query.Environment == springtide.EnvironmentID{} || query.Environment == environment) &&
			(query.Process == "" || string(query.Process) == pod.Labels["app.kubernetes.io/component"]) &&
			(query.Instance == "" || string(query.Instance) == pod.Name) {
			selected = append(selected, pod)
		}
	}
	return selected
}

// kept gives what the cluster has of a pod's output, with how its last attempt ended.
func (e *Engine) kept(ctx context.Context, pod *corev1.Pod, query springtide.LogQuery) (lines []springtide.LogLine, err error) {
	status := containerStatus(pod)
	parts := []map[string]string{{}}
	if status.RestartCount > 0 {
		parts = []map[string]string{{"previous": "true"}, {}}
	} else if status.State.Waiting != nil || status.State == (corev1.ContainerState{}) {
		return nil, nil
	}
	for n, parameters := range parts {
		if n == 1 {
			if end, ended := endLine(pod); ended && !end.Time.Before(query.Since) {
				lines = append(lines, end)
			}
		}
		if query.Tail > 0 {
			parameters["tailLines"] = strconv.Itoa(query.Tail)
		}
		if !query.Since.IsZero() {
			parameters["sinceTime"] = query.Since.UTC().Format(time.RFC3339)
		}
		stream, err := e.client.logs(ctx, pod.Name, parameters)
		if apierrors.IsNotFound(err) || apierrors.IsBadRequest(err) {
			continue // gone meanwhile, or not started
		}
		if err != nil {
			return nil, err
		}
		err = scan(stream, pod, func(line springtide.LogLine) error {
			if !line.Time.Before(query.Since) {
				lines = append(lines, line)
			}
			return nil
		})
		stream.Close()
		if err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// endLine is what the platform says of how a pod's attempt before this one ended.
func endLine(pod *corev1.Pod) (line springtide.LogLine, ended bool) {
	status := containerStatus(pod)
	last := status.LastTerminationState.Terminated
	if status.State.Terminated != nil {
		last = status.State.Terminated
	}
	if last == nil {
		return line, false
	}
	line = lineOf(pod)
	line.Time, line.Stream = last.FinishedAt.Time, "tide"
	line.Text = endReason(last, traitsOfPod(pod), condition(pod, corev1.PodReady))
	return line, true
}

func lineOf(pod *corev1.Pod) springtide.LogLine {
	release, _ := strconv.Atoi(pod.Labels["app.kubernetes.io/version"]) // written by this package
	line := springtide.LogLine{
		Instance: springtide.InstanceID(pod.Name), Process: springtide.ProcessName(pod.Labels["app.kubernetes.io/component"]),
		Release: release, Stream: "stdout",
	}
	if id := pod.Annotations[noteTask]; id != "" {
		line.Instance = springtide.InstanceID(id)
	}
	return line
}

// scan reads lines with the time before each.
func scan(from io.Reader, pod *corev1.Pod, take func(springtide.LogLine) error) error {
	reader := bufio.NewReader(from)
	line := lineOf(pod)
	for {
		text, err := reader.ReadString('\n')
		if text != "" {
			stamp, rest, _ := strings.Cut(strings.TrimSuffix(text, "\n"), " ")
			if at, parseErr := time.Parse(time.RFC3339Nano, stamp); parseErr == nil {
				line.Time, line.Text = at, rest
				if err := take(line); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
