package streams

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide/test/story"
)

// mostIdle is what an idle WebSocket may cost the edge without TLS, in bytes, as
// long as its garbage has not been given back.
const mostIdle = 12 << 10

// mostQuiet is what an event stream may cost, on which nothing is said. It has a
// goroutine that waits for its instance.
const mostQuiet = 20 << 10

// settles is for how long an edge may have more.
const settles = 30 * time.Second

func TestAnIdleWebSocketCostsTheEdgeLittle(t *testing.T) {
	size := sizeOf(t)
	process, edge := edgeBeforeApp(t)
	client := &http.Client{Transport: &http.Transport{}}
	first := dial(t, client, "ws://"+edge, 100) // what the edge has once
	before := memory(t, process)
	sockets := dial(t, client, "ws://"+edge, max(size.sockets/size.edges, 1000))
	if each := costOf(t, process, before, len(sockets), settles, mostIdle); each > mostIdle {
		t.Errorf("an idle WebSocket takes %d bytes", each)
	}
	if failed := append(first, sockets...).echo(t.Context(), "still here"); len(failed) > 0 {
		t.Errorf("%d WebSockets are broken; the first: %v", len(failed), failed[0])
	}
}

func TestAQuietEventStreamCostsTheEdgeLittle(t *testing.T) {
	size := sizeOf(t)
	process, edge := edgeBeforeApp(t)
	open := func(n int) {
		t.Helper()
		failed := each(n, func(int) error {
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", edge)
			if err != nil {
				return err
			}
			t.Cleanup(func() { conn.Close() })
			if _, err := fmt.Fprintf(conn, "GET /events HTTP/1.1\r\nHost: %s\r\nUser-Agent: test\r\nAccept: text/event-stream\r\n\r\n", edge); err != nil {
				return err
			}
			heard := bufio.NewReaderSize(conn, 16) // for what is not to be kept
			for said := ""; said != "data: hello\n"; {
				if said, err = heard.ReadString('\n'); err != nil {
					return err
				}
			}
			return nil
		})
		if len(failed) > 0 {
			t.Fatal(failed[0])
		}
	}
	open(100)
	before := memory(t, process)
	streams := max(size.sockets/size.edges, 1000)
	open(streams)
	if each := costOf(t, process, before, streams, settles, mostQuiet); each > mostQuiet {
		t.Errorf("a quiet event stream takes %d bytes", each)
	}
}

// edgeBeforeApp has an edge alone before the app of the WebSockets, and gives its
// process and address.
func edgeBeforeApp(t *testing.T) (process int, edge string) {
	t.Helper()
	origin := story.Address(t)
	edge = story.Address(t)
	serve(t, origin, exec.Command(buildApp(t), "sockets"), "HOST=127.0.0.1", "PORT="+portOf(origin))
	table := filepath.Join(t.TempDir(), "table.json")
	if err := os.WriteFile(table, fmt.Appendf(nil, `{"routes": [{"backends": [%q]}]}`, origin), 0o644); err != nil {
		t.Fatal(err)
	}
	return serve(t, edge, exec.Command(story.Binary(t), "edge", "--table", table, "--listen", "http://"+edge)), edge
}

// costOf gives what each of so many connections costs a process, in bytes, the
// least of what is seen for a while, or until it is little: it gives back what it
// does not need.
func costOf(t *testing.T, process int, before int64, connections int, patience time.Duration, little int64) int64 {
	t.Helper()
	least := memory(t, process)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && least-before > little*int64(connections); time.Sleep(250 * time.Millisecond) {
		least = min(least, memory(t, process))
	}
	each := (least - before) / int64(connections)
	t.Logf("%d idle connections: %.1f MiB became %.1f MiB, %.1f KiB for each", connections, float64(before)/(1<<20), float64(least)/(1<<20), float64(each)/1024)
	return each
}

// memory is the proportional share of a process, in bytes.
func memory(t *testing.T, process int) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(process) + "/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatalf("no Pss in %s", text)
	return 0
}

// serve runs a server for the test, and gives its process when it accepts.
func serve(t *testing.T, address string, command *exec.Cmd, environment ...string) int {
	t.Helper()
	command.Env = append(os.Environ(), environment...)
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill() // unless it ended by itself
		_ = command.Wait()
	})
	story.Eventually(t, "a server at "+address, time.Minute, func() bool {
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return command.Process.Pid
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
