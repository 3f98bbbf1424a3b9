package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/store/sqlite"
	"github.com/springtide/springtide/internal/supervisor"
)

// versionLimit is how long a program may take to say what version it is.
const versionLimit = 10 * time.Second

// executable is the file that the platform's processes run. It may have been
// replaced since; then the kernel calls the old one deleted.
func executable() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(path, " (deleted)")
}

// Upgrade implements api.Machine: the supervisor takes over what is on disk, and
// has everything else do so.
func (m machine) Upgrade(ctx context.Context, file string) (api.Upgrade, error) {
	upgrade := api.Upgrade{Executable: executable(), From: m.options.Version}
	said, err := versionOf(ctx, cmp.Or(file, upgrade.Executable))
	if err == nil && said.Tables < sqlite.Tables() {
		err = springtide.Errorf(springtide.Conflict, "it is older than what is kept here: its tables are version %d, these are %d", said.Tables, sqlite.Tables())
	}
	if err != nil {
		return upgrade, springtide.Errorf(springtide.Invalid, "%s cannot take over: %w", cmp.Or(file, upgrade.Executable), err).
			WithHint("nothing was changed; name a tide that runs on this machine")
	}
	upgrade.To = said.Version
	parent := supervisor.Holder(filepath.Join(m.options.DataFolder, "lock"))
	if parent == 0 {
		return upgrade, springtide.Errorf(springtide.Unavailable, "there is no tide serve that could be upgraded").
			WithHint("start one: it takes over what runs")
	}
	if file != "" && file != upgrade.Executable {
		if upgrade.Previous, err = install(file, upgrade.Executable); err != nil {
			return upgrade, springtide.Errorf(springtide.Denied, "%s cannot be replaced: %w", upgrade.Executable, err).
				WithHint("install it by hand, then run `tide upgrade` without a file")
		}
	}
	return upgrade, syscall.Kill(parent, syscall.SIGHUP)
}

// install puts a program in another's place, and keeps that one beside it.
func install(file, place string) (previous string, err error) {
	program, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	old, err := os.ReadFile(place)
	switch {
	case err == nil:
		previous = place + ".previous"
		err = durable.WriteFile(previous, old, 0o755)
	case errors.Is(err, fs.ErrNotExist):
		err = nil // it was removed while it runs
	}
	if err != nil {
		return "", err
	}
	return previous, durable.WriteFile(place, program, 0o755)
}

// programVersion is what a tide says of itself.
type programVersion struct {
	Version string `json:"version"`
	// Tables is the version of the store's tables that it knows.
	Tables int `json:"tables"`
}

// versionOf asks a tide what version it is.
func versionOf(ctx context.Context, path string) (said programVersion, err error) {
	ctx, cancel := context.WithTimeout(ctx, versionLimit)
	defer cancel()
	command := exec.CommandContext(ctx, path, "version", "--json")
	output, err := command.Output()
	if err != nil {
		return said, springtide.Errorf(springtide.Failed, "it does not say its version: %w", err)
	}
	if err := json.Unmarshal(output, &said); err != nil || said.Version == "" {
		return said, springtide.Errorf(springtide.Failed, "it is no tide")
	}
	return said, nil
}
