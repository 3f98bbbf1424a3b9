package backup

import (
	"crypto/rand"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// manifestFormat is the newest that this version writes and reads.
const manifestFormat = 1

// Kind is what a backup consists of.
type Kind string

// The kinds of backups.
const (
	KindWhole    Kind = "whole"    // a service: its driver's own copy, to which changes can be applied
	KindDump     Kind = "dump"     // a service: what servers of other versions can read too
	KindFiles    Kind = "files"    // shared files
	KindPlatform Kind = "platform" // the platform's own state
)

// Subject is what a backup is of.
type Subject struct {
	// Environment is zero for the platform itself.
	Environment springtide.EnvironmentID `json:"environment,omitzero"`
	// Of is the name of a service, [springtide.BackupFiles], or a part of the platform.
	Of string `json:"of"`
}

// SubjectOf gives the subject that a service is.
func SubjectOf(id springtide.ServiceID) Subject { return Subject{id.Environment, string(id.Name)} }

// Service gives the ID of the service that the subject is.
func (s Subject) Service() springtide.ServiceID {
	return springtide.ServiceID{Environment: s.Environment, Name: springtide.ServiceName(s.Of)}
}

// String gives "app/environment/of".
func (s Subject) String() string {
	if s.Environment == (springtide.EnvironmentID{}) {
		return "platform/" + s.Of
	}
	return s.Environment.String() + "/" + s.Of
}

// path is the subject's on a target. No app is called as the platform is.
func (s Subject) path() string {
	if s.Environment == (springtide.EnvironmentID{}) {
		return "_/_/" + s.Of
	}
	return s.String()
}

// Manifest says what one backup is. A backup exists when its manifest does.
type Manifest struct {
	Format int `json:"format"`
	// ID sorts by the time at which the backup was begun.
	ID string `json:"id"`
	Subject
	Kind Kind `json:"kind"`
	// Run made it, in an attempt with the fence.
	Run   springtide.RunID `json:"run,omitempty"`
	Fence springtide.Fence `json:"fence,omitempty"`
	// Service is what the service was asked to be, Version what its server was.
	Service *springtide.Service `json:"service,omitempty"`
	Version string              `json:"version,omitempty"`
	// Begun and Finished are by the clock of the machine with the server.
	Begun    time.Time `json:"begun"`
	Finished time.Time `json:"finished"`
	Objects  []Entry   `json:"objects,omitempty"`
	// Begin and End are positions in the server's log of changes.
	Begin string `json:"begin,omitempty"`
	End   string `json:"end,omitempty"`
	// Lineage is whose changes can be applied to it: the segments with a higher
	// number than After.
	Lineage string `json:"lineage,omitempty"`
	After   int64  `json:"after,omitempty"`
	// Rows is how many each table had.
	Rows map[string]int64 `json:"rows,omitempty"`
	// Details are further facts by name, such as the snapshot's of restic.
	Details map[string]string `json:"details,omitempty"`
}

// Entry is an object of a backup, as it is on the target.
type Entry struct {
	Name string `json:"name"`
	// Size and SHA256 are of the sealed object, Plain is the size of what is in it;
	// sizes are in bytes.
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	Plain  int64  `json:"plain"`
}

// Size is that of all its objects on the target, in bytes; of shared files, what
// the target did not have before it.
func (m Manifest) Size() (size int64) {
	if m.Kind == KindFiles {
		size, _ = strconv.ParseInt(m.Details[detailAdded], 10, 64) // 0 if nobody knows
	}
	for _, entry := range m.Objects {
		size += entry.Size
	}
	return size
}

// Plain is how much is in it, before it was compressed, in bytes.
func (m Manifest) Plain() (size int64) {
	if m.Kind == KindFiles {
		return bytesOf(m)
	}
	for _, entry := range m.Objects {
		size += entry.Plain
	}
	return size
}

// idLayout is how an ID begins: IDs sort by it.
const idLayout = "20060102T150405.000Z"

// newID makes the ID of a backup that is begun now.
func newID(now time.Time) string {
	return now.UTC().Format(idLayout) + "-" + strings.ToLower(rand.Text()[:8])
}

// idTime is when the backup was begun; the zero time if that is not an ID.
func idTime(id string) time.Time {
	stamp, _, _ := strings.Cut(id, "-")
	begun, err := time.Parse(idLayout, stamp)
	if err != nil {
		return time.Time{}
	}
	return begun
}

// isID reports whether that can be the ID of a backup.
func isID(id string) bool {
	return len(id) == len(idLayout)+9 && !idTime(id).IsZero() && !strings.ContainsFunc(id[len(idLayout):], func(r rune) bool {
		return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}

// decodeManifest reads a manifest that is to be that of a backup of the subject.
func decodeManifest(data []byte, of Subject, id string) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return m, springtide.Errorf(springtide.Failed, "the manifest of backup %s of %s cannot be read: %w", id, of, err)
	}
	switch {
	case m.Format > manifestFormat || m.Format < 1:
		return m, springtide.Errorf(springtide.Failed, "backup %s of %s has format %d, and this version reads up to %d", id, of, m.Format, manifestFormat).
			WithHint("use a newer version of Springtide")
	case m.Subject != of || m.ID != id:
		return m, springtide.Errorf(springtide.Conflict, "what is called backup %s of %s is backup %s of %s", id, of, m.ID, m.Subject)
	}
	for _, entry := range m.Objects {
		if err := checkName(entry.Name); err != nil || entry.Size < 0 || entry.Plain < 0 {
			return m, springtide.Errorf(springtide.Failed, "the manifest of backup %s of %s names an object %q that cannot be", id, of, entry.Name)
		}
	}
	return m, nil
}
