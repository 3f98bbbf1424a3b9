package files

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ledger is what is known of a folder's size: what the last walk counted, and
// what was written by way of the platform since. Its file is shared by the
// processes that write, and is locked for as long as one of them decides or
// renames. What a kill leaves wrong in it, the next walk puts right.
type ledger struct{ side string }

// account is the content of the file: a few numbers, written by one call.
type account struct {
	Bytes int64
	Files int64
	// Added only grows, by what was written: a walk sees by it what came meanwhile.
	Added int64
	// Counted is when the last walk ended, in nanoseconds since 1970; 0: never.
	Counted int64
	// Told is the percentage of the quota that was last told of.
	Told int64
}

func startLedger(side string) error {
	return os.WriteFile(filepath.Join(side, "ledger"), nil, 0o600)
}

// lock keeps all others from deciding and renaming.
func (l ledger) lock() (func(), error) {
	file, err := os.OpenFile(filepath.Join(l.side, "ledger"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(file.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return func() { file.Close() }, nil
}

func (l ledger) read() (account, error) {
	file, err := os.Open(filepath.Join(l.side, "ledger"))
	if err != nil {
		return account{}, err
	}
	defer file.Close()
	var a account
	if err = binary.Read(file, binary.LittleEndian, &a); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // a new one
	}
	return a, err
}

// change is called with the lock held.
func (l ledger) change(f func(*account)) error {
	a, err := l.read()
	if err != nil {
		return err
	}
	f(&a)
	a.Bytes, a.Files = max(a.Bytes, 0), max(a.Files, 0)
	text, err := binary.Append(nil, binary.LittleEndian, a)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(l.side, "ledger"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(text, 0)
	return errors.Join(err, file.Close())
}

func (l ledger) add(bytes, files int64) error {
	return l.change(func(a *account) {
		a.Bytes += bytes
		a.Files += files
		a.Added += max(bytes, 0)
	})
}

// reservation is room in a quota for what is being written.
type reservation struct {
	folder *Folder
	name   string
	bytes  int64
}

// step is how much room is reserved at a time where a size is not known.
const step = 4 << 20

// reserve makes room, or says that there is none. What is to be replaced counts
// as free: that the disk holds both for a moment is not the user's business.
func (f *Folder) reserve(name string, bytes int64) (*reservation, error) {
	r := &reservation{folder: f, name: name}
	return r, r.grow(bytes)
}

func (r *reservation) grow(bytes int64) error {
	unlock, err := r.folder.ledger.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if quota := r.folder.Quota; quota > 0 {
		a, err := r.folder.ledger.read()
		if err != nil {
			return err
		}
		var free int64
		if info, err := r.folder.root.Lstat(r.name); err == nil && info.Mode().IsRegular() {
			free = info.Size()
		}
		if a.Bytes+bytes-free > quota {
			return overQuota(r.name, quota)
		}
	}
	r.bytes += bytes
	return r.folder.ledger.add(bytes, 0)
}

// settle is called with the lock held: of what was reserved, bytes are used, and
// as many files are there more.
func (r *reservation) settle(bytes, files int64) error {
	reserved := r.bytes
	r.bytes = 0
	return r.folder.ledger.add(bytes-reserved, files)
}

// release gives the room back.
func (r *reservation) release() error {
	if r.bytes == 0 {
		return nil
	}
	unlock, err := r.folder.ledger.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return r.settle(0, 0)
}

// reader gives what is written, and makes room for it where the size is not
// known; where it is, it ends when there is more.
func (r *reservation) reader(from io.Reader, size int64) io.Reader {
	if size >= 0 {
		return &exact{from: from, left: size}
	}
	return &growing{from: from, reservation: r}
}

// exact ends soon after its limit. It reads with the buffer that it is given,
// since versitygw's chunks cannot be read with a small one.
type exact struct {
	from io.Reader
	left int64
}

func (e *exact) Read(p []byte) (int, error) {
	n, err := e.from.Read(p)
	if e.left -= int64(n); e.left < 0 {
		return n, io.EOF
	}
	return n, err
}

type growing struct {
	from        io.Reader
	reservation *reservation
	read        int64
}

func (g *growing) Read(p []byte) (int, error) {
	n, err := g.from.Read(p)
	g.read += int64(n)
	if short := g.read - g.reservation.bytes; short > 0 {
		err := g.reservation.grow(max(step, short))
		if errors.Is(err, unix.EDQUOT) { // near the end, every byte is asked for
			err = g.reservation.grow(short)
		}
		if err != nil {
			return 0, err
		}
	}
	return n, err
}
