// Package order is what the engine and an instance's init say to each other:
// the order that the engine writes to the init's pipe, the status that the init
// leaves when the command has ended, and the lines of its log. It imports next
// to nothing, for the init has to stay small.
package order

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// File descriptors that the init is started with.
const (
	PipeFD   = 3 // the order is read from here
	LockFD   = 4 // held for as long as the init lives
	FolderFD = 5 // the instance's folder: the status goes here
	LogFD    = 6 // the folder of the log
	WatchFD  = 7 // whoever watches over a run renews it here
	// ProgramFD may be the init's own program, where it is in memory only.
	ProgramFD = 8
)

// StatusFile is the name of the file in the instance's folder that tells how
// the command ended.
const StatusFile = "status"

// Order is all that the init needs to know.
type Order struct {
	// Attempt tells this start of the instance from the ones before.
	Attempt int
	// Command is run by sh, in Dir, with Env.
	Command string
	Dir     string
	Env     []string
	// SwitchUser says to run as UID and GID with no other group.
	SwitchUser bool
	UID, GID   int
	// Hostname is set if the init has a namespace for it.
	Hostname string
	// CgroupTasks are files to write "0" to from the thread that starts the
	// command; CgroupFolder is the group to clone it into.
	CgroupTasks  []string
	CgroupFolder string
	// Mounts says that the init has a mount namespace of its own.
	Mounts bool
	// Cover is a folder to hide behind an empty one; the folders in ReadOnly and
	// Writable that lie below it are put back at their places.
	Cover    string
	ReadOnly []string
	Writable []string
	// Binds are mounted last, at places that exist.
	Binds []Bind
	// Credentials are put into files of CredentialsFolder, in memory: a file system
	// of its own where Mounts is set, else a new folder that is removed at the end.
	CredentialsFolder string
	Credentials       []Credential
	// Hide is what the log must not have in it.
	Hide [][]byte
	// LogName is the file in the log folder, LogSize the size at which it is
	// renamed to LogName.1 and begun anew.
	LogName string
	LogSize int64
	// Streams says that the command gets the init's own input, output and error.
	// Then there is no log, and the status need not survive a power cut.
	Streams bool
	// Until is when everything is killed, in nanoseconds of CLOCK_BOOTTIME, unless
	// a later time comes through the pipe WatchFD ([Renewal]); the end of that pipe
	// is the end at once. If it has passed nothing is started. 0: never.
	Until int64
	// Timeout ends the command with SIGTERM, Grace later with SIGKILL. 0: never.
	Timeout time.Duration
	Grace   time.Duration
}

// Bind says to show the folder Source at Target.
type Bind struct {
	Source, Target string
	ReadOnly       bool
}

// Credential is a file that only the command's user can read.
type Credential struct {
	Name  string
	Value []byte
}

// end is the last field: an order without it was cut off.
const end = "go"

// Encode gives the order as fields that each end in a zero byte.
func (o Order) Encode() []byte {
	var b []byte
	field := func(key, value string) {
		b = append(b, key...)
		b = append(b, '=')
		b = append(b, value...)
		b = append(b, 0)
	}
	number := func(key string, value int64) { field(key, strconv.FormatInt(value, 10)) }
	list := func(key string, values []string) {
		for _, value := range values {
			field(key, value)
		}
	}
	number("attempt", int64(o.Attempt))
	field("command", o.Command)
	field("dir", o.Dir)
	list("env", o.Env)
	if o.SwitchUser {
		number("uid", int64(o.UID))
		number("gid", int64(o.GID))
	}
	field("hostname", o.Hostname)
	list("cgroup-tasks", o.CgroupTasks)
	field("cgroup-folder", o.CgroupFolder)
	if o.Mounts {
		field("mounts", "1")
	}
	field("cover", o.Cover)
	list("read-only", o.ReadOnly)
	list("writable", o.Writable)
	for _, bind := range o.Binds {
		field("bind", bind.Source)
		field("bind-at", bind.Target)
		if bind.ReadOnly {
			field("bind-read-only", "1")
		}
	}
	field("credentials-folder", o.CredentialsFolder)
	// These may have zero bytes in them.
	for _, credential := range o.Credentials {
		field("credential", credential.Name)
		field("credential-value", base64.StdEncoding.EncodeToString(credential.Value))
	}
	for _, text := range o.Hide {
		field("hide", base64.StdEncoding.EncodeToString(text))
	}
	field("log-name", o.LogName)
	number("log-size", o.LogSize)
	if o.Streams {
		field("streams", "1")
	}
	if o.Until != 0 {
		number("until", o.Until)
	}
	number("timeout", int64(o.Timeout))
	number("grace", int64(o.Grace))
	return append(append(b, end...), 0)
}

