package process

import (
	"context"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

const (
	// turnStep is how often it is looked whether more starts fit; a start counts as
	// computing for that long before it is known.
	turnStep = 100 * time.Millisecond
	// turnLimit is for how long a start counts at most: one that never ends must not
	// keep others waiting.
	turnLimit = 10 * time.Second
)

// turns bounds how many instances compute at the same time while they start: as
// many as there are processors. For of starts that share a processor all are as
// late as the last would be one after the other. Those that wait for something else
// do not count: twice as many are let start every 100 ms. Apps take turns, so that
// one that orders many does not keep another from its first.
type turns struct {
	// atOnce is how many may compute.
	atOnce int

	mu       sync.Mutex
	starting []*turn
	waiting  map[springtide.AppName][]*turn
	order    []springtide.AppName // that wait, whose turn is next first
	looking  bool
}

// turn is the start of one instance.
type turn struct {
	app   springtide.AppName
	given chan struct{} // closed when it may start
	since time.Time
	// computes tells whether the instance would use a processor now.
	computes func() bool
}

func newTurns() *turns {
	return &turns{atOnce: runtime.NumCPU(), waiting: map[springtide.AppName][]*turn{}}
}

// take waits for a turn of the app, until ctx ends or stop is closed. The
// function that it gives ends the turn; it may be called more than once. nil: there
// was no turn.
func (t *turns) take(ctx context.Context, app springtide.AppName, computes func() bool, stop <-chan struct{}) (done func()) {
	mine := &turn{app: app, given: make(chan struct{}), computes: computes}
	t.mu.Lock()
	if len(t.waiting[app]) == 0 {
		t.order = append(t.order, app)
	}
	t.waiting[app] = append(t.waiting[app], mine)
	t.admit(t.atOnce - len(t.starting))
	t.lookLater()
	t.mu.Unlock()
	select {
	case <-mine.given:
	case <-ctx.Done():
		t.end(mine)
		return nil
	case <-stop:
		t.end(mine)
		return nil
	}
	return func() { t.end(mine) }
}

// admit lets so many start that wait; the mutex is held.
func (t *turns) admit(n int) {
	for ; n > 0 && len(t.order) > 0; n-- {
		app := t.order[0]
		next := t.waiting[app][0]
		t.order = t.order[1:]
		if t.waiting[app] = t.waiting[app][1:]; len(t.waiting[app]) > 0 {
			t.order = append(t.order, app)
		} else {
			delete(t.waiting, app)
		}
		next.since = time.Now()
		t.starting = append(t.starting, next)
		close(next.given)
	}
}

// lookLater has it looked again, if any wait; the mutex is held.
func (t *turns) lookLater() {
	if len(t.order) > 0 && !t.looking {
		t.looking = true
		time.AfterFunc(turnStep, t.look)
	}
}

// look lets more start where those that do leave processors alone.
func (t *turns) look() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.looking = false
	computing := 0
	for _, one := range t.starting {
		if age := time.Since(one.since); age < turnStep || age < turnLimit && one.computes() {
			computing++
		}
	}
	if computing == 0 {
		t.admit(max(len(t.starting), t.atOnce))
	} else {
		t.admit(t.atOnce - computing)
	}
	t.lookLater()
}

// end takes back a turn, or the wish for one.
func (t *turns) end(mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting[mine.app], mine); i >= 0 {
		if t.waiting[mine.app] = slices.Delete(t.waiting[mine.app], i, i+1); len(t.waiting[mine.app]) == 0 {
			delete(t.waiting, mine.app)
			t.order = slices.DeleteFunc(t.order, func(other springtide.AppName) bool { return other == mine.app })
		}
	}
	if i := slices.Index(t.starting, mine); i >= 0 {
		t.starting = slices.Delete(t.starting, i, i+1)
		t.admit(t.atOnce - len(t.starting))
	}
}

// computes tells whether a member of the group uses a processor, waits for one, or
// for a disk. Without control groups that is not known: then it does not.
func (g *cgroup) computes() bool {
	return slices.ContainsFunc(g.processes(), func(pid int) bool {
		data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return false
		}
		_, fields, _ := strings.Cut(string(data), ") ")
		return strings.HasPrefix(fields, "R") || strings.HasPrefix(fields, "D")
	})
}
