package edge

import (
	"path/filepath"
	"syscall"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cache"
)

// cacheDisk bounds the cache's files where nobody says otherwise: so many bytes, but
// no more than this part of the file system.
const (
	cacheDisk     = 10 << 30
	cacheDiskPart = 10
)

// openCache makes the cache. A folder that cannot be used costs its disk tier only.
func openCache(options *Options) (*cache.Cache, error) {
	of := cache.Options{Memory: options.CacheMemory, Disk: options.CacheDisk, Logger: options.Logger}
	if options.DataFolder != "" {
		of.Folder = filepath.Join(options.DataFolder, "edge", "cache")
	}
	if of.Disk == 0 {
		of.Disk = cacheDisk
		var system syscall.Statfs_t
		if err := syscall.Statfs(options.DataFolder, &system); err == nil {
			of.Disk = min(of.Disk, int64(system.Blocks)*system.Bsize/cacheDiskPart)
		}
	}
	opened, err := cache.New(of)
	if err != nil && of.Folder != "" {
		options.Logger.Error("the cache has no disk tier", "folder", of.Folder, "error", err)
		of.Folder = ""
		opened, err = cache.New(of)
	}
	return opened, err
}

// purge has the cache forget what the table says.
func (e *edge) purge(table *springtide.Table) {
	if err := e.cache.Purge(table.PurgesSince, table.Purges); err != nil {
		e.options.Logger.Error("the cache's disk tier does not know of a purge yet; it is told again", "error", err)
	}
}

func (e *edge) cacheSize() springtide.CacheSize {
	stats := e.cache.Stats()
	return springtide.CacheSize{Memory: stats.MemoryBytes, Disk: stats.DiskBytes, Errors: stats.DiskErrors}
}
