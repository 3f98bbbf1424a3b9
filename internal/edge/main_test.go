package edge

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/springtide/springtide"
)

// TestMain lets the test binary be an edge process.
func TestMain(m *testing.M) {
	if folder := os.Getenv("EDGE_TEST_DATA"); folder != "" {
		if err := runInherited(folder); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func runInherited(folder string) error {
	listeners, err := InheritedListeners(os.Getenv)
	if err != nil {
		return err
	}
	ready, err := InheritedReady(os.Getenv)
	if err != nil {
		return err
	}
	return Main(context.Background(), Options{DataFolder: folder, Listeners: listeners, Ready: ready})
}

// startProcess starts an edge as the supervisor does.
func startProcess(t *testing.T, e *testEdge) *exec.Cmd {
	t.Helper()
	ready, said, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(executable)
	command.Env = append(os.Environ(), "EDGE_TEST_DATA="+e.folder, "TIDE_LISTENERS=https=3,http=4,quic=5", "TIDE_READY=6")
	command.ExtraFiles = []*os.File{duplicate(t, e.https), duplicate(t, e.http), copied(t, e.udp.File), said}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	for _, file := range command.ExtraFiles {
		file.Close()
	}
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
	})
	if line, err := bufio.NewReader(ready).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the edge said %q, %v", line, err)
	}
	return command
}

func TestTheSignalsOfTheProcessAreHeeded(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(eventInstance(t, "web-1-a", nil)))
	e.process.cancel()
	<-e.process.ended
	process := startProcess(t, e)
	_, stream := openEvents(t, e.client(t, true))

	process.Process.Signal(syscall.SIGINT)
	process.Process.Signal(syscall.SIGTERM)
	process.Process.Signal(syscall.SIGTERM)
	e.control.await(t, "the edge to be leaving", func(reports []springtide.EdgeReport) bool { return reports[len(reports)-1].Leaving })
	process.Process.Signal(syscall.SIGQUIT)
	if rest, err := io.ReadAll(stream); err != nil {
		t.Errorf("the stream ended with %q, %v", rest, err)
	}
	if err := process.Wait(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(e.folder, "run", "edge-*")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
}

func TestAnIdleProcessUsesNoTime(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	e.process.cancel()
	<-e.process.ended
	process := startProcess(t, e)
	client := &http.Client{Transport: e.transport(t, true)}
	get(t, client, "/")
	used := func() int {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		user, err1 := strconv.Atoi(fields[11])
		system, err2 := strconv.Atoi(fields[12])
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		return user + system // in hundredths of a second
	}
	eventually(t, "two idle seconds of at most two hundredths", func() bool { // what the request left behind is over then
		before := used()
		time.Sleep(2 * time.Second)
		return used()-before <= 2
	})
}
