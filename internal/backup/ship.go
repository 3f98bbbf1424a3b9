package backup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/service"
)

const (
	// shipAtOnce is of how many services changes are shipped at a time.
	shipAtOnce = 4
	// askEvery is how often a backup is asked for until there is one.
	askEvery = 10 * time.Minute
)

// segment is a part of a lineage. It is called NUMBER-FINISHED-NAME on the
// target. Numbers are given in the order of shipping: what was finished before a
// backup was begun has a lower number than what comes after it, whatever clocks
// say. FINISHED is in milliseconds by the clock of the server's machine.
type segment struct {
	number   int64
	finished time.Time
	name     string // as the server calls it
	object   string
}

// segments lists a lineage's on the target, in order.
func (v *vault) segments(ctx context.Context, of Subject, lineage string) ([]segment, error) {
	objects, err := v.target.List(ctx, v.changesFolder(of, lineage))
	if err != nil {
		return nil, err
	}
	var all []segment
	for _, object := range objects {
		if s, ok := parseSegment(path.Base(object.Name)); ok {
			s.object = object.Name
			all = append(all, s)
		}
	}
	return all, nil
}

func (s segment) String() string {
	return fmt.Sprintf("%012d-%d-%s", s.number, s.finished.UnixMilli(), s.name)
}

func parseSegment(text string) (segment, bool) {
	number, rest, _ := strings.Cut(text, "-")
	milliseconds, name, found := strings.Cut(rest, "-")
	n, err := strconv.ParseInt(number, 10, 64)
	at, alsoErr := strconv.ParseInt(milliseconds, 10, 64)
	return segment{number: n, finished: time.UnixMilli(at), name: name}, found && err == nil && alsoErr == nil && n > 0 && name != ""
}

// shipping is that of one service's changes: nobody else ships them meanwhile.
type shipping struct {
	turn    chan struct{} // has a value while nobody ships
	lineage string
	last    int64 // the number of the lineage's last segment on the target
}

func (k *Keeper) shippingOf(of Subject) *shipping {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.shippings[of] == nil {
		k.shippings[of] = &shipping{turn: make(chan struct{}, 1)}
		k.shippings[of].turn <- struct{}{}
	}
	return k.shippings[of]
}

// Ship ships all changes that are finished, once.
func (k *Keeper) Ship(ctx context.Context) {
	plans, err := k.options.Plans(ctx)
	if err != nil {
		return // Watch says so
	}
	var group errgroup.Group
	group.SetLimit(shipAtOnce)
	for _, plan := range plans {
		if plan.Of == springtide.BackupFiles {
			continue
		}
		group.Go(func() error {
			k.shipPlan(ctx, plan)
			return nil
		})
	}
	_ = group.Wait()
}

func (k *Keeper) shipPlan(ctx context.Context, plan Plan) {
	server, _, backuper, err := k.backuper(plan.Subject)
	if err != nil {
		return // it is external, or not made yet
	}
	if !plan.PointInTime {
		if _, err := os.Stat(lineageFile(server)); err == nil { // they were wanted once, and the server goes on
			k.throwAway(ctx, plan.Subject, server, backuper)
		}
		return
	}
	lineage, _, err := k.shipped(ctx, plan.Subject, server, backuper)
	if ctx.Err() != nil {
		return
	}
	if err == nil && lineage != "" {
		k.ask(ctx, plan.Subject, lineage)
	}
	k.stuck(plan.Subject, err)
}

// stuck remembers since when changes cannot be shipped.
func (k *Keeper) stuck(of Subject, err error) {
	began, ended := false, false
	k.note(of, func(s *Standing) {
		began, ended = err != nil && s.stuck.IsZero(), err == nil && !s.stuck.IsZero()
		switch {
		case began:
			s.stuck = time.Now()
		case ended:
			s.stuck = time.Time{}
		}
	})
	if began {
		k.options.Logger.Warn("changes wait for the backup target", "of", of, "error", err)
	}
	if ended {
		k.options.Logger.Info("changes reach the backup target again", "of", of)
	}
}

// ask has a backup made to which the lineage's changes can be applied.
func (k *Keeper) ask(ctx context.Context, of Subject, lineage string) {
	if k.look(ctx, of) != nil {
		return
	}
	wanted := false
	k.note(of, func(s *Standing) {
		if wanted = s.lineage != lineage && time.Since(s.asked) > askEvery; wanted {
			s.asked = time.Now()
		}
	})
	if !wanted {
		return
	}
	if err := k.options.Want(ctx, of); err != nil {
		k.options.Logger.Warn("a backup could not be asked for", "of", of, "error", err)
	}
}

