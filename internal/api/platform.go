package api

import (
	"context"
	"io"
	"iter"
	"os/exec"
	"time"

	"github.com/springtide/springtide"
)

// Platform is all that the API serves. Every field is needed.
type Platform struct {
	Deploys       Deploys
	Environments  Environments
	Settings      Settings
	Observer      Observer
	OneOffs       OneOffs
	Shells        Shells
	Tokens        TokenStore
	Machine       Machine
	Ledger        Ledger
	Jobs          Jobs
	Leases        Leases
	Schedules     Schedules
	Locks         Locks
	Mail          Mail
	Secrets       Secrets
	Services      Services
	Files         SharedFiles
	Backups       Backups
	Certificates  Certificates
	Caches        Caches
	Announcements Announcements
	History       History
	Moving        Moving
}

// Deploys brings releases to their traffic. What was started goes on by itself,
// also when the context ends; its progress is told as events whose field
// "deploy" is the ID: of kinds build.line, build.done, release.line,
// rollout.step, instance.state, and last either deploy.done or deploy.failed.
// Implemented by deploy.Deployer.
type Deploys interface {
	// Deploy takes the whole source before it returns; then it builds and rolls out.
	Deploy(ctx context.Context, request DeployRequest) (DeployID, error)
	// Rollback rolls out an earlier release again; number 0 is the one that had
	// the traffic before.
	Rollback(ctx context.Context, environment springtide.EnvironmentID, number int) (DeployID, error)
	// Restart rolls out the active release again, in a new generation.
	Restart(ctx context.Context, environment springtide.EnvironmentID) (DeployID, error)
	// DeployStatus tells how far it has come.
	DeployStatus(ctx context.Context, id DeployID) (Deploy, error)
}

// Environments are the running copies of the apps. Implemented by deploy.Fleet.
type Environments interface {
	// Environments lists those of one app, or all when app is empty.
	Environments(ctx context.Context, app springtide.AppName) ([]EnvironmentStatus, error)
	Environment(ctx context.Context, id springtide.EnvironmentID) (EnvironmentStatus, error)
	// Stop holds the environment at no instances and refuses its requests.
	Stop(ctx context.Context, id springtide.EnvironmentID) error
	// Start ends what Stop began.
	Start(ctx context.Context, id springtide.EnvironmentID) error
	// Maintain has the edges answer all requests themselves; nil ends that.
	Maintain(ctx context.Context, id springtide.EnvironmentID, maintenance *springtide.Maintenance) error
	// Destroy lets go of every instance and forgets the environment, its
	// releases included. It returns when nothing of it runs.
	Destroy(ctx context.Context, id springtide.EnvironmentID) error
}

// Settings changes what an environment holds besides its releases. Each method
// applies one change to what is there and gives the result. Implemented by
// deploy.Fleet.
type Settings interface {
	// ChangeConfig sets and removes variables; the next release takes a
	// snapshot. An environment that is unknown is made, so that the first
	// release can have config.
	ChangeConfig(ctx context.Context, id springtide.EnvironmentID, change ConfigChange) (map[string]string, error)
	// ChangeDomains adds and removes host names; they are routed at once.
	ChangeDomains(ctx context.Context, id springtide.EnvironmentID, change DomainsChange) ([]string, error)
	// ChangeScale sets how many instances processes have; it acts at once.
	ChangeScale(ctx context.Context, id springtide.EnvironmentID, change ScaleChange) error
	// Plan tells what a deploy of app would change. It changes nothing.
	Plan(ctx context.Context, id springtide.EnvironmentID, app springtide.App) (Plan, error)
}

// Observer tells what is and what was. Implemented by deploy.Observer.
type Observer interface {
	// Releases are those that are kept, the newest first.
	Releases(ctx context.Context, id springtide.EnvironmentID) ([]springtide.Release, error)
	// Instances are in order of group and ID.
	Instances(ctx context.Context, id springtide.EnvironmentID) ([]springtide.Instance, error)
	// Decisions are the newest first, at most limit.
	Decisions(ctx context.Context, id springtide.EnvironmentID, limit int) ([]springtide.Decision, error)
	// Events gives those that are kept and match, then what happens, until ctx
	// ends or the caller breaks.
	Events(ctx context.Context, query EventQuery) iter.Seq2[springtide.Event, error]
	// Live gives figures at once and then every second, until ctx ends or the
	// caller breaks.
	Live(ctx context.Context, id springtide.EnvironmentID) iter.Seq2[Figures, error]
	// Logs gives lines of output as JSON ([springtide.LogLine]), one a line.
	Logs(ctx context.Context, query springtide.LogQuery) (io.ReadCloser, error)
}

