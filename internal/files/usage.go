package files

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Usage is what a folder, or a part of it, holds.
type Usage struct {
	Name string `json:"name"`
	// Bytes are the lengths of the files, not the blocks that they take.
	Bytes int64 `json:"bytes"`
	Files int64 `json:"files"`
	// Quota is in bytes; 0: none.
	Quota int64 `json:"quota,omitempty"`
	// Counted is when the files were last counted; what came and went by way of
	// the platform since is in it, too. Zero: never.
	Counted time.Time `json:"counted,omitzero"`
}

// Usage gives at once what is known of the folder.
func (f *Folder) Usage() (Usage, error) {
	a, err := f.ledger.read()
	usage := Usage{Name: string(f.id.Name), Bytes: a.Bytes, Files: a.Files, Quota: f.Quota}
	if a.Counted > 0 {
		usage.Counted = time.Unix(0, a.Counted).UTC()
	}
	return usage, err
}

// Du counts the files of the folder, or of one in it, now: one sum for each
// entry directly in it, in order. name is empty for the whole.
func (f *Folder) Du(ctx context.Context, name string) ([]Usage, error) {
	start := "."
	if name != "" {
		if err := checkName(name); err != nil {
			return nil, err
		}
		start = name
	}
	if _, err := f.root.Stat(start); err != nil {
		return nil, explain(name, err)
	}
	sums := map[string]*Usage{}
	err := gently(func() error {
		return count(ctx, f.root, start, func(file string, size int64) {
			first, _, _ := strings.Cut(strings.TrimPrefix(file, start+"/"), "/")
			first = path.Join(name, first)
			if sums[first] == nil {
				sums[first] = &Usage{Name: first}
			}
			sums[first].Bytes += size
			sums[first].Files++
		})
	})
	all := make([]Usage, 0, len(sums))
	for _, sum := range sums {
		all = append(all, *sum)
	}
	slices.SortFunc(all, func(a, b Usage) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

// recount walks the folder and corrects the ledger. What was written during the
// walk is added to what was counted, so that the quota is not gone beyond; the
// next walk corrects that.
func (f *Folder) recount(ctx context.Context) error {
	before, err := f.ledger.read()
	if err != nil {
		return err
	}
	var bytes, number int64
	if err := count(ctx, f.root, ".", func(_ string, size int64) { bytes += size; number++ }); err != nil {
		return err
	}
	side, err := os.OpenRoot(filepath.Join(f.side, "uploads")) // parts are held, too
	if err != nil {
		return err
	}
	defer side.Close()
	if err := count(ctx, side, ".", func(_ string, size int64) { bytes += size }); err != nil {
		return err
	}
	unlock, err := f.ledger.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return f.ledger.change(func(a *account) {
		a.Bytes, a.Files, a.Counted = bytes+a.Added-before.Added, number, time.Now().UnixNano()
	})
}

// batch is how many entries of a folder are held in memory at a time.
const batch = 1024

// count visits the plain files of a tree. It keeps one folder open at a time,
// however deep the app made it, and follows no link.
func count(ctx context.Context, root *os.Root, start string, visit func(name string, size int64)) error {
	return tree(ctx, root, start, func(name string, _ *os.File, stat *unix.Stat_t) error {
		if stat.Mode&unix.S_IFMT == unix.S_IFREG {
			visit(name, stat.Size)
		}
		return nil
	})
}

// tree visits all that is below a folder, in no order. The visitor gets the
// open folder that the entry is in. What vanishes meanwhile is passed over.
func tree(ctx context.Context, root *os.Root, start string, visit func(name string, in *os.File, stat *unix.Stat_t) error) error {
	for pending := []string{start}; len(pending) > 0; {
		name := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		folder, err := root.OpenFile(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || escapes(err) {
				continue
			}
			return explain(name, err)
		}
		below, err := entries(ctx, folder, name, visit)
		folder.Close()
		if err != nil {
			return err
		}
		pending = append(pending, below...)
	}
	return nil
}

// entries visits what is in one folder, and gives the folders among it.
func entries(ctx context.Context, folder *os.File, name string, visit func(string, *os.File, *unix.Stat_t) error) ([]string, error) {
	var below []string
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		names, err := folder.Readdirnames(batch)
		for _, base := range names {
			var stat unix.Stat_t
			if unix.Fstatat(int(folder.Fd()), base, &stat, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue
			}
			if err := visit(path.Join(name, base), folder, &stat); err != nil {
				return nil, err
			}
			if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
				below = append(below, path.Join(name, base))
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist) {
			return below, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
