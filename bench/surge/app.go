package main

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What a request of the app costs.
const (
	work    = 2 * time.Millisecond  // of the processor
	pause   = 50 * time.Millisecond // as for a database
	service = work + pause
)

// serveArgument has this program be the app.
const serveArgument = "serve"

const manifest = `app: %s
processes:
  web:
    command: ./app ` + serveArgument + `
    health: { path: /healthz }
    scale: { min: %d, max: %d, target: { concurrency: %d } }
env: { START: %s }
`

// What the app says, each with the time at which it did.
const (
	listening    = "listening at "
	firstRequest = "first request at "
)

// writeApp makes the folder of an app: this program, and how it is scaled.
func (o options) writeApp(folder, name string, least, most int) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	own, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(own)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(folder, "app"), program, 0o755),
		os.WriteFile(filepath.Join(folder, "tide.yaml"), fmt.Appendf(nil, manifest, name, least, most, o.slots, o.start), 0o644))
}

// serve is the app, until it is killed.
func serve(getenv func(string) string, stdout io.Writer) error {
	start, err := time.ParseDuration(getenv("START"))
	if err != nil {
		return err
	}
	time.Sleep(start)
	instance := getenv("TIDE_INSTANCE")
	var first sync.Once
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /work", func(w http.ResponseWriter, r *http.Request) {
		first.Do(func() { fmt.Fprintln(stdout, firstRequest+time.Now().Format(time.RFC3339Nano)) })
		compute(work)
		time.Sleep(pause)
		body := fmt.Appendf(nil, "%s answers %s\n", instance, r.URL.Query().Get("token"))
		sum := sha256.Sum256(body)
		w.Header().Set("X-Instance", instance)
		w.Header().Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
		_, _ = w.Write(body) // who is gone gets none
	})
	listener, err := net.Listen("tcp", net.JoinHostPort(getenv("HOST"), getenv("PORT")))
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, listening+time.Now().Format(time.RFC3339Nano))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(listener)
}

// compute uses so much of a processor, however long that takes.
func compute(d time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var block [1 << 10]byte
	for end := used() + d; used() < end; {
		sum := sha256.Sum256(block[:])
		copy(block[:], sum[:])
	}
}

// used is the processor time of this thread.
func used() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now) // every Linux has it
	return time.Duration(now.Nano())
}
