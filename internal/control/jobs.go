package control

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/backup"
	"github.com/springtide/springtide/internal/call"
	"github.com/springtide/springtide/internal/cron"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/observe"
	"github.com/springtide/springtide/internal/routing"
	"github.com/springtide/springtide/internal/scale"
)

// joinJobs joins jobs, backups among them, and how instances reach them.
func (p *plane) joinJobs(ctx context.Context) (err error) {
	if p.instances, err = p.listenForInstances(ctx); err != nil {
		return err
	}
	key, err := sharedKey(ctx, filepath.Join(p.DataFolder, ledgerKey), p.book.Key)
	if err != nil {
		return err
	}
	if p.access, err = openAccess(p.fleet, filepath.Join(p.DataFolder, instanceKey), key); err != nil {
		return err
	}
	outside := newOutside(p.fleet, p.HTTPS, p.url, p.authority)
	caller := call.New(call.Options{
		App: outside.app, Rate: outside.rate, AllowPrivate: p.AllowCalls, Logger: p.Logger,
		Secret: p.access.webhookSecret,
	})
	if p.mails, err = newMails(p.fleet, p.access, caller, p.DataFolder, p.AllowCalls, p.Logger); err != nil {
		return err
	}
	p.keeper, err = newKeeper(p.Options, p.kept, p.fleet, p.events, p.copies, func(ctx context.Context, of backup.Subject) error {
		_, err := enqueueBackup(ctx, p.service, of, springtide.RunBackup)
		return err
	})
	if err != nil {
		return err
	}
	p.duties = &duties{fleet: p.fleet, own: p.Ledger == "", logger: p.Logger, changed: p.work}
	p.service = jobs.New(jobs.Options{
		Ledger: p.book, Folder: filepath.Join(p.DataFolder, "output"), Logger: p.Logger,
		Admit: p.duties.Admit, Served: p.duties.Served, Next: nextSlot,
		Happened: tellOf(p.events), Changed: func() { ring(p.queued) }, Observer: p.metrics,
		Executors: map[springtide.RunKind]jobs.Executor{
			springtide.RunHTTP: here{p.fleet, caller}, springtide.RunMail: here{p.fleet, p.mails.sender},
			springtide.RunBackup: here{p.fleet, p.keeper}, springtide.RunDrill: here{p.fleet, p.keeper},
		},
	})
	p.duties.ledger, p.duties.told = p.service, p.service.Readmit
	p.busy.runs = p.service
	p.metrics.Queues(p.service.Statuses)
	p.metrics.Backups(func() []observe.Safety { return safety(p.keeper) })
	return nil
}

// runJobs has runs carried out until ctx ends. They use the mails' sender to
// their end.
func (p *plane) runJobs(ctx context.Context) error {
	defer p.mails.sender.Close()
	return p.service.Run(ctx)
}

// duties joins the ledger with the fleet: it keeps the ledger told of what the
// releases say of their jobs, and says who may take up work.
type duties struct {
	fleet  *deploy.Fleet
	ledger jobs.Settings
	// own says that no other platform uses the ledger: what belongs to an
	// environment that is not here is nobody's.
	own    bool
	logger *slog.Logger
	// changed receives a value after every change of what is wanted.
	changed chan struct{}
	// told wakes those who wait for work.
	told func()
	// trouble is what the log says already of an environment.
	trouble map[springtide.EnvironmentID]string
}

// retrySettings is when what the ledger did not take is tried again.
const retrySettings = time.Second

// said is what the ledger was told of an environment.
type said struct {
	release, generation int
	stopped             bool
}

// Run keeps the ledger told until ctx ends. It goes by what is, not by what
// happened, so that whatever a killed control plane had not told is told now.
func (d *duties) Run(ctx context.Context, ledger jobs.Reader) error {
	known, whole := map[springtide.EnvironmentID]said{}, false
	for read := false; ctx.Err() == nil; {
		if !read {
			read = d.read(ctx, ledger, known)
		}
		whole = d.tell(ctx, known) && read
		var retry <-chan time.Time
		if !whole {
			retry = time.After(retrySettings)
		}
		select {
		case <-d.changed:
		case <-retry:
		case <-ctx.Done():
		}
	}
	return nil
}

