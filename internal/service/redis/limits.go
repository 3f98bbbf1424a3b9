package redis

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
)

// policies are what a server can do when its memory is full.
func policies() []string {
	return []string{
		"noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random",
		"volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
	}
}

// leastMemory is what a server needs with hardly any data, in bytes.
const leastMemory = 8 << 20

// check says whether a server can be as is asked for. The error is of kind
// Invalid.
func check(name springtide.ServiceName, spec springtide.Service) error {
	switch {
	case spec.Synchronous:
		return springtide.Errorf(springtide.Invalid, "services.%s: redis cannot wait for its replica", name).
			WithHint("leave out synchronous; an app that must be sure sends WAIT after its write")
	case spec.Policy != "" && !slices.Contains(policies(), spec.Policy):
		return springtide.Errorf(springtide.Invalid, "services.%s: redis has no policy %q", name, spec.Policy).
			WithHint("it is one of %s", strings.Join(policies(), ", "))
	case spec.Memory != 0 && spec.Memory < leastMemory:
		return springtide.Errorf(springtide.Invalid, "services.%s: %d bytes of memory are too few for redis", name, spec.Memory).
			WithHint("it needs 8 MiB at least")
	}
	if total := totalMemory(); spec.Memory > total {
		return springtide.Errorf(springtide.Invalid, "services.%s: redis is to hold up to %d MiB, and the machine has %d MiB of memory", name, spec.Memory>>20, total>>20).
			WithHint("ask for less: while it is backed up it may need twice as much for a moment")
	}
	return nil
}

// totalMemory is the machine's, in bytes.
func totalMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 1 << 62 // we do not know of a limit
	}
	return int64(info.Totalram) * int64(info.Unit)
}
