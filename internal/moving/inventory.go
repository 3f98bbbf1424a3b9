package moving

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// Format is the version of the file's format that is written, and the newest that
// is read.
const Format = 1

// Inventory tells what is in a file.
type Inventory struct {
	Format int `json:"format"`
	// Version is that of the tide that wrote it.
	Version      string    `json:"version"`
	Created      time.Time `json:"created"`
	Environments []Packed  `json:"environments"`
	Blobs        []Blob    `json:"blobs"`
}

// Packed is an environment on its way. It does not say whether it was stopped
// or in maintenance: both are part of moving, and not of what is moved.
type Packed struct {
	ID springtide.EnvironmentID `json:"id"`
	// Active is the number of the release that had the traffic; 0: none.
	Active    int                                              `json:"active"`
	Config    map[string]string                                `json:"config,omitempty"`
	Domains   []string                                         `json:"domains,omitempty"`
	Scale     map[springtide.ProcessName]springtide.ScaleRange `json:"scale,omitempty"`
	Occasions []springtide.Occasion                            `json:"occasions,omitempty"`
	// Releases are those that had the traffic, the oldest first.
	Releases []springtide.Release    `json:"releases"`
	Secrets  []springtide.SecretName `json:"secrets,omitempty"`
	// PausedSchedules and PausedQueues were paused by hand.
	PausedSchedules []springtide.ScheduleName `json:"paused_schedules,omitempty"`
	PausedQueues    []springtide.QueueName    `json:"paused_queues,omitempty"`
}

// Blob is a part of an artifact. Size is in bytes.
type Blob struct {
	Digest springtide.Digest `json:"digest"`
	Size   int64             `json:"size"`
}

// Release gives the one that had the traffic; the zero value if none had.
func (e Packed) Release() springtide.Release {
	for _, release := range e.Releases {
		if release.Number == e.Active {
			return release
		}
	}
	return springtide.Release{}
}

// Apps gives the names of the apps, in order.
func (i Inventory) Apps() []springtide.AppName {
	var names []springtide.AppName
	for _, environment := range i.Environments {
		names = append(names, environment.ID.App)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Of gives the environments of an app.
func (i Inventory) Of(app springtide.AppName) []Packed {
	return slices.DeleteFunc(slices.Clone(i.Environments), func(e Packed) bool { return e.ID.App != app })
}

// Only gives the inventory of some apps; of all where none is named. An app that
// is not in it is of kind NotFound.
func (i Inventory) Only(apps []springtide.AppName) (Inventory, error) {
	if len(apps) == 0 {
		return i, nil
	}
	known := i.Apps()
	for _, app := range apps {
		if !slices.Contains(known, app) {
			return i, springtide.Errorf(springtide.NotFound, "there is no %s in the file", app).WithHint("it has %s", list(known))
		}
	}
	i.Environments = slices.DeleteFunc(slices.Clone(i.Environments), func(e Packed) bool { return !slices.Contains(apps, e.ID.App) })
	return i, nil
}

func list(apps []springtide.AppName) string {
	names := make([]string, len(apps))
	for i, app := range apps {
		names[i] = string(app)
	}
	return strings.Join(names, ", ")
}

var (
	namePattern   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)
	digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// Validate refuses what no tide has written.
func (i Inventory) Validate() error {
	if i.Format != Format {
		return springtide.Errorf(springtide.Invalid, "the file has format %d, this tide reads format %d: it is from tide %.40q", i.Format, Format, i.Version).
			WithHint("upgrade this platform first")
	}
	seen := map[springtide.EnvironmentID]bool{}
	for _, environment := range i.Environments {
		if err := environment.validate(); err != nil || seen[environment.ID] {
			return damaged(fmt.Sprintf("environment %.90q: %v", environment.ID, err))
		}
		seen[environment.ID] = true
	}
	for _, blob := range i.Blobs {
		if !digestPattern.MatchString(string(blob.Digest)) || blob.Size < 0 {
			return damaged(fmt.Sprintf("blob %.90q", blob.Digest))
		}
	}
	return nil
}

func (e Packed) validate() error {
	if !namePattern.MatchString(string(e.ID.App)) || !namePattern.MatchString(string(e.ID.Name)) {
		return fmt.Errorf("it has no name of an environment")
	}
	last := 0
	for _, release := range e.Releases {
		if release.Environment != e.ID || release.App.Name != e.ID.App || release.Number <= last || !digestPattern.MatchString(string(release.Artifact)) {
			return fmt.Errorf("release %d is not one of it", release.Number)
		}
		last = release.Number
	}
	if e.Active != 0 && e.Release().Number == 0 {
		return fmt.Errorf("its active release, v%d, is missing", e.Active)
	}
	return nil
}

func damaged(what string) error {
	return springtide.Errorf(springtide.Invalid, "the export is damaged: %s", what).WithHint("export again, or copy the file again")
}
