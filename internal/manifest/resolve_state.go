package manifest

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// What holds where a manifest says nothing else.
const (
	defaultPoolSize = 20
	leastServer     = 64 << 20
	// defaultConnections is that of PostgreSQL, see service.Connections.
	defaultConnections = 100
	defaultBackupTime  = "04:30"
	defaultBackupKeep  = 30 * 24 * time.Hour
)

// services gives what keeps state.
func (r *resolver) services(d *document) map[springtide.ServiceName]springtide.Service {
	if len(d.Services) == 0 {
		return nil
	}
	services := map[springtide.ServiceName]springtide.Service{}
	for _, key := range sortedKeys(d.Services) {
		services[springtide.ServiceName(key)] = r.service("services."+string(key), d.Services[key])
	}
	return services
}

func (r *resolver) service(at string, s *serviceSection) springtide.Service {
	service := springtide.Service{
		External: string(s.URL.Value), Replica: bool(s.Replica.Value), Synchronous: bool(s.Synchronous.Value),
		Memory: int64(s.Memory.Value), Connections: int(s.Connections.Value), Policy: string(s.Policy.Value),
	}
	service.Kind, service.Version = r.serviceKind(at, s)
	for _, wanted := range s.Extensions {
		service.Extensions = append(service.Extensions, string(wanted.Value))
	}
	fits := func(is, fits bool, where position, key, why string) {
		if is && !fits && service.Kind != "" {
			r.problems.add(where, "%s.%s: %s", at, key, why)
		}
	}
	own := service.External == ""
	database := service.Kind != springtide.ServiceRedis
	fits(service.Replica, own, s.Replica.At, "replica", "the server is your own")
	fits(service.Synchronous, service.Replica, s.Synchronous.At, "synchronous", "there is no replica; add replica: true")
	fits(service.Synchronous, database, s.Synchronous.At, "synchronous", "Redis cannot wait for its replica")
	fits(len(s.Extensions) > 0, service.Kind == springtide.ServicePostgres, s.At, "extensions", "only PostgreSQL has them")
	fits(len(s.Extensions) > 0, own, s.At, "extensions", "the server is your own")
	fits(s.Policy.IsSet, service.Kind == springtide.ServiceRedis && own, s.Policy.At, "policy", "only a Redis that the platform runs has one")
	if limits := s.Limits; limits != nil {
		service.Limits = limits.limits()
		fits(true, own, limits.At, "limits", "the server is your own")
		fits(limits.Processes.IsSet, false, limits.Processes.At, "limits.processes", "servers are limited by cpu and memory only")
		fits(limits.Memory.IsSet, service.Limits.Memory >= leastServer, limits.Memory.At, "limits.memory", "no server can begin with less than 64MiB")
		fits(limits.Memory.IsSet && s.Memory.IsSet, service.Limits.Memory > service.Memory, limits.Memory.At, "limits.memory",
			"leaves no room beside memory; make it half as large again")
	}
	if pool := s.Pool; pool != nil {
		service.Pool = springtide.Pool{Each: int(pool.Each.Value), Mode: springtide.PoolMode(pool.Mode.Value), Size: int(pool.Size.Value)}
		fits(pool.Mode.IsSet, own && service.Kind == springtide.ServicePostgres, pool.Mode.At, "pool.mode", "only a PostgreSQL that the platform runs has a pooler")
		fits(pool.Size.IsSet, pool.Mode.IsSet, pool.Size.At, "pool.size", "there is no pooler; add mode: transaction")
		if connections := cmp.Or(service.Connections, defaultConnections); pool.Mode.IsSet && !pool.Size.IsSet {
			service.Pool.Size = min(defaultPoolSize, connections)
		} else {
			fits(pool.Size.IsSet, service.Pool.Size <= connections, pool.Size.At, "pool.size", "the pooler could not open more than connections says")
		}
	}
	fits(s.Memory.IsSet, own, s.Memory.At, "memory", "the server is your own")
	return service
}

