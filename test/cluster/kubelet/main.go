// Command kubelet is the kubelet of the real node on which the tests install Gridlatch. It is a command of its own, so
// that the local cluster of `make demo`, whose nodes are simulated, stays small.
package main

import (
	"context"
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	os.Exit(cli.Run(app.NewKubeletCommand(context.Background())))
}