// OneOffs are one-off commands in a release's environment. Implemented by
// deploy.Runs.
type OneOffs interface {
	// StartRun starts the command; it goes on by itself.
	StartRun(ctx context.Context, request OneOffRequest) (OneOff, error)
	// Run tells how it stands.
	Run(ctx context.Context, id string) (OneOff, error)
	// WaitRun returns when the run is over; when ctx ends before, it gives the
	// run as it is, without an error.
	WaitRun(ctx context.Context, id string) (OneOff, error)
}

// Shells starts commands inside instances. Implemented by process.Engine.
type Shells interface {
	// Shell prepares a command in the instance's namespaces, environment and
	// folder; the caller gives it a terminal and starts it. Empty: a shell.
	Shell(ctx context.Context, id springtide.InstanceID, command []string) (*exec.Cmd, error)
}

// TokenStore keeps the tokens of clients that come over TCP. It never sees a
// secret. Implemented by the store.
type TokenStore interface {
	// AddToken is a [springtide.Conflict] error if there is one of that name.
	AddToken(ctx context.Context, token Token) error
	// Tokens are in order of name.
	Tokens(ctx context.Context) ([]Token, error)
	DeleteToken(ctx context.Context, name string) error
	TokenByHash(ctx context.Context, hash [32]byte) (Token, error)
	// TouchToken records that the token was used; it is called once a minute at most.
	TouchToken(ctx context.Context, name string, used time.Time) error
}

// Machine is the platform as a whole. Implemented by the control plane's wiring.
type Machine interface {
	Status(ctx context.Context) (Status, error)
	// CertificateAuthority gives the certificate of the platform's own
	// authority, in PEM.
	CertificateAuthority(ctx context.Context) (string, error)
	// Drain lets go of every instance of every environment and returns when
	// nothing runs. Environments stay known: they come back at the next start.
	Drain(ctx context.Context) error
	// Upgrade has the platform's processes taken over by the tide in a file, which
	// is put in the place of the one that runs; empty: by the one that is in that
	// place. Nothing is changed if it does not run. It returns when that has begun.
	// Instances stay.
	Upgrade(ctx context.Context, file string) (Upgrade, error)
}

// UpgradePlatformRequest says what is to take over.
type UpgradePlatformRequest struct {
	// File is on the platform's machine; empty: the one that is in place.
	File string `json:"file,omitempty"`
}

// Upgrade tells what takes over from what.
type Upgrade struct {
	Executable string `json:"executable"`
	From       string `json:"from"`
	To         string `json:"to"`
	// Previous is where the file that was replaced is now.
	Previous string `json:"previous,omitempty"`
}

// DeployID names one deploy, rollback or restart, uniquely for ever.
type DeployID string

// DeployRequest asks for a new release.
type DeployRequest struct {
	Environment springtide.EnvironmentID
	// Source is the app's folder as tar.gz, manifest included.
	Source io.Reader
	// Description says what the source is: a commit, for example. May be empty.
	Description string
}

// Deploy tells how far a deploy, a rollback or a restart has come.
type Deploy struct {
	ID          DeployID                 `json:"id"`
	Environment springtide.EnvironmentID `json:"environment"`
	// Release is its number; 0 until there is one.
	Release int `json:"release"`
	// Step is "building" and then that of the rollout.
	Step string `json:"step" doc:"building, then the step of the rollout: recorded, releasing, starting, switched, undoing, done or failed"`
	// Done says that nothing more will happen; Error says whether it failed.
	Done    bool              `json:"done"`
	Error   *springtide.Error `json:"error,omitempty"`
	Started time.Time         `json:"started"`
	Timings Timings           `json:"timings"`
	// URL is where the environment is served.
	URL string `json:"url,omitempty"`
}

// Timings tell what a deploy took, in seconds. What has not been is zero.
type Timings struct {
	BuildSeconds  float64 `json:"build_seconds"`
	StartSeconds  float64 `json:"start_seconds"`
	SwitchSeconds float64 `json:"switch_seconds"`
	TotalSeconds  float64 `json:"total_seconds"`
}

