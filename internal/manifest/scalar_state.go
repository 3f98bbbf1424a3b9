package manifest

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/springtide/springtide"
)

// serviceKind is a [springtide.ServiceKind].
type serviceKind string

func (serviceKind) choices() []string {
	return []string{string(springtide.ServicePostgres), string(springtide.ServiceMariaDB), string(springtide.ServiceRedis)}
}

func (v *serviceKind) parse(n *node) error { return parseChoice(v, n) }

func (v *serviceKind) write() (string, bool) { return string(*v), false }

// serviceVersion is a version as a package has it in its name: 15, 10.11. Empty
// stands for the newest that is installed.
type serviceVersion string

var serviceVersionPattern = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,3}){0,2}$`)

const newestVersion = "newest"

func (v *serviceVersion) parse(n *node) error {
	if n.kind == text && n.text == newestVersion {
		*v = ""
		return nil
	}
	if n.kind != text && n.kind != number || !serviceVersionPattern.MatchString(n.text) {
		return fmt.Errorf("want a version, like 15 or \"10.11\", or %s for the newest installed, got %s", newestVersion, n.shown())
	}
	*v = serviceVersion(n.text)
	return nil
}

func (v *serviceVersion) write() (string, bool) {
	if *v == "" {
		return newestVersion, true
	}
	return string(*v), false
}

// serviceURL is where a server of the user's own is, or which secret says so.
type serviceURL string

// secretReference begins what names a secret in place of a value.
const secretReference = "secret:"

// schemes are those of the URLs of servers, by kind.
var schemes = map[string]springtide.ServiceKind{
	"postgres": springtide.ServicePostgres, "postgresql": springtide.ServicePostgres,
	"mysql": springtide.ServiceMariaDB, "mariadb": springtide.ServiceMariaDB,
	"redis": springtide.ServiceRedis, "rediss": springtide.ServiceRedis,
}

func (v *serviceURL) parse(n *node) error {
	if n.kind != text {
		return fmt.Errorf("want a URL like postgres://user@host/database, or secret:NAME, got %s", n.shown())
	}
	if named, is := strings.CutPrefix(n.text, secretReference); is {
		if err := new(variable).parse(&node{kind: text, text: named}); err != nil {
			return err
		}
		*v = serviceURL(n.text)
		return nil
	}
	parsed, err := url.Parse(n.text)
	switch {
	case err != nil || parsed.Hostname() == "" || len(n.text) > 2000:
		return fmt.Errorf("want a URL like postgres://user@host/database, or secret:NAME")
	case schemes[parsed.Scheme] == "":
		return fmt.Errorf("%s:// is not known; want postgres://, mysql:// or redis://", shorten(parsed.Scheme))
	}
	if _, has := parsed.User.Password(); has {
		return fmt.Errorf("holds a password; make the whole URL a secret, `tide secrets set NAME`, and write url: secret:NAME")
	}
	*v = serviceURL(n.text)
	return nil
}

func (v *serviceURL) write() (string, bool) { return string(*v), false }

// extension is the name of an extension of PostgreSQL.
type extension string

var extensionPattern = regexp.MustCompile(`^[a-z0-9_]+([-_][a-z0-9_]+)*$`)

func (v *extension) parse(n *node) error {
	if n.kind != text || !extensionPattern.MatchString(n.text) || len(n.text) > labelLimit {
		return fmt.Errorf("want the name of an extension, like pg_trgm, got %s", n.shown())
	}
	*v = extension(n.text)
	return nil
}

func (v *extension) write() (string, bool) { return string(*v), false }

// policy is what Redis does when its memory is full.
type policy string

func (policy) choices() []string {
	return []string{
		"noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random",
		"volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
	}
}

func (v *policy) parse(n *node) error { return parseChoice(v, n) }

func (v *policy) write() (string, bool) { return string(*v), false }

// poolMode is a [springtide.PoolMode].
type poolMode string

func (poolMode) choices() []string {
	return []string{string(springtide.PoolTransaction), string(springtide.PoolSession)}
}

func (v *poolMode) parse(n *node) error { return parseChoice(v, n) }

func (v *poolMode) write() (string, bool) { return string(*v), false }

// folderPath is where an instance finds a folder.
type folderPath string

// systemFolders are those that no app may be given another in the place of.
var systemFolders = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr"}

func (v *folderPath) parse(n *node) error {
	if n.kind != text {
		return fmt.Errorf("want a path like /data/uploads, got %s", n.shown())
	}
	cleaned := path.Clean(n.text)
	top := "/" + strings.SplitN(strings.TrimPrefix(cleaned, "/"), "/", 2)[0]
	switch {
	case n.text == "" || cleaned == "." || cleaned == "/" || strings.ContainsFunc(n.text, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(n.text) > 1000:
		return fmt.Errorf("%q is no path of a folder, like /data/uploads or public/uploads", shorten(n.text))
	case cleaned == ".." || strings.HasPrefix(cleaned, "../"):
		return fmt.Errorf("%q leads out of the app; write an absolute path", shorten(n.text))
	case strings.HasPrefix(cleaned, "/") && slices.Contains(systemFolders, top):
		return fmt.Errorf("%s belongs to the system; choose another path, like /data/uploads", top)
	}
	*v = folderPath(cleaned)
	return nil
}

func (v *folderPath) write() (string, bool) { return string(*v), false }

// publicPath is a path of URLs below which files are served.
type publicPath string

func (v *publicPath) parse(n *node) error {
	if err := (*urlPath)(v).parse(n); err != nil {
		return err
	}
	cleaned := path.Clean(n.text)
	if cleaned == "/" || strings.ContainsAny(cleaned, "?%*") || strings.Contains(cleaned, "/.") {
		return fmt.Errorf("%q cannot be a folder's; write one like /media", shorten(n.text))
	}
	*v = publicPath(cleaned)
	return nil
}

func (v *publicPath) write() (string, bool) { return string(*v), false }

// bucketURL is a bucket of the user's own.
type bucketURL string

func (v *bucketURL) parse(n *node) error {
	if n.kind != text {
		return fmt.Errorf("want a bucket like s3://bucket/prefix?endpoint=https://host, got %s", n.shown())
	}
	if _, err := springtide.ParseBucket(n.text); err != nil {
		return err
	}
	*v = bucketURL(n.text)
	return nil
}

func (v *bucketURL) write() (string, bool) { return string(*v), false }

// timeOfDay is an hour and a minute, in UTC.
type timeOfDay string

var timeOfDayPattern = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)

func (v *timeOfDay) parse(n *node) error {
	if n.kind != text || !timeOfDayPattern.MatchString(n.text) {
		return fmt.Errorf("want a time in quotes, like \"04:30\", got %s", n.shown())
	}
	*v = timeOfDay(n.text)
	return nil
}

func (v *timeOfDay) write() (string, bool) { return string(*v), false }
