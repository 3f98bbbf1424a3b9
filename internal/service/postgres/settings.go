package postgres

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/springtide/springtide/internal/service"
)

const (
	kib = int64(1) << 10
	mib = 1 << 20
	// ownConnections are kept for the platform and a superuser's shell.
	ownConnections = 20
	// keptForReplica bounds the log that is kept for a replica that is away, and for
	// a backup that is slow.
	keptForReplica = "4GB"
)

// settings follow from what the server is to be; they are given on its command
// line, so that each start has those of its time. What a running server is to
// change is in a file: see prepare.
func (d *Driver) settings(s service.Server) map[string]string {
	connections := service.Connections(s.Spec)
	all := map[string]string{
		"cluster_name":            s.ID.String(),
		"config_file":             filepath.Join(s.Folder, configFile),
		"hba_file":                filepath.Join(s.Folder, hbaFile),
		"ident_file":              filepath.Join(s.Folder, identFile),
		"listen_addresses":        s.Address.Addr().String(),
		"port":                    strconv.Itoa(int(s.Address.Port())),
		"unix_socket_directories": "../run", // a path relative to the data is never too long
		"ssl":                     "on",
		"ssl_cert_file":           filepath.Join(s.Folder, certificateFile),
		"ssl_key_file":            filepath.Join(s.Folder, keyFile),
		"password_encryption":     "scram-sha-256",
		// Two logins may each have all their connections while passwords are rotated.
		"max_connections":                strconv.Itoa(2*connections + ownConnections),
		"superuser_reserved_connections": "5",
		"temp_file_limit":                "4GB", // one statement cannot fill the disk
		"timezone":                       "UTC",

		"wal_level":              "replica",
		"wal_compression":        "on",
		"max_wal_senders":        "8",
		"max_replication_slots":  "8",
		"max_slot_wal_keep_size": keptForReplica,
		"archive_mode":           "on",
		"archive_command":        archiveCommand(d.options.ChangesLimit),
		"archive_timeout":        "60s",

		"logging_collector":                "off", // the manager keeps the output, and bounds it
		"log_timezone":                     "UTC",
		"log_line_prefix":                  "%m [%p] %q%u@%d ",
		"log_min_duration_statement":       "1s",
		"log_parameter_max_length":         "0", // parameters are the app's data, not ours
		"log_lock_waits":                   "on",
		"shared_preload_libraries":         "pg_stat_statements",
		"pg_stat_statements.max":           "2000",
		"pg_stat_statements.track_utility": "off", // ALTER ROLE has a password in it
	}
	maps.Copy(all, memory(service.Memory(s.Spec), connections))
	if s.Role == service.RoleReplica {
		all["primary_conninfo"] = fmt.Sprintf("host=%s port=%d user=%s application_name=%s", fromData(s, s.PrimaryFolder), s.Primary.Port(), s.Logins.Replication.Name, replicaName)
		all["primary_slot_name"] = replicaName
		// A primary that has come back waits for a synchronous replica to notice.
		all["wal_retrieve_retry_interval"] = "200ms"
	}
	return all
}

// memory shares it out: a quarter for the pages that all sessions share, and what
// sorts of all sessions together may take half of.
func memory(limit int64, connections int) map[string]string {
	size := func(bytes, least int64) string { return strconv.FormatInt(max(bytes, least)/kib, 10) + "kB" }
	return map[string]string{
		"shared_buffers":       size(limit/4, 8*mib),
		"effective_cache_size": size(limit*3/4, 16*mib),
		"maintenance_work_mem": size(limit/16, 8*mib),
		"work_mem":             size(limit/2/int64(connections), mib),
	}
}

// arguments are those of a server on the data.
func arguments(data string, settings map[string]string) []string {
	all := []string{"-D", data}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		all = append(all, "-c", name+"="+settings[name])
	}
	return all
}

// fromData names the folder of another server's socket for a server: by way of
// the process's current folder, since the path of a socket has to be short.
func fromData(s service.Server, folder string) string {
	path := filepath.Join(folder, "run")
	relative, err := filepath.Rel(data(s), path)
	if err != nil {
		return path // Only one of the two is absolute.
	}
	return "/proc/self/cwd/" + relative
}

func data(s service.Server) string { return filepath.Join(s.Folder, "data") }
