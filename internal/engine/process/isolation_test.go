package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
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
	"github.com/springtide/springtide/internal/engine/process/embedded"
)

// running gives an engine that runs until the test ends.
func runningEngine(t testing.TB, change func(*Options)) *Engine {
	t.Helper()
	options := Options{
		Data: t.TempDir(), Router: &enginetest.Router{}, Init: initProgram,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&options)
	}
	e, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		for _, id := range e.Groups() {
			if err := e.Remove(context.Background(), id); err != nil {
				t.Error(err)
			}
		}
		cancel()
		<-ended
	})
	return e
}

// exec runs a command as a task and gives its exit and its output.
func execute(t *testing.T, e *Engine, id, command string, limits springtide.Limits) (springtide.Exit, string) {
	t.Helper()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "file"), []byte("of the release"), 0o666); err != nil {
		t.Fatal(err)
	}
	task := springtide.Task{
		ID: id, Environment: springtide.EnvironmentID{App: "alone", Name: springtide.Production}, Command: command,
		Template: springtide.Template{Root: root, Process: springtide.Process{Limits: limits}}, Timeout: time.Minute,
	}
	exit, err := e.Exec(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := e.Logs(t.Context(), springtide.LogQuery{Task: id})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	output, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return exit, string(output)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func TestAsRootAnAppIsAloneInItsNamespacesAndMayWriteOnlyItsHome(t *testing.T) {
	needRoot(t)
	e := runningEngine(t, nil)
	t.Log(e.Isolation())
	if !e.Isolation().PIDNamespace {
		t.Skip("the machine has no namespaces for us")
	}
	for n, command := range []string{
		`test "$(cat file)" = "of the release"`,
		`! echo x > file`,
		`! touch other`,
		`echo x > "$HOME/mine" && echo x > "$TMPDIR/mine"`,
		`test "$(id -u)" -ge 60000 && test "$(id -G)" = "$(id -u)"`,
		`grep -q "NoNewPrivs:.1" /proc/self/status && grep -q "CapEff:.0000000000000000" /proc/self/status`,
		`test "$(ls -d /proc/[0-9]* | wc -l)" -lt 8`,
		`! ls ` + filepath.Join(e.options.Data, "logs"),
		`test "$(hostname)" = "task-8"`,
	} {
		if exit, output := execute(t, e, "task-"+strconv.Itoa(n), command, springtide.Limits{}); exit.Code != 0 {
			t.Errorf("%s: %s\n%s", command, exit.Reason, output)
		}
	}
}

func TestAMachineThatIsSlowGivesNoLessIsolation(t *testing.T) {
	needRoot(t)
	program, err := initProgram, error(nil)
	if program == nil {
		program, err = embedded.Init()
	}
	quick := filepath.Join(t.TempDir(), "tide-init")
	if err := errors.Join(err, os.WriteFile(quick, program, 0o755)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, program := range [][]byte{program, []byte("#!/bin/sh\nsleep 6\nexec '" + quick + "' \"$@\"\n")} {
		e, err := New(Options{Data: t.TempDir(), Router: &enginetest.Router{}, Init: program, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		e.finish()
		got = append(got, e.Isolation().String())
	}
	if got[0] != got[1] {
		t.Errorf("the isolation is %s, and where an init takes its time %s", got[0], got[1])
	}
}

func TestAsRootInstancesReachTheMachineButNotEachOther(t *testing.T) {
	needRoot(t)
	e := runningEngine(t, nil)
	if e.Isolation().Network != networkNamespace {
		t.Skip("the machine has no network namespaces for us")
	}
	group := crashGroup(1)
	group.Template.Process = springtide.Process{
		Command: `exec python3 -m http.server --bind 0.0.0.0 "$PORT"`, HTTP: true,
		Health: springtide.Health{TCP: true}, Grace: time.Second,
	}
	group.Template.Env = map[string]string{"PATH": "/usr/bin:/bin"}
	if _, err := os.Stat("/usr/bin/python3"); err != nil {
		t.Skip("needs python3")
	}
	if err := e.Apply(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	address := awaitReady(t, e, group)[0].Address
	conn, err := net.DialTimeout("tcp", address, 20*time.Second)
	if err != nil {
		t.Errorf("the machine does not reach it: %v", err)
	} else {
		conn.Close()
	}
	host, port, _ := net.SplitHostPort(address)
	connect := `python3 -c 'import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), int(sys.argv[3]))' `
	if exit, _ := execute(t, e, "peer", connect+host+" "+port+" 1", springtide.Limits{}); exit.Code == 0 {
		t.Error("another instance reaches it")
	}
	listener, err := net.Listen("tcp", e.network.address(1).String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	host, port, _ = net.SplitHostPort(listener.Addr().String())
	if exit, output := execute(t, e, "machine", connect+host+" "+port+" 20", springtide.Limits{}); exit.Code != 0 {
		t.Errorf("the machine is not reached: %s", output)
	}
}

func awaitReady(t *testing.T, e *Engine, group springtide.Group) []springtide.Instance {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	var last springtide.Snapshot
	for snapshot := range e.Watch(ctx) {
		last = snapshot
		own := snapshot.Of(group.ID)
		if len(own) == group.Replicas && !slices.ContainsFunc(own, func(i springtide.Instance) bool { return i.State != springtide.InstanceReady }) {
			return own
		}
	}
	t.Fatalf("not ready: %+v", last)
	return nil
}

func TestTooMuchMemoryIsToldAsTheReason(t *testing.T) {
	needRoot(t)
	e := runningEngine(t, nil)
	if !e.Isolation().MemoryLimit {
		t.Skip("the machine has no memory limits for us")
	}
	exit, output := execute(t, e, "hungry", `head -c 200000000 /dev/zero | tail`, springtide.Limits{Memory: 32 << 20})
	if exit.Reason != "killed: out of memory (limit 32 MiB)" {
		t.Errorf("%+v %s", exit, output)
	}
	// The init is not part of what is limited: it still keeps the output.
	exit, output = execute(t, e, "talkative", `echo before; python3 -c 'x = "a" * 200000000'`, springtide.Limits{Memory: 32 << 20})
	if exit.Code == 0 || !strings.Contains(output, "before") {
		t.Errorf("%+v %s", exit, output)
	}
}

func TestAForkBombEndsAtItsLimit(t *testing.T) {
	needRoot(t)
	e := runningEngine(t, nil)
	if !e.Isolation().ProcessLimit {
		t.Skip("the machine has no limits on processes for us")
	}
	exit, _ := execute(t, e, "bomb", `i=0; while [ $i -lt 50 ]; do sleep 30 & i=$((i+1)); done; exit 0`, springtide.Limits{Processes: 10})
	if exit.Code == 0 {
		t.Error("fifty processes were started where ten are allowed")
	}
}

func TestABuildIsLimitedAndLeavesNothing(t *testing.T) {
	needRoot(t)
	groups := findCgroups("tidetestlimiter")
	if !groups.has("memory") {
		t.Skip("the machine has no memory limits for us")
	}
	defer groups.removeAll()
	limiter := &Limiter{groups: groups}
	cmd := exec.Command("sh", "-c", "setsid sleep 1234 & head -c 200000000 /dev/zero | tail")
	stop, err := limiter.Start(cmd, "build", springtide.Limits{Memory: 32 << 20, CPU: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	if own, err := os.ReadFile("/proc/self/cgroup"); err != nil || strings.Contains(string(own), "tidetestlimiter") {
		t.Errorf("this process is in the group: %s, %v", own, err)
	}
	_ = cmd.Wait()
	if !stop() {
		t.Error("it was not told that memory ran out")
	}
	if names := groups.names(); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
}

func TestABuildGivesWayToAnInstanceThatWantsTheProcessor(t *testing.T) {
	needRoot(t)
	groups := findCgroups("tidetestgiveway")
	if !groups.has("cpu") {
		t.Skip("the machine has no processor shares for us")
	}
	t.Cleanup(groups.removeAll)
	const busy = "while :; do :; done" // both on one processor
	instance, err := groups.create("instance", springtide.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		instance.kill()
		instance.remove()
	})
	serving := exec.Command("taskset", "-c", "0", "sh", "-c", busy)
	serving.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := instance.start(serving); err != nil {
		t.Fatal(err)
	}
	building := exec.Command("taskset", "-c", "0", "sh", "-c", busy)
	stop, err := (&Limiter{groups: groups}).Start(building, "build", springtide.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop() })
	poll(t, "a second of the processor, which is shared", func() bool {
		var nanoseconds int64
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", serving.Process.Pid))
		_, _ = fmt.Sscan(string(data), &nanoseconds)
		return time.Duration(nanoseconds) > time.Second
	})
	_ = syscall.Kill(serving.Process.Pid, syscall.SIGKILL)
	stop()
	_, _ = serving.Wait(), building.Wait() // both were killed
	if served, built := serving.ProcessState.UserTime(), building.ProcessState.UserTime(); served < 4*built {
		t.Errorf("the instance had %s of the processor, the build %s", served, built)
	}
}

func TestAShellRunsWhereTheInstanceRuns(t *testing.T) {
	e := runningEngine(t, nil)
	group := crashGroup(1)
	if err := e.Apply(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	instance := awaitReady(t, e, group)[0]
	cmd, err := e.ShellCommand(instance.ID, `echo "$TIDE_INSTANCE" $(id -u) $(pwd)`)
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.CombinedOutput()
	fields := strings.Fields(string(output))
	if err != nil || len(fields) != 3 || fields[0] != string(instance.ID) || filepath.Base(fields[2]) != homeFolder {
		t.Errorf("%s, %v", output, err)
	}
	if e.Isolation().UserPerApp && fields[1] != "60000" {
		t.Errorf("it runs as user %s", fields[1])
	}
	if _, err := e.ShellCommand("nobody-1-x", "true"); springtide.KindOf(err) != springtide.NotFound {
		t.Error(err)
	}
}

func TestMuchOutputStaysWithinItsBounds(t *testing.T) {
	e := runningEngine(t, func(o *Options) { o.LogSize = 64 << 10 })
	exit, _ := execute(t, e, "loud", `i=0; while [ $i -lt 20000 ]; do echo "line $i of many"; i=$((i+1)); done; head -c 300000 /dev/zero | tr '\0' x; echo; echo the end`, springtide.Limits{})
	if exit.Code != 0 {
		t.Fatal(exit)
	}
	var total int64
	for _, name := range []string{"output.log", "output.log.1"} {
		info, err := os.Stat(filepath.Join(e.options.Data, "tasks", "loud", name))
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	// One batch may exceed a file that was empty.
	if total > 2*(64<<10)+pendingInit {
		t.Errorf("%d bytes are kept", total)
	}
	if lines := lastLines(filepath.Join(e.options.Data, "tasks", "loud"), "output.log", time.Unix(1, 0), 1); !slices.Equal(lines, []string{"the end"}) {
		t.Errorf("%q", lines)
	}
}

// pendingInit is how much output an init lets wait for the disk.
const pendingInit = 256 << 10

func TestAFullDiskLosesOutputButNeverBlocksTheApp(t *testing.T) {
	needRoot(t)
	e := runningEngine(t, nil)
	logs := filepath.Join(e.options.Data, "logs")
	if err := syscall.Mount("tmpfs", logs, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(logs, syscall.MNT_DETACH) })
	group := crashGroup(1)
	group.Template.Process.Command = `i=0; while [ $i -lt 5000 ]; do echo "line $i of many that fill the disk"; i=$((i+1)); done
		touch "$HOME/through"; while test -e "$HOME/through"; do sleep 0.05; done; echo "room again"; exec sleep 86399`
	if err := e.Apply(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	instance := awaitReady(t, e, group)[0]
	through := filepath.Join(e.options.Data, "instances", string(instance.ID), homeFolder, "through")
	poll(t, "the end of the output", func() bool { _, err := os.Stat(through); return err == nil })
	place, name := e.logPlace(spec{Instance: instance.ID, Group: group})
	if err := syscall.Mount("", logs, "", syscall.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(through); err != nil {
		t.Fatal(err)
	}
	poll(t, "what was said once there was room", func() bool {
		return slices.Equal(lastLines(place, name, time.Unix(1, 0), 1), []string{"room again"})
	})
	data, err := os.ReadFile(filepath.Join(place, name))
	if err != nil || !strings.Contains(string(data), " lines of output were lost: no space left on device") {
		t.Errorf("the loss is not told: %v", err)
	}
}

func poll(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

// TestAnInitCostsLittle prints what an idle init costs.
func TestAnInitCostsLittle(t *testing.T) {
	var many Grant
	for n := range 20 {
		value := fmt.Appendf(nil, "secret number %d with / and + in it, and more", n)
		many.Hide = append(many.Hide, value)
		many.Credentials = map[string][]byte{"KEY": value}
	}
	for name, grant := range map[string]Grant{"nothing": {}, "twenty secrets": many} {
		t.Run(name, func(t *testing.T) { initCosts(t, runningEngine(t, granting(grant))) })
	}
}

func initCosts(t *testing.T, e *Engine) {
	group := crashGroup(3)
	if err := e.Apply(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	instances := awaitReady(t, e, group)
	var worst int
	for _, instance := range instances {
		data, err := os.ReadFile("/proc/" + strconv.Itoa(instance.PID) + "/smaps_rollup")
		if err != nil {
			t.Skip(err)
		}
		for line := range strings.Lines(string(data)) {
			if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
				kib, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
				worst = max(worst, kib)
			}
		}
	}
	t.Logf("PSS of one init, three running: %d KiB", worst)
	if worst > 4096 {
		t.Errorf("an init costs %d KiB", worst)
	}
}
