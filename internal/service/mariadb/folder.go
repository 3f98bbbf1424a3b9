package mariadb

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/service"
)

// The files of a server's folder.
const (
	keyFile    = "platform.key"
	socketName = "mariadb.sock"
	slowLog    = "slow.log"
)

// check says whether a server can be as is asked for. The error is of kind
// Invalid.
func check(server service.Server) error {
	name, asked := server.ID.Name, server.Spec.Memory
	if asked != 0 && asked < 16*mib {
		return springtide.Errorf(springtide.Invalid, "services.%s: %d bytes of memory are too few for MariaDB", name, asked).
			WithHint("its cache needs 16 MiB at least")
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return err
	}
	if total := int64(info.Totalram) * int64(info.Unit); asked > total {
		return springtide.Errorf(springtide.Invalid, "services.%s: MariaDB is to cache %d MiB, and the machine has %d MiB of memory", name, asked/mib, total/mib)
	}
	return checkVersion(server.Version)
}

// Create makes the system's tables, with the platform as the only user.
func (d Driver) Create(ctx context.Context, server service.Server) error {
	if err := check(server); err != nil {
		return err
	}
	key, err := makeKey(server)
	if err != nil {
		return err
	}
	return anew(server, func(folder string) error {
		text, err := d.zonesSQL(ctx, server)
		if err != nil {
			return err
		}
		text += "DELETE FROM mysql.global_priv WHERE Host <> '' AND User <> 'mariadb.sys';\nDELETE FROM mysql.proxies_priv;\n" + platformSQL(key)
		statements := filepath.Join(server.Folder, "create.sql")
		if err := errors.Join(durable.WriteFile(statements, []byte(text), 0o600), give(server, statements)); err != nil {
			return err
		}
		defer os.Remove(statements)
		_, err = run(ctx, server, job{Process: service.Process{Path: look("mariadb-install-db"), Args: append([]string{
			"--no-defaults", "--datadir=" + folder, "--skip-test-db", "--skip-name-resolve", "--auth-root-authentication-method=socket",
			"--extra-file=" + statements, temporaryFiles(server), "--innodb-log-file-size=64M",
		}, building()...)}})
		return err
	})
}

// zonesSQL makes the time zones known to the server; none where the machine has
// none.
func (d Driver) zonesSQL(ctx context.Context, server service.Server) (string, error) {
	folder := cmp.Or(d.Zones, "/usr/share/zoneinfo")
	if _, err := os.Stat(folder); err != nil {
		return "", nil //nolint:nilerr // there are none
	}
	var text strings.Builder
	_, err := run(ctx, server, job{
		Process: service.Process{Path: look("mariadb-tzinfo-to-sql"), Args: []string{"--skip-write-binlog", folder}}, Output: &text,
	})
	return "USE mysql;\n" + text.String(), err
}

// makeKey gives the password of the platform's user, which is made once.
func makeKey(server service.Server) (string, error) {
	key, err := readKey(server.Folder)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key = rand.Text()
	return key, durable.WriteFile(filepath.Join(server.Folder, keyFile), []byte(key), 0o600)
}

func readKey(folder string) (string, error) {
	key, err := os.ReadFile(filepath.Join(folder, keyFile))
	return string(key), err
}

// platformSQL makes the platform's user, as the system's own scripts make root.
func platformSQL(key string) string {
	return fmt.Sprintf(`REPLACE INTO mysql.global_priv VALUES ('localhost', '%s', '{"access":18446744073709551615,"plugin":"mysql_native_password","authentication_string":"%s"}');`+"\n",
		platformUser, digest(key))
}

// anew makes the server's data, unless it is there: in a folder that becomes the
// data once it is whole and on disk. Its name is another each time, since programs
// of an attempt that was killed may have programs of their own, which live on for a
// moment.
func anew(server service.Server, build func(folder string) error) error {
	made, place := filepath.Join(server.Folder, "data"), filepath.Join(server.Folder, "data.new")
	if _, err := os.Stat(made); err == nil {
		return nil
	}
	if err := os.RemoveAll(place); err != nil {
		return err
	}
	next := filepath.Join(place, rand.Text())
	for _, folder := range []string{place, next} {
		if err := errors.Join(os.Mkdir(folder, 0o700), give(server, folder)); err != nil {
			return err
		}
	}
	if err := build(next); err != nil {
		return err
	}
	if err := syncAll(next); err != nil {
		return err
	}
	if err := os.Rename(next, made); err != nil {
		return err
	}
	return errors.Join(os.Remove(place), durable.SyncFolder(server.Folder))
}

// syncAll makes all files in a folder durable: what unpacks and prepares data does
// not sync it.
func syncAll(folder string) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() && !entry.Type().IsRegular() {
			return err
		}
		return durable.SyncFolder(path) // of a file it does the same
	})
}

// give makes the server's user the owner of what is at path.
func give(server service.Server, path string) error {
	if server.User == (service.User{}) {
		return nil
	}
	return os.Lchown(path, server.User.UID, server.User.GID)
}

// claim makes copied data this server's own: nobody but the platform knows it,
// until it is settled. The other logins stay, locked.
func claim(ctx context.Context, server service.Server, folder, key string) error {
	text := "UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '$.account_locked', true) WHERE Host <> '' AND User <> 'mariadb.sys';\n" + platformSQL(key)
	_, err := run(ctx, server, job{
		Process: service.Process{Path: daemon(server.Version), Args: slices.Concat(settings(server, folder), building(), []string{"--bootstrap", "--performance-schema=0"})},
		Input:   strings.NewReader(text),
	})
	return err
}
