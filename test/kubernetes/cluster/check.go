package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Check tells in one line what this machine lacks for a cluster.
func Check() error {
	if os.Geteuid() != 0 {
		return errors.New("it needs root")
	}
	for _, program := range []string{"containerd", "containerd-shim-runc-v2", "runc", "iptables", "ip", "nsenter", "/usr/lib/cni/bridge"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is missing: deploy/setup.sh test-kubernetes", program)
		}
	}
	command := exec.Command("true")
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: nodeNamespaces | syscall.CLONE_NEWNET}
	if err := command.Run(); err != nil {
		return fmt.Errorf("namespaces are not allowed: %w", err)
	}
	if err := errors.Join(makeGroups(mostNodes), clearGroups(mostNodes)); err != nil {
		return fmt.Errorf("control groups cannot be made: %w", err)
	}
	return nil
}
