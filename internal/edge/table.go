package edge

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// keepPause is how many times as long as it took to write a table nothing is written
// after it.
const keepPause = 9

// tableFile keeps the newest table on disk, so that an edge can start while the
// control plane is away. It has private keys in it.
type tableFile struct {
	path   string
	logger *slog.Logger

	mu     sync.Mutex
	newest *springtide.Table
	wake   chan struct{}
}

func newTableFile(dataFolder string, logger *slog.Logger) *tableFile {
	return &tableFile{path: filepath.Join(dataFolder, "edge", "table.json"), logger: logger, wake: make(chan struct{}, 1)}
}

// load gives the table that was kept; false if there is none that can be read.
func (f *tableFile) load() (springtide.Table, bool) {
	data, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return springtide.Table{}, false
	}
	var kept springtide.Table
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	if err != nil {
		f.logger.Error("the kept routing table cannot be read; waiting for the control plane's", "path", f.path, "error", err)
		return springtide.Table{}, false
	}
	return kept, true
}

// keep has the table written soon; it never waits for the disk.
func (f *tableFile) keep(table springtide.Table) {
	f.mu.Lock()
	f.newest = &table
	f.mu.Unlock()
	notify(f.wake)
}

// run writes what keep was given until ctx ends, then what is left. Where tables are
// large and come fast not each of them is written.
func (f *tableFile) run(ctx context.Context) {
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
			f.write()
			return
		}
		began := time.Now()
		f.write()
		select {
		case <-time.After(keepPause * time.Since(began)):
		case <-ctx.Done():
		}
	}
}

func (f *tableFile) write() {
	f.mu.Lock()
	table := f.newest
	f.newest = nil
	f.mu.Unlock()
	if table == nil {
		return
	}
	data, err := json.Marshal(table)
	if err == nil {
		err = durable.WriteFile(f.path, data, 0o600)
	}
	if err != nil {
		f.logger.Error("the routing table cannot be kept on disk", "path", f.path, "version", table.Version, "error", err)
	}
}
