package runner

import (
	"context"
	"os"
	"path/filepath"
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
	// said is what the command says, output and errors in their order; read is
	// closed when it has ended.
	said *os.File
	read chan struct{}

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
	said, saying, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer saying.Close()
	if a.child, err = r.nursery.start(string(leased.Run), folder, [3]*os.File{payload, saying, saying}); err != nil {
		said.Close()
		return nil, err
	}
	a.said = said
	a.listen()
	return a, nil
}

// listen reads what the command says.
func (a *attempt) listen() {
	go func() {
		defer close(a.read)
		readLines(a.runner.hide.Reader(a.said), func(line []byte) {
			a.output.add(line)
			a.runner.echo.add(a.leased.Run, line)
		})
	}()
}

// deafen reads no more: a command may have handed its output to somebody who
// outlives it.
func (a *attempt) deafen() { a.said.Close() }

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
	code := a.attend()
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
	status, known := a.status(code)
	if over := moment(a.until.Load()); status.Signal == int(syscall.SIGKILL) && now() >= over {
		return // Its init has ended it, for the lease was over.
	}
	a.runner.options.Log.Debug("a run has ended", "run", a.leased.Run, "attempt", a.leased.Attempt, "status", string(status.Encode()), "took", time.Since(begun))
	a.sayProgress(ctx)
	a.runner.tell(ctx, a, a.outcome(status, known))
}

// attend waits for the end of the run and brings it about if need be. It gives
// what [child.wait] does.
func (a *attempt) attend() int {
	ended := make(chan int, 1)
	go func() { ended <- a.child.wait() }()
	check := time.NewTimer(moment(a.until.Load()).left() + lagLimit)
	defer check.Stop()
	kill := time.NewTimer(time.Hour)
	kill.Stop()
	last := syscall.SIGQUIT // The init kills everything and ends.
	for {
		select {
		case code := <-ended:
			return code
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

// status is what the init has left, or said by its exit status: where the disk
// is full it leaves nothing. It is not known if the init was killed.
func (a *attempt) status(code int) (status order.Status, known bool) {
	if code < 0 {
		return order.Status{Signal: int(syscall.SIGKILL)}, false
	}
	data, err := readSmall(a.file(order.StatusFile), 4<<10)
	if err == nil {
		status, err = order.DecodeStatus(data)
	}
	if err != nil {
		status = order.Status{Code: code}
		if code > 128 {
			status.Signal = code - 128
		}
	}
	return status, true
}