// EnvironmentStatus is an environment and how it stands.
type EnvironmentStatus struct {
	springtide.Environment
	// URLs are where it is served, the main one first.
	URLs []string `json:"urls"`
	// Processes are in order of their names; none before the first release.
	Processes []ProcessStatus `json:"processes"`
}

// ProcessStatus tells how many instances a process has.
type ProcessStatus struct {
	Name springtide.ProcessName `json:"name"`
	Min  int                    `json:"min"`
	Max  int                    `json:"max"`
	// Wanted is how many there should be now, Ready how many get requests.
	Wanted int `json:"wanted"`
	Ready  int `json:"ready"`
	// Fixed says that the range was set by hand.
	Fixed bool `json:"fixed,omitempty"`
}

// ConfigChange sets and removes variables.
type ConfigChange struct {
	Set    map[string]string `json:"set,omitempty"`
	Remove []string          `json:"remove,omitempty"`
}

// DomainsChange adds and removes host names.
type DomainsChange struct {
	Add    []string `json:"add,omitempty"`
	Remove []string `json:"remove,omitempty"`
}

// ScaleChange says how many instances processes have. A process in Reset goes
// back to what the manifest says.
type ScaleChange struct {
	Set   map[springtide.ProcessName]springtide.ScaleRange `json:"set,omitempty"`
	Reset []springtide.ProcessName                         `json:"reset,omitempty"`
}

// Plan is what a deploy would change.
type Plan struct {
	Environment springtide.EnvironmentID `json:"environment"`
	// Release is the number of the active release; 0: nothing runs.
	Release int      `json:"release"`
	Changes []Change `json:"changes"`
	// Warnings say what would not fit, and how to mend it.
	Warnings []string `json:"warnings,omitempty"`
}

// Change is one difference between what runs and what is asked.
type Change struct {
	Action ChangeAction `json:"action" enum:"add,change,remove"`
	// What names the setting as the manifest spells it: "processes.web.command".
	What string `json:"what"`
	// From and To are the values as the manifest spells them.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Effect is what the change will cause: "new build", "restart of web",
	// "scaling only".
	Effect string `json:"effect,omitempty"`
}

// ChangeAction says what happens to a setting.
type ChangeAction string

// What may happen to a setting.
const (
	ChangeAdd    ChangeAction = "add"
	ChangeValue  ChangeAction = "change"
	ChangeRemove ChangeAction = "remove"
)

// EventQuery selects events. Empty fields select everything.
type EventQuery struct {
	Environment springtide.EnvironmentID
	Deploy      DeployID
	// After is the sequence number to begin behind; 0: from the oldest that is
	// kept; -1: only those to come.
	After int64
}

// Figures are what one environment did in the last second.
type Figures struct {
	Time              time.Time                        `json:"time"`
	Environment       springtide.EnvironmentID         `json:"environment"`
	URL               string                           `json:"url"`
	Release           int                              `json:"release"`
	RequestsPerSecond float64                          `json:"requests_per_second"`
	ErrorsPerSecond   float64                          `json:"errors_per_second"`
	P50               time.Duration                    `json:"p50"`
	P99               time.Duration                    `json:"p99"`
	Held              int                              `json:"held"`
	Busy              int                              `json:"busy"`
	Streams           int                              `json:"streams"`
	States            map[springtide.InstanceState]int `json:"states"`
	Instances         []springtide.Instance            `json:"instances"`
	// Decision is the sentence of the last scaling decision.
	Decision string `json:"decision,omitempty"`
}

// OneOffRequest asks for a one-off command.
type OneOffRequest struct {
	Environment springtide.EnvironmentID
	// Command is run by sh in the active release.
	Command string
	// Process is the one whose limits and variables it gets. Empty: web, or the first.
	Process springtide.ProcessName
	Timeout time.Duration
}

// OneOff is a one-off command. Its output is read as the log of task ID.
type OneOff struct {
	ID          string                   `json:"id"`
	Environment springtide.EnvironmentID `json:"environment"`
	Release     int                      `json:"release"`
	Command     string                   `json:"command"`
	Started     time.Time                `json:"started"`
	// Exit is how it ended; nothing while it runs.
	Exit *springtide.Exit `json:"exit,omitempty"`
}

// Token lets a client in. Its secret is told once and never stored.
type Token struct {
	Name string `json:"name"`
	// Hash is the SHA-256 of the secret.
	Hash    [32]byte  `json:"-"`
	Created time.Time `json:"created"`
	// LastUsed is zero if the token was never used.
	LastUsed time.Time `json:"last_used,omitzero"`
}

