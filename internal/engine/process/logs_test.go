package process

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/enginetest"
	"github.com/springtide/springtide/internal/engine/process/order"
)

// bare gives an engine without isolation that is not running.
func bare(t *testing.T) *Engine {
	t.Helper()
	e, err := New(Options{
		Data: t.TempDir(), Router: &enginetest.Router{}, Init: initProgram, Plain: true,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// logOf makes the log of an instance, as if it had been started.
func logOf(t *testing.T, e *Engine, id springtide.InstanceID) string {
	t.Helper()
	s := spec{Instance: id, Group: crashGroup(1)}
	logs, name := e.logPlace(s)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeSidecar(logs, s); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(logs, name)
}

func write(t *testing.T, path string, lines ...string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, line := range lines {
		if _, err := file.Write(order.AppendLine(nil, time.Now().UnixNano(), order.Stdout, []byte(line))); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFollowerMissesNothingWhenAFileIsBegunAnew(t *testing.T) {
	e := bare(t)
	path := logOf(t, e, "worker-1-aaaaa")
	e.instances["worker-1-aaaaa"] = &instance{}
	write(t, path, "0")
	reader, err := e.Logs(t.Context(), springtide.LogQuery{Environment: crashGroup(1).ID.Environment, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	decoder := json.NewDecoder(reader)
	next := func(want string) {
		t.Helper()
		var line springtide.LogLine
		if err := decoder.Decode(&line); err != nil || line.Text != want {
			t.Fatalf("%q, %v, want %q", line.Text, err, want)
		}
	}
	next("0")
	for i := range 5 {
		write(t, path, "before "+strconv.Itoa(i))
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		write(t, path, "after "+strconv.Itoa(i))
		next("before " + strconv.Itoa(i))
		next("after " + strconv.Itoa(i))
	}
}

func TestHalfALineIsNoLine(t *testing.T) {
	e := bare(t)
	path := logOf(t, e, "worker-1-aaaaa")
	write(t, path, "whole")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("17000 o cut o\n1x\n\n123 o no end"); err != nil {
		t.Fatal(err)
	}
	file.Close()
	reader, err := e.Logs(t.Context(), springtide.LogQuery{Since: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	data, err := io.ReadAll(reader)
	if err != nil || bytes.Count(data, []byte("\n")) != 1 || !strings.Contains(string(data), "whole") {
		t.Errorf("%s, %v", data, err)
	}
}

func TestTheOldestOutputOfInstancesThatAreGoneIsRemovedFirst(t *testing.T) {
	e := bare(t)
	e.options.LogLimit = 2500
	e.instances["worker-1-live"] = &instance{}
	text := strings.Repeat("x", 970)
	for n, id := range []springtide.InstanceID{"worker-1-live", "worker-1-old", "worker-1-new"} {
		path := logOf(t, e, id)
		write(t, path, text)
		when := time.Now().Add(time.Duration(n-10) * time.Hour)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	e.prune(time.Now())
	var left []string
	paths, _ := filepath.Glob(filepath.Join(e.options.Data, "logs", "*", "*", "*", "*"))
	for _, path := range paths {
		left = append(left, filepath.Base(path))
	}
	if got := strings.Join(left, " "); got != "worker-1-live.json worker-1-live.log worker-1-new.json worker-1-new.log" {
		t.Errorf("left: %s", got)
	}
}
