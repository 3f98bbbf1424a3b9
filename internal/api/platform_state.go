package api

import (
	"context"
	"io"
	"os/exec"
	"time"

	"github.com/springtide/springtide"
)

// Secrets are what only an environment's instances may read. Implemented by the
// control plane over secret.Keyring.
type Secrets interface {
	// Secrets are in order of name: those that are set, and those that the active
	// release asks for.
	Secrets(ctx context.Context, id springtide.EnvironmentID) ([]Secret, error)
	// ChangeSecrets sets and removes secrets. An environment that runs gets a new
	// release with them at once; one that is unknown is made.
	ChangeSecrets(ctx context.Context, id springtide.EnvironmentID, change SecretsChange) ([]Secret, error)
	// ExportSecrets gives a .env file encrypted to an age recipient.
	ExportSecrets(ctx context.Context, id springtide.EnvironmentID, recipient string) ([]byte, error)
	// RotateRootKey seals every key with a new root key.
	RotateRootKey(ctx context.Context) error
	// RecoveryKey makes the key by which all can be brought back on an empty
	// machine. It is a Conflict if there is one, unless it is to be renewed.
	RecoveryKey(ctx context.Context, renew bool) (string, error)
	// SetSources says how the places are reached that secrets may refer to; what is
	// nil stays as it is.
	SetSources(ctx context.Context, sources SecretSources) error
}

// SecretSources are places that secrets may refer to.
type SecretSources struct {
	Vault *VaultSource `json:"vault,omitempty"`
	AWS   *AWSSource   `json:"aws,omitempty"`
}

// VaultSource is a server that speaks HashiCorp Vault's HTTP API.
type VaultSource struct {
	Address   string `json:"address"`
	Token     string `json:"token"`
	Namespace string `json:"namespace,omitempty"`
}

// AWSSource is an account with AWS Secrets Manager.
type AWSSource struct {
	Region       string `json:"region"`
	AccessKey    string `json:"access_key"`
	SecretKey    string `json:"secret_key"`
	SessionToken string `json:"session_token,omitempty"`
	// Endpoint is empty for AWS's own.
	Endpoint string `json:"endpoint,omitempty"`
}

// Secret tells of a secret, never what it holds.
type Secret struct {
	Name springtide.SecretName `json:"name"`
	// Version counts from 1; 0: it is not set.
	Version int       `json:"version"`
	Created time.Time `json:"created,omitzero"`
	// Needed says that the manifest of the active release names it.
	Needed bool `json:"needed,omitempty"`
}

// SecretsChange sets and removes secrets.
type SecretsChange struct {
	Set    map[springtide.SecretName]string `json:"set,omitempty"`
	Remove []springtide.SecretName          `json:"remove,omitempty"`
}

// Services are the servers that keep state for environments. What takes long goes
// on when the context ends. Implemented by the control plane over service.Manager.
type Services interface {
	// Services lists those of an environment, or all where it is the zero value,
	// those that no release names any more included.
	Services(ctx context.Context, id springtide.EnvironmentID) ([]ServiceStatus, error)
	// Service tells more of one.
	Service(ctx context.Context, id springtide.ServiceID) (ServiceDetails, error)
	RestartService(ctx context.Context, id springtide.ServiceID) error
	// PromoteService has the replica take over.
	PromoteService(ctx context.Context, id springtide.ServiceID) error
	// RotateService gives the app a new login, without a query that fails.
	RotateService(ctx context.Context, id springtide.ServiceID) error
	// ForkService gives the environment of to a copy of from's data; scrub is a
	// command of its release that changes the copy before anybody else has it.
	ForkService(ctx context.Context, from, to springtide.ServiceID, scrub string) error
	// UpgradeService takes a service to another version; a rehearsal does so with a
	// copy, and tells how long it took.
	UpgradeService(ctx context.Context, id springtide.ServiceID, version string, rehearse bool) (time.Duration, error)
	// DestroyService deletes a service and all of its data.
	DestroyService(ctx context.Context, id springtide.ServiceID) error
	// ServiceShell prepares the server's own client, as the platform.
	ServiceShell(ctx context.Context, id springtide.ServiceID, arguments []string) (*exec.Cmd, error)
	// ServiceLog gives the end of what the servers wrote.
	ServiceLog(ctx context.Context, id springtide.ServiceID) (io.ReadCloser, error)
}