// ErrCutOff says that whoever wrote the order died before its end: nothing may
// be started.
var ErrCutOff = errors.New("the order was cut off")

// Decode reads what Encode wrote.
func Decode(data []byte) (Order, error) {
	body, whole := strings.CutSuffix(string(data), end+"\x00")
	if !whole || body != "" && body[len(body)-1] != 0 {
		return Order{}, ErrCutOff
	}
	var o Order
	for body != "" {
		var field string
		field, body, _ = strings.Cut(body, "\x00")
		key, value, _ := strings.Cut(field, "=")
		if err := o.set(key, value); err != nil {
			return Order{}, errors.New("order: " + key + ": " + err.Error())
		}
	}
	return o, nil
}

func (o *Order) set(key, value string) error {
	if key, of, found := strings.Cut(key, "-"); found && (key == "bind" || key == "credential") {
		return o.setLast(key, of, value)
	}
	var number int64
	switch key {
	case "attempt", "uid", "gid", "log-size", "until", "timeout", "grace":
		var err error
		if number, err = strconv.ParseInt(value, 10, 64); err != nil {
			return err
		}
	}
	switch key {
	case "attempt":
		o.Attempt = int(number)
	case "command":
		o.Command = value
	case "dir":
		o.Dir = value
	case "env":
		o.Env = append(o.Env, value)
	case "uid":
		o.SwitchUser, o.UID = true, int(number)
	case "gid":
		o.GID = int(number)
	case "hostname":
		o.Hostname = value
	case "cgroup-tasks":
		o.CgroupTasks = append(o.CgroupTasks, value)
	case "cgroup-folder":
		o.CgroupFolder = value
	case "mounts":
		o.Mounts = true
	case "cover":
		o.Cover = value
	case "read-only":
		o.ReadOnly = append(o.ReadOnly, value)
	case "writable":
		o.Writable = append(o.Writable, value)
	case "bind":
		o.Binds = append(o.Binds, Bind{Source: value})
	case "credentials-folder":
		o.CredentialsFolder = value
	case "credential":
		o.Credentials = append(o.Credentials, Credential{Name: value})
	case "hide":
		text, err := base64.StdEncoding.DecodeString(value)
		o.Hide = append(o.Hide, text)
		return err
	case "log-name":
		o.LogName = value
	case "log-size":
		o.LogSize = number
	case "streams":
		o.Streams = true
	case "until":
		o.Until = number
	case "timeout":
		o.Timeout = time.Duration(number)
	case "grace":
		o.Grace = time.Duration(number)
	default:
		return errors.New("unknown field")
	}
	return nil
}

// setLast sets a part of the last bind or credential.
func (o *Order) setLast(of, part, value string) (err error) {
	binds, credentials := len(o.Binds), len(o.Credentials)
	switch {
	case of == "bind" && binds > 0 && part == "at":
		o.Binds[binds-1].Target = value
	case of == "bind" && binds > 0 && part == "read-only":
		o.Binds[binds-1].ReadOnly = true
	case of == "credential" && credentials > 0 && part == "value":
		o.Credentials[credentials-1].Value, err = base64.StdEncoding.DecodeString(value)
	default:
		return errors.New("unknown field")
	}
	return err
}