// serviceKind gives what serves and in which version.
func (r *resolver) serviceKind(at string, s *serviceSection) (springtide.ServiceKind, string) {
	kind, version, said := springtide.ServiceKind(s.Kind.Value), "", 0
	for of, written := range map[springtide.ServiceKind]set[serviceVersion]{
		springtide.ServicePostgres: s.Postgres, springtide.ServiceMariaDB: s.MariaDB, springtide.ServiceRedis: s.Redis,
	} {
		if written.IsSet || written.attempted() {
			kind, version = of, string(written.Value)
			said++
		}
	}
	if s.Kind.IsSet {
		said++
	}
	reference := strings.HasPrefix(string(s.URL.Value), secretReference)
	if scheme, _, has := strings.Cut(string(s.URL.Value), "://"); has && said == 0 {
		return schemes[scheme], ""
	}
	switch {
	case said > 1:
		r.problems.add(s.At, "%s: is of several kinds; choose one of them", at)
	case said == 0 && reference:
		r.problems.add(s.At, "%s: the secret does not say what serves; add kind: postgres, or mariadb, or redis", at)
	case said == 0 && !r.problems.about(at):
		r.problems.add(s.At, "%s: says nothing of what serves; write postgres: 15, or mariadb, or redis, or the url of a server of your own", at)
	}
	return kind, version
}

// files gives the folders that instances share.
func (r *resolver) files(d *document) map[springtide.FilesName]springtide.Files {
	if len(d.Files) == 0 {
		return nil
	}
	files, taken, served := map[springtide.FilesName]springtide.Files{}, map[string]name{}, map[string]name{}
	for _, key := range sortedKeys(d.Files) {
		s, at := d.Files[key], "files."+string(key)
		spec := springtide.Files{
			Path: string(s.Path.Value), Quota: int64(s.Quota.Value), Public: string(s.Public.Value),
			Signed: bool(s.Signed.Value), Bucket: string(s.S3.Value), Enqueue: springtide.QueueName(s.Enqueue.Value),
		}
		files[springtide.FilesName(key)] = spec
		if s.S3.IsSet {
			if s.Path.IsSet || s.Quota.IsSet || s.Public.IsSet || s.Signed.IsSet {
				r.problems.add(s.At, "%s: path, quota, public and signed are of a folder, but its files are in a bucket of your own", at)
			}
			if s.Enqueue.IsSet {
				r.problems.add(s.Enqueue.At, "%s.enqueue: the platform sees no uploads to a bucket of your own; enqueue the run where the file is made, by POST $TIDE_API/jobs", at)
			}
			continue
		}
		if !s.Path.IsSet && !r.problems.about(at) {
			r.problems.add(s.At, "%s.path is missing: say where instances find it, like /data/uploads", at)
		}
		for other, by := range taken {
			if within(string(s.Path.Value), other) || within(other, string(s.Path.Value)) {
				r.problems.add(s.Path.At, "%s.path: files.%s has %s already", at, by, other)
			}
		}
		if s.Path.IsSet {
			taken[string(s.Path.Value)] = key
		}
		r.servedAt(at+".public", s.Public.At, spec.Public, key, served)
		if spec.Signed {
			r.servedAt(at+".signed", s.Signed.At, "/"+string(key), key, served)
		}
	}
	return files
}

// servedAt notes that a path of the app's hosts is a folder's.
func (r *resolver) servedAt(at string, where position, prefix string, by name, served map[string]name) {
	if prefix == "" {
		return
	}
	if other, taken := served[prefix]; taken {
		r.problems.add(where, "%s: files.%s has %s already", at, other, prefix)
	}
	served[prefix] = by
}

// within reports whether one path is the other, or below it.
func within(inner, outer string) bool {
	return inner == outer || strings.HasPrefix(inner, path.Clean(outer)+"/")
}

