package main

import (
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// newLogger writes lines about what a part of the platform does.
//
// The part outlives whoever reads them: without a handler, the write to a pipe
// that nobody reads any more would end the process. A handler, unlike ignoring
// the signal, is not inherited by what the process starts.
func newLogger(output io.Writer, part string, level slog.Level) *slog.Logger {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return slog.New(slog.NewTextHandler(output, &slog.HandlerOptions{Level: level})).With("part", part)
}

// parseLevel reads a level that another process of the platform has written.
func parseLevel(text string) slog.Level {
	var level slog.Level
	if level.UnmarshalText([]byte(text)) != nil {
		return slog.LevelInfo
	}
	return level
}
