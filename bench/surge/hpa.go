package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// The peer is told something every 5 s, and decides every third time.
const (
	told     = 5 * time.Second
	decision = 3
	// calmBefore is how often it was told something before the run begins.
	calmBefore = 12
)

// buildHPA builds Kubernetes' controller, which bench/scale compares laws with.
func buildHPA(ctx context.Context, root, folder string) (string, error) {
	path := filepath.Join(folder, "hpa")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", path, ".") // fake time is given to tests only
	build.Dir, build.Stderr = filepath.Join(root, "bench", "scale", "peers", "hpa"), os.Stderr
	return path, build.Run()
}

// driveByHPA has the controller say how many instances there are. What it
// measures is fresh and exact: the requests that clients wait for now. Where in
// its 15 s the step comes differs from round to round.
func driveByHPA(ctx context.Context, r *round) error {
	h, err := startHPA(ctx, r.hpa, r.slots)
	if err != nil {
		return err
	}
	err = h.drive(ctx, r)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, h.close())
}

// hpa is the controller in a process of its own. Its clock goes on by what it
// is told.
type hpa struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	lines   int
}

func startHPA(ctx context.Context, program string, slots int) (*hpa, error) {
	h := &hpa{command: exec.CommandContext(context.WithoutCancel(ctx), program, "-slots", strconv.Itoa(slots))}
	h.command.Stderr = os.Stderr
	out, err := h.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if h.in, err = h.command.StdinPipe(); err != nil {
		return nil, err
	}
	h.out = bufio.NewScanner(out)
	return h, h.command.Start()
}

// tell says what the last 5 s were like, and gives how many instances are wanted.
func (h *hpa) tell(instances int, inFlight float64) (int, error) {
	if _, err := fmt.Fprintf(h.in, "%d %d 0 %.3f 0\n", h.lines*int(told/time.Second), instances, inFlight); err != nil {
		return 0, err
	}
	h.lines++
	if !h.out.Scan() {
		return 0, errors.Join(errors.New("the peer ended"), h.out.Err())
	}
	return strconv.Atoi(strings.TrimSpace(h.out.Text()))
}

// close ends the process.
func (h *hpa) close() error {
	return errors.Join(h.in.Close(), h.command.Wait())
}

// drive tells the controller what is so, and the platform what it says.
func (h *hpa) drive(ctx context.Context, r *round) error {
	decides := r.began.Add(r.calm + r.afterStep())
	first := decides
	var before int
	for ; first.Add(-told).After(r.began); before++ {
		first = first.Add(-told)
	}
	calm := calmBefore + (decision-1-before%decision+decision)%decision // so that it decides then
	wanted := 1
	for range calm {
		if _, err := h.tell(wanted, r.rate*service.Seconds()); err != nil {
			return err
		}
	}
	for due := first; ; due = due.Add(told) {
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			return ctx.Err()
		}
		next, err := h.tell(wanted, r.inFlight())
		if err != nil {
			return err
		}
		if next = min(next, r.max); next == wanted {
			continue
		}
		wanted = next
		change := api.ScaleChange{Set: map[springtide.ProcessName]springtide.ScaleRange{"web": {Min: wanted, Max: wanted}}}
		if _, err := r.platform.Client.ChangeScale(ctx, r.environment, change); err != nil {
			return err
		}
	}
}

// afterStep is how long after the step the controller decides next. Over all
// rounds it is any time within its 15 s.
func (r *round) afterStep() time.Duration {
	all := time.Duration(decision) * told
	if r.quick {
		return all / 5
	}
	return all * time.Duration(2*r.number-1) / time.Duration(2*r.rounds)
}
