// Package cluster runs a real Kubernetes on this machine, for tests: etcd, the API
// server, the controllers, the scheduler, and up to nine nodes, each with its own
// kubelet, containerd and kube-proxy, and with a stand-in for what holds pods to the
// policies of the network. No image is pulled from anywhere: images are
// made here and served by a registry of the cluster's own.
//
//	this machine (registry) ─────┐
//	                             │ bridge, in the network namespace tidek (10.200.0.0/24)
//	etcd, API server, … ─────────┤
//	node 1 (namespace tidek1) ───┤  pods 10.244.1.0/24
//	node 2 (namespace tidek2) ───┘  pods 10.244.2.0/24
//
// A node is one process, PID 1 of namespaces of its own, with everything that runs
// on the node below it, so that the machine loses it as it would lose power
// ([Cluster.PowerOff]); a partition is its link taken down ([Cluster.Cut]). One
// cluster runs at a time: [Start] waits for its turn, and removes what one that was
// killed left.
//
// It needs root, containerd, runc, containernetworking-plugins, iptables and nftables, and
// about a gigabyte of memory for two nodes.
package cluster
