package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/gridlatch/gridlatch/ceiling"
	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/gating/widen"
	"github.com/gridlatch/gridlatch/leaving"
	"github.com/gridlatch/gridlatch/nodegroup"
	"github.com/gridlatch/gridlatch/nodepool"
	"github.com/gridlatch/gridlatch/trigger/trust"
)

// leavingTime is how long a process that ends may take to leave. Together with shutdownTime, it is less
// than the terminationGracePeriodSeconds of the Deployment.
const leavingTime, shutdownTime = 95 * time.Second, 20 * time.Second

// releaseAll releases all held work, and gives all overrides back. It removes the finalizers if no replica
// runs. A replica that runs holds work again later, and removes the finalizers itself when Gridlatch is
// removed.
func releaseAll(ctx context.Context, args []string) error {
	var kubeconfig, namespace, deployment, kedaNamespace string
	var all bool
	f := pflag.NewFlagSet("gridlatch release", pflag.ContinueOnError)
	f.StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig file; empty: the service account of the pod")
	f.StringVar(&namespace, "namespace", ownNamespace(), "namespace of Gridlatch's own objects")
	f.StringVar(&deployment, "deployment", name, "name of the Deployment whose pods run Gridlatch")
	f.StringVar(&kedaNamespace, "keda-namespace", "keda", "namespace of KEDA, where Gridlatch has written its CA")
	f.BoolVar(&all, "all", false, "release every held pod in the cluster, and remove every ceiling, and give every NodePool its limits, weight and prices back, and give the node groups of Cluster Autoscaler their priorities back, and give every Job its parallelism back; if no replica of Gridlatch is ready, also remove every finalizer of Gridlatch")
	if err := f.Parse(args); err != nil {
		return usageError{err}
	}
	if !all || f.NArg() > 0 {
		return usageError{errors.New("release: want --all, and nothing else")}
	}
	config, err := restConfig(kubeconfig)
	if err != nil {
		return err
	}
	config.WarningHandler = rest.NewWarningWriter(screen.New(os.Stderr, false).Lines(), rest.WarningWriterOptions{Deduplicate: true})
	installation, err := newInstallation(config, namespace, deployment, kedaNamespace)
	if err != nil {
		return err
	}
	done, err := installation.ReleaseAll(ctx, "released by hand: gridlatch release --all")
	printReleased(done)
	if err != nil {
		return err
	}
	ready, err := installation.ReadyReplicas(ctx)
	if err != nil || ready > 0 {
		return err
	}
	return installation.Unprotect(ctx)
}

// printReleased tells what a release of everything has done.
func printReleased(done leaving.Released) {
	fmt.Printf("released %d pods\n", done.Pods)
	if len(done.Forbidden) > 0 { // a component that is not installed
		fmt.Printf("left out %s, which this account may not list\n", strings.Join(done.Forbidden, ", "))
	}
	if n := done.Overrides[ceiling.Component]; n > 0 {
		fmt.Printf("gave %d objects of KEDA their maxReplicaCount and their triggers back\n", n)
	}
	if n := done.Overrides[nodepool.Component]; n > 0 {
		fmt.Printf("gave %d NodePools of Karpenter their limits, weights and prices back\n", n)
	}
	if n := done.Overrides[nodegroup.Component]; n > 0 {
		fmt.Printf("gave %d ConfigMaps of Cluster Autoscaler their priorities back\n", n)
	}
	if n := done.Overrides[widen.Component]; n > 0 {
		fmt.Printf("gave %d Jobs their parallelism back\n", n)
	}
}

// newInstallation returns the installation in a namespace. What KEDA needed to trust the scaler goes after the
// triggers have been given back, and also if some could not be: the scaler goes in any case.
func newInstallation(config *rest.Config, namespace, deployment, kedaNamespace string) (*leaving.Installation, error) {
	c, err := client.New(config, client.Options{})
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	restore := func(ctx context.Context, c client.Client, now time.Time) (int, error) {
		restored, err := ceiling.Restore(ctx, c, now)
		return restored, errors.Join(err, trust.Remove(ctx, c, kedaNamespace))
	}
	return &leaving.Installation{
		Config: config, Client: c, Namespace: namespace, Deployment: deployment, Clock: clock.RealClock{},
		Components: append(leaving.EngineComponents(), ceiling.Component, nodepool.Component, nodegroup.Component),
		Overrides: []leaving.Override{
			{Component: ceiling.Component, Restore: restore},
			{Component: nodepool.Component, Restore: nodepool.Restore},
			{Component: widen.Component, Restore: widen.Restore},
			{Component: nodegroup.Component, Restore: nodegroup.Restore},
		},
	}, nil
}

// addKeeper adds the keeper, which notices that Gridlatch is being removed. The keeper is nil if
// Gridlatch runs elsewhere than in a Deployment.
func addKeeper(mgr ctrl.Manager, o *options, config *rest.Config, clientset kubernetes.Interface) (*leaving.Keeper, error) {
	if o.deployment == "" {
		return nil, nil
	}
	installation, err := newInstallation(config, o.namespace, o.deployment, o.scaler.kedaNamespace)
	if err != nil {
		return nil, err
	}
	identity, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name this replica: %w", err)
	}
	keeper := leaving.NewKeeper(*installation, clientset, fmt.Sprintf("%s-%d", identity, os.Getpid()), mgr.Elected(), metrics.Registry)
	if err := mgr.Add(keeper); err != nil {
		return nil, fmt.Errorf("add to manager: %w", err)
	}
	return keeper, nil
}

// runThenLeave runs the manager, and leaves at the end if Gridlatch is being removed.
func runThenLeave(ctx context.Context, mgr ctrl.Manager, keeper *leaving.Keeper) error {
	err := mgr.Start(ctx)
	if keeper == nil || ctx.Err() == nil { // has failed
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leavingTime)
	defer cancel()
	return errors.Join(err, keeper.LeaveAtEnd(ctrl.LoggerInto(ctx, ctrl.Log.WithName("leaving"))))
}