// read lists the environments that the ledger has something of.
func (d *duties) read(ctx context.Context, ledger jobs.Reader, known map[springtide.EnvironmentID]said) bool {
	queues, err1 := ledger.Queues(ctx, springtide.EnvironmentID{})
	schedules, err2 := ledger.Schedules(ctx, springtide.EnvironmentID{})
	for _, queue := range queues {
		known[queue.Environment] = said{}
	}
	for _, schedule := range schedules {
		known[schedule.Environment] = said{}
	}
	return err1 == nil && err2 == nil
}

// tell tells the ledger what it does not know yet, and reports whether it took
// all of it.
func (d *duties) tell(ctx context.Context, known map[springtide.EnvironmentID]said) (whole bool) {
	whole = true
	changed := false
	here := map[springtide.EnvironmentID]bool{}
	for _, environment := range d.fleet.Environments() {
		here[environment.ID] = true
		now := said{environment.Active, environment.Generation, environment.Stopped}
		if before, told := known[environment.ID]; told && before == now {
			continue
		}
		if err := d.set(ctx, environment.ID, known[environment.ID], now); err != nil {
			whole = false
			d.complain(ctx, environment.ID, err)
			continue
		}
		known[environment.ID] = now
		delete(d.trouble, environment.ID)
		changed = true
	}
	for id := range known {
		if here[id] {
			continue
		}
		if err := d.forget(ctx, id); err != nil {
			whole = false
			d.complain(ctx, id, err)
			continue
		}
		delete(known, id)
		delete(d.trouble, id)
	}
	if changed {
		d.told()
	}
	return whole
}

// forget deletes what the ledger has of an environment that is gone from here,
// unless others may have it.
func (d *duties) forget(ctx context.Context, id springtide.EnvironmentID) error {
	if !d.own {
		return nil
	}
	return d.ledger.ForgetEnvironment(ctx, id)
}

func (d *duties) set(ctx context.Context, id springtide.EnvironmentID, before, now said) error {
	_, release, err := d.fleet.Environment(id)
	if err != nil || release.Number == 0 {
		return nil //nolint:nilerr // It is gone meanwhile, or has nothing to say yet.
	}
	if before.release != now.release {
		all, err := withBackups(id, release.App, jobsOf(release.App))
		if err == nil {
			err = d.ledger.SetJobs(ctx, id, release.Number, all)
		}
		if err != nil {
			return err
		}
	}
	return d.ledger.SetStopped(ctx, id, now.stopped)
}

// jobsOf is what an app says of its jobs. The queues of its workers are among
// them, though nothing else may be said of them: they can be seen and paused
// before they have a run.
func jobsOf(app springtide.App) springtide.Jobs {
	said := app.Jobs
	said.Queues = maps.Clone(said.Queues)
	if said.Queues == nil {
		said.Queues = map[springtide.QueueName]springtide.Queue{}
	}
	for _, process := range app.Processes {
		if process.Worker == nil {
			continue
		}
		for _, queue := range process.Worker.Queues {
			if _, named := said.Queues[queue]; !named {
				said.Queues[queue] = springtide.Queue{Attempts: springtide.DefaultAttempts, Retention: springtide.DefaultRetention}
			}
		}
	}
	return said
}

func (d *duties) complain(ctx context.Context, id springtide.EnvironmentID, err error) {
	if d.trouble == nil {
		d.trouble = map[springtide.EnvironmentID]string{}
	}
	if ctx.Err() == nil && d.trouble[id] != err.Error() {
		d.trouble[id] = err.Error()
		d.logger.Error("the ledger does not take what an environment says of its jobs; it is tried again", "environment", id, "error", err)
	}
}

