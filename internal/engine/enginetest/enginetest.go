package enginetest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

// Run runs the suite.
func Run(t *testing.T, factory Factory) {
	for name, test := range map[string]func(*bench){
		"replicas come up and are given requests":                  replicasComeUp,
		"the environment is the app's and the platform's":          environmentIsSet,
		"applying again changes nothing":                           applyIsIdempotent,
		"a group grows and shrinks, and zero keeps it":             growsAndShrinks,
		"an instance is let go before it is told to stop":          letGoComesFirst,
		"the least loaded instance goes first":                     leastLoadedGoesFirst,
		"one that ignores SIGTERM is killed after its grace":       stubbornIsKilled,
		"removing leaves nothing":                                  removeLeavesNothing,
		"a crash is told and mended":                               crashIsMended,
		"a crash loop is told, with the reason and the last lines": crashLoopIsTold,
		"a command that does not exist is told":                    missingCommandIsTold,
		"one that never listens is told":                           muteIsTold,
		"one that listens elsewhere is told":                       elsewhereIsTold,
		"an unhealthy instance is replaced":                        unhealthyIsReplaced,
		"what runs is adopted after a restart":                     adoption,
		"what crashed during a restart is told and mended":         crashDuringRestart,
		"a retirement goes on after a restart":                     retirementAfterRestart,
		"killing the command is a crash":                           killCommand,
		"killing the init leaves nothing of the instance":          killInit,
		"a worker without a probe is ready when it runs":           workerIsReady,
		"tasks give their exit status":                             taskStatus,
		"a task is run once, however often it is asked for":        taskOnce,
		"a task ends at its timeout":                               taskTimeout,
		"a task goes on over a restart":                            taskOverRestart,
		"a task that was killed with its init is not run again":    taskUnknown,
		"logs are kept, selected and followed":                     logs,
		"output of an instance is there after it is gone":          logsOutlive,
		"a slow watcher sees the newest state only":                watchCoalesces,
		"what is not possible is refused":                          refusals,
	} {
		t.Run(name, func(t *testing.T) { test(newBench(t, factory)) })
	}
}

func replicasComeUp(b *bench) {
	group := b.group("web", 3)
	b.apply(group)
	seen := map[string]bool{}
	for _, i := range b.untilReady(group) {
		if i.Ready.IsZero() || i.Started.IsZero() || i.Ordered.IsZero() || (i.PID == 0) != (b.Remote != nil) || i.Reason != "" {
			b.Errorf("%+v", i)
		}
		if id := b.get(i, "/env?name=TIDE_INSTANCE"); id != string(i.ID) {
			b.Errorf("%s answers at the address of %s", id, i.ID)
		}
		seen[i.Address] = true
	}
	if len(seen) != 3 {
		b.Errorf("addresses: %v", seen)
	}
}

