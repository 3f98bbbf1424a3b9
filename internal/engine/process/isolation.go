package process

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/process/order"
)

// Isolation is how far instances are kept from each other and from the machine.
// It is tried out when the engine starts, never assumed.
type Isolation struct {
	// User is "root" or "user": what the platform itself runs as.
	User string `json:"user"`
	// UserPerApp says that every app runs under a user ID of its own.
	UserPerApp     bool `json:"user_per_app"`
	UserNamespace  bool `json:"user_namespace"`
	PIDNamespace   bool `json:"pid_namespace"`
	MountNamespace bool `json:"mount_namespace"`
	// Network is "namespace" or "shared": a port of the loopback interface.
	Network string `json:"network"`
	// Outbound says that instances reach the world.
	Outbound bool `json:"outbound"`
	// Cgroup is "v1", "v2" or "none".
	Cgroup       string `json:"cgroup"`
	CPULimit     bool   `json:"cpu_limit"`
	MemoryLimit  bool   `json:"memory_limit"`
	ProcessLimit bool   `json:"process_limit"`
}

// String gives one line for people.
func (i Isolation) String() string {
	has := func(ok bool) string {
		if ok {
			return "yes"
		}
		return "no"
	}
	var limits []string
	for _, limit := range []struct {
		name string
		ok   bool
	}{{"cpu", i.CPULimit}, {"memory", i.MemoryLimit}, {"processes", i.ProcessLimit}} {
		if limit.ok {
			limits = append(limits, limit.name)
		}
	}
	if len(limits) == 0 {
		limits = []string{"none"}
	}
	return fmt.Sprintf("as %s; user per app: %s; pid namespace: %s; mount namespace: %s; network: %s; outbound: %s; limits: %s (cgroup %s)",
		i.User, has(i.UserPerApp), has(i.PIDNamespace), has(i.MountNamespace), i.Network, has(i.Outbound), strings.Join(limits, ", "), i.Cgroup)
}

const (
	networkNamespace = "namespace"
	networkShared    = "shared"
)

// trialLimit is how long a trial run may take. A machine that has much else to do, as when
// it has just been started, is no reason for less isolation.
const trialLimit = 20 * time.Second

// probeIsolation finds the strongest isolation under which a command really runs.
func (e *Engine) probeIsolation(ctx context.Context) error {
	base := Isolation{User: "user", Network: networkShared, Outbound: true, Cgroup: "none"}
	if os.Geteuid() == 0 {
		base.User = "root"
	}
	if e.groups.version != 0 {
		base.Cgroup = fmt.Sprintf("v%d", e.groups.version)
		base.CPULimit, base.MemoryLimit, base.ProcessLimit = e.groups.has("cpu"), e.groups.has("memory"), e.groups.has("pids")
	}
	var last error
	for _, candidate := range candidates(base, e.options.Plain) {
		if last = e.tryIsolation(ctx, candidate); last == nil {
			candidate.Outbound = candidate.Network == networkShared || e.network.outbound
			e.isolation = candidate
			return nil
		}
		e.log.Debug("isolation is not available", "isolation", candidate.String(), "error", last)
	}
	return springtide.Errorf(springtide.Failed, "no process can be started on this machine: %w", last)
}

// candidates lists what to try, the strongest first.
func candidates(base Isolation, plain bool) []Isolation {
	if plain {
		return []Isolation{base}
	}
	full := base
	full.PIDNamespace, full.MountNamespace = true, true
	pidOnly := base
	pidOnly.PIDNamespace = true
	if base.User != "root" {
		full.UserNamespace, pidOnly.UserNamespace = true, true
		return []Isolation{full, pidOnly, base}
	}
	full.UserPerApp = true
	networked := full
	networked.Network = networkNamespace
	withUser, unprivileged := pidOnly, base
	withUser.UserPerApp, unprivileged.UserPerApp = true, true
	return []Isolation{networked, full, withUser, pidOnly, unprivileged, base}
}

// tryIsolation runs a command the way an instance would be run.
func (e *Engine) tryIsolation(ctx context.Context, candidate Isolation) error {
	place := folder(filepath.Join(e.options.Data, "instances", ".probe"))
	if err := os.RemoveAll(string(place)); err != nil {
		return err
	}
	defer os.RemoveAll(string(place))
	if err := makeFolder(place); err != nil {
		return err
	}
	if err := os.Mkdir(place.file("root"), 0o755); err != nil {
		return err
	}
	s := spec{Instance: "probe"}
	if candidate.Network == networkNamespace {
		slot, err := e.network.slots.take(always)
		if err != nil {
			return err
		}
		defer e.network.slots.giveBack(slot)
		defer e.network.detach(slot)
		s.Slot = slot
	}
	user := 0
	if candidate.UserPerApp {
		user = e.options.FirstUser + userCount // Nobody's.
		if err := giveHome(place, user); err != nil {
			return err
		}
	}
	command, grant := `test -r . && echo > "$HOME/written"`, Grant{}
	if candidate.MountNamespace {
		command += ` && test "$(cat "$CREDENTIALS")" = given`
		grant.Credentials = map[string][]byte{"probe": []byte("given")}
	}
	started, err := e.launch(launch{
		folder: place, spec: s, isolation: candidate, user: user,
		logs: string(place), logName: "log",
		root: place.file("root"), command: command, grant: grant,
		env: []string{
			"HOME=" + place.file(homeFolder), "CREDENTIALS=" + filepath.Join(e.credentialsOf(place, s, candidate), "probe"),
			"PATH=/usr/bin:/bin",
		},
	}, record{Attempt: 1})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, trialLimit)
	defer cancel()
	defer started.close()
	if err := started.wait(ctx); err != nil {
		started.kill()
		return err
	}
	started.group.remove()
	status, ok := place.status(1)
	if !ok || status != (order.Status{Attempt: 1}) {
		return fmt.Errorf("a trial run ended with %q %s", place.initOutput(), status.Encode())
	}
	return nil
}
