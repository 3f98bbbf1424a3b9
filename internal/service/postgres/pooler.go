package postgres

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/socket"
)

// The files of a pooler.
const (
	poolerConfigFile = "pooler.ini"
	poolerUsersFile  = "users.txt"
)

// poolerClients is how many connections of the app a pooler takes.
const poolerClients = 5000

// pooler makes and runs PgBouncer before a server. It has verifiers of the
// passwords, and no password: it comes to the server by the socket, which only the
// server's own user reaches.
type pooler struct{ program string }

// Pooler gives what puts PgBouncer before a server.
func (d *Driver) Pooler() service.Pooler { return pooler{d.options.Pooler} }

// Installed gives an error of kind Unavailable if PgBouncer is not.
func (p pooler) Installed() error {
	if _, err := os.Stat(p.program); err != nil {
		return springtide.Errorf(springtide.Unavailable, "PgBouncer, which a pool with a mode needs, is not installed").WithHint("apt-get install --no-install-recommends pgbouncer")
	}
	return nil
}

// Process is PgBouncer.
func (p pooler) Process(service.Server) service.Process {
	return service.Process{
		Path: p.program, Args: []string{"--quiet", poolerConfigFile},
		Stop: syscall.SIGINT, Quick: syscall.SIGQUIT, // once no query is under way, and at once
	}
}

// Prepare writes what the pooler reads when it starts.
func (p pooler) Prepare(s service.Server) error {
	users, err := poolerUsers(s.Logins)
	if err != nil {
		return err
	}
	for name, content := range map[string]string{poolerConfigFile: poolerConfig(s), poolerUsersFile: users} {
		if err := write(s, filepath.Join(s.Folder, name), []byte(content)); err != nil {
			return err
		}
	}
	return certify(s)
}

func poolerConfig(s service.Server) string {
	from := filepath.Join(s.PrimaryFolder, "run")
	if relative, err := filepath.Rel(s.Folder, from); err == nil {
		from = "/proc/self/cwd/" + relative // the path of a socket has to be short
	}
	settings := [][2]string{
		{"listen_addr", s.Address.Addr().String()},
		{"listen_port", strconv.Itoa(int(s.Address.Port()))},
		{"unix_socket_dir", "/proc/self/cwd/run"},
		{"unix_socket_mode", "0700"},
		{"auth_type", "scram-sha-256"},
		{"auth_file", poolerUsersFile},
		{"admin_users", s.Logins.Replication.Name},
		{"pool_mode", string(s.Spec.Pool.Mode)},
		{"default_pool_size", strconv.Itoa(s.Spec.Pool.Size)},
		{"max_client_conn", strconv.Itoa(poolerClients)},
		{"client_tls_sslmode", "allow"},
		{"client_tls_key_file", keyFile},
		{"client_tls_cert_file", certificateFile},
		{"server_tls_sslmode", "disable"},
		// A server that starts again is found at once.
		{"server_login_retry", "0.2"},
		{"ignore_startup_parameters", "extra_float_digits"},
		{"log_connections", "0"},
		{"log_disconnections", "0"},
		{"log_stats", "0"},
	}
	text := fmt.Sprintf("; Written by the platform.\n[databases]\n%s = host=%s port=%d dbname=%s\n[pgbouncer]\n",
		s.Logins.Database, from, s.Primary.Port(), s.Logins.Database)
	var lines strings.Builder
	for _, setting := range settings {
		fmt.Fprintf(&lines, "%s = %s\n", setting[0], setting[1])
	}
	return text + lines.String()
}

// poolerUsers names who may come: the app's logins, and the platform, which is
// known by the password of the replica's role.
func poolerUsers(logins service.Logins) (string, error) {
	var lines strings.Builder
	for _, login := range []service.Login{logins.Current, logins.Previous, logins.Replication} {
		if login.Name == "" {
			continue
		}
		kept, err := verifier(login.Password)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&lines, "%q %q\n", login.Name, kept)
	}
	return lines.String(), nil
}

// Ready gives nil when the pooler answers.
func (p pooler) Ready(ctx context.Context, s service.Server) error {
	return p.command(ctx, s, "SHOW VERSION")
}

// Settle has a running pooler read what it is to be, and let queries through.
func (p pooler) Settle(ctx context.Context, s service.Server) error {
	if err := p.Prepare(s); err != nil {
		return err
	}
	if err := p.command(ctx, s, "RELOAD"); err != nil {
		return err
	}
	if err := p.command(ctx, s, "RESUME"); err != nil && !strings.Contains(err.Error(), "not paused") {
		return err
	}
	return nil
}

// Pause returns when no query is under way; those that come wait for Settle.
func (p pooler) Pause(ctx context.Context, s service.Server) error {
	if err := p.command(ctx, s, "PAUSE"); err != nil && !strings.Contains(err.Error(), "already") {
		return err
	}
	return nil
}

// command gives the pooler a command by its own socket.
func (p pooler) command(ctx context.Context, s service.Server, command string) error {
	config, err := pgconn.ParseConfig("sslmode=disable")
	if err != nil {
		return err
	}
	folder, login := filepath.Join(s.Folder, "run"), s.Logins.Replication
	config.Host, config.Port, config.User, config.Password, config.Database = folder, s.Address.Port(), login.Name, login.Password, "pgbouncer"
	config.Fallbacks, config.TLSConfig = nil, nil
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return socket.Dial(ctx, filepath.Join(folder, ".s.PGSQL."+strconv.Itoa(int(s.Address.Port()))))
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return springtide.Errorf(springtide.Unavailable, "reach the pooler of %s: %w", s.ID, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return conn.Exec(ctx, command).Close()
}
