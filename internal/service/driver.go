package service

import (
	"context"
	"io"
	"net/netip"
	"syscall"
	"time"

	"github.com/springtide/springtide"
)

// Role is what a server of a service is to the others.
type Role string

// The roles.
const (
	RolePrimary Role = "primary"
	RoleReplica Role = "replica"
	RolePooler  Role = "pooler"
)

// Server is one server of a service, as its driver is to make and run it.
type Server struct {
	ID   springtide.ServiceID
	Spec springtide.Service
	// Version is the resolved version; it never changes but by an upgrade.
	Version string
	// Folder is the server's own, of mode 0700 and owned by User: its data is in
	// Folder/data, its socket in Folder/run, its output in Folder/log; the latter
	// two are there already. The path may be too long for the name of a socket:
	// programs are run in Folder, and may call it by its relative path.
	Folder string
	// Address is where the app reaches it.
	Address netip.AddrPort
	Role    Role
	// Primary is whom a replica follows, or a pooler leads to; PrimaryFolder that one's Folder.
	Primary       netip.AddrPort
	PrimaryFolder string
	// Logins are in the clear.
	Logins Logins
	// User is whom its programs are run as.
	User User
	// Standby says of a primary that a replica is there. Spec.Synchronous says
	// whether it must be waited for.
	Standby bool
}

// User is a user of the machine; the zero value is whoever asks.
type User struct {
	UID int `json:"uid"`
	GID int `json:"gid"`
}

// Login is a name that a server knows, and its password.
type Login struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// Logins are those of a service. The app uses Current. While passwords are
// rotated Previous works too; else it is empty. Replication is for a replica.
type Logins struct {
	Database    string `json:"database"`
	Current     Login  `json:"current"`
	Previous    Login  `json:"previous,omitzero"`
	Replication Login  `json:"replication"`
}

// Process is a program to run. The manager runs it as the server's user in the
// server's folder, in a session of its own.
type Process struct {
	// Path is absolute. Args do not begin with the program's name.
	Path string
	Args []string
	Env  []string
	// Stop ends it in good order, Quick where that takes too long. 0: SIGTERM, and
	// SIGKILL.
	Stop  syscall.Signal
	Quick syscall.Signal
}

// Driver makes and runs the servers of one kind. It keeps no state: all of it is
// in the servers' folders. Its methods may be called at the same time for
// different servers.
type Driver interface {
	// Versions gives those that are installed, the newest first.
	Versions() []string
	// Hint says how to install a version, or any if it is empty, as one command.
	Hint(version string) string
	// Create makes the data of a new primary. Killed half-way it begins anew: data
	// is made beside Folder/data and renamed. It may be called again once it is made.
	Create(ctx context.Context, server Server) error
	// Process is the server's. It runs in the foreground, with the settings that
	// follow from the server as it is now.
	Process(server Server) Process
	// Ready gives nil when the server serves, and otherwise says why not yet. It is
	// asked all the time; of a replica also after a change of the logins.
	Ready(ctx context.Context, server Server) error
	// Settle has a running primary be as wanted: database, logins, extensions,
	// limits. It may be called at any time, and changes nothing if all is well. The
	// app's logins that work afterwards are Current and, where it has a name,
	// Previous, and no others that the data may have come with; of a primary with
	// Spec.Replica also Replication. With a Standby that is synchronous the primary
	// waits for it from then on.
	Settle(ctx context.Context, server Server) error
	// URL is what an app connects to with the login.
	URL(server Server, login Login) string
	// Inspect tells how a running server does.
	Inspect(ctx context.Context, server Server) (Info, error)
	// Shell is the server's own interactive client, as the platform's superuser.
	Shell(server Server) Process
}

// Follower is a [Driver] whose servers can be followed by replicas.
type Follower interface {
	// Follow makes a replica's data from its running and settled primary, in a
	// folder of its own. It is idempotent, as Create is. The primary's Standby is
	// false until then: it waits for no replica that is still being made.
	Follow(ctx context.Context, replica Server) error
	// Promote has a running replica be a primary, for good. It may be called again.
	Promote(ctx context.Context, replica Server) error
	// Lag is how much a running replica is behind its primary, in time and bytes. The
	// error is of kind Conflict if it can never catch up, and has to be made anew.
	Lag(ctx context.Context, replica Server) (time.Duration, int64, error)
}

// Acknowledger is a [Follower] that can prove that a synchronous replica has all
// that was acknowledged. Of others that is believed when nothing is missing.
type Acknowledger interface {
	// Acknowledge returns when the standby of a settled primary has acknowledged a
	// change that was made once the primary waited for it: from then on it may be
	// promoted.
	Acknowledge(ctx context.Context, primary Server) error
}

// Pooled is a [Driver] that can put a pooler of connections before a primary.
type Pooled interface {
	Pooler() Pooler
}

