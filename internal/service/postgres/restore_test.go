package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/postgres"
	"github.com/springtide/springtide/internal/service/servicetest"
)

func TestATableIsDroppedAndTheSecondBeforeComesBack(t *testing.T) {
	t.Parallel()
	server := started(t, spec())
	folder := changes(t, server)
	execute(t, server.URL(), "create table questions as select n, md5(n::text) from generate_series(1, 1000) n")
	before := now(t, server)
	backup, info := backedUp(t, server)
	if info.Rows["public.questions"] != 1000 || info.Begin == "" || info.End == "" {
		t.Errorf("the backup says %+v", info)
	}
	execute(t, server.URL(), "insert into questions select n, 'late' from generate_series(1, 234) n")
	good := now(t, server)
	execute(t, server.URL(), "drop table questions")
	execute(t, server.URL(), "create table later (n int)")
	finish(t, server, folder)

	copied := bytes.Clone(backup)
	restored := servicetest.New(t, server.Driver, spec())
	restore(t, restored, copied, service.RestoreTo{Time: good, Changes: from(folder)})
	restored.Start()
	restored.Settle()
	if got := count(t, restored.URL(), "questions"); got != 1234 {
		t.Errorf("%d rows are back, not 1234", got)
	}
	execute(t, restored.URL(), "insert into questions values (1, 'new')")

	t.Run("and so does the end", func(t *testing.T) {
		end := servicetest.New(t, server.Driver, spec())
		for _, name := range fill(t, folder) {
			copyFile(t, filepath.Join(folder, name), filepath.Join(end.Folder, "changes", name), end.User)
		}
		restore(t, end, backup, service.RestoreTo{})
		if _, err := os.Stat(filepath.Join(end.Folder, "changes")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the changes that were fetched are still there: %v", err)
		}
		end.Start()
		end.Settle()
		if got := count(t, end.URL(), "later"); got != 0 {
			t.Errorf("%d rows", got)
		}
	})
	for name, one := range map[string]struct {
		until service.RestoreTo
		kind  springtide.ErrorKind
		says  string
	}{
		"a time after the end is an error":             {service.RestoreTo{Time: time.Now().Add(time.Hour), Changes: from(folder)}, springtide.Invalid, "do not reach"},
		"a time before the backup is an error":         {service.RestoreTo{Time: before.Add(-time.Minute), Changes: from(folder)}, springtide.Invalid, "before"},
		"the end of the log is not what fails to come": {service.RestoreTo{Time: good, Changes: failing}, springtide.Unavailable, "the target is away"},
	} {
		t.Run(name, func(t *testing.T) {
			other := servicetest.New(t, server.Driver, spec())
			err := server.Driver.Restore(t.Context(), other.Server, bytes.NewReader(backup), one.until)
			if springtide.KindOf(err) != one.kind || !strings.Contains(err.Error(), one.says) {
				t.Errorf("%s: %v", springtide.KindOf(err), err)
			}
			if _, err := os.Stat(filepath.Join(other.Folder, "data")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("there is data: %v", err)
			}
		})
	}
}