// ServiceStatus tells how a service stands.
type ServiceStatus struct {
	ID      springtide.ServiceID `json:"id"`
	Spec    springtide.Service   `json:"spec"`
	Version string               `json:"version,omitempty"`
	// State is starting, ready, degraded, down, external, …; Reason says why it is
	// not ready.
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
	Address string `json:"address,omitempty"`
	// Servers are the primary and its replica.
	Servers []ServiceServer `json:"servers"`
	// Folder holds its data.
	Folder string `json:"folder,omitempty"`
	// Cluster is the object of CloudNativePG that has it instead, on a cluster.
	Cluster string `json:"cluster,omitempty"`
	// Orphan says that no release names it: its data is kept.
	Orphan  bool      `json:"orphan,omitempty"`
	Created time.Time `json:"created,omitzero"`
	// Variables are the names of those that the app is given.
	Variables []string `json:"variables"`
}

// ServiceServer is one server of a service.
type ServiceServer struct {
	Role       string  `json:"role"`
	State      string  `json:"state"`
	PID        int     `json:"pid,omitempty"`
	LagSeconds float64 `json:"lag_seconds,omitempty"`
}

// ServiceDetails is what a running server tells of itself.
type ServiceDetails struct {
	ServiceStatus
	// Size is in bytes.
	Size           int64 `json:"size"`
	Connections    int   `json:"connections"`
	MaxConnections int   `json:"max_connections"`
	// MostInstances is how many instances of the app there may be; Misfit says that
	// they may want more connections than there are, and how to mend it.
	MostInstances int               `json:"most_instances,omitempty"`
	Misfit        string            `json:"misfit,omitempty"`
	Details       map[string]string `json:"details"`
	// Statements are the slowest ones.
	Statements []Statement `json:"statements"`
}

// Statement is one that a database carries out often, or slowly.
type Statement struct {
	Text        string  `json:"text"`
	Calls       int64   `json:"calls"`
	MeanSeconds float64 `json:"mean_seconds"`
}

// SharedFiles are the folders that the instances of an environment share.
// Implemented by the control plane over files.Store.
type SharedFiles interface {
	// FilesUsage is in order of name; of all environments where it is the zero
	// value, with those that no release names any more.
	FilesUsage(ctx context.Context, id springtide.EnvironmentID) ([]FilesUsage, error)
	// ListFiles gives a page in order of name: what comes after a name, at most
	// limit. Deep lists what is in folders too.
	ListFiles(ctx context.Context, id springtide.EnvironmentID, place FilePlace, after string, limit int, deep bool) ([]FileInfo, error)
	OpenFile(ctx context.Context, id springtide.EnvironmentID, place FilePlace) (io.ReadSeekCloser, FileInfo, error)
	// PutFile writes a whole file, or nothing. A zero time is now.
	PutFile(ctx context.Context, id springtide.EnvironmentID, place FilePlace, content io.Reader, modified time.Time) (FileInfo, error)
	DeleteFile(ctx context.Context, id springtide.EnvironmentID, place FilePlace) error
	// MoveFiles copies to a bucket what it lacks of a folder, for about 20 s.
	MoveFiles(ctx context.Context, id springtide.EnvironmentID, name springtide.FilesName, move FilesMove) (FilesMoved, error)
	// DestroyFiles deletes a shared folder that no release uses, with all in it.
	DestroyFiles(ctx context.Context, id springtide.EnvironmentID, name springtide.FilesName) error
}

