package control

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/backup"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/observe"
	"github.com/springtide/springtide/internal/store/ledger"
	"github.com/springtide/springtide/internal/store/sqlite"
)

// backups implements api.Backups.
type backups struct {
	keeper   *backup.Keeper
	fleet    *deploy.Fleet
	jobs     *jobs.Service
	services services
}

// newKeeper makes what keeps everything safe. Its runs are made and carried out by
// the ledger's service, which comes later.
func newKeeper(o Options, kept *state, fleet *deploy.Fleet, events *observe.Events, copies map[string]func(context.Context, string) error, want func(context.Context, backup.Subject) error) (*backup.Keeper, error) {
	folder := filepath.Join(o.DataFolder, "backup")
	for _, below := range []string{"targets", "proofs", "scratch"} {
		if err := os.MkdirAll(filepath.Join(folder, below), 0o711); err != nil {
			return nil, err
		}
	}
	location := cmp.Or(o.Backups.URL, "file://"+filepath.Join(o.DataFolder, "backups"))
	access := o.Backups.access(filepath.Join(folder, "targets"))
	target, err := backup.OpenTarget(location, access)
	if err != nil {
		return nil, err
	}
	if o.Store != "" {
		o.Logger.Info("backups of the platform itself do not hold what is in PostgreSQL: back that database up where it runs")
	}
	key := kept.secrets.BackupKey()
	return backup.New(backup.Options{
		Target: target, Services: kept.services, Want: want,
		Plans:      func(context.Context) ([]backup.Plan, error) { return plans(fleet), nil },
		Identities: []age.Identity{key}, Recipients: []age.Recipient{key.Recipient()},
		Files:   &backup.FilesOptions{URL: location, Access: access, Source: filepath.Join(o.DataFolder, "files"), Folder: folder},
		State:   &backup.PlatformOptions{Folder: o.DataFolder, Databases: copies, Recovery: kept.secrets.ExportRecovery, Open: openCopy},
		Drills:  backup.DrillOptions{Folder: filepath.Join(folder, "proofs"), Smoke: kept.smoke, Host: kept.host},
		Scratch: filepath.Join(folder, "scratch"), Logger: o.Logger, Happened: events.Publish,
	}), nil
}

