package backup

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/service"
)

// fakeDriver has servers that are files: data/log has a line for each row, with
// its number and when it was written. Segments of changes are called by the
// number of their first row.
type fakeDriver struct {
	service.Driver
	// backup is called while one is made.
	backup func(context.Context) error
	dump   func() error
}

func (d *fakeDriver) Inspect(_ context.Context, s service.Server) (service.Info, error) {
	info, err := os.Stat(logOf(s))
	if err != nil {
		return service.Info{}, err
	}
	return service.Info{Size: info.Size()}, nil
}

func (d *fakeDriver) Backup(ctx context.Context, s service.Server, to io.Writer) (service.BackupInfo, error) {
	lines, err := os.ReadFile(logOf(s))
	if err != nil {
		return service.BackupInfo{}, err
	}
	half := len(lines) / 2
	if _, err := to.Write(lines[:half]); err != nil {
		return service.BackupInfo{}, err
	}
	if d.backup != nil {
		if err := d.backup(ctx); err != nil {
			return service.BackupInfo{}, err
		}
	}
	_, err = to.Write(lines[half:])
	rows := int64(bytes.Count(lines, []byte("\n")))
	return service.BackupInfo{Begin: "0", End: strconv.FormatInt(rows, 10), Rows: map[string]int64{"log": rows}, Version: s.Version}, err
}

func (d *fakeDriver) Dump(_ context.Context, s service.Server, to io.Writer) error {
	if d.dump != nil {
		return d.dump()
	}
	lines, err := os.ReadFile(logOf(s))
	if err != nil {
		return err
	}
	_, err = to.Write(lines)
	return err
}

func (d *fakeDriver) Restore(ctx context.Context, s service.Server, from io.Reader, until service.RestoreTo) error {
	data, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	for {
		var change bytes.Buffer
		next := bytes.Count(data, []byte("\n"))
		found := false
		for first := next; first >= 0 && !found; first-- { // a segment that begins before may go beyond
			change.Reset()
			err := until.Changes(ctx, fmt.Sprintf("%08d", first), &change)
			if err != nil && springtide.KindOf(err) != springtide.NotFound {
				return err
			}
			found = err == nil && bytes.Count(change.Bytes(), []byte("\n"))+first > next
			if found {
				rest := bytes.SplitAfter(change.Bytes(), []byte("\n"))[next-first:]
				change = *bytes.NewBuffer(bytes.Join(rest, nil))
			}
		}
		if !found {
			break
		}
		for line := range bytes.Lines(change.Bytes()) {
			_, at, err := parseLine(string(line))
			if err != nil {
				return err
			}
			if !until.Time.IsZero() && at.After(until.Time) {
				return make1(s, data)
			}
			data = append(data, line...)
		}
	}
	if !until.Time.IsZero() {
		return springtide.Errorf(springtide.Invalid, "the changes do not reach %v", until.Time)
	}
	return make1(s, data)
}

func make1(s service.Server, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(logOf(s)), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(logOf(s), data, 0o600)
}

func (d *fakeDriver) Changes(_ context.Context, s service.Server) (string, error) {
	folder := filepath.Join(s.Folder, "changes")
	return folder, os.MkdirAll(folder, 0o700)
}

// Finish makes a segment of all rows since the last, if there are none too.
func (d *fakeDriver) Finish(_ context.Context, s service.Server) error {
	lines, err := os.ReadFile(logOf(s))
	if err != nil {
		return err
	}
	finished := filepath.Join(s.Folder, "finished")
	text, err := os.ReadFile(finished)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	first, _ := strconv.Atoi(string(text))
	all := bytes.SplitAfter(lines, []byte("\n"))
	all = all[:len(all)-1]
	if err := durable.WriteFile(filepath.Join(s.Folder, "changes", fmt.Sprintf("%08d", first)), bytes.Join(all[first:], nil), 0o600); err != nil {
		return err
	}
	return durable.WriteFile(finished, []byte(strconv.Itoa(len(all))), 0o600)
}

func (d *fakeDriver) Verify(_ context.Context, s service.Server) (service.Verification, error) {
	rows, err := readRows(s)
	return service.Verification{Rows: map[string]int64{"log": int64(rows)}, Checked: "each row"}, err
}

func (d *fakeDriver) Rows(ctx context.Context, s service.Server) (map[string]int64, error) {
	verified, err := d.Verify(ctx, s)
	return verified.Rows, err
}

func logOf(s service.Server) string { return filepath.Join(s.Folder, "data", "log") }

func parseLine(line string) (number int, at time.Time, err error) {
	var nanoseconds int64
	_, err = fmt.Sscanf(line, "%d %d\n", &number, &nanoseconds)
	return number, time.Unix(0, nanoseconds), err
}

// writeRow adds one row, and gives when.
func writeRow(s service.Server) (time.Time, error) {
	rows, err := readRows(s)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, err
	}
	if err := os.MkdirAll(filepath.Dir(logOf(s)), 0o700); err != nil {
		return time.Time{}, err
	}
	file, err := os.OpenFile(logOf(s), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return time.Time{}, err
	}
	defer file.Close()
	now := time.Now()
	_, err = fmt.Fprintf(file, "%d %d\n", rows, now.UnixNano())
	return now, err
}

// readRows counts the rows, which must be those from the first on without a gap.
func readRows(s service.Server) (rows int, err error) {
	file, err := os.Open(logOf(s))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); rows++ {
		number, _, err := parseLine(lines.Text())
		if err != nil || number != rows {
			return rows, fmt.Errorf("row %d is %q", rows, lines.Text())
		}
	}
	return rows, nil
}

