package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// wholeRow is what was measured of a whole control plane. Times are in milliseconds
// unless they say otherwise, medians where there are many; processor time is that of
// the control plane for one.
type wholeRow struct {
	Apps int `json:"apps"`
	Pods int `json:"pods"`
	// Start is how long it took until all pods were ready and in the edge's table, in seconds.
	Start float64 `json:"start_s"`
	// Memory is the process's proportional share, in MiB, at the end of all.
	Memory float64 `json:"memory_mib"`
	// Table is the size of the routing table, in KiB.
	Table float64 `json:"table_kib"`
	// Deploy is from the request for a new group of 10 until the edge gives requests to
	// all of it, and to it alone, of which the pods take 500.
	Deploy        float64 `json:"deploy_ms"`
	LongestDeploy float64 `json:"deploy_longest_ms"`
	DeployCPU     float64 `json:"deploy_cpu_ms"`
	// Gone is from a pod's end until the edge's table is without it; the processor time
	// is that for its replacement too.
	Gone        float64 `json:"gone_ms"`
	LongestGone float64 `json:"gone_longest_ms"`
	GoneCPU     float64 `json:"gone_cpu_ms"`
	// Scale is from `tide scale` to one more until that gets requests, of which the pod
	// takes 500.
	Scale        float64 `json:"scale_ms"`
	LongestScale float64 `json:"scale_longest_ms"`
	ScaleCPU     float64 `json:"scale_cpu_ms"`
	// Idle and Busy are in percent of a processor: with no requests, and with an edge
	// that tells ten times a second of 100 requests a second to every app.
	Idle float64 `json:"idle_percent"`
	Busy float64 `json:"busy_percent"`
	// Answers is how long a control plane that comes after one that was killed takes
	// until its API answers, Restart until it has given the edge a table, in seconds.
	Answers float64 `json:"answers_s"`
	Restart float64 `json:"restart_s"`
}

const wholeColumns = "\tpods\tstart s\tmemory MiB\ttable KiB\tdeploy ms\tlongest\tCPU ms\tpod gone ms\tlongest\tCPU ms\tscale ms\tlongest\tCPU ms\tidle %\tbusy %\tAPI again s\ttable again s\t"

func (r wholeRow) line() string {
	return fmt.Sprintf("%d\t%d\t%.1f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.0f\t%.0f\t%.1f\t%.0f\t%.0f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t",
		r.Apps, r.Pods, r.Start, r.Memory, r.Table, r.Deploy, r.LongestDeploy, r.DeployCPU, r.Gone, r.LongestGone, r.GoneCPU, r.Scale, r.LongestScale, r.ScaleCPU,
		r.Idle, r.Busy, r.Answers, r.Restart)
}

func measureWhole(ctx context.Context, o options, apps int) (r wholeRow, err error) {
	pods := o.pods
	url, end, err := startCluster(ctx)
	if err != nil {
		return r, err
	}
	defer end()
	p, err := newPlane(ctx, url, apps, pods)
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(p.folder)
	r = wholeRow{Apps: apps, Pods: apps * pods}
	if r.Start, err = timed(func() error { return p.begin(ctx, apps, pods) }); err != nil {
		return r, err
	}
	defer func() { p.kill() }()
	if err := p.answers(ctx); err != nil {
		return r, err
	}
	if err := p.measureChanges(ctx, &r, url, o.changes); err != nil {
		return r, err
	}
	if r.Idle, err = p.share(ctx, o.calm); err != nil {
		return r, err
	}
	p.edge.busy.Store(true)
	if r.Busy, err = p.share(ctx, o.calm); err != nil {
		return r, err
	}
	used, err := usageOf(p.command.Process.Pid)
	if err != nil {
		return r, err
	}
	r.Memory, r.Table = used.memory, float64(p.edge.bytes)/1024
	p.kill()
	began := time.Now()
	if err := p.start(ctx); err != nil {
		return r, err
	}
	if err := p.answers(ctx); err != nil {
		return r, err
	}
	r.Answers = time.Since(began).Seconds()
	err = p.edge.await(ctx, "the first table after a restart", func(table springtide.Table) bool { return table.Version > 0 })
	r.Restart = time.Since(began).Seconds()
	return r, err
}

