package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// buildCache is where the caches of the builds are kept from one demo to the
// next, so that only the first one compiles everything.
func buildCache() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("tide-demo-cache-%d", os.Getuid()))
}

// takeCache moves the kept caches into a new data folder. Without them the
// build takes longer, that is all; so are those that somebody else may have
// touched.
func takeCache(kept, data string) error {
	info, err := os.Lstat(kept)
	if err != nil || !info.IsDir() || info.Mode()&0o022 != 0 {
		return nil //nolint:nilerr // See above.
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Getuid() {
		return nil
	}
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	return os.Rename(kept, filepath.Join(data, "cache"))
}

// keepCache moves the caches out of the data folder, which is about to be removed.
func keepCache(data, kept string) {
	// It may not be there, or somebody else's may be in its place already.
	_ = os.Rename(filepath.Join(data, "cache"), kept)
}
