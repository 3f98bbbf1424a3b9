package process

import (
	"strings"

	"github.com/springtide/springtide"
)

// Grant is what an instance or a task is given at a start, besides what its
// template says. It is kept nowhere: it reaches the init through a pipe.
type Grant struct {
	// Env are further variables. What an app says itself wins over them.
	Env map[string]string
	// Places are variables like Env, of paths in the release. They are told as
	// absolute ones, since programs change their folder.
	Places map[string]string
	// Credentials are files, by their names, in the folder that the instance finds
	// in $CREDENTIALS_DIRECTORY: in memory, and readable for its user only. Where
	// an instance has a mount namespace nobody else sees the folder; where not, it
	// is below $XDG_RUNTIME_DIR or /dev/shm, and removed at the end.
	Credentials map[string][]byte
	// Mounts are shown to instances that have a mount namespace. Others find the
	// folders only by what Env says of them.
	Mounts []Mount
	// Hide are values that must not be in its output. They are found in base64, in
	// URLs and in JSON too; those shorter than redact.Shortest are not.
	Hide [][]byte
}

// Mount is a folder of the machine that an instance finds at another place.
type Mount struct {
	Source string
	// Target is absolute, or relative to the release.
	Target   string
	ReadOnly bool
}

// credentialsVariable names the folder of the credentials, as systemd calls it.
const credentialsVariable = "CREDENTIALS_DIRECTORY"

// grant asks what is given to the instance or the task.
func (e *Engine) grant(s spec) (Grant, error) {
	if e.options.Access == nil {
		return Grant{}, nil
	}
	grant, err := e.options.Access(s.subject())
	if err != nil {
		return Grant{}, err
	}
	for name := range grant.Credentials {
		if !isName(name) {
			return Grant{}, springtide.Errorf(springtide.Invalid, "the credential %q cannot be the name of a file", name)
		}
	}
	for name, value := range grant.Env {
		if strings.Contains(value, "\x00") {
			return Grant{}, springtide.Errorf(springtide.Invalid, "the value of %s has a zero byte in it, which no variable can have", name).
				WithHint("read it from the file $%s/%s", credentialsVariable, name)
		}
	}
	return grant, nil
}