func environmentIsSet(b *bench) {
	group := b.group("web", 1)
	b.apply(group)
	instance := b.untilReady(group)[0]
	for name, want := range map[string]string{
		"TIDE_APP": "quiz", "TIDE_ENV": "production", "TIDE_RELEASE": "3",
		"GREETING": "hello world", "PORT": instance.Address[strings.LastIndexByte(instance.Address, ':')+1:],
	} {
		if got := b.get(instance, "/env?name="+name); got != want {
			b.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"HOME", "TMPDIR", "PATH", "LANG", "HOST"} {
		if b.get(instance, "/env?name="+name) == "" {
			b.Errorf("%s is not set", name)
		}
	}
}

func applyIsIdempotent(b *bench) {
	group := b.group("web", 2)
	b.apply(group)
	before := b.untilReady(group)
	for range 5 {
		b.apply(group)
	}
	changed := group
	changed.Template.Process.Command = "false"
	b.apply(changed) // A group keeps its template.
	after := b.untilReady(group)
	if ids(before) != ids(after) {
		b.Errorf("%s became %s", ids(before), ids(after))
	}
}

func ids(instances []springtide.Instance) string {
	var all []string
	for _, i := range instances {
		all = append(all, fmt.Sprint(i.ID, " ", i.PID, " ", i.Restarts))
	}
	return strings.Join(all, ", ")
}

func growsAndShrinks(b *bench) {
	group := b.group("web", 1)
	for _, group.Replicas = range []int{1, 3, 2, 0, 1} {
		b.apply(group)
		b.untilReady(group)
	}
}

func letGoComesFirst(b *bench) {
	group := b.group("web", 1)
	group.Template.Process.Grace = patience // a busy cluster tells late that it is gone, and streams are closed at the end of it
	b.apply(group)
	instance := b.untilReady(group)[0]
	released := make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	defer release()
	asked := make(chan string, 1)
	b.router.onLetGo(func(ctx context.Context, id springtide.InstanceID) error {
		// Whether SIGTERM has come is asked at the very end of letting go.
		select {
		case <-released:
		case <-ctx.Done():
		}
		terminated, err := get(instance.Address, "/terminated")
		asked <- fmt.Sprintf("%s %s %v", id, terminated, err)
		return nil
	})
	group.Replicas = 0
	b.apply(group)
	b.until("retiring", func(s springtide.Snapshot) bool {
		own := s.Of(group.ID)
		return len(own) == 1 && own[0].State == springtide.InstanceRetiring
	})
	release()
	b.untilReady(group)
	if got, want := <-asked, string(instance.ID)+" false <nil>"; got != want {
		b.Errorf("when it was let go: %q, want %q", got, want)
	}
	if got := b.router.recorded(); !slices.Equal(got, []string{"let go " + string(instance.ID)}) {
		b.Errorf("the edges were asked: %q", got)
	}
}

func leastLoadedGoesFirst(b *bench) {
	group := b.group("web", 3)
	b.apply(group)
	instances := b.untilReady(group)
	b.router.setLoad(instances[0].ID, 5)
	b.router.setLoad(instances[1].ID, 1)
	b.router.setLoad(instances[2].ID, 9)
	group.Replicas = 2
	b.apply(group)
	left := b.untilReady(group)
	if ids(left) != ids([]springtide.Instance{instances[0], instances[2]}) {
		b.Errorf("of %s there are left %s", ids(instances), ids(left))
	}
}

func stubbornIsKilled(b *bench) {
	group := b.group("stubborn", 1)
	group.Template.Process.Grace = 300 * time.Millisecond
	b.apply(group)
	instance := b.untilReady(group)[0]
	begun := time.Now()
	group.Replicas = 0
	b.apply(group)
	b.untilReady(group)
	if took := time.Since(begun); took < 300*time.Millisecond {
		b.Errorf("it was killed after %s, before its grace was over", took)
	}
	want := []string{"let go " + string(instance.ID), "close streams " + string(instance.ID)}
	if got := b.router.recorded(); !slices.Equal(got, want) {
		b.Errorf("the edges were asked: %q, want %q", got, want)
	}
	if b.alive(instance) {
		b.Error("it is still there")
	}
}

func removeLeavesNothing(b *bench) {
	group := b.group("web", 2)
	b.apply(group)
	instances := b.untilReady(group)
	if err := b.Engine.Remove(b.Context(), group.ID); err != nil {
		b.Fatal(err)
	}
	for _, i := range instances {
		if b.alive(i) {
			b.Errorf("%s is still there", i.ID)
		}
		if _, err := getWithin(time.Second, i.Address, "/"); err == nil {
			b.Errorf("%s still answers", i.ID)
		}
	}
	b.until("nothing", func(s springtide.Snapshot) bool { return len(s.Instances) == 0 })
	if err := b.Engine.Remove(b.Context(), group.ID); err != nil {
		b.Errorf("removing it again: %v", err)
	}
}

func crashIsMended(b *bench) {
	group := b.group("web", 1)
	b.apply(group)
	before := b.untilReady(group)[0]
	_, _ = get(before.Address, "/crash")
	crashed := b.until("a crash", func(s springtide.Snapshot) bool {
		return s.Instances[0].State == springtide.InstanceCrashed || s.Instances[0].Restarts > 0
	}).Instances[0]
	if len(crashed.LastLines) == 0 || crashed.LastLines[len(crashed.LastLines)-1] != "the last words" {
		b.Errorf("last lines: %q", crashed.LastLines)
	}
	if crashed.State == springtide.InstanceCrashed && crashed.Reason != "exit status 7" {
		b.Errorf("reason: %q", crashed.Reason)
	}
	after := b.until("another start", func(s springtide.Snapshot) bool {
		return s.Instances[0].Restarts == 1 && s.Instances[0].State == springtide.InstanceReady
	}).Instances[0]
	if after.ID != before.ID || (after.PID == before.PID) != (b.Remote != nil) || after.CrashLoop {
		b.Errorf("%+v became %+v", before, after)
	}
}

func crashLoopIsTold(b *bench) {
	group := b.group("broken", 1)
	b.apply(group)
	instance := b.until("a crash loop", func(s springtide.Snapshot) bool {
		return len(s.Instances) == 1 && s.Instances[0].CrashLoop
	}).Instances[0]
	if instance.Reason != "exit status 3" || len(instance.LastLines) != 20 || instance.LastLines[19] != "complaint 29" {
		b.Errorf("%+v", instance)
	}
}

func missingCommandIsTold(b *bench) {
	group := b.group("web", 1)
	group.Template.Process.Command = "./bin/web --listen"
	b.apply(group)
	b.until("the reason", func(s springtide.Snapshot) bool {
		return len(s.Instances) == 1 && s.Instances[0].Reason == "command not found: ./bin/web"
	})
}

func muteIsTold(b *bench) {
	group := b.group("mute", 1)
	group.Template.Process.Health.Start = b.short()
	b.apply(group)
	b.until("the reason", func(s springtide.Snapshot) bool {
		return len(s.Instances) == 1 && strings.HasPrefix(s.Instances[0].Reason, "did not listen on $PORT") &&
			strings.HasSuffix(s.Instances[0].Reason, "within "+b.short().String())
	})
}

func elsewhereIsTold(b *bench) {
	group, reason := b.group("elsewhere", 1), "not on $PORT ("
	if b.Remote != nil { // only that nothing is there can be seen
		group.Template.Process.Health.Start, reason = b.short(), "did not listen on $PORT ("
	}
	b.apply(group)
	b.until("the reason", func(s springtide.Snapshot) bool {
		return len(s.Instances) == 1 && strings.Contains(s.Instances[0].Reason, reason)
	})
}

func unhealthyIsReplaced(b *bench) {
	group := b.group("web", 2)
	b.apply(group)
	instances := b.untilReady(group)
	sick := instances[0]
	seen := make(chan struct{})
	release := sync.OnceFunc(func() { close(seen) })
	defer release()
	b.router.onLetGo(func(ctx context.Context, _ springtide.InstanceID) error {
		select {
		case <-seen:
		case <-ctx.Done():
		}
		return nil
	})
	b.get(sick, "/fail")
	// Whoever looks seldom sees it retire, and still why.
	b.until("an unhealthy instance", func(s springtide.Snapshot) bool {
		return slices.ContainsFunc(s.Instances, func(i springtide.Instance) bool {
			return i.ID == sick.ID && i.Reason != "" && (i.State == springtide.InstanceUnhealthy || i.State == springtide.InstanceRetiring)
		})
	})
	release()
	b.until("a replacement", func(s springtide.Snapshot) bool {
		return len(s.Instances) == 2 && allReady(s.Instances) &&
			!slices.ContainsFunc(s.Instances, func(i springtide.Instance) bool { return i.ID == sick.ID })
	})
}

func adoption(b *bench) {
	group := b.group("web", 2)
	b.apply(group)
	before := b.untilReady(group)
	b.Engine = b.Restart(nil)
	for snapshot := range b.Engine.Watch(b.Context()) {
		if own := snapshot.Of(group.ID); ids(own) != ids(before) || !allReady(own) {
			b.Fatalf("the first snapshot after a restart: %+v", own)
		}
		break
	}
	b.apply(group)
	if after := b.untilReady(group); ids(after) != ids(before) || after[0].Restarts != 0 {
		b.Errorf("%s became %s", ids(before), ids(after))
	}
	group.Replicas = 0
	b.apply(group)
	b.untilReady(group)
	for _, i := range before {
		if b.alive(i) {
			b.Errorf("%s is still there", i.ID)
		}
	}
}

func crashDuringRestart(b *bench) {
	group := b.group("web", 1)
	b.apply(group)
	before := b.untilReady(group)[0]
	b.Engine = b.Restart(func() {
		_, _ = get(before.Address, "/crash")
		b.poll("its end", func() bool { return !b.alive(before) })
	})
	for snapshot := range b.Engine.Watch(b.Context()) {
		own := snapshot.Of(group.ID)
		if b.Remote != nil && len(own) == 1 && own[0].Restarts == 1 {
			break // it was mended meanwhile
		}
		if len(own) != 1 || own[0].State != springtide.InstanceCrashed || own[0].Reason != "exit status 7" {
			b.Fatalf("the first snapshot after a restart: %+v", own)
		}
		break
	}
	b.apply(group)
	after := b.untilReady(group)[0]
	if after.ID != before.ID || after.Restarts != 1 {
		b.Errorf("%+v became %+v", before, after)
	}
}

func retirementAfterRestart(b *bench) {
	group := b.group("web", 1)
	b.apply(group)
	instance := b.untilReady(group)[0]
	b.router.onLetGo(func(ctx context.Context, _ springtide.InstanceID) error {
		<-ctx.Done()
		return ctx.Err()
	})
	group.Replicas = 0
	b.apply(group)
	retiring := func(s springtide.Snapshot) bool {
		return len(s.Instances) == 1 && s.Instances[0].State == springtide.InstanceRetiring
	}
	b.until("retiring", retiring)
	b.Engine = b.Restart(nil)
	for snapshot := range b.Engine.Watch(b.Context()) {
		if !retiring(snapshot) || !b.alive(instance) {
			b.Fatalf("the first snapshot after a restart: %+v", snapshot)
		}
		break
	}
	b.router.onLetGo(nil)
	b.apply(group)
	b.untilReady(group)
	if b.alive(instance) {
		b.Error("it is still there")
	}
}

func killCommand(b *bench) {
	group := b.group("web", 1)
	b.apply(group)
	before := b.untilReady(group)[0]
	if b.Remote != nil {
		b.Remote.Kill(before)
	} else {
		for _, pid := range children(before.PID) {
			kill(pid)
		}
	}
	b.until("another start", func(s springtide.Snapshot) bool {
		i := s.Instances[0]
		return i.ID == before.ID && i.Restarts == 1 && i.State == springtide.InstanceReady
	})
}

func killInit(b *bench) {
	group := b.group("web", 1)
	if b.Remote != nil {
		b.loseInstance(group)
		return
	}
	// The command has a descendant that tries to get away.
	group.Template.Process.Command = "setsid sleep 1000 & exec ./app"
	b.apply(group)
	before := b.untilReady(group)[0]
	left := children(before.PID)
	for _, pid := range children(before.PID) {
		left = append(left, children(pid)...)
	}
	if len(left) < 2 {
		b.Fatalf("processes: %v", left)
	}
	kill(before.PID)
	b.until("another start", func(s springtide.Snapshot) bool {
		return s.Instances[0].Restarts == 1 && s.Instances[0].State == springtide.InstanceReady
	})
	for _, pid := range left {
		if alive(pid) {
			b.Errorf("process %d outlived its init", pid)
		}
	}
}

// loseInstance is what there is of killInit on other machines.
func (b *bench) loseInstance(group springtide.Group) {
	b.Helper()
	b.apply(group)
	before := b.untilReady(group)[0]
	b.Remote.Lose(string(before.ID))
	b.until("another instance", func(s springtide.Snapshot) bool {
		return len(s.Instances) == 1 && allReady(s.Instances) && s.Instances[0].ID != before.ID
	})
	b.poll("its end", func() bool { return !b.alive(before) })
}

func workerIsReady(b *bench) {
	group := b.group("mute", 1)
	group.ID.Process = "worker"
	group.Template.Process.HTTP = false
	group.Template.Process.Health = springtide.Health{}
	b.apply(group)
	if instance := b.untilReady(group)[0]; instance.Address != "" {
		b.Errorf("%+v", instance)
	}
}

func taskStatus(b *bench) {
	for command, want := range map[string]springtide.Exit{
		"true":                    {Code: 0, Reason: "exit status 0"},
		"exit 3":                  {Code: 3, Reason: "exit status 3"},
		"kill -9 $$":              {Code: 137, Reason: "killed by SIGKILL"},
		"./missing":               {Code: 127, Reason: "command not found: ./missing"},
		`test "$TIDE_APP" = quiz`: {Code: 0, Reason: "exit status 0"},
		"echo x > $HOME/y; cat ./app > /dev/null && test -s $HOME/y": {Code: 0, Reason: "exit status 0"},
	} {
		id := "task-" + strconv.Itoa(len(command))
		exit, err := b.Engine.Exec(b.Context(), b.task(id, command))
		if err != nil || exit != want {
			b.Errorf("%s: %+v, %v, want %+v; its output: %v", command, exit, err, want, b.lines(springtide.LogQuery{Task: id}))
		}
	}
}

func taskOnce(b *bench) {
	task := b.task("once", "echo ran; sleep 0.3; exit 5")
	results := make(chan string, 3)
	for range 3 {
		go func() {
			exit, err := b.Engine.Exec(b.Context(), task)
			results <- fmt.Sprint(exit.Code, err)
		}()
	}
	for range 3 {
		if got := <-results; got != "5 <nil>" {
			b.Error(got)
		}
	}
	if exit, err := b.Engine.Exec(b.Context(), task); err != nil || exit.Code != 5 {
		b.Errorf("later: %+v, %v", exit, err)
	}
	if lines := b.lines(springtide.LogQuery{Task: "once"}); len(lines) != 1 || lines[0].Text != "ran" {
		b.Errorf("its output: %+v", lines)
	}
	task.Command = "true"
	if _, err := b.Engine.Exec(b.Context(), task); springtide.KindOf(err) != springtide.Conflict {
		b.Errorf("another command under the same ID: %v", err)
	}
}

func taskTimeout(b *bench) {
	task := b.task("slow", "sleep 1000")
	task.Timeout = 300 * time.Millisecond
	exit, err := b.Engine.Exec(b.Context(), task)
	if want := (springtide.Exit{Code: 143, Reason: "timed out after 300ms"}); err != nil || exit != want {
		b.Errorf("%+v, %v, want %+v", exit, err, want)
	}
}

func taskOverRestart(b *bench) {
	// Where it cannot be told to end it does after ten seconds, in which it is let go of.
	task := b.task("long", "echo ran; until test -e go || test $((n=n+1)) -gt 200; do sleep 0.05; done; exit 6")
	ctx, cancel := context.WithCancel(b.Context())
	left := make(chan error, 1)
	go func() {
		_, err := b.Engine.Exec(ctx, task)
		left <- err
	}()
	b.poll("output", func() bool { return len(b.lines(springtide.LogQuery{Task: "long"})) == 1 })
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		b.Errorf("letting go of a task: %v", err)
	}
	b.Engine = b.Restart(nil)
	if b.Remote == nil {
		if err := os.WriteFile(filepath.Join(b.root, "go"), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	if exit, err := b.Engine.Exec(b.Context(), task); err != nil || exit.Code != 6 {
		b.Errorf("after the restart: %+v, %v", exit, err)
	}
	if lines := b.lines(springtide.LogQuery{Task: "long"}); len(lines) != 1 {
		b.Errorf("its output: %+v", lines)
	}
	b.Engine = b.Restart(nil)
	if exit, err := b.Engine.Exec(b.Context(), task); err != nil || exit.Code != 6 {
		b.Errorf("after another restart: %+v, %v", exit, err)
	}
}

func taskUnknown(b *bench) {
	// The grandparent of the command's shell's child is the init, whatever the
	// PIDs are called in its namespace: it is found from outside.
	task := b.task("lost", "echo ran; sleep 977")
	result := make(chan error, 1)
	go func() {
		_, err := b.Engine.Exec(b.Context(), task)
		result <- err
	}()
	b.poll("output", func() bool { return len(b.lines(springtide.LogQuery{Task: "lost"})) == 1 })
	if b.Remote != nil {
		b.Remote.Lose(task.ID)
	}
	for _, pid := range children(selfPID()) {
		if name := commandLine(pid); strings.Contains(name, "tide-init") && strings.Contains(name, "lost") {
			kill(pid)
		}
	}
	if err := <-result; springtide.KindOf(err) != springtide.Failed {
		b.Errorf("%v", err)
	}
	b.Engine = b.Restart(nil)
	if _, err := b.Engine.Exec(b.Context(), task); springtide.KindOf(err) != springtide.Failed {
		b.Errorf("after a restart: %v", err)
	}
	if lines := b.lines(springtide.LogQuery{Task: "lost"}); len(lines) != 1 && b.Remote == nil || len(lines) > 1 {
		b.Errorf("its output: %+v", lines)
	}
}

// lines reads what a query gives.
func (b *bench) lines(query springtide.LogQuery) []springtide.LogLine {
	b.Helper()
	reader, err := b.Engine.Logs(b.Context(), query)
	if springtide.KindOf(err) == springtide.NotFound {
		return nil
	}
	if err != nil {
		b.Fatal(err)
	}
	defer reader.Close()
	data, err := io.ReadAll(reader)
	if err != nil {
		b.Fatal(err)
	}
	var lines []springtide.LogLine
	for text := range bytes.Lines(data) {
		var line springtide.LogLine
		if err := json.Unmarshal(text, &line); err != nil {
			b.Fatalf("%q: %v", text, err)
		}
		lines = append(lines, line)
	}
	return lines
}

func logs(b *bench) {
	group := b.group("web", 2)
	b.apply(group)
	instances := b.untilReady(group)
	environment := springtide.LogQuery{Environment: group.ID.Environment}
	said := func(query springtide.LogQuery) string {
		var texts []string
		for _, line := range b.lines(query) {
			if number, ok := strings.CutPrefix(line.Text, "line-"); ok {
				texts = append(texts, number)
			}
		}
		return strings.Join(texts, " ")
	}
	want := ""
	for i := range 10 {
		// Lines bear the time at which they were read: one after the other.
		b.get(instances[i%2], "/say?text=line-"+strconv.Itoa(i))
		want = strings.TrimSpace(want + " " + strconv.Itoa(i))
		b.poll("all lines, in order of time", func() bool { return said(environment) == want })
	}
	one, tail, since, other := environment, environment, environment, environment
	one.Instance = instances[1].ID
	tail.Tail = 3
	all := b.lines(environment)
	since.Since = all[len(all)-2].Time
	other.Process = "worker"
	for _, test := range []struct {
		query springtide.LogQuery
		want  string
	}{{one, "1 3 5 7 9"}, {tail, "7 8 9"}, {since, "8 9"}, {other, ""}} {
		if got := said(test.query); got != test.want {
			b.Errorf("%+v gives %q, want %q", test.query, got, test.want)
		}
	}
	if first := all[0]; first.Text != "begins in mode web" || first.Stream != "stdout" || first.Release != 3 || first.Process != "web" || first.Instance == "" {
		b.Errorf("%+v", first)
	}

	follow := environment
	follow.Tail, follow.Follow = 1, true
	reader, err := b.Engine.Logs(b.Context(), follow)
	if err != nil {
		b.Fatal(err)
	}
	defer reader.Close()
	lines := bufio.NewScanner(reader)
	for i := 9; i < 14; i++ {
		if !lines.Scan() || !strings.Contains(lines.Text(), "line-"+strconv.Itoa(i)) {
			b.Fatalf("followed to %q", lines.Text())
		}
		b.get(instances[0], "/say?text=line-"+strconv.Itoa(i+1))
	}
	_, _ = get(instances[1].Address, "/crash")
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"stream":"tide"`) && strings.Contains(lines.Text(), "exit status 7") {
			return
		}
	}
	b.Error("the platform said nothing about a crash")
}

func logsOutlive(b *bench) {
	group := b.group("web", 1)
	b.apply(group)
	instance := b.untilReady(group)[0]
	if err := b.Engine.Remove(b.Context(), group.ID); err != nil {
		b.Fatal(err)
	}
	var texts []string
	for _, line := range b.lines(springtide.LogQuery{Environment: group.ID.Environment, Instance: instance.ID}) {
		texts = append(texts, line.Text)
	}
	if b.Remote != nil && len(texts) == 0 {
		return
	}
	if !slices.Equal(texts, []string{"begins in mode web", "got SIGTERM"}) {
		b.Errorf("%q", texts)
	}
}

func watchCoalesces(b *bench) {
	group := b.group("web", 1)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	seen := 0
	for snapshot, err := range b.Engine.Watch(ctx) {
		if err != nil {
			b.Fatal(err)
		}
		seen++
		switch seen {
		case 1: // While this one is looked at, much happens.
			b.apply(group)
			b.untilReady(group)
			group.Replicas = 2
			b.apply(group)
			b.untilReady(group)
		case 2:
			if len(snapshot.Instances) != 2 || !allReady(snapshot.Instances) {
				b.Fatalf("not the newest: %+v", snapshot)
			}
			cancel()
		}
	}
	if seen != 2 {
		b.Errorf("%d snapshots", seen)
	}
}

func refusals(b *bench) {
	empty, odd, zero := b.group("web", 1), b.group("web", 1), b.group("web", 1)
	empty.Template.Process.Command = " "
	odd.ID.Environment.App = "../quiz"
	zero.Template.Env = map[string]string{"A": "b\x00c"}
	for _, group := range []springtide.Group{empty, odd, zero} {
		if err := b.Engine.Apply(b.Context(), group); springtide.KindOf(err) != springtide.Invalid {
			b.Errorf("%+v: %v", group, err)
		}
	}
	for _, id := range []string{"", "../x", ".x", "a b"} {
		if _, err := b.Engine.Exec(b.Context(), b.task(id, "true")); springtide.KindOf(err) != springtide.Invalid {
			b.Errorf("task %q: %v", id, err)
		}
	}
}
