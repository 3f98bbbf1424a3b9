package demand

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

const (
	// keep is for how long the demand of each minute is kept.
	keep = 90 * 24 * time.Hour
	// flushEvery is how old what was asked can be that is not in the store, and
	// flushAll all the rest: what runs without being asked for anything is written
	// down less often.
	flushEvery = 10 * time.Second
	flushAll   = time.Minute
	// flushLimit is how long the last flush may take.
	flushLimit = 5 * time.Second
)

// Options are what a Recorder needs; all are required.
type Options struct {
	Store store.Demand
	// Limits are what an instance of a group may use.
	Limits func(springtide.GroupID) springtide.Limits
	Logger *slog.Logger
	Now    func() time.Time
}

// Recorder gathers minutes and what instances use, and keeps them in the store.
type Recorder struct {
	options Options
	// storing is held while something is written: what is newer is written later.
	storing sync.Mutex

	mu        sync.Mutex // never held while the disk is waited for by a write
	processes map[store.ProcessID]*process
	instances map[springtide.InstanceID]*used
	over      []finished
	forgotten time.Time // when old hours were last forgotten
}

// process is what is known of one process.
type process struct {
	began time.Time // of the hour
	hour  *hour
	// loaded says that the store's hour is part of it, dirty that the store has not
	// all of it, asked that requests are what it lacks.
	loaded, dirty, asked bool
	// served is the sum of service times of the minute; answers how many there were.
	served    time.Duration
	answers   int
	latencies springtide.Latencies
	of        time.Time        // the minute of these sums
	gauges    map[string]gauge // by edge
	ready     int
	observed  *Observed
	used      bool         // observed is newer than the store's
	expected  [2]*expected // of even and of odd hours
}

// finished is an hour that is over and not stored.
type finished struct {
	id    store.ProcessID
	began time.Time
	hour  *hour
}

type gauge struct{ busy, held int }

// New gives a recorder; nothing is stored before [Recorder.Run].
func New(options Options) *Recorder {
	return &Recorder{options: options, processes: map[store.ProcessID]*process{}, instances: map[springtide.InstanceID]*used{}}
}

func processOf(group springtide.GroupID) store.ProcessID {
	return store.ProcessID{Environment: group.Environment, Process: group.Process}
}

func (r *Recorder) process(id store.ProcessID) *process {
	p := r.processes[id]
	if p == nil {
		p = &process{gauges: map[string]gauge{}}
		r.processes[id] = p
	}
	return p
}

// minute gives the minute that goes on.
func (r *Recorder) minute(id store.ProcessID, now time.Time) (*process, *springtide.Minute) {
	p := r.process(id)
	if began := now.UTC().Truncate(time.Hour); p.hour == nil || !p.began.Equal(began) {
		if p.hour != nil && p.dirty {
			r.load(context.Background(), id, p)
			r.over = append(r.over, finished{id, p.began, p.hour})
		}
		p.began, p.hour, p.loaded = began, new(hour), false
	}
	p.dirty = true
	m := &p.hour[now.UTC().Minute()]
	if m.Time.IsZero() {
		m.Time = now.UTC().Truncate(time.Minute)
	}
	m.Instances = max(m.Instances, p.ready)
	return p, m
}

// Report takes in what an edge saw.
func (r *Recorder) Report(report springtide.EdgeReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.options.Now()
	open := map[store.ProcessID]gauge{}
	for i := range report.Demand {
		d := &report.Demand[i]
		id := processOf(d.Group)
		sum := open[id]
		open[id] = gauge{sum.busy + max(d.Busy, 0), sum.held + max(d.Held, 0)}
		if d.Arrived+d.Completed+d.Refused+d.Failed+d.Held+d.Busy > 0 || d.BusyTime > 0 {
			r.count(id, now, d)
		}
	}
	for id, p := range r.processes {
		after, told := open[id]
		if _, before := p.gauges[report.Edge]; !told && before {
			delete(p.gauges, report.Edge)
		} else if told && after != (gauge{}) {
			p.gauges[report.Edge] = after
			sum := gauge{}
			for _, one := range p.gauges {
				sum.busy, sum.held = sum.busy+one.busy, sum.held+one.held
			}
			_, m := r.minute(id, now)
			m.Peak, m.Held = max(m.Peak, sum.busy+sum.held), max(m.Held, sum.held)
		}
	}
	if report.Leaving {
		for _, p := range r.processes {
			delete(p.gauges, report.Edge)
		}
	}
}

