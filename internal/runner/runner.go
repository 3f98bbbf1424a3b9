package runner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/process/embedded"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/redact"
)

// runner is what its loops share.
//
//	lease ─▶ begin ─▶ carryOut, one for each run ─▶ report
//	                     ▲
//	heart ───────────────┘ renews, cancels, interrupts
type runner struct {
	options  Options
	platform *platform
	nursery  *nursery
	echo     *echo
	hide     *redact.Redactor
	reports  *reports
	folder   *os.File // locked for as long as it is in use
	dir      string   // where commands run
	timing   atomic.Pointer[timing]
	retimed  chan struct{} // has the heart look at the timing
	end      func()        // ends all loops

	active sync.WaitGroup // runs that were leased
	// draining is closed when nothing more is to be leased.
	draining chan struct{}
	drain    func()

	mu      sync.Mutex
	taken   int           // slots
	freed   chan struct{} // has the loop look at the slots
	running map[*attempt]bool
	refusal error
}

// Run leases runs and carries them out. When ctx ends it leases nothing more and
// returns nil once those that it has are over; likewise when the platform says
// that this runner is to get no more. It is an error if the platform refuses the
// runner: of kind Unauthorized, Denied, NotFound or Invalid. Then everything was
// killed.
//
// It makes this process the reaper of its orphans, and kills those that are left
// of a run.
func Run(ctx context.Context, options Options) error {
	options = options.withDefaults()
	if err := options.Validate(); err != nil {
		return err
	}
	r, err := newRunner(options)
	if err != nil {
		return springtide.Errorf(springtide.Failed, "the runner cannot begin: %w", err)
	}
	defer r.close()
	return r.run(ctx)
}

func newRunner(options Options) (*runner, error) {
	if options.Init == nil {
		var err error
		if options.Init, err = embedded.Init(); err != nil {
			return nil, err
		}
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	hide, err := hidden(options.Credentials, []byte(options.Token))
	if err != nil {
		return nil, err
	}
	platform, err := newPlatform(options.API, options.Token, options.Authority)
	if err != nil {
		return nil, err
	}
	folder, err := makeFolder(options.Folder)
	if err != nil {
		return nil, err
	}
	nursery, err := newNursery(options.Init)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder.Name()), folder.Close())
	}
	r := &runner{
		options: options, hide: hide, platform: platform, nursery: nursery,
		echo: newEcho(options.Output), reports: newReports(), folder: folder, dir: dir,
		retimed: make(chan struct{}, 1), draining: make(chan struct{}), freed: make(chan struct{}, 1), running: map[*attempt]bool{},
	}
	r.drain = sync.OnceFunc(func() { close(r.draining) })
	usual := timingOf(jobs.LeaseAnswer{})
	r.timing.Store(&usual)
	return r, nil
}

func (r *runner) close() {
	r.platform.close()
	r.nursery.close()
	r.echo.close()
	_ = os.RemoveAll(r.folder.Name())
	r.folder.Close()
}

// folderOf is where a run has its files.
func (r *runner) folderOf(fence springtide.Fence) string {
	return filepath.Join(r.folder.Name(), strconv.FormatInt(int64(fence), 10))
}

const folderPrefix = "tide-runner-"

// makeFolder makes the runner's folder, and takes those away that killed runners
// have left.
func makeFolder(parent string) (*os.File, error) {
	left, _ := filepath.Glob(filepath.Join(parent, folderPrefix+"*"))
	for _, name := range left {
		info, err := os.Lstat(name)
		if err != nil || time.Since(info.ModTime()) < time.Minute {
			continue // Somebody may be about to lock it.
		}
		if folder, err := lockFolder(name); err == nil {
			_ = os.RemoveAll(name)
			folder.Close()
		}
	}
	name, err := os.MkdirTemp(parent, folderPrefix)
	if err != nil {
		return nil, err
	}
	return lockFolder(name)
}

// lockFolder fails if somebody has locked it.
func lockFolder(name string) (*os.File, error) {
	folder, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		folder.Close()
		return nil, err
	}
	return folder, nil
}

// run has the loops go until there is nothing more to do.
func (r *runner) run(ctx context.Context) error {
	// What was begun is brought to its end whatever ctx does.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	r.end = end
	defer end()
	defer context.AfterFunc(ctx, r.drain)()
	var loops sync.WaitGroup
	loops.Go(func() { r.heart(life) })
	loops.Go(func() { r.report(life) })
	r.lease(life)
	r.active.Wait()
	end()
	loops.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusal
}

// refuse ends everything: the platform does not know this runner, or not any more.
func (r *runner) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal == nil {
		r.refusal = err
	}
	r.drain()
	r.end()
	for a := range r.running {
		a.decide(fateLost)
	}
}

// retime takes in how leases are kept.
func (r *runner) retime(told timing) {
	if *r.timing.Load() == told {
		return
	}
	r.timing.Store(&told)
	select {
	case r.retimed <- struct{}{}:
	default:
	}
}

// isDraining reports whether nothing more is to be begun.
func (r *runner) isDraining() bool {
	select {
	case <-r.draining:
		return true
	default:
		return false
	}
}

// take and give count the slots that are in use.
func (r *runner) take(slots int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken += slots
}

func (r *runner) give(slots int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken -= slots
	select {
	case r.freed <- struct{}{}:
	default:
	}
}

func (r *runner) free() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.options.Slots - r.taken
}