// Admit says what a runner may do: one that belongs to no release may take
// whatever there is.
func (d *duties) Admit(who jobs.Identity) jobs.Admission {
	if who.Release == 0 {
		return jobs.Admission{Lease: true}
	}
	switch d.fleet.Duty(who.Environment, who.Release, who.Generation) {
	case deploy.DutyActive:
		return jobs.Admission{Lease: true}
	case deploy.DutyComing:
		return jobs.Admission{}
	case deploy.DutyHalted:
		return jobs.Admission{Drain: true, Interrupt: true}
	default:
		return jobs.Admission{Drain: true}
	}
}

// Served gives the queues that the workers of the active release take from, or
// those of the one that is coming will, and how long an attempt may take for a
// deploy to wait for it.
func (d *duties) Served(id springtide.EnvironmentID) (queues map[springtide.QueueName]time.Duration, limited bool) {
	queues = map[springtide.QueueName]time.Duration{}
	for _, process := range d.fleet.WorkersOf(id) {
		longest := process.Worker.Longest()
		for _, queue := range process.Worker.Queues {
			if known, several := queues[queue]; !several || longest < known {
				queues[queue] = longest
			}
		}
	}
	return queues, true
}

// tellOf makes an event of what happened to a run that somebody should see.
func tellOf(events *observe.Events) func(jobs.Happened) {
	return func(happened jobs.Happened) {
		run := happened.Run
		fields := map[string]string{"run": string(run.ID), "queue": string(run.Queue)}
		what := "run " + string(run.ID)
		if run.Schedule != "" {
			fields["schedule"] = string(run.Schedule)
			what = "the run of " + string(run.Schedule)
			if !run.Slot.IsZero() {
				fields["slot"] = run.Slot.UTC().Format(time.RFC3339)
				what = string(run.Schedule) + " of " + fields["slot"]
			}
		}
		message := map[string]string{
			"slot.late":    what + " has not started by its deadline",
			"slot.missed":  what + " was missed",
			"slot.skipped": what + " was skipped",
			"run.lost":     what + " lost its runner",
			"run.dead":     what + " failed for good",
		}[happened.Kind]
		if run.Reason != "" {
			message += ": " + run.Reason
		}
		if happened.Kind != "slot.skipped" {
			fields["level"] = "warning"
		}
		events.Publish(springtide.Event{Time: time.Now(), Environment: run.Environment, Kind: happened.Kind, Message: message, Fields: fields})
	}
}

// reportEvery is how often the scaler is told of the queues although nothing changed.
const reportEvery = 5 * time.Second

// reportWork tells the scaler how the queues stand, until ctx ends.
func reportWork(ctx context.Context, service *jobs.Service, scaler *scale.Scaler, queued <-chan struct{}) error {
	again := time.NewTicker(reportEvery)
	defer again.Stop()
	for {
		select {
		case <-queued:
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
		if !service.Away() { // else the scaler is to know that it knows nothing
			scaler.ReportWork(asWork(service.Statuses()))
		}
	}
}

// busy is the edges as the engine sees them, and what runners have to do.
type busy struct {
	*routing.Publisher
	runs interface {
		// Leased counts the runs that a runner has. Implemented by jobs.Service.
		Leased(runner string) int
	}
}

// Load implements engine.Router.
func (b *busy) Load(id springtide.InstanceID) int {
	return b.Publisher.Load(id) + b.runs.Leased(string(id))
}

// nextSlot gives the next time of a schedule.
func nextSlot(schedule springtide.Schedule, after time.Time) (time.Time, error) {
	timetable, err := cron.Parse(schedule.Cron, schedule.Timezone)
	if err != nil {
		return time.Time{}, err
	}
	return timetable.Next(after), nil
}

// asWork says how the queues stand in the scaler's words.
func asWork(statuses []jobs.QueueStatus) []scale.Work {
	all := make([]scale.Work, 0, len(statuses))
	for _, status := range statuses {
		work := scale.Work{
			Environment: status.Environment, Queue: status.Name,
			Backlog: status.Commands, Oldest: status.Oldest, UnderWay: status.UnderWay, Limit: status.Settings.Concurrency,
			Arrived: status.Arrived, Finished: status.Finished, Busy: status.Busy,
		}
		if status.Paused {
			work.Backlog, work.Oldest = 0, 0
		}
		all = append(all, work)
	}
	return all
}