// count adds what happened in an interval.
func (r *Recorder) count(id store.ProcessID, now time.Time, d *springtide.Demand) {
	p, m := r.minute(id, now)
	p.asked = true
	if !p.of.Equal(m.Time) {
		p.of, p.served, p.answers, p.latencies = m.Time, 0, 0, springtide.Latencies{}
	}
	m.Requests += max(d.Arrived, 0)
	m.Failed += max(d.Failed, 0) + max(d.Refused, 0)
	m.Concurrency += max(d.BusyTime, 0).Minutes()
	p.served += max(d.Service, 0)
	p.answers += max(d.Completed, 0)
	if p.answers > 0 {
		m.Service = p.served / time.Duration(p.answers)
	}
	p.latencies.Merge(&d.Latencies)
	m.P95 = p.latencies.Quantile(0.95)
}

// Observe takes in how instances are.
func (r *Recorder) Observe(snapshot springtide.Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.options.Now()
	ready := map[store.ProcessID]int{}
	alive := make(map[springtide.InstanceID]bool, len(snapshot.Instances))
	for _, instance := range snapshot.Instances {
		id := processOf(instance.Group)
		alive[instance.ID] = true
		if instance.State == springtide.InstanceReady {
			ready[id]++
		}
		if instance.State == springtide.InstanceCrashed {
			p := r.process(id)
			r.known(id, p, now)
			if p.observed.died(now, r.use(instance.ID), instance, r.options.Limits(instance.Group).Memory) {
				p.used = true
			}
		}
	}
	for id := range r.instances {
		if !alive[id] {
			delete(r.instances, id)
		}
	}
	for id, n := range ready {
		r.process(id).ready = n
		r.minute(id, now)
	}
	for id, p := range r.processes {
		if ready[id] == 0 {
			p.ready = 0
		}
	}
}

// Use takes in what instances use.
func (r *Recorder) Use(usage springtide.Usage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.options.Now()
	for _, one := range usage.Instances {
		id := processOf(one.Group)
		p, m := r.minute(id, now)
		r.known(id, p, now)
		m.CPU += p.observed.sample(now, r.use(one.Instance), one)
		m.Memory = max(m.Memory, one.Memory)
		p.used = true
	}
}

func (r *Recorder) use(instance springtide.InstanceID) *used {
	u := r.instances[instance]
	if u == nil {
		u = new(used)
		r.instances[instance] = u
	}
	return u
}

// known reads what was observed before, if it was not.
func (r *Recorder) known(id store.ProcessID, p *process, now time.Time) {
	if p.observed != nil {
		return
	}
	stored, err := r.options.Store.Usage(context.Background(), id)
	if err != nil {
		r.options.Logger.Warn("what instances used before cannot be read", "process", id.String(), "error", err)
	}
	p.observed = readObserved(stored, now)
}

// Run stores what is new every ten seconds, or every minute, until ctx ends, and
// then once more.
func (r *Recorder) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	flushed := r.options.Now()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushLimit)
			defer cancel()
			r.flush(last, true)
			return nil
		case <-tick.C:
			now := r.options.Now()
			all := now.Sub(flushed).Abs() >= flushAll
			if all {
				flushed = now
			}
			r.flush(ctx, all)
		}
	}
}

// flush stores what is new, all of it or what was asked, and forgets what is old.
func (r *Recorder) flush(ctx context.Context, all bool) {
	r.storing.Lock()
	defer r.storing.Unlock()
	now := r.options.Now()
	hours, usages := r.gather(ctx, now, all)
	if len(hours)+len(usages) > 0 {
		if err := r.options.Store.PutDemand(ctx, hours, usages); err != nil {
			r.options.Logger.Warn("what is asked of processes cannot be stored", "error", err)
			r.giveBack(hours, usages)
		}
	}
	if now.Sub(r.forgotten).Abs() > time.Hour {
		r.forgotten = now
		if err := r.options.Store.ForgetDemand(ctx, hourOf(now.Add(-keep))); err != nil {
			r.options.Logger.Warn("old demand cannot be forgotten", "error", err)
		}
	}
}

