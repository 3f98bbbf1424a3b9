package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

// What a machine should have at least.
const (
	wantedSpace     = 1 << 30
	wantedFiles     = 4096
	wantedWatches   = 128
	wantedUDP       = 7 << 20 // bytes; what HTTP/3 asks for
	wantedTimeSince = 2025    // a clock before that makes certificates invalid
)

// check is one thing that the doctor looks at.
type check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Essential says that nothing works without it.
	Essential bool   `json:"essential"`
	Detail    string `json:"detail"`
	// Hint says how to mend it.
	Hint string `json:"hint,omitempty"`
}

func (s *session) doctor() *cobra.Command {
	var ports []string
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Check this machine for what the platform needs",
		Args:  cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) error {
			data, err := s.dataFolder()
			if err != nil {
				return err
			}
			return s.printChecks(s.examine(ctx, data, ports))
		}),
	}
	command.Flags().StringSliceVar(&ports, "port", []string{"127.0.0.1:8443", "127.0.0.1:8080"}, "addresses that should be free, or the platform's")
	return command
}

// examine looks at everything; what needs the platform is last.
func (s *session) examine(ctx context.Context, data string, ports []string) []check {
	status, server := s.checkServer(ctx)
	checks := []check{
		checkProgram("sh", true, "install it: nothing runs without"),
		checkProgram("git", false, "install it; without git a whole folder is sent as source, apart from what is never one"),
		checkData(data), checkSpace(data), checkFileLimit(), checkWatches(), checkUDP(), checkClock(), checkCgroups(),
	}
	if s.program.Isolation != nil {
		level, notes := s.program.Isolation(ctx, data)
		checks = append(checks, check{Name: "isolation", OK: len(notes) == 0, Detail: level, Hint: strings.Join(notes, "; ")})
	}
	for _, port := range ports {
		checks = append(checks, checkPort(ctx, port, status))
	}
	return append(checks, server)
}

// printChecks shows the checks, and fails if something essential does.
func (s *session) printChecks(checks []check) error {
	failed := 0
	for i := range checks {
		if checks[i].OK {
			checks[i].Hint = ""
		}
	}
	for _, c := range checks {
		mark := s.colours.green("✓")
		switch {
		case !c.OK && c.Essential:
			failed++
			mark = s.colours.red("✗")
		case !c.OK:
			mark = "!"
		}
		if s.json {
			continue
		}
		if err := s.print("%s %-11s %s", mark, c.Name, oneLine(c.Detail)); err != nil {
			return err
		}
		if !c.OK && c.Hint != "" {
			if err := s.print("  %-11s %s", "", s.colours.dim(oneLine(c.Hint))); err != nil {
				return err
			}
		}
	}
	if s.json {
		if err := s.printJSON(checks); err != nil {
			return err
		}
	}
	if failed > 0 {
		return springtide.Errorf(springtide.Failed, "%d of %d checks failed", failed, len(checks)).WithHint("mend what is marked with ✗")
	}
	return nil
}

func checkProgram(name string, essential bool, hint string) check {
	path, err := exec.LookPath(name)
	if err != nil {
		return check{Name: name, Essential: essential, Detail: "not found", Hint: hint}
	}
	return check{Name: name, OK: true, Essential: essential, Detail: path}
}

// existing gives the folder, or the nearest above it that exists.
func existing(folder string) string {
	for {
		if _, err := os.Stat(folder); err == nil || folder == filepath.Dir(folder) {
			return folder
		}
		folder = filepath.Dir(folder)
	}
}

func checkData(data string) check {
	c := check{Name: "data", Essential: true, Detail: data}
	at := existing(data)
	info, err := os.Stat(at)
	switch {
	case err != nil:
		c.Detail = err.Error()
	case !info.IsDir():
		c.Detail = at + " is not a folder"
	case unix.Access(at, unix.W_OK|unix.X_OK) != nil:
		c.Detail = at + " cannot be written"
	case at == data && info.Mode().Perm()&fs.FileMode(0o022) != 0:
		c.Detail = fmt.Sprintf("%s can be written by others (%s)", data, info.Mode().Perm())
		c.Hint = "chmod go-w " + data
	default:
		c.OK = true
		if at != data {
			c.Detail += " (will be made)"
		}
	}
	if !c.OK && c.Hint == "" {
		c.Hint = "choose a folder of your own with --data or TIDE_DATA, or use sudo"
	}
	return c
}

func checkSpace(data string) check {
	var stat unix.Statfs_t
	if err := unix.Statfs(existing(data), &stat); err != nil {
		return check{Name: "disk", Essential: true, Detail: err.Error()}
	}
	free := int64(stat.Bavail) * stat.Bsize
	return check{
		Name: "disk", Essential: true, OK: free >= wantedSpace, Detail: size(free) + " free",
		Hint: "make room: builds and artifacts need " + size(wantedSpace) + " or more",
	}
}

