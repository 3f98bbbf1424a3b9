package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// asleep is an app that is scaled to zero as soon as it has proved that it
// starts. It needs no build.
const asleep = `app: %s
processes:
  web:
    command: sleep infinity
    health: { command: "true" }
    scale: { min: 0, max: 1, idle: 1s }
`

// running is an app with one instance: this program itself.
const running = `app: %s
processes:
  web:
    command: ./app ` + serveArgument + `
    health: { path: /healthz }
`

// serveArgument has this program be an app.
const serveArgument = "serve"

func writeAsleep(folder, name string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "tide.yaml"), fmt.Appendf(nil, asleep, name), 0o644)
}

func writeRunning(folder, name string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	own, err := os.Executable()
	if err != nil {
		return err
	}
	from, err := os.Open(own)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(folder, "app"), os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close(), os.WriteFile(filepath.Join(folder, "tide.yaml"), fmt.Appendf(nil, running, name), 0o644))
}

// serve answers everything until it is killed.
func serve(getenv func(string) string) error {
	server := &http.Server{
		Addr:              net.JoinHostPort(getenv("HOST"), getenv("PORT")),
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "here") }),
		ReadHeaderTimeout: 10 * time.Second,
	}
	return server.ListenAndServe()
}
