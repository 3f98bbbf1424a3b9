package process

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// listener is a listening TCP socket.
type listener struct {
	address netip.AddrPort
	inode   uint64
}

// listeners lists the listening sockets of the network namespace that the
// process lives in.
func listeners(pid int) []listener {
	var all []listener
	for _, name := range []string{"tcp", "tcp6"} {
		file, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "net", name))
		if err != nil {
			continue
		}
		found, _ := parseListeners(file)
		all = append(all, found...)
		file.Close()
	}
	return all
}

// parseListeners reads the kernel's table of TCP sockets.
func parseListeners(table io.Reader) ([]listener, error) {
	const listening = "0A"
	var found []listener
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		// sl local remote state queues timer retransmit uid timeout inode …
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != listening {
			continue
		}
		address, err := parseSocketAddress(fields[1])
		if err != nil {
			return found, err
		}
		inode, err := strconv.ParseUint(fields[9], 10, 64)
		if err != nil {
			return found, err
		}
		found = append(found, listener{address, inode})
	}
	return found, lines.Err()
}

// parseSocketAddress reads "0100007F:1F90": the address as words in the
// machine's byte order (all that Go runs Linux on here are little-endian), then
// the port.
func parseSocketAddress(text string) (netip.AddrPort, error) {
	address, portText, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(address)
	if err != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, fmt.Errorf("socket address %q", text)
	}
	for i := 0; i < len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	port, err := strconv.ParseUint(portText, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("socket address %q", text)
	}
	parsed, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(parsed.Unmap(), uint16(port)), nil
}

// ownListeners lists the listening sockets of an instance. In a shared network
// they are told from others by the processes that hold them.
func (e *Engine) ownListeners(s spec, pid int) []listener {
	all := listeners(pid)
	if s.Slot != 0 {
		return all
	}
	held := map[uint64]bool{}
	for _, pid := range processesOf(s.name()) {
		folder := filepath.Join("/proc", strconv.Itoa(pid), "fd")
		entries, _ := os.ReadDir(folder)
		for _, entry := range entries {
			target, _ := os.Readlink(filepath.Join(folder, entry.Name()))
			if number, ok := strings.CutPrefix(target, "socket:["); ok {
				inode, _ := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
				held[inode] = true
			}
		}
	}
	return slices.DeleteFunc(all, func(l listener) bool { return !held[l.inode] })
}

// explainListeners says why an instance that was to listen on the port cannot
// be reached there; empty if its sockets do not tell.
func explainListeners(found []listener, port int, ownNetwork bool) string {
	var others []string
	for _, l := range found {
		if int(l.address.Port()) == port {
			if ownNetwork && l.address.Addr().IsLoopback() {
				return fmt.Sprintf("listens on %s only; listen on 0.0.0.0 or $HOST", l.address)
			}
			return ""
		}
		others = append(others, strconv.Itoa(int(l.address.Port())))
	}
	if len(others) == 0 {
		return ""
	}
	slices.Sort(others)
	return fmt.Sprintf("listens on %s, not on $PORT (%d)", strings.Join(slices.Compact(others), " and "), port)
}

// processesOf finds the processes of an instance or task by their environment.
// Of other users' processes it sees nothing.
func processesOf(name string) []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		environment, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if err == nil && strings.Contains("\x00"+string(environment), "\x00"+nameVariable+"="+name+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// nameVariable is set in every process of an instance (to its ID) and of a task
// (to its folder's name).
const nameVariable = "TIDE_INSTANCE"

// name is the instance's ID or that of the task.
func (s spec) name() string {
	if s.Task != nil {
		return s.Task.ID
	}
	return string(s.Instance)
}

// key is a name that no instance and task share.
func (s spec) key() string {
	if s.Task != nil {
		return "task." + s.Task.ID
	}
	return string(s.Instance)
}
