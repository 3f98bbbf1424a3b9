package mariadb

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/service"
)

// followingFile is among the data of a replica, and names the folder of its
// primary. What was promoted does not have it.
const followingFile = "springtide.following"

func following(server service.Server) string {
	return filepath.Join(server.Folder, "data", followingFile)
}

// Follow copies the primary's data. It knows the platform by the primary's key.
func (Driver) Follow(ctx context.Context, replica service.Server) error {
	if err := check(replica); err != nil {
		return err
	}
	if whom, err := os.ReadFile(following(replica)); err == nil && string(whom) == replica.PrimaryFolder {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(filepath.Join(replica.Folder, "data")); err != nil {
		return err
	}
	key, err := readKey(replica.PrimaryFolder)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(replica.Folder, keyFile), []byte(key), 0o600); err != nil {
		return err
	}
	primary := replica
	primary.Folder, primary.Role = replica.PrimaryFolder, service.RolePrimary
	return anew(replica, func(folder string) error {
		if err := copyRunning(ctx, primary, replica, folder); err != nil {
			return err
		}
		return durable.WriteFile(filepath.Join(folder, followingFile), []byte(replica.PrimaryFolder), 0o600)
	})
}

// join has a replica follow its primary where that is found now. What was promoted
// is left alone.
func join(ctx context.Context, conn *sql.Conn, server service.Server) error {
	if _, err := os.Stat(following(server)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	status, err := askOne(ctx, conn, "SHOW SLAVE STATUS")
	if err != nil {
		return err
	}
	host, port, login := server.Primary.Addr().String(), strconv.Itoa(int(server.Primary.Port())), server.Logins.Replication
	if status["Master_Host"] != host || status["Master_Port"] != port || status["Master_User"] != login.Name {
		if err := redirect(ctx, conn, server, status == nil); err != nil {
			return err
		}
		status = nil
	}
	if status == nil || status["Slave_IO_Running"] == "No" || status["Slave_SQL_Running"] == "No" {
		if err := do(ctx, conn, "START SLAVE"); err != nil {
			return err
		}
		if status, err = askOne(ctx, conn, "SHOW SLAVE STATUS"); err != nil {
			return err
		}
	}
	return followError(server, status)
}

// redirect names the primary to the replica; the first time also what it has of it.
func redirect(ctx context.Context, conn *sql.Conn, server service.Server, first bool) error {
	if err := do(ctx, conn, "STOP SLAVE"); err != nil {
		return err
	}
	if first {
		at, err := readPosition(filepath.Join(server.Folder, "data"))
		if err != nil {
			return err
		}
		if err := do(ctx, conn, "SET GLOBAL gtid_slave_pos = ?", at.gtid); err != nil {
			return err
		}
	}
	login := server.Logins.Replication
	return do(ctx, conn, "CHANGE MASTER TO MASTER_HOST = ?, MASTER_PORT = "+strconv.Itoa(int(server.Primary.Port()))+
		", MASTER_USER = ?, MASTER_PASSWORD = ?, MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 2",
		server.Primary.Addr().String(), login.Name, login.Password)
}

// followError says why a replica does not follow; nil if it does, or if all that it
// lacks is its primary.
func followError(server service.Server, status row) error {
	problem := ""
	switch io, errno := status["Slave_IO_Running"], status["Last_IO_Errno"]; {
	case status["Slave_SQL_Running"] != "Yes":
		problem = status["Last_SQL_Error"]
	case io == "Yes":
		return nil
	case io == "No" || errno != "0" && !isAway(errno):
		problem = status["Last_IO_Error"]
	case errno != "0":
		return nil
	}
	if problem == "" {
		problem = "it has not connected to its primary yet"
	}
	return springtide.Errorf(springtide.Unavailable, "the replica of service %s does not follow: %s", server.ID, problem)
}

// isAway reports whether an error says that the other server cannot be reached.
func isAway(errno string) bool {
	switch errno {
	case "2002", "2003", "2006", "2013", "1040", "1053":
		return true
	}
	return false
}

// Promote has the replica apply all that it was sent, and follow nobody.
func (Driver) Promote(ctx context.Context, replica service.Server) error {
	return with(ctx, replica, func(conn *sql.Conn) error {
		status, err := askOne(ctx, conn, "SHOW SLAVE STATUS")
		if err != nil {
			return err
		}
		if status != nil {
			if err := applyAll(ctx, conn, replica); err != nil {
				return err
			}
		}
		if err := os.Remove(following(replica)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := durable.SyncFolder(filepath.Join(replica.Folder, "data")); err != nil {
			return err
		}
		for _, statement := range []string{"STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL rpl_semi_sync_slave_enabled = 0, read_only = 0"} {
			if err := do(ctx, conn, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// applyAll returns when the replica has applied all that its primary has sent. Its
// two threads must never both be at rest before: the server then forgets what it
// was sent, to ask for it again.
func applyAll(ctx context.Context, conn *sql.Conn, replica service.Server) error {
	status, err := askOne(ctx, conn, "SHOW SLAVE STATUS")
	if err != nil {
		return err
	}
	// It does not count a transaction that did not come whole.
	sent := status["Gtid_IO_Pos"]
	for {
		if status["Slave_SQL_Running"] != "Yes" && status["Last_SQL_Errno"] != "0" {
			return springtide.Errorf(springtide.Conflict, "the replica of service %s cannot apply what it was sent: %s", replica.ID, status["Last_SQL_Error"])
		}
		if status["Slave_SQL_Running"] != "Yes" {
			if err := do(ctx, conn, "START SLAVE SQL_THREAD"); err != nil {
				return err
			}
		}
		if status["Slave_IO_Running"] != "No" {
			if err := do(ctx, conn, "STOP SLAVE IO_THREAD"); err != nil {
				return err
			}
		}
		done, err := askOne(ctx, conn, "SELECT MASTER_GTID_WAIT(?, 1) AS done", sent)
		if err != nil || done["done"] == "0" {
			return err
		}
		if status, err = askOne(ctx, conn, "SHOW SLAVE STATUS"); err != nil {
			return err
		}
	}
}

// Lag is what the replica has not applied. While the primary is away it is only
// what it was sent.
func (Driver) Lag(ctx context.Context, replica service.Server) (time.Duration, int64, error) {
	var status row
	err := with(ctx, replica, func(conn *sql.Conn) (err error) {
		status, err = askOne(ctx, conn, "SHOW SLAVE STATUS")
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	if status["Slave_IO_Running"] != "Yes" || status["Slave_SQL_Running"] != "Yes" {
		return 0, 0, springtide.Errorf(springtide.Unavailable, "the replica of service %s is not connected to its primary", replica.ID)
	}
	seconds, _ := strconv.Atoi(status["Seconds_Behind_Master"])
	primary := replica
	primary.Folder, primary.Role = replica.PrimaryFolder, service.RolePrimary
	var logs []row
	err = with(ctx, primary, func(conn *sql.Conn) (err error) {
		logs, err = ask(ctx, conn, "SHOW BINARY LOGS")
		return err
	})
	return time.Duration(seconds) * time.Second, behind(logs, status["Relay_Master_Log_File"], status["Exec_Master_Log_Pos"]), err
}

// behind adds up what comes after a position.
func behind(logs []row, file, position string) (bytes int64) {
	for _, log := range logs {
		size, _ := strconv.ParseInt(log["File_size"], 10, 64)
		switch name := log["Log_name"]; {
		case name == file:
			at, _ := strconv.ParseInt(position, 10, 64)
			bytes = size - at
		case name > file:
			bytes += size
		}
	}
	return max(bytes, 0)
}