// fakeServices are servers in folders.
type fakeServices struct {
	folder string
	driver service.Driver

	mu      sync.Mutex
	servers map[springtide.ServiceID]service.Server
}

var fakeID = springtide.ServiceID{Environment: springtide.EnvironmentID{App: "quiz", Name: "production"}, Name: "db"}

func newFakeServices(folder string, driver service.Driver) *fakeServices {
	f := &fakeServices{folder: folder, driver: driver, servers: map[springtide.ServiceID]service.Server{}}
	f.servers[fakeID] = f.server(fakeID)
	return f
}

func (f *fakeServices) server(id springtide.ServiceID) service.Server {
	return service.Server{ID: id, Spec: springtide.Service{Kind: "fake"}, Version: "1", Folder: filepath.Join(f.folder, id.String()), Role: service.RolePrimary}
}

func (f *fakeServices) Server(id springtide.ServiceID) (service.Server, service.Driver, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	server, there := f.servers[id]
	if !there {
		return server, nil, springtide.Errorf(springtide.NotFound, "there is no service %s", id)
	}
	return server, f.driver, nil
}

func (f *fakeServices) Draft(_ context.Context, id, _ springtide.ServiceID) (service.Server, error) {
	if _, _, err := f.Server(id); err == nil {
		return service.Server{}, springtide.Errorf(springtide.Conflict, "there is a service %s already", id)
	}
	server := f.server(id)
	return server, errors.Join(os.RemoveAll(server.Folder), os.MkdirAll(server.Folder, 0o700))
}

func (f *fakeServices) Adopt(_ context.Context, id springtide.ServiceID, made service.Server) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.servers[id] = made
	return nil
}

func (f *fakeServices) Destroy(_ context.Context, id springtide.ServiceID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.servers, id)
	return os.RemoveAll(f.server(id).Folder)
}

// world is a keeper with a service to keep safe.
type world struct {
	*Keeper
	t        *testing.T
	driver   *fakeDriver
	services *fakeServices
	target   Target
	of       Subject
	server   service.Server
	identity age.Identity

	mu     sync.Mutex
	plans  map[Subject]springtide.Backup
	events []springtide.Event
	wanted int
}

func newWorld(t *testing.T, change func(*Options)) *world {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, driver: &fakeDriver{}, of: SubjectOf(fakeID), identity: identity, plans: map[Subject]springtide.Backup{}}
	w.services = newFakeServices(t.TempDir(), w.driver)
	w.server = w.services.servers[fakeID]
	w.plans[w.of] = springtide.Backup{Daily: "04:30", Keep: 24 * time.Hour, PointInTime: true}
	options := Options{
		Target: openTarget(t, "file://"+t.TempDir(), TargetOptions{}), Services: w.services, Scratch: t.TempDir(), Drills: DrillOptions{Folder: t.TempDir()},
		Identities: []age.Identity{identity}, Recipients: []age.Recipient{identity.Recipient()},
		Plans: func(context.Context) (all []Plan, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for of, plan := range maps.All(w.plans) {
				all = append(all, Plan{of, plan})
			}
			return all, nil
		},
		Want: func(context.Context, Subject) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.wanted++
			return nil
		},
		Happened: func(event springtide.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, event)
		},
	}
	if change != nil {
		change(&options)
	}
	w.target = options.Target
	w.Keeper = New(options)
	w.write(3)
	return w
}

// write writes rows, and gives when the last was.
func (w *world) write(rows int) (last time.Time) {
	w.t.Helper()
	for range rows {
		var err error
		if last, err = writeRow(w.server); err != nil {
			w.t.Fatal(err)
		}
	}
	return last
}

func (w *world) finish() {
	w.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Join(w.server.Folder, "changes"), 0o700), w.driver.Finish(w.t.Context(), w.server)); err != nil {
		w.t.Fatal(err)
	}
}

// run is a run of kind backup in its first attempt.
func (w *world) run(id springtide.RunID) springtide.Run {
	return springtide.Run{
		ID: id, Environment: w.of.Environment, Kind: springtide.RunBackup, Fence: 1,
		Payload: []byte(`{"of":"` + w.of.Of + `"}`),
	}
}

// back makes a backup.
func (w *world) back(id springtide.RunID) {
	w.t.Helper()
	if outcome := w.Execute(w.t.Context(), w.run(id)); outcome.Verdict != "succeeded" {
		w.t.Fatalf("the backup: %+v", outcome)
	}
}

// restore restores, and gives how many rows there are.
func (w *world) restore(request RestoreRequest) (int, Restored, error) {
	w.t.Helper()
	request.From = fakeID
	restored, err := w.Restore(w.t.Context(), request)
	if err != nil {
		return 0, restored, err
	}
	defer w.services.Destroy(w.t.Context(), restored.Service)
	server, _, err := w.services.Server(restored.Service)
	if err != nil {
		return 0, restored, err
	}
	rows, err := readRows(server)
	return rows, restored, err
}

func (w *world) expectRows(request RestoreRequest, want int) {
	w.t.Helper()
	if rows, _, err := w.restore(request); err != nil || rows != want {
		w.t.Errorf("restored %d rows, want %d: %v", rows, want, err)
	}
}

// happenedTo tells how often an event of a kind was told.
func (w *world) happenedTo(kind string) (times int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, event := range w.events {
		if event.Kind == kind && event.Environment == fakeID.Environment && strings.Contains(event.Message, "db") {
			times++
		}
	}
	return times
}
