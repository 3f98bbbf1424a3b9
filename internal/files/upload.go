package files

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// Upload is a file that comes in parts, which lie beside the folder until they
// are joined. It is thrown away when nothing was added for a week.
type Upload struct {
	ID         string     `json:"-"`
	Name       string     `json:"name"`
	Created    time.Time  `json:"created"`
	Attributes Attributes `json:"attributes"`
}

// Part is one part of an upload. Its number says where in the file it belongs;
// numbers need not be without gaps.
type Part struct {
	Number   int
	MD5      string // in hexadecimal
	Size     int64  // in bytes
	Modified time.Time
}

// partLimit is the highest number of a part.
const partLimit = 10_000

func noUpload(id string) error {
	return springtide.Errorf(springtide.NotFound, "there is no upload %.40q", id).
		WithHint("it was completed, aborted, or thrown away after a week")
}

// BeginUpload makes an upload.
func (f *Folder) BeginUpload(name string, attributes Attributes) (Upload, error) {
	if err := checkName(name); err != nil {
		return Upload{}, err
	}
	upload := Upload{ID: rand.Text(), Name: name, Created: time.Now().UTC(), Attributes: attributes}
	text, err := json.Marshal(upload)
	if err != nil {
		return Upload{}, err
	}
	folder := f.uploadFolder(upload.ID)
	if err := os.Mkdir(folder, 0o700); err != nil {
		return Upload{}, explain(name, err)
	}
	if err := durable.WriteFile(filepath.Join(folder, "upload.json"), text, 0o600); err != nil {
		return Upload{}, explain(name, errors.Join(err, os.RemoveAll(folder)))
	}
	return upload, durable.SyncFolder(filepath.Dir(folder))
}

func (f *Folder) uploadFolder(id string) string { return filepath.Join(f.side, "uploads", id) }

// Upload gives an upload that was begun.
func (f *Folder) Upload(id string) (Upload, error) {
	// It comes from a client, and becomes a path.
	if id == "" || strings.ContainsFunc(id, func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') }) {
		return Upload{}, noUpload(id)
	}
	upload := Upload{ID: id}
	text, err := os.ReadFile(filepath.Join(f.uploadFolder(id), "upload.json"))
	if err != nil {
		return upload, noUpload(id)
	}
	return upload, json.Unmarshal(text, &upload)
}

