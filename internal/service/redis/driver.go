package redis

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// Driver makes and runs servers of kind redis. It is a [service.Driver],
// [service.Follower], [service.Rotator], [service.Forker] and [service.Backuper].
type Driver struct{}

// reserved is how many connections there are beside the app's: for the platform
// and the replica.
const reserved = 16

// Process is the server, with all settings on its command line but those that
// are secret.
func (Driver) Process(server service.Server) service.Process {
	limits := limitsOf(server.Spec)
	// Paths are relative to the folder of the data, into which the server goes.
	args := []string{
		"replication.conf",
		"--dir", "data", "--aclfile", "../users.acl", "--unixsocket", "../run/redis.sock", "--unixsocketperm", "600",
		"--bind", server.Address.Addr().String(), "--port", strconv.Itoa(int(server.Address.Port())), "--tcp-keepalive", "60",
		"--daemonize", "no", "--logfile", "", "--save", "",
		"--appendonly", "yes", "--appendfsync", "everysec", "--aof-use-rdb-preamble", "yes",
		"--maxmemory", limits.memory, "--maxmemory-policy", limits.policy, "--maxclients", limits.clients,
		"--enable-protected-configs", "no", "--enable-debug-command", "no", "--enable-module-command", "no",
		"--latency-tracking", "yes",
		// A replica, and a backup, get the data at once and without a file in between.
		"--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0",
	}
	if server.Role == service.RoleReplica {
		args = append(args, "--replicaof", server.Primary.Addr().String(), strconv.Itoa(int(server.Primary.Port())))
	}
	// A replica that writes its first append-only file does not end when it is told
	// to for the first time.
	return service.Process{Path: filepath.Join(server.Folder, programLink), Args: args, Quick: syscall.SIGTERM}
}

// URL is of scheme redis; it names database 0.
func (Driver) URL(server service.Server, login service.Login) string {
	return (&url.URL{Scheme: "redis", User: url.UserPassword(login.Name, login.Password), Host: server.Address.String(), Path: "/0"}).String()
}

// Shell is redis-cli, or valkey-cli, as the platform's user.
func (Driver) Shell(server service.Server) service.Process {
	key, _ := os.ReadFile(filepath.Join(server.Folder, keyFile)) // without it the client says that it may not
	path := "/usr/bin/redis-cli"
	for _, name := range []string{"valkey-cli", "redis-cli"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	return service.Process{
		Path: path, Args: []string{"-s", "run/redis.sock", "--user", platformUser},
		Env: []string{"REDISCLI_AUTH=" + string(key), "REDISCLI_HISTFILE=/dev/null"},
	}
}

// limits are what bounds a server, as its settings.
type limits struct{ memory, policy, clients string }

func limitsOf(spec springtide.Service) limits {
	memory, policy := service.Memory(spec), spec.Policy
	if policy == "" {
		// Sessions and queues must not vanish in silence: a write that does not fit
		// fails. Who has but a cache says so.
		policy = "noeviction"
	}
	return limits{
		memory: strconv.FormatInt(memory, 10), policy: policy,
		clients: strconv.Itoa(service.Connections(spec) + reserved),
	}
}
