// Command gridlatch-node runs a real Kubernetes node on this machine, for tests that install Gridlatch into a cluster:
// kubelet, containerd, runc and a network for pods, in Linux namespaces of its own. See package machine.
package main

import (
	"os"

	"github.com/gridlatch/gridlatch/test/node/machine"
)

func main() {
	os.Exit(machine.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
