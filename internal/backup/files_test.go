package backup

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/service/servicetest"
)

var (
	quizOf  = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	uploads = Subject{quizOf, springtide.BackupFiles}
)

// depot is a keeper of shared files with a target in a folder.
type depot struct {
	t      *testing.T
	folder string
	keep   time.Duration
	own    *age.X25519Identity
	// recovery opens everything; the platform itself does not have it.
	recovery *age.X25519Identity
	services Services
	plans    []Plan
	drills   DrillOptions
	state    *PlatformOptions
	access   TargetOptions

	mu     sync.Mutex
	events []springtide.Event
	runs   int
}

func newDepot(t *testing.T) *depot {
	t.Helper()
	d := depotAt(t, quickFolder(t))
	d.write("uploads/one", 1<<20)
	d.write("uploads/deep/two", 10)
	d.write("media/three", 100)
	d.write(".uploads/temporary", 10) // the platform's own
	return d
}

// depotAt opens the depot of a folder.
func depotAt(t *testing.T, folder string) *depot {
	t.Helper()
	d := &depot{t: t, folder: folder, keep: 10 * 24 * time.Hour}
	d.drills.Folder = d.at("proofs")
	d.own, d.recovery = newIdentity(t, folder, "own"), newIdentity(t, folder, "recovery")
	return d
}

// quickFolder is one in memory, if there is such: these tests wait for the disk
// more than for anything else, and it is not what they are about.
func quickFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "tide")
	if err != nil {
		return servicetest.Folder(t)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o711); err != nil {
		t.Fatal(err)
	}
	return folder
}

// newIdentity gives the key in a file, which is made if there is none.
func newIdentity(t *testing.T, folder, name string) *age.X25519Identity {
	t.Helper()
	file := filepath.Join(folder, name+".key")
	text, err := os.ReadFile(file)
	if err != nil {
		made, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(made.String())
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	identity, err := age.ParseX25519Identity(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

func (d *depot) at(parts ...string) string {
	return filepath.Join(append([]string{d.folder}, parts...)...)
}

func (d *depot) data(name string) string { return d.at("files", "quiz", "production", name) }

// write gives a shared file so many random bytes.
func (d *depot) write(name string, size int) {
	d.t.Helper()
	content := make([]byte, size)
	_, _ = rand.Read(content) // it does not fail
	if err := os.MkdirAll(filepath.Dir(d.data(name)), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(d.data(name), content, 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *depot) read(path string) string {
	d.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(content)
}

// keeper opens one, as a platform that has just been started does.
func (d *depot) keeper() *Keeper {
	d.t.Helper()
	return d.keeperAt("file://"+d.at("target"), nil)
}

func (d *depot) keeperAt(url string, wrap func(Target) Target) *Keeper {
	d.t.Helper()
	access := d.access
	access.Records = d.at("records")
	target, err := OpenTarget(url, access)
	if err != nil {
		d.t.Fatal(err)
	}
	if wrap != nil {
		target = wrap(target)
	}
	return New(Options{
		Target: target, Services: d.services, Drills: d.drills, State: d.state,
		Identities: []age.Identity{d.own}, Recipients: []age.Recipient{d.own.Recipient(), d.recovery.Recipient()},
		Plans: func(context.Context) ([]Plan, error) {
			return append(d.plans, Plan{uploads, springtide.Backup{Daily: "04:30", Keep: d.keep}}), nil
		},
		Files:    &FilesOptions{URL: url, Access: access, Source: d.at("files"), Folder: d.at("own"), Days: 3},
		Scratch:  d.at("scratch"),
		Logger:   slog.New(slog.NewTextHandler(d.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		Happened: func(e springtide.Event) { d.mu.Lock(); d.events = append(d.events, e); d.mu.Unlock() },
	})
}

func (d *depot) happened(kind string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.events, func(e springtide.Event) bool { return e.Kind == kind })
}

// run has the keeper carry out a run.
func (d *depot) run(k *Keeper, kind springtide.RunKind, of Subject) jobs.Outcome {
	d.t.Helper()
	d.runs++
	return d.runAs(k, kind, of, springtide.RunID(fmt.Sprint("run-", d.runs)))
}

func (d *depot) runAs(k *Keeper, kind springtide.RunKind, of Subject, id springtide.RunID) jobs.Outcome {
	d.t.Helper()
	payload, err := json.Marshal(springtide.BackupTask{Of: of.Of})
	if err != nil {
		d.t.Fatal(err)
	}
	return k.Execute(d.t.Context(), springtide.Run{ID: id, Environment: of.Environment, Kind: kind, Payload: payload})
}

// backup makes a backup of the shared files, which must succeed.
func (d *depot) backup(k *Keeper) Manifest {
	d.t.Helper()
	if outcome := d.run(k, springtide.RunBackup, uploads); outcome.Verdict != jobs.Succeeded {
		d.t.Fatal(outcome.Reason)
	}
	all := d.backups(k)
	return all[len(all)-1]
}

func (d *depot) backups(k *Keeper) []Manifest {
	d.t.Helper()
	all, _, err := k.vault.manifests(d.t.Context(), uploads)
	if err != nil {
		d.t.Fatal(err)
	}
	return all
}

func quiet(springtide.Progress) {}

func TestSharedFilesComeBackBesideThoseInUseAndChangePlacesWithThem(t *testing.T) {
	d := newDepot(t)
	k := d.keeper()
	m := d.backup(k)
	if m.Rows["uploads"] != 2 || m.Rows["media"] != 1 || bytesOf(m) != 1<<20+110 {
		t.Errorf("counted %v, %d bytes", m.Rows, bytesOf(m))
	}
	was := d.read(d.data("uploads/one"))
	d.write("uploads/one", 5)
	d.write("uploads/new", 5)
	if err := os.Remove(d.data("media/three")); err != nil {
		t.Fatal(err)
	}
	restored, err := k.RestoreFiles(t.Context(), quizOf, m.ID, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if d := restored.Difference; d.Same != 1 || d.Changed != 1 || d.New != 1 || d.Missing != 1 {
		t.Errorf("the difference is %+v", d)
	}
	if again, err := k.RestoreFiles(t.Context(), quizOf, "", m.Begun); err != nil || again.Inodes["uploads"] != restored.Inodes["uploads"] {
		t.Errorf("restored again: %+v, %v", again, err)
	}
	for range 2 { // each may be said twice
		if made, err := k.files.exchange(uploads, m.ID, true); err != nil || !made.Promoted {
			t.Fatal(made, err)
		}
		if d.read(d.data("uploads/one")) != was || d.read(d.data("media/three")) == "" {
			t.Error("what is in use is not what was backed up")
		}
	}
	for range 2 {
		if made, err := k.files.exchange(uploads, m.ID, false); err != nil || made.Promoted {
			t.Fatal(made, err)
		}
		if len(d.read(d.data("uploads/new"))) != 5 {
			t.Error("it did not go back")
		}
	}
	if all, err := k.RestoredFiles(quizOf); err != nil || len(all) != 1 || all[0].Promoted {
		t.Errorf("listed %+v, %v", all, err)
	}
	if err := k.DiscardFiles(quizOf, m.ID); err != nil {
		t.Fatal(err)
	}
	if err := k.DiscardFiles(quizOf, "../production"); springtide.KindOf(err) != springtide.Invalid {
		t.Errorf("all was discarded: %v", err)
	}
	if _, err := k.ExchangeFiles(quizOf, m.ID); springtide.KindOf(err) != springtide.NotFound {
		t.Errorf("what was discarded was promoted: %v", err)
	}
}

func TestNobodySeesThePasswordOfTheRepository(t *testing.T) {
	d := newDepot(t)
	d.write("uploads/large", 16<<20)
	k := d.keeper()
	ended := make(chan struct{})
	go func() {
		d.run(k, springtide.RunBackup, uploads)
		close(ended)
	}()
	looked := 0
	for done := false; !done; {
		select {
		case <-ended:
			done = true
		default:
		}
		password, err := os.ReadFile(d.at("own", "quiz", "production", "password"))
		if err != nil {
			continue
		}
		for _, file := range []string{"cmdline", "environ"} {
			names, err := filepath.Glob("/proc/[0-9]*/" + file)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if content, err := os.ReadFile(name); err == nil {
					if strings.Contains(string(content), d.folder) {
						looked++
					}
					if strings.Contains(string(content), string(password)) {
						t.Fatalf("%s has the password", name)
					}
				}
			}
		}
	}
	if looked == 0 {
		t.Error("restic was never seen")
	}
}
