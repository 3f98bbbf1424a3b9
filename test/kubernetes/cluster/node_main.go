package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// nodeArgument has a test's binary be a node, see [Main].
const nodeArgument = "kubernetes-node"

// nodePlaces are the folders of a node's disk, by their name in its folder.
var nodePlaces = map[string]string{
	"kubelet": "/var/lib/kubelet", "containerd": "/var/lib/containerd", "cni": "/var/lib/cni",
	"pods-log": "/var/log/pods", "containers-log": "/var/log/containers", "net.d": "/etc/cni/net.d",
}

// kernelSettings are what a kubelet sets on its machine. It is shown files that
// hold them already, so that this machine's own are never written.
var kernelSettings = map[string]string{"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}

// Main makes the process a node if it was started as one, and then does not return.
// A test's TestMain calls it first.
func Main() {
	if len(os.Args) != 3 || os.Args[1] != nodeArgument {
		return
	}
	fmt.Fprintln(os.Stderr, runNode(os.Args[2]))
	os.Exit(1)
}

// runNode is PID 1 of a node: when it dies the kernel ends everything on it.
func runNode(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var order nodeOrder
	if err := json.Unmarshal(text, &order); err != nil {
		return err
	}
	if err := order.mount(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(nodeName(order.Number))); err != nil {
		return err
	}
	const socket = "/run/containerd/containerd.sock"
	if err := order.run("containerd", "/usr/bin/containerd", "--config", order.path("containerd.toml")); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	err = errors.Join(
		order.run("kubelet", order.Server, "kubelet", "--config="+order.path("kubelet.yaml"), "--kubeconfig="+order.Config,
			"--hostname-override="+nodeName(order.Number), "--node-ip="+nodeAddress(order.Number), "--root-dir=/var/lib/kubelet"),
		order.run("kube-proxy", order.Server, "kube-proxy", "--config="+order.path("kube-proxy.yaml")),
		order.run("policies", order.Policies, order.PoliciesConfig, nodeName(order.Number)),
	)
	if err != nil {
		return err
	}
	for { // the orphans of a node come here
		if _, err := syscall.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("nothing runs on the node any more: %w", err)
		}
	}
}

// mount gives the node its own disk, processes and kernel settings.
func (o *nodeOrder) mount() error {
	failed := []error{
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""),
		unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"),
	}
	for name, place := range nodePlaces {
		failed = append(failed, os.MkdirAll(place, 0o755), unix.Mount(o.path(name), place, "", unix.MS_BIND, ""))
	}
	for name, value := range kernelSettings {
		file := filepath.Join("/run", filepath.Base(name))
		failed = append(failed, os.WriteFile(file, []byte(value+"\n"), 0o644), unix.Mount(file, "/proc/sys/"+name, "", unix.MS_BIND, ""))
	}
	return errors.Join(failed...)
}

// run starts a program of the node.
func (o *nodeOrder) run(name, program string, arguments ...string) error {
	log, err := os.OpenFile(filepath.Join(o.Log, nodeName(o.Number)+"-"+name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	process, err := os.StartProcess(program, append([]string{program}, arguments...), &os.ProcAttr{
		Files: []*os.File{nil, log, log},
		Env:   append(os.Environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return process.Release()
}
