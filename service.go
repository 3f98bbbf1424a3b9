package springtide

import (
	"maps"
	"slices"
	"time"
)

// ServiceName names a service of an environment: db, cache, and so on. It is
// spelled like an [AppName].
type ServiceName string

// ServiceID names a service of an environment.
type ServiceID struct {
	Environment EnvironmentID `json:"environment"`
	Name        ServiceName   `json:"name"`
}

// String gives "app/environment/service".
func (id ServiceID) String() string { return id.Environment.String() + "/" + string(id.Name) }

// ServiceKind is what serves: a real server of that kind.
type ServiceKind string

// The kinds of services.
const (
	ServicePostgres ServiceKind = "postgres"
	ServiceMariaDB  ServiceKind = "mariadb"
	ServiceRedis    ServiceKind = "redis"
)

// Service is a server that keeps state for an environment. The platform runs it,
// unless it is external.
type Service struct {
	Kind ServiceKind `json:"kind"`
	// Version is what the package is called by: "15" of postgres, "10.11" of
	// mariadb, "7" of redis. Empty: the newest installed.
	Version string `json:"version,omitempty"`
	// External is the URL of a server of the user's own. It may be a reference to
	// a secret, "secret:NAME". Empty: the platform runs the server.
	External string `json:"external,omitempty"`
	// Replica says that a second server follows the first.
	Replica bool `json:"replica,omitempty"`
	// Synchronous says that nothing is acknowledged before the replica has it:
	// only then it is promoted by itself.
	Synchronous bool `json:"synchronous,omitempty"`
	// Memory bounds the server's cache, of redis all its data, in bytes.
	Memory int64 `json:"memory,omitempty"`
	// Limits bound what each of its servers may use. Processes is not used.
	Limits Limits `json:"limits,omitzero"`
	// Connections is how many the app may have open at a time. 0: by the kind.
	Connections int `json:"connections,omitempty"`
	// Pool is how instances share the connections.
	Pool Pool `json:"pool,omitzero"`
	// Extensions of postgres that are to be there.
	Extensions []string `json:"extensions,omitempty"`
	// Policy is what redis does when its memory is full, as its maxmemory-policy.
	Policy string `json:"policy,omitempty"`
}

// Pool is how the connections to a database are shared out.
type Pool struct {
	// Each is how many connections each instance may open, as the app is set up.
	// 0: not known.
	Each int `json:"each,omitempty"`
	// Mode is for how long a client has one of the pooler's connections. Empty: there
	// is no pooler, and instances connect to the server.
	Mode PoolMode `json:"mode,omitempty"`
	// Size is how many connections the pooler has open to the server, for each login.
	Size int `json:"size,omitempty"`
}

// PoolMode says when a pooler takes back the connection that it gave to a client.
type PoolMode string

// The modes of poolers.
const (
	PoolTransaction PoolMode = "transaction"
	PoolSession     PoolMode = "session"
)

// ServiceNames gives the names of the app's services in order.
func (a App) ServiceNames() []ServiceName { return slices.Sorted(maps.Keys(a.Services)) }

// FilesName names a folder of an environment that all its instances share. It is
// spelled like an [AppName].
type FilesName string

// Files is a folder that all instances of an environment share, and that
// outlives them.
type Files struct {
	// Path is where an instance finds it: absolute, or relative to the app.
	Path string `json:"path"`
	// Quota bounds what it holds, in bytes. 0: no limit.
	Quota int64 `json:"quota,omitempty"`
	// Public is the path of URLs under which everybody may read its files, never
	// list them. Empty: nobody may.
	Public string `json:"public,omitempty"`
	// Signed says that signed requests of S3, as presigned URLs are, are answered
	// on the app's hosts too, below the folder's name.
	Signed bool `json:"signed,omitempty"`
	// Enqueue is the queue in which each object that is uploaded, as S3, becomes a
	// run. Empty: none does.
	Enqueue QueueName `json:"enqueue,omitempty"`
	// Bucket is the URL of a bucket of the user's own in which the files are:
	// s3://bucket/prefix?endpoint=https://host&region=name. Then there is no
	// folder. Its keys are the secrets S3_ACCESS_KEY_ID_NAME and
	// S3_SECRET_ACCESS_KEY_NAME. Empty: the files are in a folder.
	Bucket string `json:"bucket,omitempty"`
}

// Backup says how a service, or the shared files, are kept safe.
type Backup struct {
	// Daily is when, as "04:30" in UTC.
	Daily string `json:"daily"`
	// Keep is how long a backup is kept, counted from the newest one.
	Keep time.Duration `json:"keep"`
	// PointInTime says that the changes between backups are kept too.
	PointInTime bool `json:"point_in_time,omitempty"`
	// Smoke is the app's own command that drills run against the restored service.
	// Empty: none.
	Smoke string `json:"smoke,omitempty"`
}

// BackupFiles is the key under which an app's backups name its shared files; the
// other keys are names of services.
const BackupFiles = "files"

// SecretName names a secret of an environment. It is spelled like a variable of
// the environment: letters, digits and underscores.
type SecretName string