func TestABackupThatIsNotWholeIsNotRestored(t *testing.T) {
	t.Parallel()
	server := started(t, spec())
	backup, _ := backedUp(t, server)
	for name, damage := range map[string]func([]byte) []byte{
		"cut at half":            func(b []byte) []byte { return b[:len(b)/2/512*512] },
		"without its manifest":   func(b []byte) []byte { return b[:bytes.LastIndex(b, []byte("backup_manifest"))] },
		"with a byte that flips": func(b []byte) []byte { b[bytes.Index(b, []byte("PG_VERSION"))+3*512] ^= 1; return b },
	} {
		other := servicetest.New(t, server.Driver, spec())
		err := server.Driver.Restore(t.Context(), other.Server, bytes.NewReader(damage(bytes.Clone(backup))), service.RestoreTo{})
		if springtide.KindOf(err) != springtide.Failed || !strings.Contains(err.Error(), "not whole") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestARestoreThatIsKilledBeginsAnew has another process restore, and kills it
// while its server waits for a segment.
func TestARestoreThatIsKilledBeginsAnew(t *testing.T) {
	t.Parallel()
	server := started(t, spec())
	execute(t, server.URL(), "create table questions as select n from generate_series(1, 100) n")
	backup, _ := backedUp(t, server)
	other := servicetest.New(t, server.Driver, spec())
	path := filepath.Join(servicetest.Folder(t), "backup")
	if err := os.WriteFile(path, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(os.Args[0], "-test.run=^TestHelperThatRestoresForEver$")
	command.Env = append(os.Environ(), "RESTORE="+strings.Join([]string{other.Folder, path, other.Address.String(), other.Version}, " "))
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the recovery asks for a segment", func() bool {
		_, err := os.Stat(filepath.Join(other.Folder, "asked"))
		return err == nil
	})
	pid := serverOf(t, filepath.Join(other.Folder, "data.new"))
	_ = command.Process.Kill()
	_ = command.Wait()
	eventually(t, "its server ends with it", func() bool { return syscall.Kill(pid, 0) != nil })

	restore(t, other, backup, service.RestoreTo{})
	other.Start()
	other.Settle()
	if got := count(t, other.URL(), "questions"); got != 100 {
		t.Errorf("%d rows are back", got)
	}
}

func TestHelperThatRestoresForEver(t *testing.T) {
	arguments := strings.Fields(os.Getenv("RESTORE"))
	if len(arguments) == 0 {
		t.Skip("only for the test above")
	}
	driver := postgres.New(postgres.Options{})
	server := service.Server{
		Spec: spec(), Version: arguments[3], Folder: arguments[0], Address: netip.MustParseAddrPort(arguments[2]), Role: service.RolePrimary,
		User: service.UserOf(springtide.ServicePostgres),
	}
	file, err := os.Open(arguments[1])
	if err != nil {
		t.Fatal(err)
	}
	err = driver.Restore(t.Context(), server, file, service.RestoreTo{Changes: func(context.Context, string, io.Writer) error {
		_ = os.WriteFile(filepath.Join(server.Folder, "asked"), nil, 0o600)
		select {}
	}})
	t.Fatal(err)
}

// one is a server and the driver that knows all about it.
type one struct {
	*servicetest.Server
	Driver *postgres.Driver
}

// started gives a settled primary.
func started(t *testing.T, spec springtide.Service) one {
	t.Helper()
	driver := postgres.New(postgres.Options{ChangesLimit: 256 << 20})
	server := one{servicetest.New(t, driver, spec), driver}
	server.Create()
	server.Start()
	server.Settle()
	return server
}

func changes(t *testing.T, server one) string {
	t.Helper()
	folder, err := server.Driver.Changes(t.Context(), server.Server.Server)
	if err != nil || folder == "" {
		t.Fatalf("changes in %q: %v", folder, err)
	}
	return folder
}

func backedUp(t *testing.T, server one) ([]byte, service.BackupInfo) {
	t.Helper()
	var backup bytes.Buffer
	info, err := server.Driver.Backup(t.Context(), server.Server.Server, &backup)
	if err != nil {
		t.Fatal(err)
	}
	return backup.Bytes(), info
}

func restore(t *testing.T, server *servicetest.Server, backup []byte, until service.RestoreTo) {
	t.Helper()
	if err := postgres.New(postgres.Options{}).Restore(t.Context(), server.Server, bytes.NewReader(backup), until); err != nil {
		t.Fatal(err)
	}
}

// from fetches segments from a folder.
func from(folder string) func(context.Context, string, io.Writer) error {
	return func(_ context.Context, name string, to io.Writer) error {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if errors.Is(err, fs.ErrNotExist) {
			return springtide.Errorf(springtide.NotFound, "there is no segment %s", name)
		}
		if err == nil {
			_, err = to.Write(content)
		}
		return err
	}
}

func failing(context.Context, string, io.Writer) error {
	return springtide.Errorf(springtide.Unavailable, "the target is away")
}

// finish has the server's log up to now in the folder.
func finish(t *testing.T, server one, folder string) {
	t.Helper()
	name := administer(t, server, "select pg_walfile_name(pg_switch_wal())")
	eventually(t, "the segment is kept", func() bool {
		_, err := os.Stat(filepath.Join(folder, name))
		return err == nil
	})
}

// administer asks the server something as the platform does.
func administer(t *testing.T, server one, query string) string {
	t.Helper()
	shell := server.Driver.Shell(server.Server.Server)
	shell.Args = append(shell.Args, "--no-psqlrc", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command="+query)
	command := server.Command(t.Context(), shell)
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", query, err, output)
	}
	return strings.TrimSpace(string(output))
}

// now is the server's time, between what it did and what it will do.
func now(t *testing.T, server one) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, administer(t, server, `select to_char(clock_timestamp(), 'YYYY-MM-DD"T"HH24:MI:SS.USOF":00"')`))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func execute(t *testing.T, url, statement string) {
	t.Helper()
	err := connected(t.Context(), url, func(conn *pgx.Conn) error {
		_, err := conn.Exec(t.Context(), statement)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func count(t *testing.T, url, table string) (rows int) {
	t.Helper()
	err := connected(t.Context(), url, func(conn *pgx.Conn) error {
		return conn.QueryRow(t.Context(), "select count(*) from "+table).Scan(&rows)
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// fill lists what a folder has of the log.
func fill(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	return names
}

func copyFile(t *testing.T, from, to string, owner service.User) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o700)
	}
	if err == nil {
		err = os.WriteFile(to, content, 0o600)
	}
	if err == nil && owner != (service.User{}) {
		err = errors.Join(os.Chown(filepath.Dir(to), owner.UID, owner.GID), os.Chown(to, owner.UID, owner.GID))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// serverOf is the process of the server on the data.
func serverOf(t *testing.T, data string) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.Fields(string(content))[0])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !met(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
