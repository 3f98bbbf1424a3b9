// Quiz is a small web app that makes, plays and scores quizzes. It is an
// example of an app as a platform likes it: it listens on $PORT, says on
// /healthz when it can be given requests, and leaves politely when it is told to.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quiz:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, and then until what is in flight has ended.
func run(ctx context.Context, getenv func(string) string, stdout io.Writer) error {
	config, err := readConfig(getenv)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stdout, nil)).With("instance", config.Instance)
	if err := config.Break.atStart(ctx, &config); err != nil {
		return err
	}
	if !sleep(ctx, config.StartDelay) {
		return nil
	}

	listener, err := net.Listen("tcp", net.JoinHostPort(config.Host, config.Port))
	if err != nil {
		return err
	}
	app, err := newApp(config, log)
	if err != nil {
		listener.Close()
		return err
	}
	server := &http.Server{
		Handler:           app.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Info("listening", "address", listener.Addr().String(), "version", Version)

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	if config.Break == breakStubborn {
		log.Warn("asked to leave, staying")
		return <-failed
	}
	log.Info("asked to leave", "in flight", app.flight.count())
	return leave(app, server, config.Grace)
}

// quiet is how long nothing may be in flight before the app believes that
// nobody will send it anything more.
const quiet = 150 * time.Millisecond

// leave ends the streams, lets plain requests finish, answers those that still
// arrive meanwhile, and only then closes the server.
func leave(app *app, server *http.Server, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	app.endStreams()
	idle := app.flight.waitIdle(ctx, quiet)
	if err := server.Shutdown(ctx); err != nil || !idle {
		server.Close()
		return errors.New("some requests were still open at the end of the grace period")
	}
	return nil
}

// sleep reports whether it slept all of d, which it does not when ctx ends.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
