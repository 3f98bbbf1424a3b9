package torture

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// task is the payload of a job: what its worker is to do, and how it must end.
type task struct {
	// Expect is read by the checker: succeeded, dead or over.
	Expect string `json:"expect"`
	// Fail is how often it fails first; -1: for good.
	Fail int `json:"fail,omitempty"`
	// Silent has the first attempt sleep through the loss of its lease: what it
	// says then is stale, while another attempt is under way.
	Silent bool `json:"silent,omitempty"`
	// Milliseconds is how long it takes.
	Milliseconds int `json:"milliseconds,omitempty"`
}

// silentFor is longer than it takes until a lost run is tried again, and shorter
// than until that attempt is over.
const silentFor = jobs.LeaseFor + jobs.FirstBackOff + 10*time.Second

// mark is what an attempt leaves as its result: who it was.
type mark struct {
	Run     springtide.RunID `json:"run"`
	Fence   springtide.Fence `json:"fence"`
	Attempt int              `json:"attempt"`
}

// platform answers the questions of the protocol, however long that takes.
// Implemented by client and direct.
type platform interface {
	ask(ctx context.Context, path string, question, answer any) error
}

// worker is a process that speaks the protocol. It trusts the ledger rather than
// a clock: when it was stopped for longer than its leases it goes on as if
// nothing had been, and what it then says is stale.
type worker struct {
	name string
	platform
	room    int
	notes   *os.File
	refused *os.File
	done    chan jobs.Completion

	mu sync.Mutex
	// held are the runs under way, and whether their leases are renewed.
	held map[jobs.Hold]bool
}

// work is the whole life of a worker's process.
func work() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	w := &worker{
		name: fmt.Sprintf("worker-%d-%d", os.Getpid(), rand.Uint32()), platform: newClient(strings.Split(os.Getenv(apisVariable), ","), token),
		room: 150, done: make(chan jobs.Completion, 1000), held: map[jobs.Hold]bool{},
	}
	if location := os.Getenv(ledgerVariable); location != "" {
		w.platform = openDirect(location)
	}
	for file, variable := range map[**os.File]string{&w.notes: notesVariable, &w.refused: refusedVariable} {
		var err error
		if *file, err = os.OpenFile(os.Getenv(variable), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644); err != nil {
			return err
		}
	}
	life, end := context.WithCancel(context.Background())
	defer end()
	go w.beat(life)
	var telling sync.WaitGroup
	for range 2 {
		telling.Go(func() { w.tell(life) })
	}
	w.lease(ctx)
	for w.busy() > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	close(w.done)
	telling.Wait()
	return nil
}

func (w *worker) busy() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.held)
}

func (w *worker) hold(hold jobs.Hold) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held[hold] = true
}

// hush has the lease renewed no more.
func (w *worker) hush(hold jobs.Hold) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held[hold] = false
}

func (w *worker) drop(hold jobs.Hold) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.held, hold)
}

// lease takes runs until ctx ends.
func (w *worker) lease(ctx context.Context) {
	for ctx.Err() == nil {
		room := w.room - w.busy()
		if room < w.room/4 {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		// A lease is not asked for twice: what the first answer held would be lost.
		// It is lost all the same if that answer is, and then comes back.
		request := jobs.LeaseRequest{
			Runner: w.name, Most: room, WaitSeconds: 2, Started: rand.IntN(4) > 0,
			Queues: []springtide.QueueName{[]springtide.QueueName{bulkQueue, bulkQueue, limitedQueue}[rand.IntN(3)], slotsQueue},
		}
		var answer jobs.LeaseAnswer
		if err := w.ask(ctx, "leases", request, &answer); err != nil {
			continue
		}
		runs := answer.Runs
		for _, run := range runs {
			w.hold(jobs.Hold{Run: run.Run, Fence: run.Fence})
		}
		if !request.Started && len(runs) > 0 {
			runs = w.start(runs)
		}
		for _, run := range runs {
			go w.carryOut(run)
		}
	}
}

// start tells that runs are about to begin, and gives those that may.
func (w *worker) start(runs []jobs.LeasedRun) (may []jobs.LeasedRun) {
	var request jobs.StartRequest
	for _, run := range runs {
		request.Runs = append(request.Runs, jobs.Hold{Run: run.Run, Fence: run.Fence})
	}
	var answer jobs.AcceptedAnswer
	err := w.ask(context.Background(), "leases/start", request, &answer)
	for i, run := range runs {
		if err == nil && answer.Accepted[i] {
			may = append(may, run)
		} else {
			w.drop(request.Runs[i])
		}
	}
	return may
}

// carryOut does what a run is about.
func (w *worker) carryOut(run jobs.LeasedRun) {
	var do task
	hold := jobs.Hold{Run: run.Run, Fence: run.Fence}
	problem := json.Unmarshal(run.Payload, &do)
	if do.Silent && run.Attempt == 1 {
		w.hush(hold)
		time.Sleep(silentFor)
	} else {
		time.Sleep(time.Duration(do.Milliseconds) * time.Millisecond)
	}
	result, err := json.Marshal(mark{run.Run, run.Fence, run.Attempt})
	c := jobs.Completion{Hold: hold, Verdict: jobs.Succeeded, Result: result}
	switch {
	case cmp.Or(problem, err) != nil:
		c.Verdict, c.Reason, c.Final = jobs.Failed, fmt.Sprint(problem, err), true
	case do.Fail < 0:
		c.Verdict, c.Reason, c.Final = jobs.Failed, "it is to fail for good", true
	case run.Attempt <= do.Fail && rand.IntN(2) == 0:
		c.Verdict, c.Reason = jobs.Returned, "it is to be given back"
	case run.Attempt <= do.Fail:
		c.Verdict, c.Reason, c.RetryAfterSeconds = jobs.Failed, "it is to fail", 0.3
	}
	w.done <- c
}

// tell tells how runs ended, many at a time, until the servers know. What was
// accepted it writes down, and what was refused.
func (w *worker) tell(ctx context.Context) {
	for first := range w.done {
		request := jobs.CompleteRequest{Runs: []jobs.Completion{first}}
		for more := true; more && len(request.Runs) < 300; {
			select {
			case next, ok := <-w.done:
				if more = ok; ok {
					request.Runs = append(request.Runs, next)
				}
			case <-time.After(5 * time.Millisecond):
				more = false
			}
		}
		var answer jobs.AcceptedAnswer
		err := w.ask(ctx, "leases/complete", request, &answer)
		var accepted, refused strings.Builder
		for i, run := range request.Runs {
			switch {
			case err != nil:
				fmt.Fprintln(&refused, run.Run, err)
			case answer.Accepted[i]:
				fmt.Fprintln(&accepted, "result", run.Run, run.Fence, run.Verdict)
			default:
				fmt.Fprintln(&refused, run.Run, run.Fence)
			}
		}
		_, _ = w.notes.WriteString(accepted.String()) // what is not noted is not looked for
		_, _ = w.refused.WriteString(refused.String())
		for _, run := range request.Runs {
			w.drop(run.Hold)
		}
	}
}

// beat renews all leases.
func (w *worker) beat(ctx context.Context) {
	for {
		time.Sleep(jobs.BeatEvery)
		w.mu.Lock()
		request := jobs.BeatRequest{Runner: w.name}
		for hold, renewed := range w.held {
			if renewed {
				request.Runs = append(request.Runs, jobs.Beat{Hold: hold})
			}
		}
		w.mu.Unlock()
		var answer jobs.BeatAnswer
		_ = w.ask(ctx, "leases/heartbeat", request, &answer) // what is lost is noticed in the end
	}
}
