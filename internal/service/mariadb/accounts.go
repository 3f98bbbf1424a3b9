package mariadb

import (
	"context"
	"crypto/sha1" //nolint:gosec // it is what the server keeps of a password
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// platformUser is the platform's own, at the socket only.
const platformUser = "platform"

// digest is a password as the server keeps it. That every client can make it is
// why it is this one; passwords are random and long, so that nobody can guess them
// from it.
func digest(password string) string {
	first := sha1.Sum([]byte(password))
	return fmt.Sprintf("*%X", sha1.Sum(first[:]))
}

// checkName keeps the server's own users out of this.
func checkName(login service.Login) error {
	own := []string{"", platformUser, "root", "mysql", "mariadb.sys", "PUBLIC"}
	if slices.Contains(own, login.Name) || len(login.Name) > 80 || strings.ContainsRune(login.Name, 0) {
		return springtide.Errorf(springtide.Invalid, "%q cannot be the name of a login of MariaDB", login.Name)
	}
	return nil
}

// quoted is a name in a statement.
func quoted(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// pattern is the name of a database where a grant would take it for a pattern.
func pattern(database string) string {
	return quoted(strings.NewReplacer(`\`, `\\`, "_", `\_`, "%", `\%`).Replace(database))
}

// settleApp has a login of the app be as it is to be, and changes nothing if it
// is.
func settleApp(ctx context.Context, conn *sql.Conn, server service.Server, login service.Login) error {
	if err := checkName(login); err != nil {
		return err
	}
	connections, on := service.Connections(server.Spec), pattern(server.Logins.Database)
	found, err := askOne(ctx, conn, `SELECT 1 FROM mysql.global_priv p JOIN mysql.db d ON d.User = p.User AND d.Host = p.Host
		WHERE p.User = ? AND p.Host = '%' AND JSON_VALUE(p.Priv, '$.authentication_string') = ? AND COALESCE(JSON_VALUE(p.Priv, '$.account_locked'), 0) = 0
		AND JSON_VALUE(p.Priv, '$.max_user_connections') = ? AND d.Db = ? AND d.Trigger_priv = 'Y' AND d.Delete_history_priv = 'Y'`,
		login.Name, digest(login.Password), strconv.Itoa(connections), on[1:len(on)-1])
	if err != nil || found != nil {
		return err
	}
	if err := do(ctx, conn, "CREATE USER IF NOT EXISTS ?@'%' ACCOUNT LOCK", login.Name); err != nil {
		return err
	}
	if err := do(ctx, conn, "GRANT ALL PRIVILEGES ON "+on+".* TO ?@'%'", login.Name); err != nil {
		return err
	}
	return do(ctx, conn, "ALTER USER ?@'%' IDENTIFIED VIA mysql_native_password USING ? WITH MAX_USER_CONNECTIONS "+strconv.Itoa(connections)+" ACCOUNT UNLOCK",
		login.Name, digest(login.Password))
}

// settleReplication has a replica's login be as it is to be.
func settleReplication(ctx context.Context, conn *sql.Conn, login service.Login) error {
	if login.Name == "" {
		return nil
	}
	if err := checkName(login); err != nil {
		return err
	}
	found, err := askOne(ctx, conn, `SELECT 1 FROM mysql.user WHERE User = ? AND Host = '%' AND authentication_string = ? AND Repl_slave_priv = 'Y'
		AND (SELECT COALESCE(JSON_VALUE(p.Priv, '$.account_locked'), 0) FROM mysql.global_priv p WHERE p.User = user.User AND p.Host = '%') = 0`,
		login.Name, digest(login.Password))
	if err != nil || found != nil {
		return err
	}
	if err := do(ctx, conn, "CREATE USER IF NOT EXISTS ?@'%' ACCOUNT LOCK", login.Name); err != nil {
		return err
	}
	if err := do(ctx, conn, "GRANT REPLICATION SLAVE ON *.* TO ?@'%'", login.Name); err != nil {
		return err
	}
	return do(ctx, conn, "ALTER USER ?@'%' IDENTIFIED VIA mysql_native_password USING ? ACCOUNT UNLOCK", login.Name, digest(login.Password))
}

// Rotate makes the next login, with the same rights.
func (Driver) Rotate(ctx context.Context, server service.Server, next service.Login) error {
	if next.Name == server.Logins.Current.Name && next != server.Logins.Current {
		return springtide.Errorf(springtide.Invalid, "MariaDB knows one password of a login: the next one of service %s must have another name", server.ID)
	}
	return with(ctx, server, func(conn *sql.Conn) error { return settleApp(ctx, conn, server, next) })
}

// Retire locks a login, and ends its connections.
func (Driver) Retire(ctx context.Context, server service.Server, old service.Login) error {
	if old.Name == server.Logins.Current.Name {
		return springtide.Errorf(springtide.Invalid, "login %s of service %s is the one that is used", old.Name, server.ID)
	}
	if err := checkName(old); err != nil {
		return err
	}
	return with(ctx, server, func(conn *sql.Conn) error {
		if found, err := askOne(ctx, conn, "SELECT 1 FROM mysql.global_priv WHERE User = ? AND Host = '%'", old.Name); err != nil || found == nil {
			return err
		}
		if err := do(ctx, conn, "ALTER USER ?@'%' ACCOUNT LOCK", old.Name); err != nil {
			return err
		}
		return do(ctx, conn, "KILL CONNECTION USER ?@'%'", old.Name)
	})
}
