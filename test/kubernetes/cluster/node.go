package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func nodeName(n int) string { return "node" + strconv.Itoa(n) }

// nodeNamespaces are those that a node has for itself, besides its network.
const nodeNamespaces = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS

// node is a machine of the cluster.
type node struct{ *process }

// nodeOrder tells the process that is a node what it is. It goes through a file.
type nodeOrder struct {
	Number int
	Folder string // the node's own
	Log    string // the cluster's
	Programs
	Config         string // the node's kubeconfig
	Proxy          string // kube-proxy's kubeconfig
	PoliciesConfig string // the kubeconfig of what holds to policies
}

// PowerOn starts node n, also one that was powered off: its disk is as it was.
func (c *Cluster) PowerOn(n int) error {
	if n < 1 || n > mostNodes {
		return fmt.Errorf("there is no node %d: 1 to %d", n, mostNodes)
	}
	if err := c.network.addNode(n); err != nil {
		return err
	}
	if err := errors.Join(clearGroups(n), makeGroups(n)); err != nil {
		return err
	}
	order := nodeOrder{
		Number: n, Folder: c.path(nodeName(n)), Log: c.path("log"), Programs: c.options.Programs,
		Config: c.credential(nodeName(n) + ".kubeconfig"), Proxy: c.credential("kube-proxy.kubeconfig"),
		PoliciesConfig: c.credential("policies.kubeconfig"),
	}
	if err := order.writeConfigs(c.credential("ca.crt")); err != nil {
		return err
	}
	text, err := json.Marshal(order)
	if err != nil {
		return err
	}
	path := filepath.Join(order.Folder, "order.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	started, err := begin(c.path("log", nodeName(n)+".log"), nodeNamespace(n), []string{executable, nodeArgument, path},
		nodeNamespaces)
	if err != nil {
		return fmt.Errorf("start node %d: %w", n, err)
	}
	c.nodes[n] = &node{started}
	return nil
}

// PowerOff takes a node's power: everything on it ends at once.
func (c *Cluster) PowerOff(n int) error {
	if c.nodes[n] == nil {
		return fmt.Errorf("node %d does not run", n)
	}
	if err := c.nodes[n].kill(); err != nil {
		return err
	}
	delete(c.nodes, n)
	return nil
}

// Cut parts a node from all others and from this machine.
func (c *Cluster) Cut(n int) error { return ip("-n " + fabric + " link set " + nodeLink(n) + " down") }

// Heal ends what Cut did.
func (c *Cluster) Heal(n int) error { return ip("-n " + fabric + " link set " + nodeLink(n) + " up") }

// writeConfigs writes what the programs of a node read.
func (o *nodeOrder) writeConfigs(authority string) error {
	for _, name := range append(nodeFolders(), "certs.d/"+Registry) {
		if err := os.MkdirAll(filepath.Join(o.Folder, name), 0o755); err != nil {
			return err
		}
	}
	hosts := fmt.Sprintf("[host.\"http://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", Registry)
	return errors.Join(
		o.write("certs.d/"+Registry+"/hosts.toml", hosts),
		o.write("containerd.toml", fmt.Sprintf(containerdConfig, o.path("certs.d"), pauseImage)),
		o.write("net.d/10-bridge.conflist", fmt.Sprintf(networkConfig, podNetwork(o.Number))),
		o.write("resolv.conf", "nameserver 127.0.0.1\n"),
		o.write("kubelet.yaml", fmt.Sprintf(kubeletConfig, nodeNamespace(o.Number), authority, nodeAddress(o.Number), o.path("resolv.conf"))),
		o.write("kube-proxy.yaml", fmt.Sprintf(proxyConfig, o.Proxy, nodeName(o.Number), nodeAddress(o.Number))),
	)
}

func (o *nodeOrder) path(name string) string { return filepath.Join(o.Folder, name) }

func (o *nodeOrder) write(name, text string) error {
	return os.WriteFile(o.path(name), []byte(text), 0o600)
}

// groupsRoot is where control groups are; in version 2 of them itself a group.
const groupsRoot = "/sys/fs/cgroup"

// groupFolders are a node's own roots in every hierarchy of control groups, so that
// two kubelets never see each other's pods.
func groupFolders(n int) (folders []string, err error) {
	if _, err := os.Stat(groupsRoot + "/cgroup.controllers"); err == nil {
		return []string{filepath.Join(groupsRoot, nodeNamespace(n))}, nil
	}
	entries, err := os.ReadDir(groupsRoot)
	for _, entry := range entries {
		if info, err := os.Stat(filepath.Join(groupsRoot, entry.Name(), "cgroup.procs")); err == nil && info.Mode().IsRegular() {
			folders = append(folders, filepath.Join(groupsRoot, entry.Name(), nodeNamespace(n)))
		}
	}
	return folders, err
}

// delegate has the groups of nodes be given, in version 2, all that a kubelet insists on.
func delegate() error {
	controllers, err := os.ReadFile(groupsRoot + "/cgroup.controllers")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // version 1
	}
	for name := range strings.FieldsSeq(string(controllers)) {
		if slices.Contains([]string{"cpu", "cpuset", "memory", "hugetlb", "pids"}, name) {
			err = errors.Join(err, os.WriteFile(groupsRoot+"/cgroup.subtree_control", []byte("+"+name), 0o644))
		}
	}
	return err
}

func makeGroups(n int) error {
	if err := delegate(); err != nil {
		return err
	}
	folders, err := groupFolders(n)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} { // in version 1 they begin empty
			path := filepath.Join(folder, name)
			value, err := os.ReadFile(filepath.Join(filepath.Dir(folder), name))
			if err != nil {
				continue // another hierarchy
			}
			if err := os.WriteFile(path, value, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// clearGroups removes what a node left: a stale group costs the next kubelet three
// seconds.
func clearGroups(n int) error {
	folders, err := groupFolders(n)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			err := removeTree(folder)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return err
			}
		}
	}
	return nil
}

// removeTree removes control groups from the leaves up.
func removeTree(folder string) error {
	var found []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			found = append(found, path)
		}
		return nil // what is gone meanwhile need not be removed
	})
	for i := len(found) - 1; i >= 0 && err == nil; i-- {
		if err = os.Remove(found[i]); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return err
}

// nodeFolders are the places that a node has for itself.
func nodeFolders() []string {
	var names []string
	for name := range nodePlaces {
		names = append(names, name)
	}
	return append(names, "certs.d")
}

// pauseImage is what the kernel objects of a pod hang on.
const pauseImage = Registry + "/pause:1"

// Programs of containers lose their score of being killed for want of memory, and
// no AppArmor is asked for, since a test machine may allow neither.
const containerdConfig = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
`

const networkConfig = `{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/var/lib/cni/networks"}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
`

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /%s
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %q}}
authorization: {mode: Webhook}
address: %s
healthzBindAddress: 127.0.0.1
failSwapOn: false
evictionHard: {memory.available: "100Mi", nodefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.available: "0%%", imagefs.inodesFree: "0%%"}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 2s
nodeStatusReportFrequency: 5s
nodeLeaseDurationSeconds: 4
syncFrequency: 10s
volumePluginDir: /var/lib/kubelet/volumeplugins
serializeImagePulls: false
maxPods: 60
clusterDNS: ["10.96.0.10"]
clusterDomain: cluster.local
resolvConf: %q
`

const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clientConnection: {kubeconfig: %q}
clusterCIDR: 10.244.0.0/16
hostnameOverride: %s
bindAddress: %s
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
iptables: {syncPeriod: 10s, minSyncPeriod: 0s}
`
