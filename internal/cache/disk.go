package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/springtide/springtide"
)

const (
	// takeOverPause is how often it is tried to take the folder over.
	takeOverPause = 50 * time.Millisecond
	// fullPause is how long nothing is written after the disk refused something.
	fullPause = 10 * time.Second
	// mostPending bounds what waits to be written, in bytes. Beyond, it is not.
	mostPending = 64 << 20
	// evictionSample is how many files are looked at to find one that is to go.
	evictionSample = 16
)

// fileKey names a file of the disk tier: a record (part 0) or a slice of a body.
type fileKey struct {
	id   uint64
	part int64
}

func (k fileKey) name() string {
	return fmt.Sprintf("%02x/%016x.%d", byte(k.id), k.id, k.part)
}

func parseFileKey(name string) (fileKey, bool) {
	id, part, found := strings.Cut(name, ".")
	number, err := strconv.ParseUint(id, 16, 64)
	count, partErr := strconv.ParseInt(part, 10, 64)
	k := fileKey{number, count}
	return k, found && err == nil && partErr == nil && filepath.Base(k.name()) == name
}

// file is what is known of one.
type file struct {
	size int64
	used int64 // seconds since 1970
}

// disk keeps blocks in files, within a bound. It belongs to one process at a time:
// until this one has the lock, and after it gave it away, there is nothing in it.
type disk struct {
	folder string
	limit  int64
	seed   uint64
	logger *slog.Logger
	wake   chan struct{}
	done   chan struct{} // closed by release
	once   sync.Once

	mu   sync.Mutex
	lock *os.File // nil: not this process's
	// scanned says that files has all there is; until then it has some.
	scanned bool
	files   map[fileKey]file
	bytes   int64
	pending map[fileKey][]byte
	waiting int64 // bytes pending
	resume  time.Time
	errors  int64
}

func newDisk(options Options) (*disk, error) {
	d := &disk{
		folder: filepath.Join(options.Folder, formatMark), limit: options.Disk, logger: options.Logger,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		files: map[fileKey]file{}, pending: map[fileKey][]byte{},
	}
	if err := os.MkdirAll(d.folder, 0o700); err != nil {
		return nil, springtide.Errorf(springtide.Failed, "the cache's folder cannot be made: %w", err).
			WithHint("choose another folder, or none")
	}
	var err error
	if d.seed, err = readSeed(filepath.Join(d.folder, "seed")); err != nil {
		return nil, springtide.Errorf(springtide.Failed, "the cache's folder cannot be used: %w", err).
			WithHint("choose another folder, or none")
	}
	return d, nil
}

// readSeed reads the number that the names of files depend on, and makes it if there
// is none. Of several who make it at once one is the first, whose it stays.
func readSeed(path string) (uint64, error) {
	if seed, err := os.ReadFile(path); err == nil && len(seed) == 8 {
		return binary.LittleEndian.Uint64(seed), nil
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), "seed.*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(binary.LittleEndian.AppendUint64(nil, randomNumber()))
	if err = errors.Join(err, temporary.Close()); err != nil {
		return 0, err
	}
	if err = os.Link(temporary.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return 0, err
	}
	seed, err := os.ReadFile(path)
	if err == nil && len(seed) != 8 { // damaged: what it led to is lost
		err = errors.Join(errBlock, os.Remove(path))
	}
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(seed), nil
}

// run takes the folder over and writes what is pending until ctx ends.
func (d *disk) run(ctx context.Context, purges *purges) error {
	lock, err := d.takeOver(ctx)
	if lock == nil || err != nil {
		return err
	}
	if err := purges.open(d.folder); err != nil {
		lock.Close()
		return springtide.Errorf(springtide.Failed, "the cache's journal cannot be used: %w", err)
	}
	defer purges.close()
	d.mu.Lock()
	if d.lock = lock; d.released() {
		d.lock = nil
		lock.Close()
	}
	d.mu.Unlock()
	var scanning sync.WaitGroup
	defer scanning.Wait()
	scanning.Go(func() { d.scan(ctx, time.Now()) })
	for {
		select {
		case <-d.wake:
			d.flush()
		case <-d.done:
			return nil
		case <-ctx.Done():
			d.flush()
			d.release()
			return nil
		}
	}
}

// takeOver waits for the lock of the folder. There is none if the wait was ended.
func (d *disk) takeOver(ctx context.Context) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(d.folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, springtide.Errorf(springtide.Failed, "the cache's folder cannot be taken over: %w", err)
	}
	for syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		select {
		case <-ctx.Done():
		case <-d.done:
		case <-time.After(takeOverPause):
			continue
		}
		return nil, lock.Close()
	}
	for i := range 256 {
		if err := os.Mkdir(filepath.Join(d.folder, fmt.Sprintf("%02x", i)), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			lock.Close()
			return nil, springtide.Errorf(springtide.Failed, "the cache's folder cannot be used: %w", err)
		}
	}
	return lock, nil
}

// release gives the folder up.
func (d *disk) release() {
	d.once.Do(func() { close(d.done) })
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock != nil {
		d.lock.Close()
		d.lock = nil
	}
	d.files, d.bytes, d.pending, d.waiting = map[fileKey]file{}, 0, map[fileKey][]byte{}, 0
}

