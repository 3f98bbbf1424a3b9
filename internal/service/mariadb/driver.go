package mariadb

import (
	"hash/fnv"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// Driver makes and runs servers of kind mariadb. It is a [service.Driver],
// [service.Follower], [service.Rotator], [service.Forker], [service.Upgrader] and
// [service.Backuper].
type Driver struct {
	// FinishAfter is how old the binary log becomes that changes are written to, if there
	// are any, before it is finished and can be shipped. Default: one minute.
	FinishAfter time.Duration
	// Zones is the folder of the time zones that statements may name. Default:
	// /usr/share/zoneinfo.
	Zones string
}

const (
	mib = 1 << 20
	// reserved is how many connections there are beside the app's: for the platform
	// and the replica.
	reserved = 16
	// forEver is how long a primary waits for its replica, in milliseconds.
	forEver = "1000000000000"
)

// Process is the server. No secret is among its settings.
func (Driver) Process(server service.Server) service.Process {
	connections := service.Connections(server.Spec)
	args := append(settings(server, filepath.Join(server.Folder, "data")),
		"--bind-address="+server.Address.Addr().String(), "--port="+strconv.Itoa(int(server.Address.Port())),
		"--server-id="+strconv.Itoa(serverID(server.Folder)),
		// While passwords are rotated two logins may have all of theirs.
		"--max-connections="+strconv.Itoa(2*connections+reserved),
		"--log-bin=binlog", "--binlog-format=ROW", "--sync-binlog=1", "--max-binlog-size=64M", "--binlog-expire-logs-seconds=172800",
		"--log-slave-updates", "--gtid-strict-mode=1", "--relay-log=relay", "--relay-log-recovery=1",
		// Without it nobody but the platform could make triggers and functions. Rows are
		// replicated and not statements, so that it does no harm.
		"--log-bin-trust-function-creators=1",
		"--slow-query-log=1", "--slow-query-log-file=../log/"+slowLog, "--long-query-time=1",
	)
	switch {
	case server.Role == service.RoleReplica:
		args = append(args, "--read-only=1", "--skip-slave-start")
		if server.Spec.Synchronous {
			args = append(args, "--rpl-semi-sync-slave-enabled=1")
		}
	case waits(server):
		// From its first moment on: nothing is acknowledged that the replica lacks.
		args = append(args, "--rpl-semi-sync-master-enabled=1", "--rpl-semi-sync-master-timeout="+forEver, "--rpl-semi-sync-master-wait-point=AFTER_SYNC")
	}
	return service.Process{Path: daemon(server.Version), Args: args, Env: []string{"TZ=UTC"}, Stop: syscall.SIGTERM}
}

// waits says whether a primary is to wait for its replica.
func waits(server service.Server) bool { return server.Standby && server.Spec.Synchronous }

// temporaryFiles gives a server a place of its own for its temporary tables: one
// that starts deletes all that it finds there, also those of others that run.
func temporaryFiles(server service.Server) string {
	return "--tmpdir=" + filepath.Join(server.Folder, "run")
}

// settings are those of every server, whatever it does with the data.
func settings(server service.Server, data string) []string {
	spec := server.Spec
	// It goes into the folder of its data; an absolute path may be too long.
	socket, err := filepath.Rel(data, filepath.Join(server.Folder, "run", socketName))
	if err != nil {
		socket = filepath.Join("../run", socketName)
	}
	args := []string{
		"--no-defaults", "--datadir=" + data,
		"--socket=" + socket, "--pid-file=mariadb.pid", temporaryFiles(server),
		"--skip-name-resolve", "--local-infile=0", "--symbolic-links=0", "--log-warnings=1",
		"--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci", "--max-allowed-packet=64M",
		"--innodb-buffer-pool-size=" + strconv.FormatInt(memory(spec), 10), "--innodb-flush-log-at-trx-commit=1", "--innodb-log-file-size=64M",
		// All tables are InnoDB's: what others would cache is little.
		"--key-buffer-size=1M", "--aria-pagecache-buffer-size=8M", "--innodb-log-buffer-size=4M", "--table-open-cache=400", "--table-definition-cache=400",
		// Statements are counted by their text, and nothing else is: all of it would
		// take 90 MiB.
		"--performance-schema=1", "--performance-schema-digests-size=500", "--performance-schema-max-thread-instances=" + strconv.Itoa(2*service.Connections(spec)+2*reserved),
	}
	for _, what := range []string{"memory", "mutex", "rwlock", "cond", "file", "stage", "socket"} {
		args = append(args, "--performance-schema-max-"+what+"-classes=0")
	}
	for _, what := range []string{"statements", "stages", "waits", "transactions"} {
		args = append(args, "--performance-schema-events-"+what+"-history-size=0", "--performance-schema-events-"+what+"-history-long-size=0")
	}
	for _, what := range []string{"max-table-instances", "max-table-handles", "max-index-stat", "max-metadata-locks", "max-program-instances", "accounts-size", "hosts-size", "users-size"} {
		args = append(args, "--performance-schema-"+what+"=0")
	}
	return args
}

// building are the settings of a server that makes data which is synced once it is
// whole: to sync each step would take most of the time.
func building() []string {
	return []string{"--loose-debug-no-sync", "--loose-innodb-flush-method=nosync"}
}

// serverID tells servers that replicate from each other apart.
func serverID(folder string) int {
	hash := fnv.New32a()
	hash.Write([]byte(folder))
	return int(hash.Sum32()&0x7fffffff) + 1
}

// memory is the size of the cache of tables, in bytes and whole MiB.
func memory(spec springtide.Service) int64 {
	return service.Memory(spec) / mib * mib
}

// URL is of scheme mysql.
func (Driver) URL(server service.Server, login service.Login) string {
	return (&url.URL{Scheme: "mysql", User: url.UserPassword(login.Name, login.Password), Host: server.Address.String(), Path: "/" + server.Logins.Database}).String()
}

// Shell is mariadb as the platform's user.
func (Driver) Shell(server service.Server) service.Process {
	key, _ := os.ReadFile(filepath.Join(server.Folder, keyFile)) // without it the client says that it may not
	process := client("mariadb", string(key), server.Logins.Database)
	process.Env = append(process.Env, "MYSQL_HISTFILE=/dev/null")
	return process
}
