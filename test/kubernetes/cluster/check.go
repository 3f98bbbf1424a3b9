package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Check tells in one line what this machine lacks for a cluster.
func Check() error {
	if os.Geteuid() != 0 {
		return errors.New("it needs root")
	}
	for _, program := range []string{"containerd", "containerd-shim-runc-v2", "runc", "iptables", "nft", "ip", "nsenter", "mount", "/usr/lib/cni/bridge", "/bin/busybox"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is missing: deploy/setup.sh test-kubernetes", program)
		}
	}
	if kernel, err := os.Open("/dev/kmsg"); err != nil {
		return fmt.Errorf("a kubelet needs the kernel's messages: %w", err)
	} else if err := kernel.Close(); err != nil {
		return err
	}
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return fmt.Errorf("namespaces of the network have no place: %w", err)
	}
	if err := within(nodeNamespaces, "true"); err != nil {
		return fmt.Errorf("namespaces are not allowed: %w", err)
	}
	for what, program := range map[string]string{
		"a bridge":                    "ip link add check type bridge",
		"a pair of links":             "ip link add check type veth peer name check-p",
		"translation of addresses":    "iptables -w -t nat -A POSTROUTING -m comment --comment check -j MASQUERADE",
		"a choice by chance":          "iptables -w -t nat -A OUTPUT -m statistic --mode random --probability 0.5 -j RETURN",
		"the tracking of connections": "iptables -w -t filter -A FORWARD -m conntrack --ctstate INVALID -j DROP",
		"marks of packets":            "iptables -w -t nat -A OUTPUT -j MARK --or-mark 0x4000",
		"a bridge that is filtered":   "cat /proc/sys/net/bridge/bridge-nf-call-iptables",
	} {
		if err := within(syscall.CLONE_NEWNET, strings.Fields(program)...); err != nil {
			return fmt.Errorf("the kernel, or what it has loaded, does not give %s: %w", what, err)
		}
	}
	if err := checkOverlay(); err != nil {
		return fmt.Errorf("images cannot be laid over each other in %s, which must not be on an overlay itself: %w", os.TempDir(), err)
	}
	own := mostNodes + os.Getpid() // others may look at the same time
	if err := errors.Join(makeGroups(own), clearGroups(own)); err != nil {
		return fmt.Errorf("control groups cannot be made: %w", err)
	}
	return nil
}

// within runs a program in namespaces of its own, which go with it.
func within(namespaces uintptr, arguments ...string) error {
	command := exec.Command(arguments[0], arguments[1:]...)
	const mounts = syscall.CLONE_NEWNS // unshared, they are made private too: this machine sees none of them
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces &^ mounts, Unshareflags: namespaces & mounts}
	if output, err := command.CombinedOutput(); err != nil {
		said, _, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
		return fmt.Errorf("%s: %w: %s", strings.Join(arguments, " "), err, said)
	}
	return nil
}

// checkOverlay mounts as a node does for each container.
func checkOverlay() error {
	folder, err := os.MkdirTemp("", "overlay")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	options := "lowerdir=" + folder + "/lower,upperdir=" + folder + "/upper,workdir=" + folder + "/work"
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			return err
		}
	}
	return within(syscall.CLONE_NEWNS, "mount", "-t", "overlay", "overlay", "-o", options, filepath.Join(folder, "merged"))
}
