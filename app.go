// Package springtide is the vocabulary of the platform: the nouns that every
// other package speaks in. It imports only the standard library and holds no
// behaviour beyond what a noun needs to describe itself.
package springtide

import (
	"maps"
	"slices"
	"time"
)

// AppName names an application: lower-case letters, digits and hyphens, at
// most 40 characters, so that it is one DNS label.
type AppName string

// EnvironmentName names one running copy of an app: production, staging, one
// per customer or one per branch. It is spelled like an [AppName].
type EnvironmentName string

// Production is the environment that is meant when none is named.
const Production EnvironmentName = "production"

// ProcessName names a kind of process of an app: web, worker, and so on.
type ProcessName string

// Web is the process that receives the traffic of an app.
const Web ProcessName = "web"

// EnvironmentID names an environment of an app.
type EnvironmentID struct {
	App  AppName         `json:"app"`
	Name EnvironmentName `json:"environment"`
}

// String gives "app/environment".
func (id EnvironmentID) String() string { return string(id.App) + "/" + string(id.Name) }

// App is what a manifest asks for in one environment: the defaults are filled
// in and the overrides of the environment are applied. It is immutable once it
// is part of a [Release].
type App struct {
	Name      AppName                 `json:"name"`
	Build     Build                   `json:"build"`
	Processes map[ProcessName]Process `json:"processes"`
	// ReleaseCommand runs once per release, before it gets traffic. Empty: none.
	ReleaseCommand string            `json:"release_command,omitempty"`
	Env            map[string]string `json:"env,omitempty"`
	Domains        []string          `json:"domains,omitempty"`
	Jobs           Jobs              `json:"jobs,omitzero"`
	// Services keep state for the environment, beside its instances.
	Services map[ServiceName]Service `json:"services,omitempty"`
	// Files are folders that all instances share.
	Files map[FilesName]Files `json:"files,omitempty"`
	// Secrets must be set before the app can be released.
	Secrets []SecretName `json:"secrets,omitempty"`
	// Backups has the name of a service, or [BackupFiles], as its key.
	Backups map[string]Backup `json:"backups,omitempty"`
	// Cache are rules by which edges keep answers; none: they keep nothing.
	Cache []CacheRule `json:"cache,omitempty"`
	// Protection is what edges do for it besides passing requests on.
	Protection Protection `json:"protection,omitzero"`
	// KeepReleases is how many releases are kept for a rollback; at least 2.
	KeepReleases int `json:"keep_releases"`
}

// ProcessNames gives the names of the app's processes in order.
func (a App) ProcessNames() []ProcessName {
	return slices.Sorted(maps.Keys(a.Processes))
}

// Build says how a source becomes an artifact.
type Build struct {
	// Command is run by sh in a clean copy of the source. Empty: the source is
	// the artifact.
	Command string            `json:"command,omitempty"`
	Timeout time.Duration     `json:"timeout"`
	Limits  Limits            `json:"limits"`
	Env     map[string]string `json:"env,omitempty"`
	// Base is the image that the app's layer lies upon, as a reference. Empty: none,
	// and only an engine that has a userland of its own can run the artifact.
	Base string `json:"base,omitempty"`
	// Push is a repository of the user's own that releases are pushed to, and pulled
	// from. Empty: they are pulled from the platform.
	Push string `json:"push,omitempty"`
	// Login is the secret with USER:PASSWORD for Push, or for Base where there is no
	// Push. Instances are not given it. Empty: what the machine's docker config says.
	Login SecretName `json:"login,omitempty"`
}

// Process is one kind of process of an app.
type Process struct {
	// Command is run by sh in the unpacked artifact.
	Command string `json:"command"`
	// HTTP says that the process listens on $PORT and is given requests.
	HTTP bool `json:"http"`
	// Worker says how the process takes runs from queues; nil: it takes none. Its
	// Scale.Concurrency is how many runs one instance has at a time.
	Worker *Worker           `json:"worker,omitempty"`
	Health Health            `json:"health"`
	Scale  Scale             `json:"scale"`
	Env    map[string]string `json:"env,omitempty"`
	// Drain is how long plain requests may go on after the instance got its last
	// new request.
	Drain time.Duration `json:"drain"`
	// Timeout is how long an instance may take to begin its answer to a request
	// that it has got whole; 0: as long as it likes.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Grace is how long the process may go on after SIGTERM before SIGKILL.
	Grace time.Duration `json:"grace"`
	// FinishStreams says that WebSockets and event streams count as requests:
	// they too are given Drain to end by themselves.
	FinishStreams bool `json:"finish_streams,omitempty"`
	// TryTimeout is how long one instance may take to begin its answer, where the
	// request can go to another one then; 0: as long as Timeout says.
	TryTimeout time.Duration `json:"try_timeout,omitempty"`
	// SlowStart is over how long a new instance's share of the requests grows to
	// that of the others; 0: it has it at once.
	SlowStart time.Duration `json:"slow_start,omitempty"`
	// Sticky has a client's requests go to one instance; nil: to any.
	Sticky *Sticky `json:"sticky,omitempty"`
	Limits Limits  `json:"limits"`
	// Announcements are what is announced of it, in the order of the manifest.
	Announcements []Announcement `json:"announcements,omitempty"`
}

