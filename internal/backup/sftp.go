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
	// remoteIdle is how many connections are kept for the next call.
	remoteIdle = 2
)

// remote is another host's disk. A connection is used by one call at a time, and
// then kept for the next.
type remote struct {
	place   place
	options TargetOptions

	mu   sync.Mutex
	idle []*sftp.Client
}

func remoteDisks(p place, options TargetOptions) (func(context.Context) (disk, error), error) {
	if options.Key == "" || options.KnownHosts == "" {
		return nil, springtide.Errorf(springtide.Invalid, "a backup target by SFTP needs a private key and the host's public key").
			WithHint("ssh-keyscan shows the latter; compare it before you trust it")
	}
	r := &remote{place: p, options: options}
	return r.connect, nil
}

// connect gives a connection that works. It is broken when ctx ends: a host that
// does not answer can only be left like this.
func (r *remote) connect(ctx context.Context) (disk, error) {
	for {
		client := r.take()
		kept := client != nil
		if !kept {
			var err error
			if client, err = r.dial(ctx); err != nil {
				return nil, err
			}
		}
		d := &remoteDisk{client, r, context.AfterFunc(ctx, func() { client.Close() })}
		if _, err := client.Getwd(); !kept || err == nil {
			return d, nil
		}
		d.release()
		client.Close()
	}
}

func (r *remote) take() *sftp.Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.idle) == 0 {
		return nil
	}
	last := len(r.idle) - 1
	client := r.idle[last]
	r.idle = r.idle[:last]
	return client
}

// keep keeps a connection for the next call.
func (r *remote) keep(client *sftp.Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.idle) == remoteIdle {
		client.Close()
		return
	}
	r.idle = append(r.idle, client)
}

func (r *remote) dial(ctx context.Context) (*sftp.Client, error) {
	text, err := os.ReadFile(r.options.Key)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, err
	}
	known, err := knownhosts.New(r.options.KnownHosts)
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
	remote  *remote
	release func() bool // tells whether the connection was not broken
}

func (r *remoteDisk) path(name string) string { return path.Join(r.remote.place.folder, name) }

func (r *remoteDisk) create(name string) (diskFile, error) {
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

func (r *remoteDisk) open(name string) (io.ReadCloser, error) { return r.client.Open(r.path(name)) }

func (r *remoteDisk) rename(from, to string) error {
	return r.client.PosixRename(r.path(from), r.path(to))
}

func (r *remoteDisk) remove(name string) error { return r.client.Remove(r.path(name)) }

func (r *remoteDisk) makeFolder(name string) error { return r.client.MkdirAll(r.path(name)) }

func (r *remoteDisk) read(folder string) ([]fs.FileInfo, error) {
	return r.client.ReadDir(r.path(folder))
}

// syncFolder: the protocol has no word for it. What is read back is in the
// host's memory at least, and its manifest comes after it.
func (r *remoteDisk) syncFolder(string) error { return nil }

func (r *remoteDisk) Close() error {
	if r.release() {
		r.remote.keep(r.client)
	}
	return nil
}