// shipped ships a service's finished changes, all in their order, and gives the
// number of the last one. The lineage is empty if none are kept.
func (k *Keeper) shipped(ctx context.Context, of Subject, server service.Server, backuper service.Backuper) (lineage string, last int64, err error) {
	mine := k.shippingOf(of)
	select {
	case <-mine.turn:
		defer func() { mine.turn <- struct{}{} }()
	case <-ctx.Done():
		return "", 0, context.Cause(ctx)
	}
	folder, err := backuper.Changes(ctx, server)
	if err != nil || folder == "" {
		return "", 0, err
	}
	if lineage, err = lineageOf(server); err != nil {
		return "", 0, err
	}
	waiting, size, err := finished(folder)
	if err != nil {
		return "", 0, err
	}
	if size > k.options.Waiting {
		return "", 0, k.giveUp(of, server, folder, waiting, size)
	}
	if mine.lineage != lineage {
		if err := k.recall(ctx, mine, of, lineage); err != nil {
			k.note(of, func(s *Standing) { s.Waiting = size })
			return "", 0, err
		}
	}
	for _, info := range waiting {
		if err := k.shipOne(ctx, mine, of, folder, info); err != nil {
			k.note(of, func(s *Standing) { s.Waiting = size })
			return "", 0, err
		}
		size -= info.Size()
		k.note(of, func(s *Standing) { s.Waiting = size })
	}
	return lineage, mine.last, nil
}

// recall finds out what of a lineage was put on the target: segments that no
// backup needs are gone, and their numbers are not given to others, since what
// comes after a backup is known by its number.
func (k *Keeper) recall(ctx context.Context, mine *shipping, of Subject, lineage string) error {
	all, err := k.vault.segments(ctx, of, lineage)
	if err != nil {
		return err
	}
	backups, err := k.List(ctx, of)
	if err != nil {
		return err
	}
	mine.lineage, mine.last = lineage, 0
	for _, m := range backups {
		if m.Lineage == lineage {
			mine.last = max(mine.last, m.After)
		}
	}
	for _, s := range all {
		mine.last = max(mine.last, s.number)
		k.restorable(of, lineage, s.finished)
	}
	return nil
}

// shipOne puts a segment on the target, and removes it here once it is safe
// there. Killed in between, it is put again under the next number: it does no
// harm there twice.
func (k *Keeper) shipOne(ctx context.Context, mine *shipping, of Subject, folder string, info fs.FileInfo) error {
	file := filepath.Join(folder, info.Name())
	s := segment{number: mine.last + 1, finished: info.ModTime(), name: info.Name()}
	object := k.vault.changesFolder(of, mine.lineage) + s.String()
	_, err := k.vault.put(ctx, object, func(to io.Writer) error {
		// It is in a folder of the server's user: no link of his is followed.
		from, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		defer from.Close()
		_, err = io.Copy(to, from)
		return err
	})
	if err != nil {
		return err
	}
	mine.last++
	k.restorable(of, mine.lineage, s.finished)
	return os.Remove(file)
}

// restorable notes that a lineage can be gone back to up to a moment.
func (k *Keeper) restorable(of Subject, lineage string, until time.Time) {
	k.note(of, func(s *Standing) {
		if s.reached == nil {
			s.reached = map[string]time.Time{}
		}
		if until.After(s.reached[lineage]) {
			s.reached[lineage] = until
		}
	})
}

// finished lists the segments that wait in a folder, and how many bytes they have.
func finished(folder string) (waiting []fs.FileInfo, size int64, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() || checkName(info.Name()) != nil {
			continue // gone, or not finished: those begin with a dot
		}
		waiting = append(waiting, info)
		size += info.Size()
	}
	return waiting, size, nil
}

// giveUp throws away changes that have waited for too long: the server's disk is
// not to be full of them. What comes after them is another lineage, which begins
// with the next backup.
func (k *Keeper) giveUp(of Subject, server service.Server, folder string, waiting []fs.FileInfo, size int64) error {
	if err := os.Remove(lineageFile(server)); err != nil {
		return err
	}
	if err := removeAll(folder, waiting); err != nil {
		return err
	}
	k.note(of, func(s *Standing) { s.Waiting = 0 })
	k.happened(of, "backup.changes_lost", fmt.Sprintf("the backup target has been away for so long that %d MiB of changes of %s were thrown away", size>>20, of), nil)
	return springtide.Errorf(springtide.Unavailable, "changes of %s were given up", of).WithHint("moments can be gone back to again from the next backup on")
}

func removeAll(folder string, files []fs.FileInfo) error {
	for _, info := range files {
		if err := os.Remove(filepath.Join(folder, info.Name())); err != nil {
			return err
		}
	}
	return nil
}

// throwAway removes changes that nobody wants kept.
func (k *Keeper) throwAway(ctx context.Context, of Subject, server service.Server, backuper service.Backuper) {
	folder, err := backuper.Changes(ctx, server)
	if err != nil || folder == "" {
		return
	}
	waiting, _, err := finished(folder)
	if err != nil {
		return
	}
	if err := removeAll(folder, waiting); err != nil {
		k.options.Logger.Warn("changes that nobody wants cannot be removed", "of", of, "error", err)
	}
}

// lineageFile is where a server's lineage is written down.
func lineageFile(server service.Server) string { return filepath.Join(server.Folder, "lineage") }

// lineageOf gives the lineage of a server's changes; a new server begins one.
func lineageOf(server service.Server) (string, error) {
	data, err := os.ReadFile(lineageFile(server))
	if err == nil && checkName(string(data)) == nil {
		return string(data), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	lineage := strings.ToLower(rand.Text())
	return lineage, durable.WriteFile(lineageFile(server), []byte(lineage), 0o600)
}