// StickyCookie is the name of the cookie where none is chosen.
const StickyCookie = "tide_session"

// IsCookieName says that a cookie can be called so: letters, digits, "_" and "-",
// at most 64 of them.
func IsCookieName(name string) bool {
	for _, c := range []byte(name) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return 0 < len(name) && len(name) <= 64
}

// Sticky says how the instance is remembered that a client was answered by.
type Sticky struct {
	// Cookie is the name of the cookie.
	Cookie string `json:"cookie"`
	// For is how long after its last answer a client keeps it, in whole seconds;
	// 0: until the browser is closed.
	For time.Duration `json:"for,omitempty"`
}

// Health says how an instance is probed: for readiness before its first
// request, for liveness after. At most one of Path, TCP and Command is set;
// none means that running is being healthy.
type Health struct {
	// Path is requested over HTTP; 200 to 399 is healthy.
	Path string `json:"path,omitempty"`
	// TCP says that accepting a connection on $PORT is being healthy.
	TCP bool `json:"tcp,omitempty"`
	// Command is run by sh where the instance runs; exit 0 is healthy.
	Command  string        `json:"command,omitempty"`
	Interval time.Duration `json:"interval"`
	Timeout  time.Duration `json:"timeout"`
	// Start is how long an instance may take to become ready.
	Start time.Duration `json:"start"`
	// Failures in a row make a ready instance unhealthy.
	Failures int `json:"failures"`
}

// Scale says how many instances a process has.
type Scale struct {
	Min int `json:"min"`
	Max int `json:"max"`
	// Concurrency is how many requests one instance serves at a time, at most;
	// what exceeds it is held. 0: no limit, and no scaling by it.
	Concurrency int `json:"concurrency,omitempty"`
	// Requests is how many requests a second one instance is to have; 0: no
	// scaling by it.
	Requests float64 `json:"requests,omitempty"`
	// P95 is the latency that 95 of 100 requests are to stay below; 0: no scaling
	// by it.
	P95 time.Duration `json:"p95,omitempty"`
	// CPU is how much one instance is to use, as a share of its limit, or of one
	// core where it has none; 0: no scaling by it.
	CPU float64 `json:"cpu,omitempty"`
	// Spare is how many more instances there are than are needed, while any is.
	Spare int `json:"spare,omitempty"`
	// Priority is the weight of the process where those of a machine want more
	// than it has; 0: [DefaultPriority].
	Priority int `json:"priority,omitempty"`
	// Queue is an outside queue that it is scaled by; nil: by none.
	Queue *OutsideQueue `json:"queue,omitempty"`
	// Idle is how long no request may arrive before the last instance stops,
	// where Min is 0.
	Idle time.Duration `json:"idle"`
	// StableFor is the window over which the need must have been lower before
	// instances are taken away. 0: learnt from the cold start.
	StableFor time.Duration `json:"stable_for,omitempty"`
}

const (
	// DefaultPriority is the weight of a process that says nothing of it.
	DefaultPriority = 10
	// MostInstances is how many instances of a process anybody may ask for.
	MostInstances = 10_000
	// HoldFor is how long a request waits for an instance.
	HoldFor = 30 * time.Second
	// HoldLimit is how many may wait at an edge for one group.
	HoldLimit = 10_000
)

// Limits bound what one instance, one build or one task may use. Zero: no limit.
type Limits struct {
	// CPU is in cores.
	CPU float64 `json:"cpu,omitempty"`
	// Memory is in bytes.
	Memory int64 `json:"memory,omitempty"`
	// Processes counts processes and threads.
	Processes int `json:"processes,omitempty"`
}
