package postgres

import (
	"cmp"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// Options say where the programs are and what apps may have.
type Options struct {
	// Programs is the folder that has one folder for each version, with the
	// programs in its bin. Default: where Debian's packages put them.
	Programs string
	// Pooler is the program of PgBouncer. Default: where Debian's package puts it.
	Pooler string
	// Extensions may be asked for besides those of [Driver.Settle]'s own list.
	Extensions []string
	// ChangesLimit bounds the finished segments of the log that wait to be shipped,
	// in bytes, for each server. Default: 4 GiB.
	ChangesLimit int64
	// Logger is told what was done in another way than the usual one.
	Logger *slog.Logger
}

// Driver makes and runs servers of PostgreSQL. It has no state of its own: it
// may be used for many servers at a time, once for each.
type Driver struct{ options Options }

// New gives a driver.
func New(options Options) *Driver {
	options.Programs = cmp.Or(options.Programs, "/usr/lib/postgresql")
	options.Pooler = cmp.Or(options.Pooler, "/usr/sbin/pgbouncer")
	options.ChangesLimit = cmp.Or(options.ChangesLimit, 4<<30)
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Driver{options}
}

// Versions gives the major versions whose server is installed, newest first.
func (d *Driver) Versions() []string {
	found, _ := filepath.Glob(filepath.Join(d.options.Programs, "*", "bin", "postgres")) // the pattern is well-formed
	var versions []string
	for _, path := range found {
		version := filepath.Base(filepath.Dir(filepath.Dir(path)))
		if _, err := strconv.Atoi(version); err == nil {
			versions = append(versions, version)
		}
	}
	slices.SortFunc(versions, func(a, b string) int { return number(b) - number(a) })
	return versions
}

func number(version string) int {
	n, _ := strconv.Atoi(version) // what is not a number is older than all that are
	return n
}

// Hint says how a version is installed; an empty one stands for the
// distribution's own.
func (d *Driver) Hint(version string) string {
	if version == "" {
		return "apt-get install postgresql"
	}
	return "apt-get install postgresql-" + version
}

// installed gives an error of kind Unavailable if the version is not.
func (d *Driver) installed(version string) error {
	if _, err := os.Stat(d.program(version, "postgres")); err != nil {
		return springtide.Errorf(springtide.Unavailable, "PostgreSQL %s is not installed", version).WithHint("run: %s", d.Hint(version))
	}
	return nil
}

func (d *Driver) program(version, name string) string {
	return filepath.Join(d.options.Programs, version, "bin", name)
}

// URL is the login's for the app. It says nothing of TLS: each client library has
// its own default, and each is served, since the server takes both.
func (d *Driver) URL(s service.Server, login service.Login) string {
	return (&url.URL{
		Scheme: "postgres", User: url.UserPassword(login.Name, login.Password),
		Host: s.Address.String(), Path: "/" + s.Logins.Database,
	}).String()
}

// Process is the server itself.
func (d *Driver) Process(s service.Server) service.Process {
	return service.Process{
		Path: d.program(s.Version, "postgres"), Args: arguments(data(s), d.settings(s)), Env: []string{"TZ=UTC"},
		Stop: syscall.SIGINT, Quick: syscall.SIGQUIT, // "fast" and "immediate" shutdown
	}
}

// Shell is psql in the app's database.
func (d *Driver) Shell(s service.Server) service.Process {
	return service.Process{
		Path: d.program(s.Version, "psql"), Args: append(toward(s), "--dbname="+s.Logins.Database),
		Env: []string{"PGAPPNAME=springtide shell"},
	}
}
