package backup

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/springtide/springtide"
)

// TargetOptions are what a target needs besides its URL.
type TargetOptions struct {
	// Records is a folder in which is remembered which targets are ours: where
	// one's marker is missing the disk is not mounted, and nothing is written.
	// Empty: every target is taken for what it seems to be.
	Records string
	// Key is the file of the private key, and KnownHosts that of the hosts' public
	// keys, for SFTP.
	Key        string
	KnownHosts string
	// AccessKey and SecretKey are those of S3.
	AccessKey string
	SecretKey string
}

// OpenTarget gives the target at a URL: file:///folder, sftp://user@host:port/folder
// or s3://bucket/prefix?endpoint=https://host:port&region=name. It need not be
// there yet. Errors are of kind Invalid.
func OpenTarget(text string, options TargetOptions) (Target, error) {
	place, err := parseTarget(text)
	if err != nil {
		return nil, err
	}
	record := ""
	if options.Records != "" {
		sum := sha256.Sum256([]byte(text))
		record = filepath.Join(options.Records, hex.EncodeToString(sum[:8]))
	}
	switch place.scheme {
	case "file":
		return &tree{name: place.folder, record: record, connect: localDisks(place.folder)}, nil
	case "sftp":
		connect, err := remoteDisks(place, options)
		if err != nil {
			return nil, err
		}
		return &tree{name: text, record: record, connect: connect}, nil
	}
	return newBucket(place, options)
}

// place is what a target's URL says.
type place struct {
	scheme, user string
	address      string // host and port
	folder       string // of file and sftp: absolute; of s3: the prefix, maybe empty
	bucket       string
	endpoint     *url.URL
	region       string
}

func parseTarget(text string) (place, error) {
	parsed, err := url.Parse(text)
	if err != nil {
		return place{}, badTarget(text, "it is no URL")
	}
	p := place{scheme: parsed.Scheme, user: parsed.User.Username(), folder: path.Clean("/" + parsed.Path)}
	if _, has := parsed.User.Password(); has {
		return p, springtide.Errorf(springtide.Invalid, "the URL of a backup target holds no password").
			WithHint("SFTP takes a key from a file, S3 takes its keys from the settings")
	}
	for part := range strings.SplitSeq(p.folder[1:], "/") {
		if strings.HasPrefix(part, ".") && p.scheme == "s3" {
			return p, badTarget(text, "no part of its prefix may begin with a dot")
		}
	}
	switch p.scheme {
	case "file":
		if parsed.Host != "" || parsed.Path == "" || p.folder == "/" {
			return p, badTarget(text, "it names no folder of this machine")
		}
	case "sftp":
		if parsed.Hostname() == "" || p.user == "" || p.folder == "/" {
			return p, badTarget(text, "user, host and folder are needed")
		}
		p.address = net.JoinHostPort(parsed.Hostname(), cmp.Or(parsed.Port(), "22"))
	case "s3":
		return parseBucket(p, parsed, text)
	default:
		return p, badTarget(text, "it begins with none of them")
	}
	return p, nil
}

func parseBucket(p place, parsed *url.URL, text string) (place, error) {
	p.bucket, p.region, p.folder = parsed.Host, parsed.Query().Get("region"), strings.Trim(p.folder, "/")
	endpoint, err := url.Parse(cmp.Or(parsed.Query().Get("endpoint"), "https://s3.amazonaws.com"))
	switch {
	case p.bucket == "" || strings.ContainsAny(p.bucket, ":/"):
		return p, badTarget(text, "it names no bucket")
	case err != nil || endpoint.Host == "" || endpoint.Scheme != "http" && endpoint.Scheme != "https":
		return p, badTarget(text, "its endpoint is no URL")
	}
	p.endpoint = endpoint
	return p, nil
}

func badTarget(text, why string) error {
	return springtide.Errorf(springtide.Invalid, "%q cannot be a backup target: %s", text, why).
		WithHint("write file:///folder, sftp://user@host/folder or s3://bucket/prefix?endpoint=https://host")
}
