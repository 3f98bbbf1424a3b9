package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// What is in the details of a backup of shared files.
const (
	detailSnapshot = "snapshot" // restic's name of it
	detailFiles    = "files"    // how many files are in it
	detailBytes    = "bytes"    // how large the files are
	detailAdded    = "added"    // how many bytes of that the target did not have yet
	detailUnread   = "unread"   // what could not be read
)

const (
	// unfinishedFile says that a restic may have been killed.
	unfinishedFile = "unfinished"
	// acceptFile says that folders may have been emptied.
	acceptFile = "accept"
)

// snapshot backs up the shared files of an environment as they are.
func (f *files) snapshot(ctx context.Context, run springtide.Run, of Subject, tell func(springtide.Progress)) (Manifest, error) {
	began := time.Now()
	m := Manifest{ID: newID(began), Subject: of, Kind: KindFiles, Run: run.ID, Fence: run.Fence, Version: "restic", Begun: began.UTC()}
	// It is asked first what there is: a target that is away says so here.
	earlier, _, err := f.vault.manifests(ctx, of)
	if err != nil {
		return m, err
	}
	now, err := census(ctx, f.source(of))
	if err != nil {
		return m, springtide.Errorf(springtide.Failed, "the shared files of %s cannot be read: %w", of.Environment, err)
	}
	var shrunk []string
	if len(earlier) > 0 {
		if shrunk, err = f.judge(of, earlier[len(earlier)-1], now); err != nil {
			return m, err
		}
	}
	made, err := f.backup(ctx, m, tell)
	if err != nil {
		return m, err
	}
	m.Finished, m.Rows = time.Now().UTC(), now.files
	m.Details = map[string]string{
		detailSnapshot: made.Snapshot,
		detailFiles:    strconv.FormatInt(made.Processed, 10),
		detailBytes:    strconv.FormatInt(now.bytes, 10),
		detailAdded:    strconv.FormatInt(made.Added, 10),
	}
	if made.unread != "" {
		m.Details[detailUnread] = made.unread
	}
	if err := f.vault.record(ctx, m); err != nil {
		return m, err
	}
	if made.unread != "" {
		f.tell(of, "backup.incomplete", fmt.Sprintf("some shared files of %s could not be read, and are not in the backup: %s", of.Environment, made.unread), nil)
	}
	for _, what := range shrunk {
		f.tell(of, "backup.shrunk", fmt.Sprintf("the shared files of %s are less than half of what they were: %s", of.Environment, what), nil)
	}
	return m, removeFiles(f.file(of, acceptFile), f.file(of, unfinishedFile))
}

// resticSummary is what restic tells of a snapshot that it makes.
type resticSummary struct {
	Type    string  `json:"message_type"`
	Percent float64 `json:"percent_done"`
	Files   int64   `json:"files_done"`
	Bytes   int64   `json:"bytes_done"`
	// These are in the last one alone.
	Snapshot  string `json:"snapshot_id"`
	Processed int64  `json:"total_files_processed"`
	Added     int64  `json:"data_added"`
	// unread is which files it could not read; empty: it has read all.
	unread string
}

// backup has restic make a snapshot. What one that was killed had sent already
// is looked up, and not sent again.
func (f *files) backup(ctx context.Context, m Manifest, tell func(springtide.Progress)) (made resticSummary, err error) {
	r, err := f.repository(ctx, m.Subject)
	if err != nil {
		return made, err
	}
	unfinished := f.file(m.Subject, unfinishedFile)
	if _, err := os.Lstat(unfinished); err == nil {
		if err := r.do(ctx, resticCall{arguments: []string{"rebuild-index"}}); err != nil {
			return made, err
		}
	}
	if err := durable.WriteFile(unfinished, nil, 0o600); err != nil {
		return made, unavailable(err)
	}
	tags := []string{"app:" + string(m.Environment.App), "environment:" + string(m.Environment.Name), "backup:" + m.ID}
	if m.Run != "" {
		tags = append(tags, "run:"+string(m.Run))
	}
	err = r.do(ctx, resticCall{
		arguments: []string{"backup", "--host", resticHost, "--tag", strings.Join(tags, ","), "--exclude", escapePattern(f.source(m.Subject)) + "/.*", "."},
		folder:    f.source(m.Subject),
		line: func(line []byte) {
			var now resticSummary
			switch _ = json.Unmarshal(line, &now); now.Type {
			case "summary":
				made = now
			case "status":
				tell(springtide.Progress{Percent: min(99, 100*now.Percent), Message: fmt.Sprintf("%d files, %d MiB", now.Files, now.Bytes>>20)})
			}
		},
	})
	if errors.Is(err, errIncomplete) && made.Snapshot != "" {
		made.unread, err = unread(err, f.source(m.Subject)), nil
	}
	if err == nil && made.Snapshot == "" {
		err = springtide.Errorf(springtide.Failed, "restic has not said what it has made")
	}
	return made, err
}

// unread says what restic could not read, but for what has been deleted meanwhile.
func unread(err error, source string) string {
	var items []string
	if e, ok := errors.AsType[*springtide.Error](err); ok {
		for _, line := range e.Lines {
			var problem struct {
				Item string `json:"item"`
			}
			if json.Unmarshal([]byte(line), &problem) != nil || problem.Item == "" {
				continue
			}
			if _, err := os.Lstat(filepath.Join(source, problem.Item)); !errors.Is(err, fs.ErrNotExist) {
				items = append(items, problem.Item)
			}
		}
	}
	return strings.Join(items[:min(len(items), 10)], ", ")
}

// counted is what is in the shared folders of an environment.
type counted struct {
	files map[string]int64 // by folder
	bytes int64
}

// census counts what is in the folders of an environment.
func census(ctx context.Context, source string) (counted, error) {
	c := counted{files: map[string]int64{}}
	err := filepath.WalkDir(source, func(name string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name != source {
			return nil // deleted meanwhile
		}
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		below, _ := filepath.Rel(source, name)
		folder, _, inside := strings.Cut(below, string(filepath.Separator))
		switch {
		case isOwn(folder) && below != "." && entry.IsDir():
			return fs.SkipDir
		case entry.IsDir() && !inside && below != ".":
			c.files[folder] += 0
		case inside && !entry.IsDir():
			c.files[folder]++
			if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
				c.bytes += info.Size()
			}
		}
		return nil
	})
	return c, err
}

// judge says which folders have less than half of what is in the newest backup.
// One that has nothing left is an error: most likely its disk is not mounted, and
// what is not there is not a state to go back to.
func (f *files) judge(of Subject, newest Manifest, now counted) ([]string, error) {
	emptied, shrunk := lessThan(newest, now)
	if len(emptied) == 0 {
		return shrunk, nil
	}
	if _, err := os.Lstat(f.file(of, acceptFile)); err == nil {
		return append(emptied, shrunk...), nil
	}
	what := strings.Join(emptied, ", ")
	f.tell(of, "backup.emptied", fmt.Sprintf("no backup is made of the shared files of %s, since nothing is left of them: %s", of.Environment, what), nil)
	return nil, springtide.Errorf(springtide.Conflict, "nothing is left of the shared files of %s: %s", of.Environment, what).
		WithHint("mount their disk; if they were deleted on purpose, say so with: tide backups accept")
}

// lessThan says which folders have nothing left, and what is less than half.
func lessThan(newest Manifest, now counted) (emptied, shrunk []string) {
	for _, folder := range slices.Sorted(maps.Keys(newest.Rows)) {
		switch before, left := newest.Rows[folder], now.files[folder]; {
		case before > 0 && left == 0:
			emptied = append(emptied, fmt.Sprintf("%s had %d files", folder, before))
		case left < before/2:
			shrunk = append(shrunk, fmt.Sprintf("%s had %d files and has %d", folder, before, left))
		}
	}
	if before := bytesOf(newest); len(shrunk) == 0 && now.bytes < before/2 {
		shrunk = append(shrunk, fmt.Sprintf("there were %d bytes and are %d", before, now.bytes))
	}
	return emptied, shrunk
}

// bytesOf is how large the shared files in a backup are.
func bytesOf(m Manifest) int64 {
	size, _ := strconv.ParseInt(m.Details[detailBytes], 10, 64) // 0 if nobody knows
	return size
}

// accept has the next backup of an environment's shared files be made even if
// folders of it have nothing left.
func (f *files) accept(of Subject) error {
	if err := os.MkdirAll(f.file(of, ""), 0o700); err != nil {
		return unavailable(err)
	}
	return unavailable(durable.WriteFile(f.file(of, acceptFile), nil, 0o600))
}

// removeFiles removes files, which may be missing.
func removeFiles(names ...string) error {
	for _, name := range names {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unavailable(err)
		}
	}
	return nil
}
