package process

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/engine/process/order"
)

// Names of the files in the folder of an instance or a task.
const (
	specFile     = "spec.json" // what it is; a folder without it is rubbish
	lockFile     = "lock"      // locked by its init, for as long as that lives
	recordFile   = "state.json"
	retiringFile = "retiring" // it is to go; written before anybody is told
	startedFile  = "started"  // a task's command may have begun
	exitFile     = "exit.json"
	homeFolder   = "home"
	initLogFile  = "init.log"
)

// folder is the folder of an instance or a task.
type folder string

func (f folder) file(name string) string { return filepath.Join(string(f), name) }

// spec is what an instance or a task is. It is durable before anything is
// started.
type spec struct {
	Instance springtide.InstanceID `json:"instance,omitempty"`
	Group    springtide.Group      `json:"group,omitzero"`
	Task     *springtide.Task      `json:"task,omitempty"`
	Ordered  time.Time             `json:"ordered"`
	// Slot is its number in the private subnet; 0: it shares the machine's network.
	Slot int `json:"slot,omitempty"`
	// Port is what it is to listen on; 0: it does not listen.
	Port int `json:"port,omitempty"`
}

// record is what is known of the latest attempt. It is written before the init
// is told to go, so that a control plane that starts later knows which process
// holds the lock. It matters only until the machine restarts, so it is replaced
// atomically but not synced.
type record struct {
	Attempt int `json:"attempt"`
	// PID and Ticks (its start time) name the init for as long as Boot lasts.
	PID   int    `json:"pid"`
	Ticks uint64 `json:"ticks"`
	Boot  string `json:"boot"`
	// Namespace says that the init is the first of a PID namespace: nothing
	// outlives it.
	Namespace bool      `json:"namespace"`
	Started   time.Time `json:"started"`
	// Ready is when it became ready; Unhealthy, that it is not any more.
	Ready     time.Time `json:"ready,omitzero"`
	Unhealthy bool      `json:"unhealthy,omitempty"`
	// Ended says that the end of the attempt was seen and counted.
	Ended    bool `json:"ended,omitempty"`
	Restarts int  `json:"restarts"`
	// Crashes counts since it was last ready for a minute.
	Crashes   int      `json:"crashes,omitempty"`
	Reason    string   `json:"reason,omitempty"`
	LastLines []string `json:"last_lines,omitempty"`
}

func (f folder) writeSpec(s spec) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return durable.WriteFile(f.file(specFile), data, 0o600)
}

func (f folder) readSpec() (s spec, err error) {
	return s, readJSON(f.file(specFile), &s)
}

func (f folder) writeRecord(r record) error { return f.writeJSON(recordFile, r) }

// writeJSON replaces a file that has to be whole, but need not survive a power
// cut.
func (f folder) writeJSON(name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	temporary := f.file(name + ".new")
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, f.file(name))
}

// readRecord gives the zero record where there is none.
func (f folder) readRecord() (r record, err error) {
	err = readJSON(f.file(recordFile), &r)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return r, err
}

// status reads how that attempt ended; ok is false if it is not known.
func (f folder) status(attempt int) (status order.Status, ok bool) {
	data, err := os.ReadFile(f.file(order.StatusFile))
	if err != nil {
		return status, false
	}
	status, err = order.DecodeStatus(data)
	return status, err == nil && status.Attempt == attempt
}

func (f folder) mark(name string) error { return durable.WriteFile(f.file(name), nil, 0o600) }

func (f folder) marked(name string) bool {
	_, err := os.Lstat(f.file(name))
	return err == nil
}

// lock opens the lock and takes it. The file description is handed down to the
// init; the lock is free again once the init is dead, however it died.
func (f folder) lock() (*os.File, error) {
	file, err := os.OpenFile(f.file(lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// locked reports whether an init lives.
func (f folder) locked() bool {
	file, err := f.lock()
	if err == nil {
		file.Close()
		return false
	}
	return errors.Is(err, unix.EWOULDBLOCK)
}

// remove takes the folder away, the spec first: what is left of a removal that
// was cut off is known to be rubbish.
func (f folder) remove() error {
	if err := os.Remove(f.file(specFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(string(f))
}

func readJSON(path string, value any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, value)
}
