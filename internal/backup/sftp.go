package backup

import (
	"context"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/springtide/springtide"
)

const (
	// remoteDial is how long a connection may take to come up, remoteSilence how
	// long it may be without a byte before it is closed.
	remoteDial    = 20 * time.Second
	remoteSilence = 5 * time.Minute
	// remoteFlight is how many packets of 32 KiB are on their way at a time.
	remoteFlight = 32
)

// remote is another host's disk. One connection serves everybody until it breaks.
type remote struct {
	place place

	mu     sync.Mutex
	client *sftp.Client
}

func remoteDisks(p place, options TargetOptions) (func(context.Context) (disk, error), error) {
	if options.Key == "" || options.KnownHosts == "" {
		return nil, springtide.Errorf(springtide.Invalid, "a backup target by SFTP needs a private key and the host's public key").
			WithHint("ssh-keyscan shows the latter; compare it before you trust it")
	}
	r := &remote{place: p}
	return func(ctx context.Context) (disk, error) {
		client, err := r.connected(ctx, options)
		if err != nil {
			return nil, err
		}
		// Whoever gives up breaks the connection: a host that does not answer can
		// only be left like this. Others connect anew when they try again.
		release := context.AfterFunc(ctx, func() { client.Close() })
		return remoteDisk{client, p.folder, release}, nil
	}, nil
}

func (r *remote) connected(ctx context.Context, options TargetOptions) (*sftp.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		return r.client, nil
	}
	client, err := r.dial(ctx, options)
	if err != nil {
		return nil, err
	}
	r.client = client
	go func() {
		_ = client.Wait() // whoever uses it is told why
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.client == client {
			r.client = nil
		}
	}()
	return client, nil
}

func (r *remote) dial(ctx context.Context, options TargetOptions) (*sftp.Client, error) {
	text, err := os.ReadFile(options.Key)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, err
	}
	known, err := knownhosts.New(options.KnownHosts)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Timeout: remoteDial}).DialContext(ctx, "tcp", r.place.address)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	ssher, channels, requests, err := ssh.NewClientConn(impatient{conn}, r.place.address, &ssh.ClientConfig{
		User: r.place.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: known, Timeout: remoteDial,
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	client := ssh.NewClient(ssher, channels, requests)
	files, err := sftp.NewClient(client, sftp.UseConcurrentReads(true))
	if err != nil {
		client.Close()
		return nil, err
	}
	go func() {
		_ = files.Wait()
		client.Close()
	}()
	return files, nil
}

// impatient closes a connection on which nothing moves.
type impatient struct{ net.Conn }

func (i impatient) Read(p []byte) (int, error) {
	_ = i.SetReadDeadline(time.Now().Add(remoteSilence))
	return i.Conn.Read(p)
}

func (i impatient) Write(p []byte) (int, error) {
	_ = i.SetWriteDeadline(time.Now().Add(remoteSilence))
	return i.Conn.Write(p)
}

// remoteDisk is what one call uses of a connection.
type remoteDisk struct {
	client  *sftp.Client
	folder  string
	release func() bool
}

func (r remoteDisk) path(name string) string { return path.Join(r.folder, name) }

func (r remoteDisk) create(name string) (diskFile, error) {
	file, err := r.client.OpenFile(r.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	return remoteFile{file, r.client}, nil
}

// remoteFile writes many packets at a time. Should one fail, the file is removed.
type remoteFile struct {
	*sftp.File
	client *sftp.Client
}

func (r remoteFile) ReadFrom(from io.Reader) (int64, error) {
	return r.ReadFromWithConcurrency(from, remoteFlight)
}

// Sync does what the host can: not every one lets itself be told to.
func (r remoteFile) Sync() error {
	if _, can := r.client.HasExtension("fsync@openssh.com"); !can {
		return nil
	}
	return r.File.Sync()
}

func (r remoteDisk) open(name string) (io.ReadCloser, error) { return r.client.Open(r.path(name)) }

func (r remoteDisk) rename(from, to string) error {
	return r.client.PosixRename(r.path(from), r.path(to))
}

func (r remoteDisk) remove(name string) error { return r.client.Remove(r.path(name)) }

func (r remoteDisk) makeFolder(name string) error { return r.client.MkdirAll(r.path(name)) }

func (r remoteDisk) read(folder string) ([]fs.FileInfo, error) {
	return r.client.ReadDir(r.path(folder))
}

// syncFolder: the protocol has no word for it. What is read back is in the
// host's memory at least, and its manifest comes after it.
func (r remoteDisk) syncFolder(string) error { return nil }

func (r remoteDisk) Close() error {
	r.release()
	return nil
}
