package backup

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

const (
	// sampleFiles and sampleBytes bound what one drill restores of shared files.
	sampleFiles = 200
	sampleBytes = 256 << 20
	// sampleFile remembers which file was the last that was restored.
	sampleFile = "sample"
)

// resticNode is a file as restic lists it.
type resticNode struct {
	Type  string    `json:"type"`
	Path  string    `json:"path"`
	Size  int64     `json:"size"`
	Mtime time.Time `json:"mtime"`
}

// drillFiles proves that the newest backup of shared files can be restored: a
// part of all that is kept is read, and some files are restored and compared
// with those in use. The next drill does it with others.
func (k *Keeper) drillFiles(ctx context.Context, m Manifest, scratch string) (proved, error) {
	f := k.files
	reading, err := f.check(ctx, m.Subject)
	if err != nil {
		return proved{}, err
	}
	files, err := f.list(ctx, m)
	if err != nil {
		return proved{}, err
	}
	if want := m.Details[detailFiles]; want != strconv.Itoa(len(files)) {
		return proved{}, springtide.Errorf(springtide.Failed, "backup %s of %s has %d files, and was made with %s", m.ID, m.Subject, len(files), want)
	}
	last, err := os.ReadFile(f.file(m.Subject, sampleFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return proved{}, unavailable(err)
	}
	chosen := sample(files, string(last))
	p := proved{rows: m.Rows, checked: fmt.Sprintf("part %d of %d was read", cmp.Or(reading.Next-1, f.Days), f.Days)}
	if len(chosen) == 0 {
		return p, nil
	}
	same, err := f.tryOut(ctx, m, chosen, scratch)
	if err != nil {
		return p, err
	}
	p.checked += fmt.Sprintf(", %d of %d files restored, %d of them compared with those in use", len(chosen), len(files), same)
	return p, unavailable(durable.WriteFile(f.file(m.Subject, sampleFile), []byte(chosen[len(chosen)-1].Path), 0o600))
}

// list gives the files of a backup, in order.
func (f *files) list(ctx context.Context, m Manifest) (all []resticNode, err error) {
	r, err := f.repository(ctx, m.Subject)
	if err != nil {
		return nil, err
	}
	err = r.do(ctx, resticCall{arguments: []string{"ls", m.Details[detailSnapshot]}, line: func(line []byte) {
		var node resticNode
		if json.Unmarshal(line, &node) == nil && node.Type == "file" {
			all = append(all, node)
		}
	}})
	slices.SortFunc(all, func(a, b resticNode) int { return strings.Compare(a.Path, b.Path) })
	return all, err
}

// sample chooses the files that come after the last one of the sample before,
// beginning again at the end of all.
func sample(files []resticNode, last string) (chosen []resticNode) {
	first, _ := slices.BinarySearchFunc(files, last, func(n resticNode, last string) int { return strings.Compare(n.Path, last+"\x00") })
	var size int64
	for i := range files {
		node := files[(first+i)%len(files)]
		if len(chosen) > 0 && (len(chosen) == sampleFiles || size+node.Size > sampleBytes) {
			break
		}
		chosen, size = append(chosen, node), size+node.Size
	}
	return chosen
}

// tryOut restores some files, and compares those with the ones in use that have
// not been changed since. It gives how many those were.
func (f *files) tryOut(ctx context.Context, m Manifest, chosen []resticNode, scratch string) (same int, err error) {
	var size int64
	paths := make([]string, len(chosen))
	for i, node := range chosen {
		size += node.Size
		paths[i] = escapePattern(node.Path)
	}
	if err := fits(scratch, size); err != nil {
		return 0, err
	}
	if err := f.bring(ctx, m, scratch, paths, func(springtide.Progress) {}); err != nil {
		return 0, err
	}
	for _, node := range chosen {
		restored, err := hashOf(filepath.Join(scratch, node.Path), node.Size)
		if err != nil {
			return same, springtide.Errorf(springtide.Failed, "%s of backup %s cannot be restored: %w", node.Path, m.ID, err)
		}
		used := filepath.Join(f.source(m.Subject), node.Path)
		info, err := os.Lstat(used)
		if err != nil || info.Size() != node.Size || !info.ModTime().Equal(node.Mtime) {
			continue
		}
		original, err := hashOf(used, node.Size)
		if err != nil {
			continue // removed meanwhile
		}
		if original != restored {
			return same, springtide.Errorf(springtide.Failed, "%s comes back from backup %s with another content than that of the file in use, which has not been changed since", node.Path, m.ID).
				WithHint("one of the two disks has damaged it")
		}
		same++
	}
	return same, nil
}

// hashOf reads a file, which must have that size.
func hashOf(name string, size int64) (sum [sha256.Size]byte, err error) {
	// The app may have put a link or a pipe in its place.
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return sum, err
	}
	defer file.Close()
	hash := sha256.New()
	read, err := io.Copy(hash, file)
	if err == nil && read != size {
		err = fmt.Errorf("it has %d bytes of %d", read, size)
	}
	return [sha256.Size]byte(hash.Sum(nil)), err
}

// escapePattern makes a path a pattern of restic that nothing else matches.
func escapePattern(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
