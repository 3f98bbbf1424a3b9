package files

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// uploadedLimit is how many uploads of a folder wait to be enqueued, about: more
// are refused until the control plane has taken some.
const uploadedLimit = 10_000

// Uploaded is an object that was put into a folder whose uploads become runs.
type Uploaded struct {
	// ID is the upload's own; those of a folder are in the order of the uploads.
	ID    string               `json:"-"`
	Queue springtide.QueueName `json:"queue"`
	// Payload is what the run is given.
	Payload json.RawMessage `json:"payload"`
}

// upload is the payload of a run that an upload made.
type upload struct {
	Event       string               `json:"event"`
	Folder      springtide.FilesName `json:"folder"`
	Key         string               `json:"key"`
	Size        int64                `json:"size"`
	ETag        string               `json:"etag"`
	ContentType string               `json:"content_type"`
	Time        time.Time            `json:"time"`
}

func uploadedFolder(side string) string { return filepath.Join(side, "uploaded") }

// Announces refuses an upload, as Unavailable, that could not be announced when
// it is there, since too many wait.
func (f *Folder) Announces() error {
	if f.Enqueue == "" {
		return nil
	}
	waiting, err := os.ReadDir(uploadedFolder(f.side))
	if err == nil && len(waiting) >= uploadedLimit {
		err = springtide.Errorf(springtide.Unavailable, "%d uploads of %s wait to be enqueued", len(waiting), f.id)
	}
	return err
}

// Announce notes durably that a file was uploaded, for the control plane to
// enqueue a run; nothing, if the folder's uploads become none. A kill before it
// returns leaves the file unannounced, or announced: nobody was told of it yet.
func (f *Folder) Announce(entry Entry, contentType string) error {
	if f.Enqueue == "" {
		return nil
	}
	now := time.Now().UTC()
	payload, err := json.Marshal(upload{
		Event: "created", Folder: f.id.Name, Key: entry.Name, Size: entry.Size, ETag: entry.ETag,
		ContentType: cmp.Or(contentType, TypeOf(entry.Name)), Time: now,
	})
	if err != nil {
		return err
	}
	text, err := json.Marshal(Uploaded{Queue: f.Enqueue, Payload: payload})
	if err != nil {
		return err
	}
	temporary, err := f.temporary() // which is swept after a kill
	if err != nil {
		return err
	}
	defer temporary.Close()
	defer os.Remove(temporary.Name())
	if _, err = temporary.Write(text); err == nil {
		err = temporary.Sync()
	}
	if err != nil {
		return err
	}
	folder := uploadedFolder(f.side)
	if err := os.Rename(temporary.Name(), filepath.Join(folder, fmt.Sprintf("%019d-%s", now.UnixNano(), rand.Text()))); err != nil {
		return err
	}
	return durable.SyncFolder(folder)
}

// Uploaded gives the uploads of a folder that wait to be enqueued, in order, at
// most so many.
func (s *Store) Uploaded(id FolderID, limit int) ([]Uploaded, error) {
	entries, err := os.ReadDir(uploadedFolder(s.side(id)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []Uploaded
	for _, entry := range entries[:min(limit, len(entries))] {
		one := Uploaded{ID: entry.Name()}
		text, err := os.ReadFile(filepath.Join(uploadedFolder(s.side(id)), one.ID))
		if err == nil {
			err = json.Unmarshal(text, &one)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, err
}

// SetEnqueued forgets an upload that was enqueued.
func (s *Store) SetEnqueued(id FolderID, uploaded string) error {
	return os.Remove(filepath.Join(uploadedFolder(s.side(id)), uploaded))
}
