package service

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// record is what is known of a service, for ever: it is on disk before anything
// that follows from it is done.
type record struct {
	ID springtide.ServiceID `json:"id"`
	// Spec is as last provisioned; Version is that of the data.
	Spec    springtide.Service `json:"spec"`
	Version string             `json:"version,omitempty"`
	Created time.Time          `json:"created"`
	// Port is where the app reaches the primary, whichever server that is;
	// ReplicaPort where it reaches the replica.
	Port        uint16 `json:"port,omitempty"`
	ReplicaPort uint16 `json:"replica_port,omitempty"`
	// PoolerPort is where the app reaches the pooler, which is there if it is not 0.
	// Pool is what was asked of it: it stays when it is asked for no more, until
	// nobody uses it.
	PoolerPort uint16          `json:"pooler_port,omitempty"`
	Pooler     member          `json:"pooler,omitzero"`
	Pool       springtide.Pool `json:"pool,omitzero"`
	// Moved says that a port has changed, and instances may not know.
	Moved bool `json:"moved,omitempty"`
	// Sealed holds the keys.
	Sealed  []byte   `json:"sealed,omitempty"`
	Servers []member `json:"servers,omitempty"`
	// Folders counts those that were given to servers.
	Folders int `json:"folders,omitempty"`
	// Standby says that the replica follows; where it is synchronous also that
	// nothing has been acknowledged since that it does not have.
	Standby bool `json:"standby,omitempty"`
	// Promoting is the folder of the replica that is to be the primary. From the
	// moment that it is on disk no other server of the service is started again.
	Promoting string `json:"promoting,omitempty"`
	// Discard are folders that are deleted once all servers have their data.
	Discard []string `json:"discard,omitempty"`
	// Stopped says that its servers are not to run; Orphan that it is because no
	// manifest names it any more.
	Stopped bool `json:"stopped,omitempty"`
	Orphan  bool `json:"orphan,omitempty"`
	// Apart says that it never was in a manifest: it was restored, or is what a
	// service was before a swap.
	Apart bool `json:"apart,omitempty"`
	// Scratch says that it is being made by an operation: it is deleted if that
	// does not come to its end.
	Scratch    bool `json:"scratch,omitempty"`
	Destroying bool `json:"destroying,omitempty"`

	keys keys
}

// keys are sealed at rest.
type keys struct {
	Logins
	// Next is the login that a rotation is about to begin to use.
	Next Login `json:"next,omitzero"`
}

// member is one server of a service.
type member struct {
	// Folder is relative to that of all services.
	Folder string `json:"folder"`
	Role   Role   `json:"role"`
	// Made says that its data is there.
	Made bool `json:"made,omitempty"`
	// PID is that of its process, which the kernel started at Ticks of the boot.
	PID   int    `json:"pid,omitempty"`
	Ticks uint64 `json:"ticks,omitempty"`
	Boot  string `json:"boot,omitempty"`
}

const recordName = "service.json"

// place is where a service's record lies, and its servers' folders.
func (m *Manager) place(id springtide.ServiceID) string {
	return filepath.Join(m.options.Folder, string(id.Environment.App), string(id.Environment.Name), string(id.Name))
}

// write makes the record durable.
func (m *Manager) write(r record) error {
	data, err := m.encode(r)
	if err != nil {
		return err
	}
	place := m.place(r.ID)
	// Others than its owner must be able to pass, to their servers' folders.
	if err := os.MkdirAll(place, 0o711); err != nil {
		return err
	}
	for folder := place; folder != m.options.Folder; folder = filepath.Dir(folder) {
		if err := durable.SyncFolder(filepath.Dir(folder)); err != nil {
			return err
		}
	}
	return durable.WriteFile(filepath.Join(place, recordName), data, 0o600)
}