// Uploads gives those that were begun, in the order of their names.
func (f *Folder) Uploads() ([]Upload, error) {
	entries, err := os.ReadDir(filepath.Join(f.side, "uploads"))
	var uploads []Upload
	for _, entry := range entries {
		if upload, err := f.Upload(entry.Name()); err == nil {
			uploads = append(uploads, upload)
		}
	}
	slices.SortFunc(uploads, func(a, b Upload) int {
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	return uploads, err
}

// PutPart adds a part, whole or not at all. One of the same number is replaced.
func (f *Folder) PutPart(ctx context.Context, id string, number int, from io.Reader, size int64) (_ Part, err error) {
	if _, err := f.Upload(id); err != nil {
		return Part{}, err
	}
	if number < 1 || number > partLimit {
		return Part{}, springtide.Errorf(springtide.Invalid, "the number of a part is 1 to %d, not %d", partLimit, number)
	}
	name := fmt.Sprintf("part %d", number)
	reserved, err := f.reserve(name, size)
	if err != nil {
		return Part{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(explain(name, err), reserved.release())
		}
	}()
	temporary, err := f.temporary()
	if err != nil {
		return Part{}, err
	}
	defer temporary.Close()
	defer os.Remove(temporary.Name())
	hash := md5.New()
	read, err := io.Copy(temporary, io.TeeReader(reserved.reader(reader{ctx, from}, size), hash))
	if err == nil && read != size {
		err = springtide.Errorf(springtide.Invalid, "%s was not written, %d of %d bytes came", name, read, size)
	}
	if err == nil {
		err = temporary.Sync()
	}
	if err != nil {
		return Part{}, err
	}
	part := Part{Number: number, MD5: hex.EncodeToString(hash.Sum(nil)), Size: size, Modified: time.Now().UTC()}
	if err := os.Rename(temporary.Name(), f.partFile(id, part)); err != nil {
		return Part{}, err
	}
	reserved.bytes = 0 // what is used stays so until the upload is over
	return part, durable.SyncFolder(f.uploadFolder(id))
}

// partFile carries the digest in its name, so that a part that comes again is
// told from the one before.
func (f *Folder) partFile(id string, part Part) string {
	return filepath.Join(f.uploadFolder(id), fmt.Sprintf("%05d.%s", part.Number, part.MD5))
}

// Parts gives the parts that are there, in order.
func (f *Folder) Parts(id string) ([]Part, error) {
	if _, err := f.Upload(id); err != nil {
		return nil, err
	}
	all, err := f.allParts(id)
	return slices.CompactFunc(all, func(a, b Part) bool { return a.Number == b.Number }), err
}

// allParts gives those that were replaced, too: the newest of a number is first.
func (f *Folder) allParts(id string) ([]Part, error) {
	entries, err := os.ReadDir(f.uploadFolder(id))
	var parts []Part
	for _, entry := range entries {
		digits, digest, _ := strings.Cut(entry.Name(), ".")
		number, notPart := strconv.Atoi(digits)
		info, infoErr := entry.Info()
		if notPart == nil && infoErr == nil {
			parts = append(parts, Part{number, digest, info.Size(), info.ModTime().UTC()})
		}
	}
	slices.SortFunc(parts, func(a, b Part) int {
		if a.Number != b.Number {
			return a.Number - b.Number
		}
		return b.Modified.Compare(a.Modified)
	})
	return parts, err
}

// CompleteUpload joins the parts named, by number and MD5, into the file, whole
// or not at all, and forgets the upload.
func (f *Folder) CompleteUpload(ctx context.Context, id string, parts []Part, etag string, unless func(*Entry) error) (Entry, error) {
	upload, err := f.Upload(id)
	if err != nil {
		return Entry{}, err
	}
	temporary, err := f.temporary()
	if err != nil {
		return Entry{}, explain(upload.Name, err)
	}
	defer temporary.Close()
	defer os.Remove(temporary.Name())
	for _, part := range parts {
		if err := f.join(ctx, temporary, id, part); err != nil {
			return Entry{}, explain(upload.Name, err)
		}
	}
	if err := f.own(temporary, fileMode); err != nil {
		return Entry{}, err
	}
	upload.Attributes.ETag = etag
	// The parts have had their room; the file has it for a moment beside them.
	o := PutOptions{Attributes: upload.Attributes, Unless: unless}
	entry, err := f.publish(upload.Name, temporary, o, &reservation{folder: f, name: upload.Name})
	if err != nil {
		return Entry{}, explain(upload.Name, err)
	}
	return entry, f.AbortUpload(id)
}

func (f *Folder) join(ctx context.Context, temporary *os.File, id string, part Part) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(part.MD5) != 2*md5.Size || strings.ContainsAny(part.MD5, "/.\x00") {
		return noPart(part)
	}
	file, err := os.Open(f.partFile(id, part))
	if err != nil {
		return noPart(part)
	}
	defer file.Close()
	_, err = io.Copy(temporary, file) // in the kernel
	return err
}

func noPart(part Part) error {
	return springtide.Errorf(springtide.Invalid, "part %d with the MD5 %.40q was not uploaded", part.Number, part.MD5)
}

// AbortUpload throws the parts away.
func (f *Folder) AbortUpload(id string) error {
	if _, err := f.Upload(id); err != nil {
		return err
	}
	parts, err := f.allParts(id)
	if err != nil {
		return err
	}
	var held int64
	for _, part := range parts {
		held += part.Size
	}
	if err := os.RemoveAll(f.uploadFolder(id)); err != nil {
		return err
	}
	unlock, err := f.ledger.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return f.ledger.add(-held, 0)
}