// Pooler runs what apps connect to in the place of a primary: a process of its own
// in a folder of its own. Its servers have the role of a pooler.
type Pooler interface {
	// Installed gives an error of kind Unavailable, with a hint, if it is not.
	Installed() error
	// Prepare writes what the process reads when it starts.
	Prepare(pooler Server) error
	Process(pooler Server) Process
	// Ready gives nil when it answers.
	Ready(ctx context.Context, pooler Server) error
	// Settle has the running pooler know the logins and the primary as they are, and
	// let queries through.
	Settle(ctx context.Context, pooler Server) error
	// Pause has queries wait until Settle. It returns when none is under way.
	Pause(ctx context.Context, pooler Server) error
}

// Rotator is a [Driver] that changes passwords under load.
type Rotator interface {
	// Rotate makes next work beside Current, with the same rights to the same data.
	Rotate(ctx context.Context, server Server, next Login) error
	// Retire has the old login work no more. What is connected with it is ended.
	Retire(ctx context.Context, server Server, old Login) error
}

// Forker is a [Driver] that copies a server while it serves.
type Forker interface {
	// Fork gives to.Folder a copy of the running from's data. It becomes a primary
	// of its own, stopped yet, that has its own logins once it is settled. It is
	// idempotent, as Create is.
	Fork(ctx context.Context, from, to Server) error
}

// Upgrader is a [Driver] that takes data to a newer version.
type Upgrader interface {
	// Upgrade makes the data of to, which is of a newer version and in a new folder,
	// from that of from, which is stopped and left as it was. It is idempotent, as
	// Create is.
	Upgrade(ctx context.Context, from, to Server) error
}

// Backuper is a [Driver] whose servers can be kept safe, for internal/backup.
type Backuper interface {
	// Backup writes a whole copy of the running server as one stream.
	Backup(ctx context.Context, server Server, to io.Writer) (BackupInfo, error)
	// Restore makes the data of a new server, which is stopped, from such a stream.
	Restore(ctx context.Context, server Server, from io.Reader, until RestoreTo) error
	// Dump writes what servers of other versions can read too.
	Dump(ctx context.Context, server Server, to io.Writer) error
	// Changes is the folder in which finished segments of the server's log of
	// changes wait to be shipped; empty: none are kept.
	Changes(ctx context.Context, server Server) (folder string, err error)
	// Verify reads all of a running restored server.
	Verify(ctx context.Context, server Server) (Verification, error)
}

// BackupInfo is what is known of a backup when it is made.
type BackupInfo struct {
	// Begin and End are positions in the server's log of changes, as it writes them.
	Begin string `json:"begin,omitempty"`
	End   string `json:"end,omitempty"`
	// Rows is how many each table had at the time, exact or estimated.
	Rows    map[string]int64 `json:"rows,omitempty"`
	Version string           `json:"version"`
}

// RestoreTo says how far changes are to be done again on top of a backup.
type RestoreTo struct {
	// Time is the moment to go back to. Zero: as far as there are changes.
	Time time.Time
	// Changes fetches a segment by its name; the error is of kind NotFound if there
	// is none.
	Changes func(ctx context.Context, name string, to io.Writer) error
	// Fetch is a shell command that fetches segment %f to path %p, for servers that
	// fetch themselves. Empty: all of them were put in Folder/changes beforehand.
	Fetch string
}

// Verification is what a look at everything that was restored has shown.
type Verification struct {
	Rows map[string]int64 `json:"rows,omitempty"`
	// Checked says in words what was looked at.
	Checked  string   `json:"checked"`
	Problems []string `json:"problems,omitempty"`
}

// Info tells how a server does.
type Info struct {
	// Size is that of its data, in bytes.
	Size           int64 `json:"size"`
	Connections    int   `json:"connections"`
	MaxConnections int   `json:"max_connections"`
	// Activity is for metrics.
	Activity Activity `json:"activity,omitzero"`
	// Details are further facts by name, in the server's own words.
	Details map[string]string `json:"details,omitempty"`
	// Statements are the slowest, the slowest first.
	Statements []Statement `json:"statements,omitempty"`
}

// Activity is what a server counts, since it was started. What its kind does not
// count is 0.
type Activity struct {
	// Transactions are statements of MariaDB, and commands of Redis.
	Transactions int64 `json:"transactions"`
	// CacheHits are pages, of Redis keys, that were found in memory; CacheMisses were not.
	CacheHits   int64 `json:"cache_hits"`
	CacheMisses int64 `json:"cache_misses"`
	// Memory is what the data takes of it, in bytes, Evicted the keys that found no
	// place in it: of Redis only.
	Memory  int64 `json:"memory,omitempty"`
	Evicted int64 `json:"evicted,omitempty"`
	// Latency is that below which 99 of 100 commands were.
	Latency time.Duration `json:"latency,omitempty"`
}

// Statement is what a server counts of one kind of statement.
type Statement struct {
	Text  string        `json:"text"`
	Calls int64         `json:"calls"`
	Mean  time.Duration `json:"mean"`
}

// Sealer seals what is kept at rest; the name must be the same to open it.
// Implemented by secret.Keyring.
type Sealer interface {
	Seal(name string, plain []byte) ([]byte, error)
	Open(name string, sealed []byte) ([]byte, error)
}
