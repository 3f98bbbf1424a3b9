package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/springtide/springtide/internal/client"
	"github.com/springtide/springtide/internal/engine/process"
	"github.com/springtide/springtide/internal/routing"
)

// isolation tells how well instances are kept apart by the platform that runs
// on the data folder, or would be if one ran on this machine.
func isolation(ctx context.Context, data string) (level string, notes []string) {
	if c, err := client.New(client.Options{Data: data}); err == nil {
		defer c.Close()
		if status, err := c.Status(ctx); err == nil {
			return status.Isolation, status.IsolationNotes
		}
	}
	folder, err := os.MkdirTemp("", "tide-probe-")
	if err != nil {
		return "unknown", []string{err.Error()}
	}
	defer os.RemoveAll(folder)
	engine, err := process.New(process.Options{
		Data: folder, Log: slog.New(slog.DiscardHandler),
		Router: (*routing.Publisher)(nil), // an engine that does not run asks nobody
	})
	if err != nil {
		return "unknown", []string{err.Error()}
	}
	return engine.Isolation().String(), engine.Isolation().Notes()
}
