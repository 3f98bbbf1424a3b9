package deploy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// keepWork is how many deploys are remembered after they are over.
const keepWork = 200

// Work is one deploy, rollback or restart: how far it has come.
type Work struct {
	ID          string
	Environment springtide.EnvironmentID
	Release     int
	// Step is "waiting", "building", or that of the rollout.
	Step    string
	Done    bool
	Err     error
	Started time.Time
	// Build, Start and Switch are how long those parts took; Total is all of it.
	Build, Start, Switch, Total time.Duration
}

// work is a Work under way. It is changed under the deployer's mu only.
type work struct{ Work }

// Work tells how far a deploy has come. What an earlier control plane finished
// is told from its rollout.
func (d *Deployer) Work(ctx context.Context, id string) (Work, error) {
	d.mu.Lock()
	w := d.work[id]
	if w != nil {
		defer d.mu.Unlock()
		return w.Work, nil
	}
	d.mu.Unlock()
	rollout, err := d.Store.RolloutOf(ctx, id)
	if springtide.KindOf(err) == springtide.NotFound {
		return Work{}, springtide.Errorf(springtide.NotFound, "deploy %q is not known", id).
			WithHint("if the control plane was restarted while it was being built, deploy again; `tide releases` shows what there is")
	}
	if err != nil {
		return Work{}, err
	}
	past := Work{
		ID: id, Environment: rollout.Release.Environment, Release: rollout.Release.Number, Step: string(rollout.Step),
		Done: rollout.Step.Over(), Started: rollout.Started, Total: rollout.Updated.Sub(rollout.Started),
	}
	if rollout.Step == springtide.RolloutFailed {
		past.Err = springtide.Errorf(springtide.Failed, "%s", rollout.Reason)
	}
	return past, nil
}

// begin does the work in the background when it is the environment's turn.
func (d *Deployer) begin(environment springtide.EnvironmentID, id string, do func(ctx context.Context, w *work) error) string {
	if id == "" {
		id = strings.ToLower(rand.Text()[:12])
	}
	w := &work{Work{ID: id, Environment: environment, Step: "waiting", Started: time.Now()}}
	d.mu.Lock()
	d.work[id] = w
	d.past = append(d.past, id)
	for len(d.past) > keepWork {
		oldest := slices.IndexFunc(d.past, func(id string) bool { return d.work[id].Done })
		if oldest < 0 {
			break
		}
		delete(d.work, d.past[oldest])
		d.past = slices.Delete(d.past, oldest, oldest+1)
	}
	d.mu.Unlock()
	if !d.admit() {
		return id // nobody asks any more
	}
	go func() {
		defer d.busy.Done()
		leave, err := d.enter(d.ctx, environment)
		if err == nil {
			d.note(w, func(w *work) { w.Step = "building" })
			err = do(d.ctx, w)
			leave()
		}
		d.over(w, err)
	}()
	return id
}

// over ends a work and tells how.
func (d *Deployer) over(w *work, err error) {
	if d.ctx.Err() != nil { // it goes on in the next control plane
		return
	}
	if err != nil {
		d.note(w, func(w *work) { w.Done, w.Err, w.Total = true, err, time.Since(w.Started) })
		d.tell(w, "deploy.failed", err.Error())
		if springtide.KindOf(err) == springtide.Internal {
			d.Logger.Error("a deploy failed", "environment", w.Environment, "error", err)
		}
		return
	}
	d.note(w, func(w *work) { w.Done, w.Total = true, time.Since(w.Started) })
	d.tell(w, "deploy.done", fmt.Sprintf("v%d serves %s", w.Release, w.Environment))
}

// note changes a work.
func (d *Deployer) note(w *work, change func(w *work)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(w)
}

// tell publishes an event of a work.
func (d *Deployer) tell(w *work, kind, message string) {
	d.mu.Lock()
	fields := map[string]string{"deploy": w.ID}
	if w.Release != 0 {
		fields["release"] = strconv.Itoa(w.Release)
	}
	d.mu.Unlock()
	d.Events.Publish(springtide.Event{Time: time.Now(), Environment: w.Environment, Kind: kind, Message: message, Fields: fields})
}

func short(digest springtide.Digest) string {
	text := strings.TrimPrefix(string(digest), "sha256:")
	return text[:min(12, len(text))]
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// asFailure makes an error of kind Failed out of one that has no kind.
func asFailure(err error, format string, args ...any) *springtide.Error {
	if e, ok := errors.AsType[*springtide.Error](err); ok {
		return e
	}
	failure := springtide.Errorf(springtide.Failed, "%s: %v", fmt.Sprintf(format, args...), err)
	failure.Cause = err
	return failure
}