// FilesMove says where the files of a shared folder are copied to.
type FilesMove struct {
	// To is s3://bucket/prefix?endpoint=https://host&region=name.
	To string `json:"to" maxLength:"2000"`
	// After is the Next of the copy before.
	After string `json:"after,omitempty"`
	// Check compares every object's metadata, not only what changed lately.
	Check bool `json:"check,omitempty"`
}

// FilesMoved tells what a copy to a bucket did.
type FilesMoved struct {
	// Copied files had Bytes; Same were there already. Newer are objects that
	// somebody else put there since: they stay.
	Copied int   `json:"copied"`
	Bytes  int64 `json:"bytes"`
	Same   int   `json:"same"`
	Newer  int   `json:"newer"`
	// Next is what to go on after; empty: all was gone through.
	Next string `json:"next,omitempty"`
}

// FilePlace is a file, or a folder, of a shared folder.
type FilePlace struct {
	Files springtide.FilesName
	// Path is relative, with slashes; empty: the shared folder itself.
	Path string
}

// FilesUsage tells how full a shared folder is.
type FilesUsage struct {
	Environment springtide.EnvironmentID `json:"environment"`
	Name        springtide.FilesName     `json:"name"`
	// Path is where instances find it.
	Path string `json:"path"`
	// Bytes and Files are as of Counted.
	Bytes   int64     `json:"bytes"`
	Files   int64     `json:"files"`
	Counted time.Time `json:"counted,omitzero"`
	// Quota is in bytes; 0: no limit.
	Quota  int64  `json:"quota,omitempty"`
	Public string `json:"public,omitempty"`
	// Bucket is where the files are instead, by the active release; Moved says
	// that all that the folder holds is there.
	Bucket string `json:"bucket,omitempty"`
	Moved  bool   `json:"moved,omitempty"`
	// Claim is the PersistentVolumeClaim that has the files instead, on a cluster, which
	// alone knows how full it is: Quota is its size. Reason says why nobody can use it.
	Claim  string `json:"claim,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Orphan says that no release names it: its files are kept.
	Orphan bool `json:"orphan,omitempty"`
}

// FileInfo tells of a file.
type FileInfo struct {
	// Path is relative to the shared folder.
	Path     string    `json:"path"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified,omitzero"`
	Folder   bool      `json:"folder,omitempty"`
}

// Backups keep services and shared files safe. Implemented by the control plane
// over backup.Keeper.
type Backups interface {
	// BackupStatus tells of each thing that is kept safe.
	BackupStatus(ctx context.Context, id springtide.EnvironmentID) ([]BackupStatus, error)
	// Backups lists those of one thing, or of all where of is empty, the newest first.
	Backups(ctx context.Context, id springtide.EnvironmentID, of string) ([]BackupRecord, error)
	// RunBackup makes a run of kind backup, or drill.
	RunBackup(ctx context.Context, id springtide.EnvironmentID, of string, kind springtide.RunKind) (springtide.RunID, error)
	// VerifyBackups reads all backups of a thing again, and compares.
	VerifyBackups(ctx context.Context, id springtide.EnvironmentID, of string) (Verification, error)
	// Restore makes a new service, or folder, beside the old one; nothing of that
	// is changed.
	Restore(ctx context.Context, id springtide.EnvironmentID, of string, request RestoreRequest) (Restored, error)
	// Promote has what was restored take the place of what is in use; again, the
	// other way round.
	Promote(ctx context.Context, id springtide.EnvironmentID, of, restored string) error
	// AcceptFiles takes shared files as they are for what is to be kept safe, though
	// a folder of them is empty that was not.
	AcceptFiles(ctx context.Context, id springtide.EnvironmentID) error
	// Discard deletes what was restored, and is not in use.
	Discard(ctx context.Context, id springtide.EnvironmentID, of, restored string) error
}

