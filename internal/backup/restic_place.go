package backup

import (
	"net"
	"path"
	"strings"
)

// resticPlaceAt gives the place of a repository below a target.
func resticPlaceAt(target string, options TargetOptions, below string) (resticPlace, error) {
	p, err := parseTarget(target)
	if err != nil {
		return resticPlace{}, err
	}
	folder := path.Join(p.folder, below)
	switch p.scheme {
	case "file":
		return resticPlace{location: folder}, nil
	case "sftp":
		host, port, err := net.SplitHostPort(p.address)
		if err != nil {
			return resticPlace{}, badTarget(target, "it names no host")
		}
		// Only the keys that were given count: nobody is asked, no agent, no settings.
		ssh := []string{
			"ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
			"-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15",
			"-o", `UserKnownHostsFile="` + options.KnownHosts + `"`, "-i", options.Key,
			"-l", p.user, "-p", port, "-s", "--", host, "sftp",
		}
		return resticPlace{
			location: "sftp:" + p.user + "@host:" + folder, // the host is in the command
			options:  []string{quoted("sftp.command='" + strings.Join(ssh, "' '") + "'")},
		}, nil
	default:
		credentials := "[default]\naws_access_key_id = " + options.AccessKey + "\naws_secret_access_key = " + options.SecretKey + "\n"
		place := resticPlace{
			location:    "s3:" + strings.TrimSuffix(p.endpoint.String(), "/") + "/" + path.Join(p.bucket, folder),
			credentials: []byte(credentials),
		}
		if p.region != "" {
			place.env = []string{"AWS_DEFAULT_REGION=" + p.region}
		}
		return place, nil
	}
}

// quoted is a field of a line of CSV: that is what restic takes its options for.
func quoted(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }
