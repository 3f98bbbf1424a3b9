package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/secret"
	"github.com/springtide/springtide/internal/service/servicetest"
	"github.com/springtide/springtide/internal/store/ledger"
	"github.com/springtide/springtide/internal/store/sqlite"
)

// withPlatform gives the depot a data folder with real databases and real keys.
// It gives the recovery key.
func (d *depot) withPlatform() (recoveryKey string) {
	d.t.Helper()
	data := d.at("data")
	for name, content := range map[string]string{
		"ca/ca.crt": "certificate", "users.json": "{}", "artifacts/index.json": "{}",
		"services/quiz/production/db/service.json": "record", "services/quiz/production/db/1/data/PG_VERSION": "15",
		"files/quiz/production/.uploads/settings.json": "settings", "files/quiz/production/uploads/one": "upload",
		"run/api.sock": "", "logs/quiz/log": "said", "backups/object": "sealed", "backup/quiz/production/cache/x": "cached", "backup/quiz/production/password": "kept", "backup/scratch/drill-x/server/data": "scratch",
	} {
		d.put(filepath.Join(data, name), content)
	}
	for _, content := range []string{"layer one", "layer two"} {
		d.putBlob(content)
	}
	keyring, closeAll := d.openPlatform()
	defer closeAll()
	recoveryKey, err := keyring.RecoveryKey(true)
	if err != nil {
		d.t.Fatal(err)
	}
	d.put(d.at("recovery-key"), recoveryKey)
	return recoveryKey
}

func (d *depot) put(name, content string) {
	d.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o640); err != nil {
		d.t.Fatal(err)
	}
}

func (d *depot) putBlob(content string) {
	sum := sha256.Sum256([]byte(content))
	d.put(d.at("data", blobFolder, hex.EncodeToString(sum[:])), content)
}

// openPlatform opens what is in the data folder, and has the keeper keep it safe.
func (d *depot) openPlatform() (*secret.Keyring, func()) {
	d.t.Helper()
	logger := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(d.t.Context(), d.at("data", "tide.db"), logger)
	if err != nil {
		d.t.Fatal(err)
	}
	book, err := ledger.Open(d.t.Context(), d.at("data", "jobs.db"), ledger.Options{})
	if err != nil {
		d.t.Fatal(err)
	}
	keyring, err := secret.Open(d.t.Context(), secret.Options{Folder: d.at("data"), Store: store, Logger: logger})
	if err != nil {
		d.t.Fatal(err)
	}
	d.own = keyring.BackupKey()
	d.state = &PlatformOptions{
		Folder:    d.at("data"),
		Databases: map[string]func(context.Context, string) error{"tide.db": store.Copy, "jobs.db": book.Copy},
		Recovery:  keyring.ExportRecovery,
		Open: func(ctx context.Context, file string) error {
			if filepath.Base(file) != "tide.db" {
				return nil
			}
			store, err := sqlite.Open(ctx, file, logger)
			if err != nil {
				return err
			}
			return store.Close()
		},
	}
	return keyring, func() {
		_ = book.Close() // what is not written now never is
		_ = store.Close()
	}
}

// comeBack restores the platform into a folder.
func (d *depot) comeBack(folder, recoveryKey string, change func(*PlatformRestore)) ([]Brought, error) {
	d.t.Helper()
	url := "file://" + d.at("target")
	target, err := OpenTarget(url, TargetOptions{})
	if err != nil {
		d.t.Fatal(err)
	}
	restore := PlatformRestore{
		Target: target, URL: url, Folder: folder,
		Unlock: func(file []byte) (Recovery, error) { return secret.OpenRecovery(file, recoveryKey) },
		Logger: slog.New(slog.NewTextHandler(d.t.Output(), nil)),
	}
	if change != nil {
		change(&restore)
	}
	return RestorePlatform(d.t.Context(), restore)
}

