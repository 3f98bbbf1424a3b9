package control

import (
	"context"
	"maps"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/backlog"
	"github.com/springtide/springtide/internal/call"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/engine/process"
	"github.com/springtide/springtide/internal/observe"
	"github.com/springtide/springtide/internal/scale"
)

const (
	// lookLimit is how long an outside queue may take to answer.
	lookLimit = 5 * time.Second
	// longestBackOff is how long at most one is left alone that does not.
	longestBackOff = 30 * time.Second
)

// outsideQueues has the outside queues looked at of all processes that have the
// traffic, each by a goroutine of its own: a slow one delays no other.
type outsideQueues struct {
	fleet  *deploy.Fleet
	scaler *scale.Scaler
	guard  *call.Guard
	// values gives the variables that instances of a release are given, and those of
	// them that say where its services are.
	values func(ctx context.Context, release springtide.Release, process springtide.ProcessName) (all, services map[string]string, err error)
	// changed receives a value after every change of what is wanted.
	changed chan struct{}
}

// Run looks until ctx ends.
func (q *outsideQueues) Run(ctx context.Context) error {
	var looking sync.WaitGroup
	defer looking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running := map[springtide.GroupID]context.CancelFunc{}
	for ctx.Err() == nil {
		wanted := map[springtide.GroupID]bool{}
		for _, active := range q.fleet.Active() {
			id := active.Group.ID
			if active.Process.Scale.Queue == nil || active.Stopped {
				continue
			}
			wanted[id] = true
			if running[id] == nil {
				own, end := context.WithCancel(ctx)
				running[id] = end
				looking.Go(func() { q.watch(own, id, *active.Process.Scale.Queue) })
			}
		}
		for id, end := range running {
			if !wanted[id] {
				end()
				delete(running, id)
			}
		}
		select {
		case <-q.changed:
		case <-ctx.Done():
		}
	}
	return nil
}

// watch looks at the queue of a group. After a failure everything is asked for anew:
// a secret may be another one, and a service elsewhere.
func (q *outsideQueues) watch(ctx context.Context, id springtide.GroupID, queue springtide.OutsideQueue) {
	var reader *backlog.Reader
	pause := queue.Every
	for ctx.Err() == nil {
		depth, err := backlog.Depth{}, error(nil)
		if reader == nil {
			reader, err = q.open(ctx, id, queue)
		}
		if err == nil {
			limited, cancel := context.WithTimeout(ctx, lookLimit)
			depth, err = reader.Read(limited)
			cancel()
		}
		if ctx.Err() != nil {
			break
		}
		seen := scale.Outside{Group: id, Waiting: depth.Waiting, UnderWay: depth.UnderWay, Every: queue.Every}
		if err == nil {
			pause = queue.Every
		} else {
			seen.Trouble = err.Error()
			pause = max(min(2*pause, longestBackOff), queue.Every)
			if reader != nil {
				reader.Close()
				reader = nil
			}
		}
		q.scaler.ReportOutside(seen)
		_ = pauseFor(ctx, pause)
	}
	if reader != nil {
		reader.Close()
	}
}

func (q *outsideQueues) open(ctx context.Context, id springtide.GroupID, queue springtide.OutsideQueue) (*backlog.Reader, error) {
	_, release, err := q.fleet.Environment(id.Environment)
	if err != nil {
		return nil, err
	}
	all, services, err := q.values(ctx, release, id.Process)
	if err != nil {
		return nil, err
	}
	own := map[string]bool{}
	for _, value := range services {
		if u, err := url.Parse(value); err == nil {
			own[u.Host] = true
		}
	}
	var plain net.Dialer
	return backlog.New(queue, all, func(ctx context.Context, network, address string) (net.Conn, error) {
		if own[address] {
			return plain.DialContext(ctx, network, address)
		}
		return q.guard.Dialer().DialContext(ctx, network, address)
	}), nil
}

// valuesOf gives the variables that instances of a release are given, but for those
// of the platform itself, and those of them that say where its services are.
func (s *state) valuesOf(ctx context.Context, release springtide.Release, name springtide.ProcessName) (all, services map[string]string, err error) {
	if services, err = s.serviceVariables(ctx, release); err != nil {
		return nil, nil, err
	}
	grant := process.Grant{Env: map[string]string{}, Credentials: map[string][]byte{}}
	if err := s.grantSecrets(ctx, release, &grant); err != nil {
		return nil, nil, err
	}
	all = map[string]string{}
	for _, from := range []map[string]string{services, release.App.Env, release.App.Processes[name].Env, release.Config, grant.Env} {
		maps.Copy(all, from)
	}
	return all, services, nil
}

// states tells how the queues are that are looked at.
func (q *outsideQueues) states() []api.OutsideQueueStatus {
	known := map[springtide.EnvironmentID]map[springtide.ProcessName]scale.OutsideState{}
	for _, state := range q.scaler.Outside() {
		if known[state.Environment] == nil {
			known[state.Environment] = map[springtide.ProcessName]scale.OutsideState{}
		}
		known[state.Environment][state.Process] = state
	}
	var all []api.OutsideQueueStatus
	for _, active := range q.fleet.Active() {
		id, queue := active.Group.ID, active.Process.Scale.Queue
		if state, seen := known[id.Environment][id.Process]; seen && queue != nil && !active.Stopped {
			all = append(all, api.OutsideQueueStatus{
				Environment: id.Environment, Process: id.Process, Queue: queue.String(),
				Waiting: state.Waiting, UnderWay: state.UnderWay, Trouble: state.Trouble,
			})
		}
	}
	return all
}

// samples are the same for metrics.
func (q *outsideQueues) samples() (all []observe.OutsideSample) {
	for _, one := range q.states() {
		all = append(all, observe.OutsideSample{
			Environment: one.Environment, Process: one.Process, Waiting: one.Waiting, UnderWay: one.UnderWay, Up: one.Trouble == "",
		})
	}
	return all
}