// BackupStatus tells how safe a thing is.
type BackupStatus struct {
	Of   string            `json:"of"`
	Plan springtide.Backup `json:"plan"`
	// Newest is when the newest backup began; zero: there is none.
	Newest time.Time `json:"newest,omitzero"`
	// Count and Size are those of all backups at the target, in bytes.
	Count int   `json:"count"`
	Size  int64 `json:"size"`
	// Kinds tells the same of each kind: whole, dump or files.
	Kinds []BackupKind `json:"kinds"`
	// TookSeconds is how long the newest took.
	TookSeconds float64 `json:"took_seconds,omitempty"`
	// Restorable is up to when it can be restored.
	Restorable time.Time `json:"restorable,omitzero"`
	// Late says that the newest backup is older than its plan allows.
	Late bool `json:"late,omitempty"`
	// Proven is when a restore of the newest backup was last tried and succeeded.
	Proven              time.Time `json:"proven,omitzero"`
	ProvenTookSeconds   float64   `json:"proven_took_seconds,omitempty"`
	ProvenLostSeconds   float64   `json:"proven_lost_seconds,omitempty"`
	LastFailure         string    `json:"last_failure,omitempty"`
	LastFailureOccurred time.Time `json:"last_failure_occurred,omitzero"`
}

// BackupKind tells how many backups of a kind there are.
type BackupKind struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
	// Size is what all take at the target, Plain what is in the newest; in bytes.
	Size   int64     `json:"size"`
	Plain  int64     `json:"plain"`
	Newest time.Time `json:"newest"`
}

// Safety tells how safe a service, or the shared files, of an environment are.
type Safety struct {
	// Environment is zero for the platform's own state.
	Environment springtide.EnvironmentID `json:"environment,omitzero"`
	Of          string                   `json:"of"`
	// Newest is when the newest backup was finished, Restorable the newest moment
	// that can be gone back to; zero: there is none.
	Newest     time.Time `json:"newest,omitzero"`
	Restorable time.Time `json:"restorable,omitzero"`
	// Late says why there should be more; empty: there need not be.
	Late string `json:"late,omitempty"`
	// Failure is how the last attempt to make a backup failed, and Failed when, if
	// none has succeeded since.
	Failure string    `json:"failure,omitempty"`
	Failed  time.Time `json:"failed,omitzero"`
	// Proven is when a restore of the newest backup last succeeded, and Checked what
	// was done with it; Unproven says that it is too long ago.
	Proven            time.Time `json:"proven,omitzero"`
	ProvenTookSeconds float64   `json:"proven_took_seconds,omitempty"`
	ProvenLostSeconds float64   `json:"proven_lost_seconds,omitempty"`
	Checked           string    `json:"checked,omitempty"`
	Unproven          bool      `json:"unproven,omitempty"`
	// Problem is why the last restore failed, and Tried when; empty: it did not.
	Problem string    `json:"problem,omitempty"`
	Tried   time.Time `json:"tried,omitzero"`
}

// BackupRecord is a backup of one thing.
type BackupRecord struct {
	ID       string    `json:"id"`
	Of       string    `json:"of"`
	Kind     string    `json:"kind"`
	Begun    time.Time `json:"begun"`
	Finished time.Time `json:"finished"`
	// Size is what it takes at the target, of shared files what was new there; Plain
	// what is in it; in bytes.
	Size  int64 `json:"size"`
	Plain int64 `json:"plain"`
}

// Verification is what reading backups again brought to light.
type Verification struct {
	Of       string   `json:"of"`
	Checked  string   `json:"checked"`
	Problems []string `json:"problems"`
}

// Restored is what was made of a backup.
type Restored struct {
	// Name is that of the new service, or folder, to promote or discard.
	Name        string    `json:"name"`
	Backup      string    `json:"backup"`
	At          time.Time `json:"at"`
	TookSeconds float64   `json:"took_seconds"`
	Folder      string    `json:"folder,omitempty"`
	// Differences are counts, by table or folder, of what is in use and of what
	// was restored.
	Differences []Difference `json:"differences"`
}

// Difference compares a count.
type Difference struct {
	What     string `json:"what"`
	InUse    int64  `json:"in_use"`
	Restored int64  `json:"restored"`
}