// begin starts the control plane, and waits until the edge knows all pods.
func (p *plane) begin(ctx context.Context, apps, pods int) error {
	if err := p.start(ctx); err != nil {
		return err
	}
	return p.edge.await(ctx, "all apps to be ready", func(table springtide.Table) bool {
		return len(table.Routes) == apps && !slices.ContainsFunc(table.Routes, func(r springtide.Route) bool { return ready(r) < pods })
	})
}

// share gives what part of a processor the control plane uses, in percent.
func (p *plane) share(ctx context.Context, over time.Duration) (percent float64, err error) {
	select {
	case <-time.After(2 * time.Second): // what was begun is over
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	before, err := usageOf(p.command.Process.Pid)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	select {
	case <-time.After(over):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	after, err := usageOf(p.command.Process.Pid)
	return 100 * float64(after.processor-before.processor) / float64(time.Since(began)), err
}

// measureChanges makes changes one after the other, each to another app.
func (p *plane) measureChanges(ctx context.Context, r *wholeRow, url string, changes int) (err error) {
	app := func(n int) springtide.EnvironmentID { return group(n*7%r.Apps, 0).ID.Environment }
	pods := r.Pods / r.Apps
	r.Deploy, r.LongestDeploy, r.DeployCPU, err = p.each(changes, func(n int) (func() error, error) {
		id := app(n)
		deploy, err := p.api.Restart(ctx, id)
		if err != nil {
			return nil, err
		}
		err = p.edge.await(ctx, "a new group", func(table springtide.Table) bool {
			route := route(table, id.App)
			return route.Group.Generation > 1 && ready(route) == pods
		})
		return func() error {
			_, err := p.api.FollowDeploy(ctx, deploy.ID, func(springtide.Event) {})
			if err != nil {
				return err
			}
			return p.edge.await(ctx, "the old group to go", func(table springtide.Table) bool { return len(route(table, id.App).Backends) == pods })
		}, err
	})
	if err != nil {
		return err
	}
	r.Gone, r.LongestGone, r.GoneCPU, err = p.each(changes, func(n int) (func() error, error) {
		id := app(n)
		p.edge.mu.Lock()
		pod := route(p.edge.table, id.App).Backends[0].Instance
		p.edge.mu.Unlock()
		if err := simulate(ctx, url, "gone="+string(pod)); err != nil {
			return nil, err
		}
		err := p.edge.await(ctx, "a pod to be out of the table", func(table springtide.Table) bool {
			return !slices.ContainsFunc(route(table, id.App).Backends, func(b springtide.Backend) bool { return b.Instance == pod })
		})
		return func() error {
			return p.edge.await(ctx, "its replacement", func(table springtide.Table) bool { return ready(route(table, id.App)) == pods })
		}, err
	})
	if err != nil {
		return err
	}
	r.Scale, r.LongestScale, r.ScaleCPU, err = p.each(changes, func(n int) (func() error, error) {
		id := app(n)
		set := map[springtide.ProcessName]springtide.ScaleRange{springtide.Web: {Min: pods + 1, Max: pods + 1}}
		if _, err := p.api.ChangeScale(ctx, id, api.ScaleChange{Set: set}); err != nil {
			return nil, err
		}
		return nil, p.edge.await(ctx, "one more", func(table springtide.Table) bool { return ready(route(table, id.App)) == pods+1 })
	})
	return err
}

// each makes a change that often, and waits after each for what it gives back, which
// is not counted in its time. Median and longest are in milliseconds, as is the
// processor time of all that the control plane does for one.
func (p *plane) each(times int, change func(n int) (rest func() error, err error)) (median, longest, processor float64, err error) {
	before, err := usageOf(p.command.Process.Pid)
	if err != nil {
		return 0, 0, 0, err
	}
	var took []float64
	for n := range times {
		began := time.Now()
		rest, err := change(n)
		took = append(took, milliseconds(time.Since(began)))
		if err == nil && rest != nil {
			err = rest()
		}
		if err != nil {
			return 0, 0, 0, fmt.Errorf("change %d: %w", n, err)
		}
	}
	after, err := usageOf(p.command.Process.Pid)
	slices.Sort(took)
	return took[len(took)/2], took[len(took)-1], milliseconds(after.processor-before.processor) / float64(times), err
}

// simulate has something happen on the cluster.
func simulate(ctx context.Context, url, what string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/simulate?"+what, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the cluster answers %s", answer.Status)
	}
	return nil
}
