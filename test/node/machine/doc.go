// Package machine runs a real Kubernetes node beside a cluster whose control plane runs on this machine: kubelet,
// containerd, runc and a bridge for the network of the pods. The node needs root and no registry.
//
// The node lives in namespaces of its own for processes, mounts, the network and the host name. So the kernel ends all
// of the node at once, when the first process in these namespaces ends, however it ends: containers, their shims, their
// mounts and their networks. That process ends when Run ends, and also when the process of Run is killed. Beyond the
// namespaces there are two things: the node's cgroups and the node's directory. Both are named after the process of Run.
// Run removes them at its end, and Run also removes what killed processes have left.
//
// The network of a node is one bridge:
//
//	this machine (HOST, .1) ── veth ── bridge br0 (the node, .2; the gateway of the pods) ── veth ── pods (.10 and on)
//
// Its subnet is 198.18.N.0/24, of the range that RFC 2544 keeps for tests. The name of the veth on this machine, which
// has N in it, can be taken only once, so that two nodes never share a subnet. The API server reaches pods and the
// kubelet at their addresses. Pods and the kubelet reach the API server through a forward: an address of the node, whose
// connections Run carries to an address of this machine. Nobody resolves names, there is no kube-proxy, and the pods of
// two nodes do not reach each other.
package machine
