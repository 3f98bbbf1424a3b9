package mail

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// perGeneration is how many runs the newer half of what is remembered holds.
const perGeneration = 8192

// delivered remembers for the last 8,192 to 16,384 runs who was sent their mail,
// so that another attempt leaves them out. It is this machine's memory: another
// server that takes the run's next attempt does not have it, and sends again.
//
// It is two files of lines of JSON. Lines are added to the newer, each synced; when
// that is full it takes the place of the older.
type delivered struct {
	path string

	mutex        sync.Mutex
	file         *os.File
	newer, older map[springtide.RunID]delivery
}

// delivery is what is known of a run's mail.
type delivery struct {
	Run      springtide.RunID `json:"run"`
	Accepted []string         `json:"accepted,omitempty"`
	Bounced  []Refusal        `json:"bounced,omitempty"`
}

func openDelivered(folder string) (*delivered, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	d := &delivered{path: filepath.Join(folder, "newer.jsonl")}
	var err error
	if d.older, _, err = readDeliveries(d.olderPath()); err != nil {
		return nil, err
	}
	whole := int64(0)
	if d.newer, whole, err = readDeliveries(d.path); err != nil {
		return nil, err
	}
	if err := d.openFile(); err != nil {
		return nil, err
	}
	// The last line may have been cut by whatever ended us.
	if err := d.file.Truncate(whole); err != nil {
		d.file.Close()
		return nil, err
	}
	return d, nil
}

func (d *delivered) olderPath() string { return filepath.Join(filepath.Dir(d.path), "older.jsonl") }

func (d *delivered) openFile() (err error) {
	if d.file, err = os.OpenFile(d.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	return durable.SyncFolder(filepath.Dir(d.path))
}

// readDeliveries gives besides how many bytes are whole lines.
func readDeliveries(path string) (map[springtide.RunID]delivery, int64, error) {
	all := make(map[springtide.RunID]delivery)
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, err
	}
	whole := int64(bytes.LastIndexByte(content, '\n') + 1)
	for line := range bytes.Lines(content[:whole]) {
		var one delivery
		if json.Unmarshal(line, &one) == nil && one.Run != "" {
			all[one.Run] = one
		}
	}
	return all, whole, nil
}

// of gives what is known of a run's mail.
func (d *delivered) of(run springtide.RunID) delivery {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if one, ok := d.newer[run]; ok {
		return one
	}
	return d.older[run]
}

// add writes down what is known of a run's mail, in place of what was before.
// It is remembered even if it cannot be written.
func (d *delivered) add(one delivery) error {
	line, err := json.Marshal(one)
	if err != nil {
		return err
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	var full error
	if len(d.newer) >= perGeneration {
		full = d.turn()
	}
	d.newer[one.Run] = one
	if d.file == nil {
		return errors.Join(full, os.ErrClosed)
	}
	_, err = d.file.Write(append(line, '\n'))
	return errors.Join(full, err, d.file.Sync())
}

// turn begins a new generation, and forgets the oldest.
func (d *delivered) turn() error {
	d.older, d.newer = d.newer, make(map[springtide.RunID]delivery)
	if d.file != nil {
		d.file.Close()
	}
	err := os.Rename(d.path, d.olderPath())
	return errors.Join(err, d.openFile())
}

func (d *delivered) close() error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.file == nil {
		return nil
	}
	file := d.file
	d.file = nil
	return file.Close()
}

// remember writes down who has got the mail, and who was refused.
func (s *Sender) remember(run springtide.Run, report *report) {
	if len(report.Accepted)+len(report.Bounced) == 0 {
		return
	}
	if err := s.delivered.add(delivery{run.ID, report.Accepted, report.Bounced}); err != nil {
		s.options.Logger.Error("who was sent a mail cannot be written down; another attempt after a restart would send it again",
			"environment", run.Environment, "run", run.ID, "error", err)
	}
}