// checkPlatform looks whether a restored data folder is as the one that was lost.
func (d *depot) checkPlatform(folder string) {
	d.t.Helper()
	if Restoring(folder) {
		d.t.Error("the folder is still being restored")
	}
	for _, name := range []string{
		"ca/ca.crt", "users.json", "artifacts/index.json", "services/quiz/production/db/service.json",
		"files/quiz/production/.uploads/settings.json", "backup/quiz/production/password", "root-key",
	} {
		if d.read(filepath.Join(folder, name)) != d.read(d.at("data", name)) {
			d.t.Errorf("%s is not what it was", name)
		}
	}
	for _, name := range []string{"run", "logs", "backups", "backup/quiz/production/cache", "backup/scratch", "scratch"} {
		if _, err := os.Lstat(filepath.Join(folder, name)); err == nil {
			d.t.Errorf("%s came back", name)
		}
	}
	blobs, err := os.ReadDir(filepath.Join(folder, blobFolder))
	if err != nil || len(blobs) != 2 {
		d.t.Errorf("blobs: %v, %v", blobs, err)
	}
	store, err := sqlite.Open(d.t.Context(), filepath.Join(folder, "tide.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		d.t.Fatal(err)
	}
	defer store.Close()
	keyring, err := secret.Open(d.t.Context(), secret.Options{Folder: folder, Store: store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.t.Fatal(err)
	}
	latest, err := keyring.Latest(d.t.Context(), quizOf)
	if err != nil {
		d.t.Fatal(err)
	}
	values, err := keyring.Values(d.t.Context(), quizOf, latest)
	if err != nil || string(values["STRIPE_KEY"]) != "sk_live_1" {
		d.t.Errorf("the secrets are %q, %v", values, err)
	}
}

// setSecret gives the platform something to lose.
func (d *depot) setSecret() {
	d.t.Helper()
	store, err := sqlite.Open(d.t.Context(), d.at("data", "tide.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		d.t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.CreateEnvironment(d.t.Context(), quizOf); err != nil {
		d.t.Fatal(err)
	}
	keyring, err := secret.Open(d.t.Context(), secret.Options{Folder: d.at("data"), Store: store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.t.Fatal(err)
	}
	if err := keyring.Set(d.t.Context(), quizOf, map[springtide.SecretName][]byte{"STRIPE_KEY": []byte("sk_live_1")}); err != nil {
		d.t.Fatal(err)
	}
}

func TestAWholePlatformComesBackFromTheTargetAndTheRecoveryKey(t *testing.T) {
	d := newDepot(t)
	key := d.withPlatform()
	d.setSecret()
	database := d.withPostgres()
	_, closeAll := d.openPlatform()
	k := d.keeper()
	for _, of := range []Subject{database, uploads} {
		if outcome := d.run(k, springtide.RunBackup, of); outcome.Verdict != jobs.Succeeded {
			t.Fatal(outcome.Reason)
		}
	}
	if _, err := k.BackupPlatform(t.Context()); err != nil {
		t.Fatal(err)
	}
	closeAll()

	folder := d.at("new")
	if _, err := d.comeBack(folder, newIdentity(t, d.folder, "wrong").String(), nil); springtide.KindOf(err) != springtide.Denied {
		t.Errorf("another recovery key: %v", err)
	}
	if _, err := d.comeBack(d.at("data"), key, nil); springtide.KindOf(err) != springtide.Conflict {
		t.Errorf("over another platform: %v", err)
	}
	there := d.services.(oneServer)
	again := *there.server
	again.Folder = filepath.Join(folder, "services/quiz/production/db/1")
	began := time.Now()
	brought, err := d.comeBack(folder, key, func(r *PlatformRestore) {
		r.Services = func(context.Context) (Services, func() error, error) {
			return oneServer{&again, there.driver}, func() error { return nil }, nil
		}
	})
	if err != nil || len(brought) != 2 {
		t.Fatal(brought, err)
	}
	t.Logf("restored in %s", time.Since(began).Round(time.Millisecond))
	d.checkPlatform(folder)
	if d.read(filepath.Join(folder, "files/quiz/production/uploads/one")) != d.read(d.data("uploads/one")) {
		t.Error("an upload is not what it was")
	}
	restored := servicetest.New(t, there.driver, again.Spec)
	restored.Server.Folder, restored.Server.Logins, restored.Output = again.Folder, again.Logins, filepath.Join(again.Folder, "log", "again.log")
	restored.Start()
	query(t, restored.URL(), "INSERT INTO questions SELECT count(*) FROM questions HAVING count(*) = 10")
	restored.Stop()
}

func TestArtifactsAreSentOnceAndRemovedWithTheLastBackupThatNeedsThem(t *testing.T) {
	d := newDepot(t)
	d.withPlatform()
	_, closeAll := d.openPlatform()
	defer closeAll()
	puts := &counting{}
	k := d.keeperAt("file://"+d.at("target"), func(target Target) Target { puts.Target = target; return puts })
	first, err := k.BackupPlatform(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.drill(t.Context(), springtide.Run{}, PlatformState()); err != nil {
		t.Error(err)
	}
	undo := flip(t, d.at("target", "springtide", "_", "_", "state", "objects"))
	if _, err := k.drill(t.Context(), springtide.Run{}, PlatformState()); err == nil {
		t.Error("a wrong byte was not found")
	}
	undo()
	d.putBlob("layer three")
	puts.names = nil
	if _, err := k.BackupPlatform(t.Context()); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, name := range puts.names {
		if matched, _ := filepath.Match(k.blobs()+"*", name); matched {
			sent++
		}
	}
	if sent != 1 {
		t.Errorf("%d blobs were sent again: %q", sent, puts.names)
	}
	if err := os.RemoveAll(d.at("data", blobFolder)); err != nil {
		t.Fatal(err)
	}
	d.putBlob("layer four")
	d.state.Keep = time.Nanosecond
	for range fewestKept + 1 {
		if _, err := k.BackupPlatform(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	left, err := k.options.Target.List(t.Context(), k.blobs())
	if err != nil || len(left) != 1 {
		t.Errorf("blobs on the target: %v, %v", left, err)
	}
	if all, _, err := k.vault.manifests(t.Context(), PlatformState()); err != nil || slices.ContainsFunc(all, func(m Manifest) bool { return m.ID == first.ID }) {
		t.Errorf("the first is still there, or %v", err)
	}
}

// counting is a target that remembers what was put.
type counting struct {
	Target
	names []string
}

func (c *counting) Put(ctx context.Context, name string, from io.Reader) error {
	c.names = append(c.names, name)
	return c.Target.Put(ctx, name, from)
}