// NewToken is a token that was just made, with its secret.
type NewToken struct {
	Token
	Secret string `json:"secret" doc:"told this once; only its hash is kept"`
}

// Status tells what platform this is and how it stands.
type Status struct {
	Version    string `json:"version"`
	APIVersion int    `json:"api_version"`
	Data       string `json:"data"`
	// Executable is the file that the platform's processes run, and will run after
	// an upgrade.
	Executable string    `json:"executable"`
	Started    time.Time `json:"started"`
	// Isolation is the level that instances are kept apart by, in words, and
	// IsolationNotes what is missing from the best.
	Isolation      string            `json:"isolation"`
	IsolationNotes []string          `json:"isolation_notes,omitempty"`
	Edges          []EdgeStatus      `json:"edges"`
	Processes      PlatformProcesses `json:"processes"`
	// Listeners are the URLs that the edges and the API listen on.
	Listeners    []string     `json:"listeners"`
	Ledger       LedgerStatus `json:"ledger"`
	Store        StoreStatus  `json:"store"`
	Apps         int          `json:"apps"`
	Environments int          `json:"environments"`
	Instances    int          `json:"instances"`
	// Capacity is how the machine is shared; nil: that is not known.
	Capacity *Capacity `json:"capacity,omitempty"`
	// OutsideQueues are those that processes are scaled by.
	OutsideQueues []OutsideQueueStatus `json:"outside_queues,omitempty"`
	// Maintenance has the environments that are in maintenance.
	Maintenance []springtide.EnvironmentID `json:"maintenance,omitempty"`
	// Backups tells how safe everything is, in order.
	Backups []Safety `json:"backups"`
	// Certificates are what host names are served with, in order of the names.
	Certificates []Certificate `json:"certificates"`
	// Cache is what the edges keep of the answers of all apps.
	Cache CacheTotals `json:"cache"`
	// Floods are those that the edges have ended and refused since they began.
	Floods springtide.FloodCounts `json:"floods,omitzero"`
}

// CacheTotals tell of the caches of all edges.
type CacheTotals struct {
	// Memory and Disk are what they hold, in bytes.
	Memory int64 `json:"memory"`
	Disk   int64 `json:"disk"`
	// DiskErrors counts what could not be written to the disk.
	DiskErrors int64 `json:"disk_errors"`
	// Requests counts requests by what the cache had to do with them, since the
	// control plane was started.
	Requests map[springtide.CacheResult]int64 `json:"requests"`
}

// OutsideQueueStatus is how a queue is that the platform does not keep.
type OutsideQueueStatus struct {
	Environment springtide.EnvironmentID `json:"environment"`
	Process     springtide.ProcessName   `json:"process"`
	Queue       string                   `json:"queue"`
	// Waiting and UnderWay count messages, as of when it was seen last.
	Waiting  int `json:"waiting"`
	UnderWay int `json:"under_way"`
	// Trouble says why it is not seen; empty: it is.
	Trouble string `json:"trouble,omitempty"`
}

// LedgerStatus tells of the book of jobs.
type LedgerStatus struct {
	// Location is a file, or postgres://HOST/DATABASE without who is let in.
	Location string `json:"location"`
	// Trouble says why it does not answer; empty: it does.
	Trouble string `json:"trouble,omitempty"`
}

// StoreStatus tells of the platform's own state.
type StoreStatus struct {
	// Location is a file, or postgres://HOST/DATABASE without who is let in.
	Location string `json:"location"`
	// Leads says that this control plane does the work; else Leader does, of those
	// that share the store.
	Leads  bool   `json:"leads"`
	Leader string `json:"leader,omitempty"`
	// Trouble says why it does not answer; empty: it does.
	Trouble string `json:"trouble,omitempty"`
}

// EdgeStatus is one edge.
type EdgeStatus struct {
	Name string `json:"name"`
	// Acknowledged is the version of the routing table it serves by.
	Acknowledged int64 `json:"acknowledged"`
	Leaving      bool  `json:"leaving,omitempty"`
}

// PlatformProcesses are the process IDs of the platform itself.
type PlatformProcesses struct {
	Supervisor int   `json:"supervisor"`
	Control    int   `json:"control"`
	Edges      []int `json:"edges"`
}