// gather packs what is new.
func (r *Recorder) gather(ctx context.Context, now time.Time, all bool) (hours []store.DemandHour, usages map[store.ProcessID][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	usages = map[store.ProcessID][]byte{}
	for _, one := range r.over {
		hours = append(hours, store.DemandHour{Of: one.id, Hour: hourOf(one.began), Minutes: pack(one.hour)})
	}
	r.over = nil
	for id, p := range r.processes {
		if !all && !p.asked {
			continue
		}
		if p.dirty {
			r.load(ctx, id, p)
			hours = append(hours, store.DemandHour{Of: id, Hour: hourOf(p.began), Minutes: pack(p.hour)})
		}
		if p.used {
			usages[id] = p.observed.write()
		}
		if !p.dirty && !p.used && now.Sub(p.began) > 2*time.Hour && p.ready == 0 {
			delete(r.processes, id)
		}
		p.dirty, p.asked, p.used = false, false, false
	}
	return hours, usages
}

// giveBack has what could not be stored stored later; an hour that is over is lost
// after a day.
func (r *Recorder) giveBack(hours []store.DemandHour, usages map[store.ProcessID][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.options.Now()
	for _, one := range hours {
		began := time.Unix(one.Hour*3600, 0).UTC()
		if p := r.processes[one.Of]; p != nil && p.hour != nil && p.began.Equal(began) {
			p.dirty = true
		} else if h, err := unpack(one.Minutes, began); err == nil && now.Sub(began) < 24*time.Hour {
			r.over = append(r.over, finished{one.Of, began, h})
		}
	}
	for id := range usages {
		if p := r.processes[id]; p != nil && p.observed != nil {
			p.used = true
		}
	}
}

// load joins the hour with what the store has of it, once.
func (r *Recorder) load(ctx context.Context, id store.ProcessID, p *process) {
	if p.loaded {
		return
	}
	before, err := r.options.Store.Demand(ctx, id, hourOf(p.began), hourOf(p.began))
	if err == nil && len(before) > 0 {
		var known *hour
		known, err = unpack(before[0].Minutes, p.began)
		for i := range known {
			if m := &p.hour[i]; !known[i].Time.IsZero() {
				m.Time = known[i].Time
				join(m, known[i])
			}
		}
	}
	if err != nil {
		r.options.Logger.Warn("what was asked of a process before cannot be read", "process", id.String(), "error", err)
	}
	p.loaded = true
}

// History gives the minutes since a time that are known, the first first.
func (r *Recorder) History(ctx context.Context, id store.ProcessID, since time.Time) ([]springtide.Minute, error) {
	r.flush(ctx, true)
	hours, err := r.options.Store.Demand(ctx, id, hourOf(since), hourOf(r.options.Now()))
	if err != nil {
		return nil, err
	}
	minutes := []springtide.Minute{}
	for _, one := range hours {
		h, err := unpack(one.Minutes, time.Unix(one.Hour*3600, 0).UTC())
		if err != nil {
			r.options.Logger.Warn("demand cannot be read", "process", id.String(), "error", err)
			continue
		}
		for i := range h {
			if !h[i].Time.IsZero() && !h[i].Time.Before(since.Truncate(time.Minute)) {
				minutes = append(minutes, h[i])
			}
		}
	}
	return minutes, nil
}

// Observed gives what the instances of a process used.
func (r *Recorder) Observed(ctx context.Context, id store.ProcessID) (Observed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var stored []byte
	if p := r.processes[id]; p != nil && p.observed != nil {
		stored = p.observed.write()
	} else {
		var err error
		if stored, err = r.options.Store.Usage(ctx, id); err != nil {
			return Observed{}, err
		}
	}
	return *readObserved(stored, r.options.Now()), nil
}

// Forget drops what is not stored of an environment that is destroyed.
func (r *Recorder) Forget(id springtide.EnvironmentID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for one := range r.processes {
		if one.Environment == id {
			delete(r.processes, one)
		}
	}
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }
