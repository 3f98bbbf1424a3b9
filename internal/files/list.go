package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/springtide/springtide"
)

// PageLimit is how many entries a page has at most.
const PageLimit = 1000

// ListOptions say what is listed.
type ListOptions struct {
	// Prefix is what the names begin with; it may end anywhere in a name.
	Prefix string
	// Delimiter joins all names that have it after the prefix into one entry, a
	// folder, that ends with it. Empty: every file is listed.
	Delimiter string
	// After is the name after which the page begins: the Next of the page before.
	After string
	// Limit is how many entries there are at most. 0: PageLimit.
	Limit int
	// Digests says that each file is read for its SHA-256.
	Digests bool
}

// Page is a part of a listing.
type Page struct {
	Entries []Entry `json:"entries"`
	// Next is what the next page begins after; empty: this is the last one.
	Next string `json:"next,omitempty"`
}

// List gives the files in the order of the bytes of their names. Folders are
// there by what is in them; links, devices and names that are not UTF-8 are
// not listed. A page costs the reading of the folders that it lies in.
func (f *Folder) List(ctx context.Context, o ListOptions) (Page, error) {
	if o.Limit < 0 || o.Limit > PageLimit {
		return Page{}, springtide.Errorf(springtide.Invalid, "a page has 1 to %d entries", PageLimit)
	}
	if o.Limit == 0 {
		o.Limit = PageLimit
	}
	page := Page{Entries: []Entry{}}
	w := walk{ctx: ctx, root: f.root, prefix: o.Prefix, after: o.After}
	if o.Delimiter != "" && strings.HasSuffix(o.After, o.Delimiter) {
		w.skip = o.After // the last page ended with it
	}
	w.visit = func(name string, info fs.FileInfo) (bool, error) {
		if len(page.Entries) == o.Limit {
			page.Next = page.Entries[o.Limit-1].Name
			return false, nil
		}
		if at := strings.Index(name[len(o.Prefix):], o.Delimiter); o.Delimiter != "" && at >= 0 {
			w.skip = name[:len(o.Prefix)+at+len(o.Delimiter)]
			page.Entries = append(page.Entries, Entry{Name: w.skip, Folder: true})
			return true, nil
		}
		entry, err := f.describe(ctx, name, info, o.Digests)
		if errors.Is(err, fs.ErrNotExist) || springtide.KindOf(err) == springtide.NotFound {
			return true, nil // it was deleted meanwhile
		}
		page.Entries = append(page.Entries, entry)
		return true, err
	}
	start := "."
	if at := strings.LastIndexByte(o.Prefix, '/'); at >= 0 {
		start = o.Prefix[:at]
		if !isName(start) {
			return page, nil // no file's name begins so
		}
	}
	_, err := w.folder(start)
	return page, err
}

func (f *Folder) describe(ctx context.Context, name string, info fs.FileInfo, digests bool) (Entry, error) {
	file, err := f.Read(name)
	if err != nil {
		if springtide.KindOf(err) == springtide.NotFound {
			return Entry{}, err
		}
		return entryOf(name, info, Attributes{}), nil // it is there, though it cannot be read
	}
	defer file.Close()
	if digests {
		file.Entry.SHA256, err = digest(ctx, file)
	}
	return file.Entry, err
}

// walk goes through files in the order of their names.
type walk struct {
	ctx    context.Context //nolint:containedctx // one walk's own
	root   *os.Root
	prefix string
	after  string
	// skip is what the names of those begin with that are passed over.
	skip  string
	visit func(name string, info fs.FileInfo) (more bool, err error)
}

func (w *walk) folder(name string) (more bool, err error) {
	names, err := w.names(name)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if err := w.ctx.Err(); err != nil {
			return false, err
		}
		if w.passes(name) {
			continue
		}
		if below, isFolder := strings.CutSuffix(name, "/"); isFolder {
			more, err = w.folder(below)
		} else {
			var info fs.FileInfo
			if info, err = w.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return false, explain(name, err)
			}
			more, err = w.visit(name, info)
		}
		if !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

// names gives what is in a folder, in the order of the whole names of files: a
// folder ends with a slash.
func (w *walk) names(name string) ([]string, error) {
	folder, err := w.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		if name == strings.TrimSuffix(w.prefix, "/") || escapes(err) {
			return nil, nil
		}
		return nil, explain(name, err)
	}
	defer folder.Close()
	entries, err := folder.ReadDir(-1)
	if err != nil && len(entries) == 0 {
		return nil, nil // a file, or gone
	}
	var names []string
	for _, entry := range entries {
		below := path.Join(name, entry.Name())
		if len(below) >= nameLimit || !utf8.ValidString(below) {
			continue
		}
		if entry.IsDir() {
			names = append(names, below+"/")
		} else if entry.Type().IsRegular() {
			names = append(names, below)
		}
	}
	slices.Sort(names)
	return names, nil
}

// passes reports that a file, or all in a folder, is not wanted.
func (w *walk) passes(name string) bool {
	if w.skip != "" && strings.HasPrefix(name, w.skip) {
		return true
	}
	if strings.HasSuffix(name, "/") {
		return !strings.HasPrefix(name, w.prefix) && !strings.HasPrefix(w.prefix, name) ||
			w.after > name && !strings.HasPrefix(w.after, name)
	}
	return !strings.HasPrefix(name, w.prefix) || w.after != "" && name <= w.after
}
