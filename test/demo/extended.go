package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/test/env"
)

const settingUp = 3 * time.Minute

// threeGrids is a policy for the three nodes of the cluster.
//
//go:embed three-grids.yaml
var threeGrids string

const next = `The scheduler of this cluster asks Gridlatch for the cleanest node. node-0 is in the west, node-1 north, node-2 east;
the west is cleanest for two hours, then the east.

  export KUBECONFIG=$PWD/%[1]s PATH=$PWD/%[2]s/bin:$PATH
  kubectl describe carbonpolicy default                      the three grids
  kubectl replace --force -f test/demo/go-where-clean.yaml   a Job that may wait, but has no time to
  kubectl get pods -o wide                                   its pods are on node-0
  kubectl label node node-2 gridlatch.dev/power-factor=0.1   the east gets by on a tenth of the power: once more
  less %[3]s                           what Gridlatch logs
  make down                                                  stop it all, leave nothing behind
`

// extended starts a cluster whose scheduler asks Gridlatch, and Gridlatch to answer it.
func extended(ctx context.Context, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, settingUp)
	defer cancel()
	dir, err := os.MkdirTemp("", "gridlatch-extender-")
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	defer os.RemoveAll(dir) // each side has its own copy
	x, err := env.NewExtender(dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, "starting the cluster in "+clusterDir)
	output, err := up(ctx, "--node-labels", "topology.kubernetes.io/region=west:north:east", "--scheduler-config", x.Config)
	if err != nil {
		return err
	}
	if strings.Contains(output, "is up already") {
		return fmt.Errorf("a cluster is up already in %s, whose scheduler has its configuration: make down first", clusterDir)
	}
	c, err := attach()
	if err != nil {
		return err
	}
	if err := c.GiveCA(ctx, x); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "starting Gridlatch")
	if _, err := replaceController(ctx, c, x.Flag()); err != nil {
		return err
	}
	if _, err := c.KubectlInput(ctx, threeGrids, "apply", "-f", "-"); err != nil {
		return err
	}
	now := time.Now().Add(-time.Minute)
	elements := env.Elements("west", now, time.Hour, 120, 120, 450, 450)
	elements = append(elements, env.Elements("north", now, time.Hour, 300, 300, 300, 300)...)
	elements = append(elements, env.Elements("east", now, time.Hour, 450, 450, 120, 120)...)
	if err := c.Forecast(ctx, elements...); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "\n"+next, kubeconfig, clusterDir, controllerLog)
	return err
}
