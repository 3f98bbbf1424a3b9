package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
)

// childArgument has this program be a subject's process.
const childArgument = "child"

// task is what a subject's process is told to do, as JSON.
type task struct {
	Subject string
	Opening opening
	// Server is the PID of its server.
	Server  int
	Sizes   sizes
	Profile string
	// Record is the file in which a worker that will be killed writes what it
	// did; without it everything is measured.
	Record string
}

// be carries out a task and writes what came out as JSON.
func be(ctx context.Context, text string) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	all := subjects()
	s := all[slices.IndexFunc(all, func(s subject) bool { return s.Name == t.Subject })]
	q, err := s.Open(ctx, t.Opening)
	if err != nil {
		return err
	}
	defer q.Close()
	if t.Record != "" {
		return workUntilKilled(ctx, q, t.Record)
	}
	m := &measurement{sizes: t.Sizes, queue: q, server: t.Server, profile: t.Profile}
	figures, err := m.run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(figures)
}

// child gives a process for a task. It ends with the thread that starts it.
func child(ctx context.Context, t task) (*exec.Cmd, *bytes.Buffer, error) {
	own, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	text, err := json.Marshal(t)
	if err != nil {
		return nil, nil, err
	}
	command := exec.CommandContext(ctx, own, childArgument, string(text))
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return command, &output, nil
}

// measureIn measures a subject in a process of its own.
func measureIn(ctx context.Context, t task) ([]figure, error) {
	command, output, err := child(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Subject, err)
	}
	var figures []figure
	return figures, json.Unmarshal(output.Bytes(), &figures)
}
