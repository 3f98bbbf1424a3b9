package runner

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/process/order"
	"github.com/springtide/springtide/internal/jobs"
)

// fate is what was decided about a run while it ran, the worse the higher.
type fate int32

const (
	fateOpen        fate = iota
	fateInterrupted      // the platform is stopping: it is given back
	fateCancelled
	fateLost // another may have it: it ends at once, and nobody is told
)

const (
	// forceAfter is how long an init may take to kill everything, before it is
	// killed itself.
	forceAfter = 2 * time.Second
	// lagLimit is how much later than the init the runner itself ends a run whose
	// lease is over.
	lagLimit = time.Second
)

// attempt is one attempt of a run, from its lease to its end.
type attempt struct {
	runner *runner
	leased jobs.LeasedRun
	folder string
	child  *child
	output *output
	// streams are what the command says; read is closed when they have ended.
	streams []*os.File
	read    chan struct{}

	until   atomic.Int64  // a moment; 0: it has not begun
	fate    atomic.Int32  // a fate
	decided chan struct{} // has it look at its fate

	// These belong to the heart.
	told, telling springtide.Progress
}

func (a *attempt) hold() jobs.Hold { return jobs.Hold{Run: a.leased.Run, Fence: a.leased.Fence} }

func (a *attempt) file(name string) string { return filepath.Join(a.folder, name) }

// decide has the run end, if nothing worse was decided.
func (a *attempt) decide(to fate) {
	for {
		known := a.fate.Load()
		if known >= int32(to) {
			return
		}
		if a.fate.CompareAndSwap(known, int32(to)) {
			break
		}
	}
	select {
	case a.decided <- struct{}{}:
	default:
	}
}

// renew takes in that the lease is good until then.
func (a *attempt) renew(until moment) {
	a.until.Store(int64(until))
	a.child.renew(until)
}

// prepare makes all that the run needs, its init included.
func (r *runner) prepare(leased jobs.LeasedRun) (a *attempt, err error) {
	a = &attempt{
		runner: r, leased: leased, folder: r.folderOf(leased.Fence),
		output: newOutput(), read: make(chan struct{}), decided: make(chan struct{}, 1),
	}
	if err := os.Mkdir(a.folder, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(a.folder)
		}
	}()
	if err := os.WriteFile(a.file(payloadFile), leased.Payload, 0o600); err != nil {
		return nil, err
	}
	payload, err := os.Open(a.file(payloadFile))
	if err != nil {
		return nil, err
	}
	defer payload.Close()
	folder, err := os.Open(a.folder)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer outWrite.Close()
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		outRead.Close()
		return nil, err
	}
	defer errWrite.Close()
	if a.child, err = r.nursery.start(string(leased.Run), folder, [3]*os.File{payload, outWrite, errWrite}); err != nil {
		outRead.Close()
		errRead.Close()
		return nil, err
	}
	a.streams = []*os.File{outRead, errRead}
	a.listen()
	return a, nil
}

// listen reads what the command says.
func (a *attempt) listen() {
	var reading sync.WaitGroup
	for _, stream := range a.streams {
		reading.Go(func() {
			readLines(stream, func(line []byte) {
				a.output.add(line)
				a.runner.echo.add(a.leased.Run, line)
			})
		})
	}
	go func() {
		reading.Wait()
		close(a.read)
	}()
}

// deafen reads no more: a command may have handed its streams to somebody who
// outlives it.
func (a *attempt) deafen() {
	for _, stream := range a.streams {
		stream.Close()
	}
}

// discard ends what was prepared for a run that does not begin.
func (a *attempt) discard() {
	a.child.order.Close() // An init without an order ends.
	a.child.signal(syscall.SIGKILL)
	a.child.wait()
	a.deafen()
	os.RemoveAll(a.folder)
}

// carryOut begins the run, and returns when it has ended and the platform knows,
// or is not to know.
func (a *attempt) carryOut(ctx context.Context) {
	defer os.RemoveAll(a.folder)
	begun := time.Now()
	uploads := make(chan struct{})
	sending, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(uploads)
		a.runner.platform.upload(sending, a.hold(), a.output, a.read)
	}()
	_ = a.child.give(a.order()) // if the init is dead already, that is noticed next
	byItself := a.attend()
	late := time.AfterFunc(flushLimit, stop)
	defer late.Stop()
	select {
	case <-a.read:
	case <-sending.Done():
	}
	<-uploads
	a.deafen()
	if fate(a.fate.Load()) == fateLost {
		return
	}
	status, known := a.status()
	if !byItself || !known {
		status.Signal = int(syscall.SIGKILL)
	}
	if over := moment(a.until.Load()); status.Signal == int(syscall.SIGKILL) && now() >= over {
		return // Its init has ended it, for the lease was over.
	}
	a.runner.options.Log.Debug("a run has ended", "run", a.leased.Run, "attempt", a.leased.Attempt, "status", string(status.Encode()), "took", time.Since(begun))
	a.runner.tell(ctx, a, a.outcome(status, byItself && known))
}

// attend waits for the end of the run and brings it about if need be. It reports
// whether the init came to its own end.
func (a *attempt) attend() bool {
	ended := make(chan bool, 1)
	go func() { ended <- a.child.wait() }()
	check := time.NewTimer(moment(a.until.Load()).left() + lagLimit)
	defer check.Stop()
	kill := time.NewTimer(time.Hour)
	kill.Stop()
	last := syscall.SIGQUIT // The init kills everything and ends.
	for {
		select {
		case byItself := <-ended:
			return byItself
		case <-a.decided:
			if fate(a.fate.Load()) == fateLost {
				kill.Reset(0)
			} else {
				a.child.signal(syscall.SIGTERM)
				kill.Reset(a.runner.options.Grace)
			}
		case <-kill.C:
			a.child.signal(last)
			last = syscall.SIGKILL
			kill.Reset(forceAfter)
		case <-check.C:
			left := moment(a.until.Load()).left() + lagLimit
			if left <= 0 {
				a.decide(fateLost)
				left = time.Hour
			}
			check.Reset(left)
		}
	}
}

// status is what the init has left.
func (a *attempt) status() (status order.Status, known bool) {
	data, err := readSmall(a.file(order.StatusFile), 4<<10)
	if err != nil {
		return status, false
	}
	status, err = order.DecodeStatus(data)
	return status, err == nil && status.Attempt == a.leased.Attempt
}