func checkFileLimit() check {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return check{Name: "open files", Detail: err.Error()}
	}
	return check{
		Name: "open files", OK: limit.Max >= wantedFiles, Detail: fmt.Sprintf("limit %d: %d connections of clients", limit.Max, min(limit.Max/2, 20_000)),
		Hint: fmt.Sprintf("raise the hard limit to %d or more: ulimit -Hn, or LimitNOFILE= in the systemd unit", wantedFiles),
	}
}

func checkWatches() check {
	const path = "/proc/sys/fs/inotify/max_user_instances"
	text, err := os.ReadFile(path)
	if err != nil {
		return check{Name: "inotify", Detail: err.Error(), Hint: "the kernel should have inotify"}
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return check{
		Name: "inotify", OK: err == nil && limit >= wantedWatches, Detail: fmt.Sprintf("limit %d", limit),
		Hint: fmt.Sprintf("sysctl fs.inotify.max_user_instances=%d", wantedWatches),
	}
}

// checkUDP looks at how much the kernel keeps for a socket of HTTP/3.
func checkUDP() check {
	const path = "/proc/sys/net/core/rmem_max"
	text, err := os.ReadFile(path)
	if err != nil {
		return check{Name: "UDP", Detail: err.Error(), Hint: "the kernel should have sysctl net.core.rmem_max"}
	}
	limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return check{
		Name: "UDP", OK: err == nil && limit >= wantedUDP, Detail: "buffers of up to " + size(limit),
		Hint: fmt.Sprintf("HTTP/3 loses packets under load: sysctl net.core.rmem_max=%[1]d net.core.wmem_max=%[1]d", wantedUDP),
	}
}

func checkClock() check {
	now := time.Now()
	c := check{Name: "clock", Essential: true, OK: now.Year() >= wantedTimeSince, Detail: now.UTC().Format(time.RFC3339), Hint: "set it: certificates depend on it"}
	var state unix.Timex
	if code, err := unix.Adjtimex(&state); err == nil && code == unix.TIME_ERROR && c.OK {
		c.Detail += ", not synchronised"
	}
	return c
}

func checkCgroups() check {
	c := check{Name: "cgroups", Hint: "without cgroups limits of memory and CPU are not kept"}
	var stat unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &stat); err != nil {
		c.Detail = err.Error()
		return c
	}
	switch {
	case stat.Type == unix.CGROUP2_SUPER_MAGIC:
		c.OK, c.Detail = true, "version 2"
	case isFolder("/sys/fs/cgroup/memory"):
		c.OK, c.Detail = true, "version 1"
	default:
		c.Detail = "none mounted"
	}
	if c.OK && os.Getuid() != 0 {
		c.Detail += "; as an ordinary user only as far as they are delegated"
	}
	return c
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// checkPort tells whether an address is free, or the platform's own.
func checkPort(ctx context.Context, address string, status *api.Status) check {
	c := check{Name: "port", Essential: true, Detail: address}
	if _, port, err := net.SplitHostPort(address); err == nil {
		c.Name = "port " + port
	}
	if status != nil {
		for _, listener := range status.Listeners {
			if strings.HasSuffix(listener, "//"+address) {
				c.OK, c.Detail = true, address+" is the platform's"
				return c
			}
		}
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		c.Detail = strings.TrimPrefix(err.Error(), "listen tcp ")
		c.Hint = "end what listens there (`ss -ltnp` shows it), or choose others with --https and --http"
		return c
	}
	listener.Close()
	c.OK, c.Detail = true, address+" is free"
	return c
}

// checkServer asks the platform. That none runs is no failure.
func (s *session) checkServer(ctx context.Context) (*api.Status, check) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c := check{Name: "server"}
	platform, err := s.platform()
	if err != nil {
		return nil, failedServer(c, err)
	}
	status, err := platform.Status(ctx)
	if err != nil {
		c.Essential = !isLocalAbsence(platform, err)
		return nil, failedServer(c, err)
	}
	c.OK, c.Detail = true, fmt.Sprintf("%s answers: tide %s, %s", platform.Where(), status.Version, status.Isolation)
	return &status, c
}

// isLocalAbsence tells that just no platform was started on this machine.
func isLocalAbsence(platform *client.Client, err error) bool {
	return springtide.KindOf(err) == springtide.Unavailable && strings.HasPrefix(platform.Where(), string(filepath.Separator))
}

func failedServer(c check, err error) check {
	c.Detail = err.Error()
	if told, ok := errors.AsType[*springtide.Error](err); ok {
		c.Detail, c.Hint = told.Message, told.Hint
	}
	return c
}
