package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide/internal/simulate"
)

// process is a peer's own code in a process of its own, which is told a line
// every so often and answers with a number. It has its own module, since the
// peers' dependencies do not agree with each other.
type process struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	every   time.Duration
	due     time.Duration
	wanted  int
	last    simulate.Sight
	err     error
}

// buildPeer builds a peer below peers/ and gives the path of its program.
func buildPeer(ctx context.Context, folder, name string) (string, error) {
	path := filepath.Join(folder, name)
	build := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
	if name == "hpa" { // fake time is given to tests only
		build = exec.CommandContext(ctx, "go", "test", "-c", "-o", path, ".")
	}
	build.Dir, build.Stderr = filepath.Join("peers", name), os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("building %s: %w", name, err)
	}
	return path, nil
}

// startProcess gives a subject that is asked every so often.
func startProcess(path string, every time.Duration) func(simulate.Trace, simulate.Conditions) simulate.Subject {
	return func(_ simulate.Trace, c simulate.Conditions) simulate.Subject {
		p := &process{command: exec.Command(path, "-slots", strconv.Itoa(c.Slots)), every: every}
		p.command.Stderr = os.Stderr
		var out io.ReadCloser
		if p.in, p.err = p.command.StdinPipe(); p.err != nil {
			return p
		}
		if out, p.err = p.command.StdoutPipe(); p.err != nil {
			return p
		}
		p.out = bufio.NewReader(out)
		p.err = p.command.Start()
		return p
	}
}

func (p *process) Period() time.Duration { return p.every }

func (p *process) Decide(s *simulate.Sight) int {
	if p.err != nil {
		return s.Replicas
	}
	seconds := max((s.Now - p.last.Now).Seconds(), s.Step.Seconds())
	inFlight := (s.BusyTime + s.HeldTime - p.last.BusyTime - p.last.HeldTime).Seconds() / seconds
	if _, p.err = fmt.Fprintf(p.in, "%d %d %d %.3f %d\n", int((s.Now+p.every/2)/time.Second), s.Ready, s.Replicas-s.Ready, inFlight, s.Arrived-p.last.Arrived); p.err != nil {
		return s.Replicas
	}
	p.last = *s
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.err = err
		return s.Replicas
	}
	p.wanted, p.err = strconv.Atoi(strings.TrimSpace(line))
	return p.wanted
}

// close ends the process, and tells what went wrong.
func (p *process) close() error {
	if p.command.Process == nil {
		return p.err
	}
	if err := p.in.Close(); p.err == nil {
		p.err = err
	}
	if err := p.command.Wait(); p.err == nil {
		p.err = err
	}
	return p.err
}
