package process

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/enginetest"
)

// controlVariable has the test binary run an engine in the data folder that it
// names, applying ever other numbers of replicas, until it is killed.
const controlVariable = "PROCESSTEST_CONTROL"

func crashGroup(replicas int) springtide.Group {
	return springtide.Group{
		ID: springtide.GroupID{
			Environment: springtide.EnvironmentID{App: "crash", Name: springtide.Production}, Process: "worker", Release: 1,
		},
		Replicas: replicas,
		Template: springtide.Template{Process: springtide.Process{
			Command: "exec sleep 86399", Drain: time.Second, Grace: time.Second,
		}},
	}
}

func runControl(data string) {
	e, err := New(Options{Data: data, Router: &enginetest.Router{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() {
		for {
			if err := e.Apply(context.Background(), crashGroup(rand.IntN(5))); err != nil {
				panic(err)
			}
			time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		}
	}()
	fmt.Println("runs")
	fmt.Println(e.Run(context.Background()))
}

func TestTheControlPlaneMayBeKilledAtAnyInstruction(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	if initProgram != nil {
		t.Skip("the init is not built in")
	}
	data := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for range 25 {
		control := exec.Command(program)
		control.Env = append(os.Environ(), controlVariable+"="+data)
		output, err := control.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := control.Start(); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 5)
		n, _ := output.Read(buffer)
		if !strings.HasPrefix(string(buffer[:n]), "runs") {
			t.Fatalf("%q", buffer[:n])
		}
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
		_ = control.Process.Kill()
		_ = control.Wait()
	}

	e, err := New(Options{Data: data, Router: &enginetest.Router{}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, _ := e.snapshot()
	known := map[int]bool{}
	for _, i := range snapshot.Instances {
		if i.State != springtide.InstanceCrashed && i.PID != 0 {
			known[i.PID] = true
		}
	}
	for _, pid := range initsBelow(data) {
		if !known[pid] {
			t.Errorf("the init %d is nobody's: %+v", pid, snapshot.Instances)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	group := crashGroup(3)
	if err := e.Apply(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	limit, stop := context.WithTimeout(t.Context(), 90*time.Second)
	defer stop()
	for snapshot := range e.Watch(limit) {
		if own := snapshot.Of(group.ID); len(own) == 3 && !slices.ContainsFunc(own, func(i springtide.Instance) bool { return i.State != springtide.InstanceReady }) {
			break
		}
	}
	if n := len(initsBelow(data)); limit.Err() != nil || n != 3 {
		t.Errorf("%d inits live, 3 are wanted", n)
	}
	if err := e.Remove(t.Context(), group.ID); err != nil {
		t.Error(err)
	}
	cancel()
	<-ended
	if left := initsBelow(data); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	folders, err := filepath.Glob(filepath.Join(data, "instances", "worker-*"))
	if err != nil || len(folders) != 0 {
		t.Errorf("left: %v, %v", folders, err)
	}
	if names := e.groups.names(); len(names) != 0 {
		t.Errorf("control groups left: %v", names)
	}
}

// initsBelow finds the inits whose program lies in the data folder.
func initsBelow(data string) []int {
	entries, _ := os.ReadDir("/proc")
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if target, err := os.Readlink("/proc/" + entry.Name() + "/exe"); err == nil && strings.HasPrefix(target, data+"/") {
			found = append(found, pid)
		}
	}
	return found
}

func TestAnInitThatGetsNoOrderStartsNothing(t *testing.T) {
	data := t.TempDir()
	e, err := New(Options{Data: data, Router: &enginetest.Router{}, Init: initProgram, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.finish)
	place := folder(filepath.Join(data, "instances", "web-1-abcde"))
	if err := makeFolder(place); err != nil {
		t.Fatal(err)
	}
	lock, err := place.lock()
	if err != nil {
		t.Fatal(err)
	}
	s := spec{Instance: "web-1-abcde", Group: crashGroup(1), Ordered: time.Now()}
	if err := place.writeSpec(s); err != nil {
		t.Fatal(err)
	}
	pipe, pid, err := e.fork(launch{folder: place, spec: s, isolation: e.isolation, logs: data}, lock)
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if !place.locked() {
		t.Error("the init does not hold the lock")
	}
	pipe.Close() // As if this process had been killed.
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || status.ExitStatus() != 1 {
		t.Errorf("%v, %v", status, err)
	}
	if place.locked() {
		t.Error("the lock is still held")
	}
	if status, ok := place.status(0); !ok || status.Failure == "" {
		t.Errorf("%+v, %v", status, ok)
	}
}
