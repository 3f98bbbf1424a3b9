package process

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine"
)

// Options say how to run instances. Data, Router and Log are required.
type Options struct {
	// Data is the data folder. The engine uses instances, tasks, logs and bin in it.
	Data string
	// Router is asked to let go of an instance before it is told to stop.
	Router engine.Router
	Log    *slog.Logger
	// Network is where the private subnet of the data folder is chosen from, as
	// a /22. Default: 10.0.0.0/8.
	Network netip.Prefix
	// Port is what an instance with a network namespace of its own listens on.
	// Default: 8080.
	Port int
	// FirstPort and LastPort bound the ports of instances that share the
	// machine's network. Default: 20000 to 29999, which the kernel does not hand
	// out to others by itself.
	FirstPort, LastPort int
	// FirstUser is the first user ID that apps are given, when there is one for
	// each. Default: 60000; at most 5000 are used.
	FirstUser int
	// LogSize bounds one file of an instance's output, in bytes; there are two
	// files. Default: 4 MiB.
	LogSize int64
	// LogLimit bounds what is kept of one environment's output, in bytes.
	// Default: 256 MiB.
	LogLimit int64
	// TaskKeep is how long the outcome of a task is kept. Default: 24 h.
	TaskKeep time.Duration
	// Access gives what an instance or a task is given at its start: how it reaches
	// the platform, its secrets, its folders. Commands that run beside it, for its
	// health or in a shell, are given the same. An error keeps it from starting: an
	// instance is tried again after its back-off. nil: nothing.
	Access func(Subject) (Grant, error)
	// Init is the init's program. Default: the one built into this binary.
	Init []byte
	// Plain forgoes namespaces, control groups and users of their own, whatever
	// the machine would allow.
	Plain bool
}

// Validate says what is missing or makes no sense.
func (o Options) Validate() error {
	switch {
	case !filepath.IsAbs(o.Data):
		return springtide.Errorf(springtide.Internal, "process engine: the data folder %q is not an absolute path", o.Data)
	case o.Router == nil || o.Log == nil:
		return springtide.Errorf(springtide.Internal, "process engine: a router and a log are required")
	case o.FirstPort > o.LastPort:
		return springtide.Errorf(springtide.Invalid, "process engine: ports %d to %d are none", o.FirstPort, o.LastPort)
	case !o.Network.Addr().Is4() || o.Network.Bits() > subnetBits:
		return springtide.Errorf(springtide.Invalid, "process engine: no /%d fits into %s", subnetBits, o.Network)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if !o.Network.IsValid() {
		o.Network = netip.PrefixFrom(netip.AddrFrom4([4]byte{10}), 8)
	}
	orInt(&o.Port, 8080)
	orInt(&o.FirstPort, 20000)
	orInt(&o.LastPort, 29999)
	orInt(&o.FirstUser, 60000)
	orInt(&o.LogSize, 4<<20)
	orInt(&o.LogLimit, 256<<20)
	orInt(&o.TaskKeep, 24*time.Hour)
	o.Data = filepath.Clean(o.Data)
	return o
}

func orInt[T ~int | ~int64](value *T, standard T) {
	if *value == 0 {
		*value = standard
	}
}