// openCopy opens a copy of one of the platform's databases, to see that it can be.
func openCopy(ctx context.Context, file string) error {
	if filepath.Base(file) == "jobs.db" {
		book, err := ledger.Open(ctx, file, ledger.Options{})
		if err != nil {
			return err
		}
		return book.Close()
	}
	store, err := sqlite.Open(ctx, file, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return store.Close()
}

// keepState makes a backup of the platform's own state at once: there is a key now
// that opens it.
func keepState(ctx context.Context, keeper *backup.Keeper, logger *slog.Logger) {
	if _, err := keeper.BackupPlatform(ctx); err != nil && ctx.Err() == nil {
		logger.Warn("the platform's own state could not be kept safe; it is tried again", "error", err)
	}
}

// safety is what the metrics tell of backups.
func safety(keeper *backup.Keeper) []observe.Safety {
	var all []observe.Safety
	for _, status := range keeper.Statuses() {
		if status.Environment == (springtide.EnvironmentID{}) {
			continue // the platform itself
		}
		all = append(all, observe.Safety{
			Environment: status.Environment, Of: status.Of, Newest: status.Last, Restorable: status.Restorable,
			Proven: status.Proof.Proven, Size: status.Size, Took: status.Took, Late: status.Late,
		})
	}
	return all
}

// plans are what all environments want of their backups.
func plans(fleet *deploy.Fleet) []backup.Plan {
	var all []backup.Plan
	for _, environment := range fleet.Environments() {
		_, release, err := fleet.Environment(environment.ID)
		if err != nil {
			continue // it is gone meanwhile
		}
		for of, plan := range release.App.Backups {
			all = append(all, backup.Plan{Subject: backup.Subject{Environment: environment.ID, Of: of}, Backup: plan})
		}
	}
	return all
}

// The names of the schedules of a backup and of its drill.
const (
	backupSchedule = "backup-"
	drillSchedule  = "drill-"
)

// withBackups adds the schedules of an environment's backups, and of the drills
// that prove them, to what its release says of jobs.
func withBackups(id springtide.EnvironmentID, app springtide.App, said springtide.Jobs) (springtide.Jobs, error) {
	if len(app.Backups) == 0 {
		return said, nil
	}
	schedules := map[springtide.ScheduleName]springtide.Schedule{}
	maps.Copy(schedules, said.Schedules)
	for of, plan := range app.Backups {
		subject := backup.Subject{Environment: id, Of: of}
		schedule, err := backup.Schedule(plan, subject)
		if err != nil {
			return said, err
		}
		schedules[springtide.ScheduleName(backupSchedule+of)] = schedule
		schedule.Job.Kind, schedule.Cron = springtide.RunDrill, nightly(subject)
		schedules[springtide.ScheduleName(drillSchedule+of)] = schedule
	}
	said.Schedules = schedules
	return said, nil
}

// nightly is a minute between 01:00 and 04:00 UTC, the same each night: drills of
// all environments at once would be felt.
func nightly(of backup.Subject) string {
	hash := fnv.New32a()
	fmt.Fprint(hash, of)
	minute := hash.Sum32() % 180
	return fmt.Sprintf("%d %d * * *", minute%60, 1+minute/60)
}

// enqueueBackup makes a run, or gives the one that is under way.
func enqueueBackup(ctx context.Context, service *jobs.Service, of backup.Subject, kind springtide.RunKind) (springtide.RunID, error) {
	payload, err := json.Marshal(springtide.BackupTask{Of: of.Of})
	if err != nil {
		return "", err
	}
	enqueued, err := service.Enqueue(ctx, of.Environment, []springtide.Job{{
		Queue: backup.Queue, Kind: kind, Payload: payload, Attempts: 5, Timeout: 6 * time.Hour,
		Key: string(kind) + " " + of.Of, KeyScope: springtide.KeyActive,
	}}, nil)
	if err != nil {
		return "", err
	}
	return enqueued[0].Run, nil
}

// planned gives what is wanted of a thing's backups.
func (b backups) planned(id springtide.EnvironmentID, of string) (backup.Subject, error) {
	_, release, err := b.fleet.Environment(id)
	if err != nil {
		return backup.Subject{}, err
	}
	if _, named := release.App.Backups[of]; !named {
		return backup.Subject{}, springtide.Errorf(springtide.NotFound, "%s keeps no %s safe", id, of).
			WithHint("name it in the manifest, like backups: { %s: { daily: \"04:30\", keep: 30d } }, and deploy", of)
	}
	return backup.Subject{Environment: id, Of: of}, nil
}

// BackupStatus implements api.Backups.
func (b backups) BackupStatus(ctx context.Context, id springtide.EnvironmentID) ([]api.BackupStatus, error) {
	_, release, err := b.fleet.Environment(id)
	if err != nil {
		return nil, err
	}
	known := map[string]backup.Status{}
	for _, status := range b.keeper.Statuses() {
		if status.Environment == id {
			known[status.Of] = status
		}
	}
	all := []api.BackupStatus{}
	for of, plan := range release.App.Backups {
		listed, err := b.keeper.List(ctx, backup.Subject{Environment: id, Of: of})
		if err != nil {
			return nil, err
		}
		status := known[of]
		told := api.BackupStatus{
			Of: of, Plan: plan, Count: len(listed), Kinds: kindsOf(listed), TookSeconds: status.Took.Seconds(),
			Restorable: status.Restorable, Late: status.Late,
			Proven: status.Proof.Proven, ProvenTookSeconds: status.Proof.Took.Seconds(), ProvenLostSeconds: status.Proof.Lost.Seconds(),
		}
		switch {
		case status.Failure.Reason != "":
			told.LastFailure, told.LastFailureOccurred = status.Failure.Reason, status.Failure.Time
		case status.Proof.Problem != "":
			told.LastFailure, told.LastFailureOccurred = status.Proof.Problem, status.Proof.Tried
		case status.Late:
			told.LastFailure = status.Reason
		}
		for _, kind := range told.Kinds {
			told.Size += kind.Size
		}
		if len(listed) > 0 {
			told.Newest = listed[len(listed)-1].Begun
		}
		all = append(all, told)
	}
	slices.SortFunc(all, func(a, b api.BackupStatus) int { return strings.Compare(a.Of, b.Of) })
	return all, nil
}

// kindsOf counts backups by their kinds; the newest is the last.
func kindsOf(listed []backup.Manifest) []api.BackupKind {
	kinds := []api.BackupKind{}
	for _, m := range listed {
		i := slices.IndexFunc(kinds, func(kind api.BackupKind) bool { return kind.Kind == string(m.Kind) })
		if i < 0 {
			i, kinds = len(kinds), append(kinds, api.BackupKind{Kind: string(m.Kind)})
		}
		kinds[i].Count++
		kinds[i].Size += m.Size()
		kinds[i].Plain, kinds[i].Newest = m.Plain(), m.Begun
	}
	slices.SortFunc(kinds, func(a, b api.BackupKind) int { return strings.Compare(a.Kind, b.Kind) })
	return kinds
}

// toldSafety tells how safe everything is that is to be kept safe.
func toldSafety(keeper *backup.Keeper, fleet *deploy.Fleet) []api.Safety {
	wanted := map[backup.Subject]bool{backup.PlatformState(): true}
	for _, plan := range plans(fleet) {
		wanted[plan.Subject] = true
	}
	all := []api.Safety{}
	for _, status := range keeper.Statuses() {
		if !wanted[status.Subject] {
			continue
		}
		delete(wanted, status.Subject)
		told := api.Safety{
			Environment: status.Environment, Of: status.Of, Newest: status.Last, Restorable: status.Restorable,
			Failure: status.Failure.Reason, Failed: status.Failure.Time, Proven: status.Proof.Proven,
			ProvenTookSeconds: status.Proof.Took.Seconds(), ProvenLostSeconds: status.Proof.Lost.Seconds(),
			Checked: status.Proof.Checked, Unproven: status.Unproven, Problem: status.Proof.Problem,
		}
		if status.Late {
			told.Late = status.Reason
		}
		if told.Problem != "" {
			told.Tried = status.Proof.Tried
		}
		all = append(all, told)
	}
	delete(wanted, backup.PlatformState()) // it is not kept safe without a recovery key
	for of := range wanted {
		all = append(all, api.Safety{Environment: of.Environment, Of: of.Of})
	}
	slices.SortFunc(all, func(a, b api.Safety) int {
		return cmp.Or(strings.Compare(a.Environment.String(), b.Environment.String()), strings.Compare(a.Of, b.Of))
	})
	return all
}

// Backups implements api.Backups.
func (b backups) Backups(ctx context.Context, id springtide.EnvironmentID, of string) ([]api.BackupRecord, error) {
	subjects := []backup.Subject{{Environment: id, Of: of}}
	if of == "" {
		all, err := b.keeper.Subjects(ctx)
		if err != nil {
			return nil, err
		}
		subjects = slices.DeleteFunc(all, func(subject backup.Subject) bool { return subject.Environment != id })
	}
	records := []api.BackupRecord{}
	for _, subject := range subjects {
		listed, err := b.keeper.List(ctx, subject)
		if err != nil {
			return nil, err
		}
		for _, m := range listed {
			records = append(records, api.BackupRecord{
				ID: m.ID, Of: m.Of, Kind: string(m.Kind), Begun: m.Begun, Finished: m.Finished, Size: m.Size(), Plain: m.Plain(),
			})
		}
	}
	slices.SortFunc(records, func(a, b api.BackupRecord) int { return b.Begun.Compare(a.Begun) })
	return records, nil
}

// RunBackup implements api.Backups.
func (b backups) RunBackup(ctx context.Context, id springtide.EnvironmentID, of string, kind springtide.RunKind) (springtide.RunID, error) {
	subject, err := b.planned(id, of)
	if err != nil {
		return "", err
	}
	return enqueueBackup(ctx, b.jobs, subject, kind)
}

// VerifyBackups implements api.Backups.
func (b backups) VerifyBackups(ctx context.Context, id springtide.EnvironmentID, of string) (api.Verification, error) {
	if of == springtide.BackupFiles {
		return b.verifyFiles(ctx, id)
	}
	checked, err := b.keeper.Verify(ctx, backup.Subject{Environment: id, Of: of})
	if err != nil {
		return api.Verification{}, err
	}
	found := api.Verification{
		Of: of, Problems: []string{},
		Checked: fmt.Sprintf("%d backups and %d changes, %d bytes", checked.Backups, checked.Changes, checked.Bytes),
	}
	found.Problems = append(found.Problems, checked.Problems...)
	return found, nil
}

// verifyFiles reads the next part of what restic keeps.
func (b backups) verifyFiles(ctx context.Context, id springtide.EnvironmentID) (api.Verification, error) {
	reading, err := b.keeper.CheckFiles(ctx, id)
	found := api.Verification{Of: springtide.BackupFiles, Problems: []string{}, Checked: "the next of the parts that all of it is read in, a part each day"}
	if reading.Problem != "" {
		found.Problems = append(found.Problems, reading.Problem)
		return found, nil
	}
	return found, err
}

// Restore implements api.Backups.
func (b backups) Restore(ctx context.Context, id springtide.EnvironmentID, of string, request api.RestoreRequest) (api.Restored, error) {
	if of == springtide.BackupFiles {
		return b.restoreFiles(ctx, id, request)
	}
	from := springtide.ServiceID{Environment: id, Name: springtide.ServiceName(of)}
	made, err := b.keeper.Restore(ctx, backup.RestoreRequest{From: from, Backup: request.Backup, To: request.To})
	if err != nil {
		return api.Restored{}, err
	}
	restored := api.Restored{
		Name: string(made.Service.Name), Backup: made.Backup, At: made.At, TookSeconds: made.Took.Seconds(),
		Differences: []api.Difference{},
	}
	for _, d := range made.Differences {
		restored.Differences = append(restored.Differences, api.Difference{What: d.Table, InUse: d.Now, Restored: d.Restored})
	}
	return restored, nil
}

func (b backups) restoreFiles(ctx context.Context, id springtide.EnvironmentID, request api.RestoreRequest) (api.Restored, error) {
	began := time.Now()
	made, err := b.keeper.RestoreFiles(ctx, id, request.Backup, request.To)
	if err != nil {
		return api.Restored{}, err
	}
	d := made.Difference
	return api.Restored{
		Name: made.Backup, Backup: made.Backup, At: made.Taken, TookSeconds: time.Since(began).Seconds(), Folder: made.Folder,
		Differences: []api.Difference{
			{What: "files that are the same", InUse: d.Same, Restored: d.Same},
			{What: "files that differ", InUse: d.Changed, Restored: d.Changed},
			{What: "files only there", InUse: d.New, Restored: d.Missing},
		},
	}, nil
}

// Promote implements api.Backups. What runs gets a new start: it is connected to
// what is not in use any more.
func (b backups) Promote(ctx context.Context, id springtide.EnvironmentID, of, restored string) error {
	if of == springtide.BackupFiles {
		if _, err := b.keeper.ExchangeFiles(id, restored); err != nil {
			return err
		}
		return b.services.restart(ctx, id)
	}
	current := springtide.ServiceID{Environment: id, Name: springtide.ServiceName(of)}
	other := springtide.ServiceID{Environment: id, Name: springtide.ServiceName(restored)}
	if err := b.services.manager.Swap(ctx, current, other); err != nil {
		return err
	}
	return b.services.restart(ctx, id)
}

// AcceptFiles implements api.Backups.
func (b backups) AcceptFiles(_ context.Context, id springtide.EnvironmentID) error {
	return b.keeper.AcceptFiles(id)
}

// Discard implements api.Backups.
func (b backups) Discard(ctx context.Context, id springtide.EnvironmentID, of, restored string) error {
	if of == springtide.BackupFiles {
		return b.keeper.DiscardFiles(id, restored)
	}
	made := springtide.ServiceID{Environment: id, Name: springtide.ServiceName(restored)}
	status, err := b.services.find(made)
	if err != nil {
		return err
	}
	if !status.Apart || !strings.HasPrefix(restored, of+"-") {
		return springtide.Errorf(springtide.Invalid, "%s was not restored from a backup of %s", made, of).
			WithHint("a service is deleted by: tide services destroy %s", made)
	}
	return b.services.manager.Destroy(ctx, made)
}