func (m *Manager) encode(r record) ([]byte, error) {
	plain, err := json.Marshal(r.keys)
	if err != nil {
		return nil, err
	}
	if r.Sealed, err = m.options.Sealer.Seal(sealName(r.ID), plain); err != nil {
		return nil, springtide.Errorf(springtide.Internal, "seal the passwords of service %s: %w", r.ID, err)
	}
	return json.MarshalIndent(r, "", "  ")
}

func sealName(id springtide.ServiceID) string { return "service/" + id.String() }

// decode reads a record. If only its keys cannot be opened it is given all the
// same, with the error.
func (m *Manager) decode(data []byte) (record, error) {
	r, err := parseRecord(data)
	if err != nil {
		return r, err
	}
	plain, err := m.options.Sealer.Open(sealName(r.ID), r.Sealed)
	if err == nil {
		err = json.Unmarshal(plain, &r.keys)
	}
	if err != nil {
		return r, springtide.Errorf(springtide.Internal, "open the passwords of service %s: %w", r.ID, err)
	}
	return r, nil
}

// parseRecord reads a record, but for its keys.
func parseRecord(data []byte) (record, error) {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return r, err
	}
	if r.ID.Name == "" || r.ID.Environment.App == "" || r.ID.Environment.Name == "" {
		return r, springtide.Errorf(springtide.Internal, "the record names no service")
	}
	folders := append(r.folders(), r.Discard...)
	if r.hasPooler() {
		folders = append(folders, r.Pooler.Folder)
	}
	for _, folder := range folders {
		if !filepath.IsLocal(folder) || folder == "." {
			return r, springtide.Errorf(springtide.Internal, "folder %q of service %s is not among the services'", folder, r.ID)
		}
	}
	return r, nil
}

func (r *record) folders() []string {
	var all []string
	for _, member := range r.Servers {
		all = append(all, member.Folder)
	}
	return all
}

// clone gives a copy that shares nothing that is changed in place.
func (r record) clone() record {
	r.Servers, r.Discard = slices.Clone(r.Servers), slices.Clone(r.Discard)
	return r
}

// member finds the server of a role; nil if there is none.
func (r *record) member(role Role) *member {
	for i := range r.Servers {
		if r.Servers[i].Role == role {
			return &r.Servers[i]
		}
	}
	return nil
}

// all gives the servers and the pooler.
func (r *record) all() []member {
	if !r.hasPooler() {
		return r.Servers
	}
	return append(slices.Clone(r.Servers), r.Pooler)
}

// in finds the server, or the pooler, in a folder; nil if there is none.
func (r *record) in(folder string) *member {
	if r.hasPooler() && r.Pooler.Folder == folder {
		return &r.Pooler
	}
	for i := range r.Servers {
		if r.Servers[i].Folder == folder {
			return &r.Servers[i]
		}
	}
	return nil
}

// add adds a server that has no data yet, in a folder that nobody has used.
func (m *Manager) add(r *record, role Role) {
	for {
		r.Folders++
		folder := filepath.Join(string(r.ID.Environment.App), string(r.ID.Environment.Name), string(r.ID.Name), itoa(r.Folders))
		if _, err := os.Lstat(filepath.Join(m.options.Folder, folder)); err != nil {
			r.Servers = append(r.Servers, member{Folder: folder, Role: role})
			return
		}
	}
}

// drop takes the replica away; its data is deleted in time.
func (r *record) drop(role Role) {
	r.Servers = slices.DeleteFunc(r.Servers, func(one member) bool {
		if one.Role == role {
			r.Discard = append(r.Discard, one.Folder)
		}
		return one.Role == role
	})
}

// forgetCopies has replicas made anew whose data is not there: what a backup of
// the platform brings back is the primary's. folder is that of all services.
func (r *record) forgetCopies(folder string) {
	for i := range r.Servers {
		one := &r.Servers[i]
		if _, err := os.Stat(filepath.Join(folder, one.Folder, "data")); errors.Is(err, fs.ErrNotExist) && one.Role == RoleReplica {
			one.Made = false
		}
	}
}
