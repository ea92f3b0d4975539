package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/render"
)

type releaseFlags struct {
	connection    connection
	all           bool
	allNamespaces bool
}

func newRelease(e env) *cobra.Command {
	f := &releaseFlags{}
	cmd := &cobra.Command{
		Use:   "release KIND NAME... | --all (-n NAMESPACE | -A)",
		Short: "Let held work start now",
		Long: `Release held work: it starts now, whatever is planned. This works without a controller,
too. All pods of a Job are released together.

` + kindsOfWork() + `

With --all, all work is released that is held now, in one namespace or in the whole
cluster. Work that is created later waits as before. What could not be released is
listed. In the whole cluster, when no replica of Gridlatch runs, the finalizers of
Gridlatch are removed, too, so that Gridlatch can be deleted.`,
		Example: `  # One Job
  kubectl gridlatch release job nightly-report

  # A Job and a pod of another namespace
  kubectl gridlatch release job/nightly-report pod/backup -n batch

  # All that is held in a namespace, or in the cluster
  kubectl gridlatch release --all -n batch
  kubectl gridlatch release --all --all-namespaces`,
		ValidArgsFunction: completeWork(e, &f.connection, v1alpha1.StateHeld, true),
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), e, args) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&f.all, "all", false, "release all held work of the namespace, or of all namespaces")
	flags.BoolVarP(&f.allNamespaces, "all-namespaces", "A", false, "with --all: in all namespaces")
	f.connection.bind(flags)
	return cmd
}

func (f *releaseFlags) run(ctx context.Context, e env, args []string) error {
	if f.all || f.allNamespaces {
		return f.releaseAll(ctx, e, args)
	}
	all, err := parseWork(args)
	if err != nil {
		return err
	}
	c, err := e.connect(f.connection)
	if err != nil {
		return err
	}
	return c.ForEach(ctx, all, func(o client.Object) error {
		pods, err := c.Release(ctx, o)
		if err == nil {
			e.stdout.Printf("%s released, %s\n", cluster.WorkOf(o), render.Count(pods, "pod"))
		}
		return err
	})
}

func (f *releaseFlags) releaseAll(ctx context.Context, e env, args []string) error {
	namespace := f.connection.namespace()
	switch {
	case !f.all:
		return usageError{errors.New("--all-namespaces needs --all")}
	case len(args) > 0:
		return usageError{errors.New("want either --all, or names")}
	case (namespace == "") == !f.allNamespaces:
		return usageError{errors.New("--all: want either a namespace with -n, or --all-namespaces")}
	}
	c, err := e.connect(f.connection)
	if err != nil {
		return err
	}
	progress := e.progress("releasing")
	released, err := c.ReleaseAll(ctx, namespace, progress.Count)
	progress.End()
	e.stdout.Printf("released %s\n", render.Count(released, "pod"))
	if err != nil || !f.allNamespaces {
		return err
	}
	unprotected, err := c.LetDeletionsEnd(ctx)
	if unprotected > 0 {
		e.stdout.Printf("removed the finalizer of Gridlatch from %s: no replica of Gridlatch runs\n", render.Count(unprotected, "object"))
	}
	return err
}
