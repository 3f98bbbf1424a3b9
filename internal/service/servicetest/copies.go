package servicetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

func (k Kit) testRotation(t *testing.T) {
	rotator := k.Driver.(service.Rotator)
	server := k.started(t, k.Spec)
	load := startLoad(t, k, 4, server.URL())
	eventually(t, "some writes", func() bool { return load.count() > 20 })
	for _, name := range []string{"quiz_2", "quiz_3"} {
		old, next := server.Logins.Current, service.Login{Name: name, Password: rand.Text()}
		for range 2 {
			server.do("rotate", func(ctx context.Context) error { return rotator.Rotate(ctx, server.Server, next) })
		}
		server.Logins.Current, server.Logins.Previous = next, old
		server.Settle()
		load.use(t, server.URL())
		server.Logins.Previous = service.Login{}
		for range 2 {
			server.do("retire", func(ctx context.Context) error { return rotator.Retire(ctx, server.Server, old) })
		}
		server.Settle()
		if err := k.Write(t.Context(), k.Driver.URL(server.Server, old), "late", "x"); err == nil {
			t.Errorf("login %s works after it was retired", old.Name)
		}
	}
	acknowledged := load.stop()
	for _, err := range load.failures {
		t.Errorf("a query failed: %v", err)
	}
	for _, key := range acknowledged {
		if k.read(t, server, key) == "" {
			t.Fatalf("%s is lost", key)
		}
	}
	t.Logf("%d writes, %d failed", len(acknowledged), len(load.failures))
}

func (k Kit) testFork(t *testing.T) {
	from := k.started(t, k.Spec)
	from.Logins.Current.Name = "quiz_2"
	from.Settle()
	k.write(t, from, "colour", "green")
	to := New(t, k.Driver, k.Spec)
	to.ID.Environment.Name = "staging"
	for range 2 {
		to.do("fork", func(ctx context.Context) error { return k.Driver.(service.Forker).Fork(ctx, from.Server, to.Server) })
	}
	to.Start()
	to.Settle()
	if got := k.read(t, to, "colour"); got != "green" {
		t.Errorf("the copy says %q", got)
	}
	k.write(t, to, "colour", "red")
	if got := k.read(t, from, "colour"); got != "green" {
		t.Errorf("the original says %q after a write to the copy", got)
	}
	if _, err := k.Read(t.Context(), k.Driver.URL(to.Server, from.Logins.Current), "colour"); err == nil {
		t.Error("the original's login works with the copy")
	}
}

func (k Kit) testBackup(t *testing.T) {
	backuper := k.Driver.(service.Backuper)
	from := k.started(t, k.Spec)
	k.write(t, from, "colour", "green")
	path := filepath.Join(Folder(t), "backup")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	from.do("backup", func(ctx context.Context) error {
		info, err := backuper.Backup(ctx, from.Server, file)
		if err == nil && info.Version == "" {
			t.Error("the backup does not say which version it is of")
		}
		return err
	})
	var dump bytes.Buffer
	from.do("dump", func(ctx context.Context) error { return backuper.Dump(ctx, from.Server, &dump) })
	if dump.Len() == 0 {
		t.Error("the dump is empty")
	}
	from.do("changes", func(ctx context.Context) error {
		_, err := backuper.Changes(ctx, from.Server)
		return err
	})
	k.write(t, from, "colour", "red")

	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	to := New(t, k.Driver, k.Spec)
	to.do("restore", func(ctx context.Context) error {
		return backuper.Restore(ctx, to.Server, file, service.RestoreTo{
			Changes: func(context.Context, string, io.Writer) error {
				return springtide.Errorf(springtide.NotFound, "there are no changes")
			},
		})
	})
	to.Start()
	to.Settle()
	if got := k.read(t, to, "colour"); got != "green" {
		t.Errorf("restored %q", got)
	}
	k.write(t, to, "colour", "blue")
	to.do("verify", func(ctx context.Context) error {
		found, err := backuper.Verify(ctx, to.Server)
		if err == nil && (len(found.Problems) > 0 || found.Checked == "") {
			t.Errorf("verified %+v", found)
		}
		return err
	})
}

func (k Kit) testUpgrade(t *testing.T) {
	versions := k.Driver.Versions()
	from := New(t, k.Driver, k.Spec)
	from.Version = versions[len(versions)-1]
	from.Create()
	from.Start()
	from.Settle()
	k.write(t, from, "colour", "green")
	from.Stop()
	to := New(t, k.Driver, k.Spec)
	for range 2 {
		to.do("upgrade", func(ctx context.Context) error {
			return k.Driver.(service.Upgrader).Upgrade(ctx, from.Server, to.Server)
		})
	}
	to.Start()
	to.Settle()
	if got := k.read(t, to, "colour"); got != "green" {
		t.Errorf("upgraded to %q", got)
	}
}
