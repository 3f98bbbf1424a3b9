package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/service"
)

// The files of a server's folder.
const (
	keyFile         = "platform.key"
	aclFile         = "users.acl"
	replicationConf = "replication.conf"
	followingFile   = "following"
)

// Create makes an empty folder of data, and what a server needs beside it.
func (Driver) Create(_ context.Context, server service.Server) error {
	if err := check(server.ID.Name, server.Spec); err != nil {
		return err
	}
	if err := prepare(server); err != nil {
		return err
	}
	return install(server, nil)
}

// prepare makes the files beside the data that are missing: a server that runs
// has written its own.
func prepare(server service.Server) error {
	if err := link(server); err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(server.Folder, keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		key = []byte(rand.Text())
		err = durable.WriteFile(filepath.Join(server.Folder, keyFile), key, 0o600)
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(server.Folder, aclFile)); err != nil {
		if err := writeUsers(server, string(key)); err != nil {
			return err
		}
	}
	return write(server, replicationConf, replicationFile(server.Logins.Replication))
}

func writeUsers(server service.Server, key string) error {
	text, err := usersFile(server.Logins, key)
	if err != nil {
		return err
	}
	return write(server, aclFile, text)
}

// write makes a file that the server can read.
func write(server service.Server, name, text string) error {
	path := filepath.Join(server.Folder, name)
	if err := durable.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return give(server, path)
}

// give makes the server's user the owner of what is at path.
func give(server service.Server, path string) error {
	if server.User == (service.User{}) {
		return nil
	}
	return os.Lchown(path, server.User.UID, server.User.GID)
}

// install makes the server's data, unless it is there: of a copy that the
// function writes, or none.
func install(server service.Server, copyTo func(*os.File) error) error {
	made, next := filepath.Join(server.Folder, "data"), filepath.Join(server.Folder, "data.new")
	if _, err := os.Stat(made); err == nil {
		return nil
	}
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	if err := os.Mkdir(next, 0o700); err != nil {
		return err
	}
	if copyTo != nil {
		if err := installCopy(server, filepath.Join(next, "appendonlydir"), copyTo); err != nil {
			return err
		}
	}
	if err := give(server, next); err != nil {
		return err
	}
	if err := durable.SyncFolder(next); err != nil {
		return err
	}
	if err := os.Rename(next, made); err != nil {
		return err
	}
	return durable.SyncFolder(server.Folder)
}

// installCopy makes the append-only file begin with a copy of data. A server that
// finds no such file begins with nothing, whatever else there is.
func installCopy(server service.Server, folder string, copyTo func(*os.File) error) error {
	const base = "appendonly.aof.1.base.rdb"
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(folder, base), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = give(server, file.Name()); err == nil {
		err = copyTo(file)
	}
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	manifest := filepath.Join(folder, "appendonly.aof.manifest")
	if err := durable.WriteFile(manifest, []byte("file "+base+" seq 1 type b\n"), 0o600); err != nil {
		return err
	}
	return errors.Join(give(server, manifest), give(server, folder))
}