func (r *resolver) secrets(d *document) []springtide.SecretName {
	var secrets []springtide.SecretName
	seen := map[variable]bool{}
	for _, written := range d.Secrets {
		if seen[written.Value] && written.IsSet {
			r.problems.add(written.At, "secrets: %s is in the list twice", written.Value)
		}
		if _, also := d.Env[written.Value]; also && written.IsSet {
			r.problems.add(written.At, "secrets: %s is in env too; keep it out of the manifest", written.Value)
		}
		seen[written.Value] = true
		secrets = append(secrets, springtide.SecretName(written.Value))
	}
	return secrets
}

// backups gives what is kept safe, of what there is.
func (r *resolver) backups(d *document, app *springtide.App) map[string]springtide.Backup {
	var backups map[string]springtide.Backup
	for _, key := range sortedKeys(d.Backups) {
		s, at := d.Backups[key], "backups."+string(key)
		if !s.Enabled.or(true) {
			continue
		}
		service, known := app.Services[springtide.ServiceName(key)]
		switch {
		case known && service.External != "":
			r.problems.add(s.At, "%s: the server is your own; the platform cannot back it up", at)
		case known:
		case string(key) != springtide.BackupFiles:
			r.problems.add(s.At, "%s: there is no service %s%s", at, key, didYouMean(string(key), append(texts(app.ServiceNames()), springtide.BackupFiles)))
		case len(app.Files) > 0 && !slices.ContainsFunc(slices.Collect(maps.Values(app.Files)), func(f springtide.Files) bool { return f.Bucket == "" }):
			r.problems.add(s.At, "%s: the files are in buckets of your own; the platform cannot back them up", at)
		case len(app.Files) == 0:
			r.problems.add(s.At, "%s: there are no files; name their folders under files", at)
		}
		database := known && service.Kind != springtide.ServiceRedis
		if bool(s.PITR.Value) && !database && s.PITR.IsSet {
			r.problems.add(s.PITR.At, "%s.pitr: only a database can be restored to a point in time", at)
		}
		if s.Smoke.IsSet && !known {
			r.problems.add(s.Smoke.At, "%s.smoke: only a service that was restored can be looked at by a command", at)
		}
		if backups == nil {
			backups = map[string]springtide.Backup{}
		}
		backups[string(key)] = springtide.Backup{
			Daily:       string(s.Daily.or(defaultBackupTime)),
			Keep:        time.Duration(s.Keep.or(duration(defaultBackupKeep))),
			PointInTime: bool(s.PITR.or(truth(database))),
			Smoke:       string(s.Smoke.Value),
		}
	}
	return backups
}

func texts[T ~string](names []T) []string {
	all := make([]string, len(names))
	for i, one := range names {
		all[i] = string(one)
	}
	return all
}

// replaceServices makes room for other servers than those of all environments:
// of one of the user's own there is nothing to say but where it is.
func replaceServices(effective *document, section *environmentSection) {
	for service, different := range section.Services {
		same := effective.Services[service]
		switch {
		case same == nil:
		case different.URL.IsSet:
			*same = serviceSection{}
			if section.Backups[service] == nil {
				delete(effective.Backups, service)
			}
		case different.Kind.IsSet || different.Postgres.IsSet || different.MariaDB.IsSet || different.Redis.IsSet:
			same.Kind, same.Postgres, same.MariaDB, same.Redis = set[serviceKind]{}, set[serviceVersion]{}, set[serviceVersion]{}, set[serviceVersion]{}
			same.URL = set[serviceURL]{}
		}
	}
}

// replaceFiles makes room for a bucket where all environments have a folder, and
// for a folder where they have a bucket.
func replaceFiles(effective *document, section *environmentSection) {
	for key, different := range section.Files {
		if same := effective.Files[key]; same != nil && (different.S3.IsSet || different.Path.IsSet && same.S3.IsSet) {
			*same = filesSection{}
		}
	}
}