func (d *disk) released() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// scan counts what an earlier process left, and removes what it did not finish.
func (d *disk) scan(ctx context.Context, began time.Time) {
	for i := range 256 {
		folder := filepath.Join(d.folder, fmt.Sprintf("%02x", i))
		entries, err := os.ReadDir(folder)
		if err != nil {
			d.logger.Warn("a folder of the cache cannot be read", "error", err)
		}
		for _, found := range entries {
			k, ok := parseFileKey(found.Name())
			info, err := found.Info()
			if ctx.Err() != nil || d.released() {
				return
			}
			if err == nil && !ok && info.ModTime().Before(began) { // half a write
				os.Remove(filepath.Join(folder, found.Name()))
			}
			if err == nil && ok {
				d.mu.Lock()
				if _, known := d.files[k]; !known && d.lock != nil {
					d.files[k] = file{info.Size(), info.ModTime().Unix()}
					d.bytes += info.Size()
				}
				d.mu.Unlock()
			}
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.scanned = true
	d.evict(0)
}

// read gives a block as it is on disk.
func (d *disk) read(k fileKey) ([]byte, bool) {
	d.mu.Lock()
	if d.lock == nil {
		d.mu.Unlock()
		return nil, false
	}
	if block, ok := d.pending[k]; ok {
		d.mu.Unlock()
		return block, true
	}
	known, ok := d.files[k]
	if ok {
		known.used = time.Now().Unix()
		d.files[k] = known
	}
	ok = ok || !d.scanned
	d.mu.Unlock()
	if !ok {
		return nil, false
	}
	block, err := os.ReadFile(filepath.Join(d.folder, k.name()))
	if err != nil && ok && !errors.Is(err, fs.ErrNotExist) {
		d.remove(k)
	}
	return block, err == nil
}

// has says whether there is a block, without reading it.
func (d *disk) has(k fileKey) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock == nil {
		return false
	}
	if _, known := d.files[k]; known || d.scanned {
		return known
	}
	_, err := os.Stat(filepath.Join(d.folder, k.name()))
	return err == nil
}

// write has a block written soon.
func (d *disk) write(k fileKey, block []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lock == nil || d.waiting+int64(len(block)) > mostPending || int64(len(block)) > d.limit/4 {
		d.drop(k) // what is there is older
		return
	}
	d.waiting += int64(len(block)) - int64(len(d.pending[k]))
	d.pending[k] = block
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// flush writes all that is pending.
func (d *disk) flush() {
	for {
		d.mu.Lock()
		var next fileKey
		var block []byte
		for next, block = range d.pending {
			break
		}
		d.mu.Unlock()
		if block == nil {
			return
		}
		d.writeFile(next, block, func() bool { // still wanted?
			current, ok := d.pending[next]
			return ok && &current[0] == &block[0]
		})
		d.mu.Lock()
		if current, ok := d.pending[next]; ok && &current[0] == &block[0] {
			delete(d.pending, next)
			d.waiting -= int64(len(block))
		}
		d.mu.Unlock()
	}
}

// writeNow writes a block at once: a slice of a body that would take too much memory
// if it waited.
func (d *disk) writeNow(k fileKey, block []byte) {
	d.writeFile(k, block, func() bool { return true })
}

// writeFile writes a temporary file and renames it if the block is still wanted then.
func (d *disk) writeFile(k fileKey, block []byte, wanted func() bool) {
	now := time.Now()
	d.mu.Lock()
	ready := d.lock != nil && !now.Before(d.resume) && int64(len(block)) <= d.limit/4
	if ready {
		d.evict(int64(len(block)))
	}
	d.mu.Unlock()
	if !ready {
		return
	}
	path := filepath.Join(d.folder, k.name())
	temporary, err := os.CreateTemp(filepath.Dir(path), "new.*")
	if err == nil {
		_, err = temporary.Write(block)
		err = errors.Join(err, temporary.Close())
		d.mu.Lock()
		defer d.mu.Unlock()
		if err == nil && d.lock != nil && wanted() {
			err = os.Rename(temporary.Name(), path)
		} else {
			os.Remove(temporary.Name())
			if err == nil {
				return
			}
		}
	} else {
		d.mu.Lock()
		defer d.mu.Unlock()
	}
	if err != nil {
		if d.errors++; now.After(d.resume) {
			d.logger.Warn("the cache's disk refuses to take more; it is tried again later", "error", err)
		}
		d.resume = now.Add(fullPause)
		return
	}
	d.bytes += int64(len(block)) - d.files[k].size
	d.files[k] = file{int64(len(block)), now.Unix()}
}

// remove takes a block away, also one that is about to be written.
func (d *disk) remove(k fileKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop(k)
}

func (d *disk) drop(k fileKey) {
	if block, ok := d.pending[k]; ok {
		delete(d.pending, k)
		d.waiting -= int64(len(block))
	}
	known, ok := d.files[k]
	if d.lock == nil || !ok && d.scanned {
		return
	}
	delete(d.files, k)
	d.bytes -= known.size
	_ = os.Remove(filepath.Join(d.folder, k.name())) // it may never have been there
}

// evict makes room for some bytes: of a few files taken at random the one goes that
// was not used for the longest time.
func (d *disk) evict(room int64) {
	for d.bytes+room > d.limit && len(d.files) > 0 {
		var oldest fileKey
		looked, used := 0, int64(0)
		for k, known := range d.files {
			if looked == 0 || known.used < used {
				oldest, used = k, known.used
			}
			if looked++; looked == evictionSample {
				break
			}
		}
		d.drop(oldest)
	}
}

func (d *disk) size() (bytes, errors int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bytes, d.errors
}
