package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	fabric      = "tidek" // the namespace of the control plane, and the beginning of all names here
	bridge      = "tidek-br"
	machineLink = "tidek-root"
	mostNodes   = 9
)

func nodeNamespace(n int) string { return fabric + strconv.Itoa(n) }
func nodeAddress(n int) string   { return fmt.Sprint("10.200.0.", 10+n) }
func podNetwork(n int) string    { return fmt.Sprintf("10.244.%d.0/24", n) }
func nodeLink(n int) string      { return nodeNamespace(n) + "-p" }

// network is the namespaces and links of a cluster.
type network struct{}

func ip(arguments string) error {
	output, err := exec.Command("ip", strings.Fields(arguments)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", arguments, err, output)
	}
	return nil
}

func all(commands ...string) error {
	for _, command := range commands {
		if err := ip(command); err != nil {
			return err
		}
	}
	return nil
}

// makeFabric makes the control plane's namespace with the bridge, and this
// machine's leg on it.
func (network) makeFabric() error {
	return all(
		"netns add "+fabric,
		"-n "+fabric+" link set lo up",
		"-n "+fabric+" link add "+bridge+" type bridge",
		"-n "+fabric+" addr add "+controlAddress+"/24 dev "+bridge,
		"-n "+fabric+" link set "+bridge+" up",
		"link add "+machineLink+" type veth peer name "+machineLink+"-p netns "+fabric,
		"-n "+fabric+" link set "+machineLink+"-p master "+bridge+" up",
		"addr add "+machineAddress+"/24 dev "+machineLink,
		"link set "+machineLink+" up",
	)
}

// addNode makes a node's namespace and routes. The machine reaches its pods, and
// services by way of the first node.
func (network) addNode(n int) error {
	namespace, address := nodeNamespace(n), nodeAddress(n)
	if _, err := os.Stat("/run/netns/" + namespace); err == nil {
		return nil
	}
	commands := []string{
		"netns add " + namespace,
		"-n " + namespace + " link set lo up",
		"link add " + nodeLink(n) + " netns " + fabric + " type veth peer name eth0 netns " + namespace,
		"-n " + fabric + " link set " + nodeLink(n) + " master " + bridge + " up",
		"-n " + namespace + " addr add " + address + "/24 dev eth0",
		"-n " + namespace + " link set eth0 up",
		"-n " + fabric + " route replace " + podNetwork(n) + " via " + address,
		"route replace " + podNetwork(n) + " via " + address,
		"-n " + namespace + " route replace default via " + controlAddress,
	}
	if n == 1 {
		commands = append(commands, "route replace "+services+" via "+address)
	}
	for other := 1; other <= mostNodes; other++ {
		if other != n {
			commands = append(commands, "-n "+namespace+" route replace "+podNetwork(other)+" via "+nodeAddress(other))
		}
	}
	if err := all(commands...); err != nil {
		return err
	}
	output, err := exec.Command("nsenter", "--net=/run/netns/"+namespace, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables").CombinedOutput()
	if err != nil {
		return fmt.Errorf("let node %d forward: %w: %s", n, err, output)
	}
	return nil
}

// clear removes everything of a cluster, also of one whose test was killed.
func (network) clear() error {
	namespaces, err := filepath.Glob("/run/netns/" + fabric + "*")
	if err != nil {
		return err
	}
	var failed []error
	// It goes first: with its namespace it would go by itself, at any moment.
	if _, err := os.Stat("/sys/class/net/" + machineLink); err == nil {
		failed = append(failed, ip("link del "+machineLink))
	}
	for _, path := range namespaces {
		name := filepath.Base(path)
		if err := killWithin(name); err != nil {
			failed = append(failed, err)
			continue
		}
		failed = append(failed, ip("netns del "+name))
	}
	for n := 1; n <= mostNodes; n++ {
		failed = append(failed, clearGroups(n))
	}
	return errors.Join(failed...)
}

// killWithin ends every process in a network namespace.
func killWithin(namespace string) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		output, err := exec.Command("ip", "netns", "pids", namespace).Output()
		if err != nil {
			return fmt.Errorf("list the processes in %s: %w", namespace, err)
		}
		pids := strings.Fields(string(output))
		if len(pids) == 0 {
			return nil
		}
		for _, text := range pids {
			if pid, err := strconv.Atoi(text); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	return fmt.Errorf("the processes in %s do not end", namespace)
}
