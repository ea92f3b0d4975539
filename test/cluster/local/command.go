package local

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const help = `gridlatch-cluster runs a real Kubernetes control plane with simulated nodes on this machine.
It needs no container runtime, no network and no root, and is ready in a few seconds.

  gridlatch-cluster up   --dir DIR [--nodes N]   start a cluster in the background, return when it is ready
  gridlatch-cluster down --dir DIR               stop it and remove DIR
  gridlatch-cluster run  --dir DIR [--nodes N]   the same in the foreground, until Ctrl-C

  gridlatch-cluster kubectl ...                  kubectl; DIR/bin/kubectl is the same
  gridlatch-cluster etcd | kube-apiserver | kube-controller-manager | kube-scheduler | kwok ...
                                                 the components themselves; --help tells their flags

For example:

  gridlatch-cluster up --dir .cluster --nodes 3 --node-labels topology.kubernetes.io/region=westeurope:swedencentral
  export KUBECONFIG=$PWD/.cluster/kubeconfig PATH=$PWD/.cluster/bin:$PATH
  kubectl create job hello --image=any -- true && kubectl get pods --watch
  gridlatch-cluster down --dir .cluster

No container runs: KWOK plays the part of the kubelets. A scheduled pod is Running at once. A Job's pod succeeds after
1s, or after what its annotation kwok.gridlatch.dev/run-for says (such as 5s), and fails with exit code 1 if it is
annotated kwok.gridlatch.dev/fail: "true". Any other pod runs until it is deleted, unless it has one of these.

Flags of up and run:
  --dir DIR                the cluster's files: kubeconfig, logs, ready (exists once the cluster is ready)
  --nodes N                how many nodes, node-0 and on, of 64 CPUs, 256Gi and 1000 pods each (default 1)
  --node-labels K=V,...    labels of the nodes; K=V:W deals V and W out in turn
  --scheduler-config FILE  a KubeSchedulerConfiguration, e.g. with an extender; the connection is filled in
  --quick-autoscaler       the HorizontalPodAutoscalers look every second, not every 15, and scale down without a wait
                           of 5 minutes; what a HorizontalPodAutoscaler says of itself counts as ever
  --timeout DURATION       how long to wait for the cluster to be ready (default 2m)
  --until-eof              (run only) stop when stdin ends, so that the cluster cannot outlive who started it; until
                           then, each line of stdin disturbs a component: kill, start, pause or resume NAME
`

// Main runs the command line "up", "down" or "run" and returns the exit code: 0 for success, 1 for failure, 2 for a
// command that makes no sense.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	switch name {
	case "", "help", "-h", "--help":
		fmt.Fprint(stdout, help)
		return 0
	case "run", "up", "down":
	default:
		fmt.Fprintf(stderr, "unknown command %q; see gridlatch-cluster --help\n", name)
		return 2
	}
	o, untilEOF, err := parse(name, args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, help)
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v; see gridlatch-cluster --help\n", name, err)
		return 2
	}
	o.Progress = stderr
	if untilEOF {
		disturbances := make(chan string)
		o.Disturbances = disturbances
		go func() {
			readLines(ctx, stdin, disturbances)
			cancel()
		}()
	}
	if err := execute(ctx, name, o, stdout); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

// readLines sends each line of a reader until the reader or ctx ends.
func readLines(ctx context.Context, from io.Reader, lines chan<- string) {
	for scanner := bufio.NewScanner(from); scanner.Scan(); { // an error is an end, too
		select {
		case lines <- scanner.Text():
		case <-ctx.Done():
			return
		}
	}
}

func parse(name string, args []string) (o Options, untilEOF bool, err error) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.Dir, "dir", "", "")
	var labels string
	if name != "down" {
		flags.IntVar(&o.Nodes, "nodes", 1, "")
		flags.StringVar(&labels, "node-labels", "", "")
		flags.StringVar(&o.SchedulerConfig, "scheduler-config", "", "")
		flags.BoolVar(&o.QuickAutoscaler, "quick-autoscaler", false, "")
		flags.DurationVar(&o.Timeout, "timeout", 2*time.Minute, "")
	}
	if name == "run" {
		flags.BoolVar(&untilEOF, "until-eof", false, "")
	}
	if err := flags.Parse(args); err != nil {
		return o, false, err
	}
	switch {
	case flags.NArg() > 0:
		return o, false, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.Dir == "":
		return o, false, errors.New("--dir is required")
	case o.Nodes < 0:
		return o, false, errors.New("--nodes is negative")
	}
	if o.Labels, err = ParseNodeLabels(labels); err != nil {
		return o, false, err
	}
	if o.SchedulerConfig != "" {
		// A detached supervisor has a directory of its own.
		if o.SchedulerConfig, err = filepath.Abs(o.SchedulerConfig); err != nil {
			return o, false, err
		}
	}
	o.Binary, err = os.Executable()
	return o, untilEOF, err
}

func execute(ctx context.Context, name string, o Options, stdout io.Writer) error {
	switch name {
	case "run":
		return Run(ctx, o)
	case "up":
		if err := Up(ctx, o); err != nil {
			return err
		}
		d, err := open(o.Dir)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "export KUBECONFIG=%s\nexport PATH=%s:$PATH\n", d.kubeconfig(), d.file("bin"))
		return nil
	}
	stopped, err := Down(o.Dir)
	switch {
	case err != nil:
		return err
	case stopped:
		fmt.Fprintf(stdout, "cluster in %s stopped, directory removed\n", o.Dir)
	default:
		fmt.Fprintf(stdout, "no cluster is running in %s\n", o.Dir)
	}
	return nil
}
