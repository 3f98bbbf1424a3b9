package process

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// prune keeps what is kept of the past within its bounds.
func (e *Engine) prune(now time.Time) {
	e.pruneTasks(now)
	environments, _ := filepath.Glob(filepath.Join(globEscape(e.options.Data), "logs", "*", "*"))
	for _, environment := range environments {
		e.pruneLogs(environment)
	}
}

// pruneLogs removes the oldest output of an environment until it is within the
// limit: that of instances that are gone first, never the file in force.
func (e *Engine) pruneLogs(environment string) {
	type kept struct {
		path     string
		size     int64
		modified time.Time
		live     bool
	}
	live := map[springtide.InstanceID]bool{}
	e.mu.Lock()
	for id := range e.instances {
		live[id] = true
	}
	e.mu.Unlock()
	paths, _ := filepath.Glob(filepath.Join(globEscape(environment), "*", "*.log*"))
	var files []kept
	var total int64
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		total += info.Size()
		instance, older := strings.CutSuffix(filepath.Base(path), ".log.1")
		instance = strings.TrimSuffix(instance, ".log")
		file := kept{path, info.Size(), info.ModTime(), live[springtide.InstanceID(instance)]}
		if !file.live || older {
			files = append(files, file)
		}
	}
	rank := func(f kept) int {
		if f.live {
			return 1
		}
		return 0
	}
	slices.SortFunc(files, func(a, b kept) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), a.modified.Compare(b.modified))
	})
	for _, file := range files {
		if total <= e.options.LogLimit {
			return
		}
		if os.Remove(file.path) != nil {
			continue
		}
		total -= file.size
		if plain, ok := strings.CutSuffix(file.path, ".log"); ok {
			_ = os.Remove(plain + ".json")
		}
	}
}
