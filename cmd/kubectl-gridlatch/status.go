package main

import (
	"context"

	"github.com/spf13/cobra"
)

type statusFlags struct {
	connection connection
	output     string
}

func newStatus(e env) *cobra.Command {
	f := &statusFlags{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the grid now, what is held, and what starts next",
		Long: `Show for each CarbonPolicy the carbon intensity of its locations now, how old the
forecast is, and how well Gridlatch knows the grid. Show how much work is held,
how much runs, and how much starts in which hour. What should have started
already, and whether a controller runs, comes first. With Karpenter, show the
limits and weights that Gridlatch has set on NodePools, why, and until when.
With Cluster Autoscaler, show the order of the node groups in the same way.

The whole cluster is shown, or one namespace if -n names one.`,
		Example: `  # The whole cluster
  kubectl gridlatch status

  # One namespace, for a program
  kubectl gridlatch status -n batch -o json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), e) },
	}
	cmd.Flags().SortFlags = false
	bindOutput(cmd, &f.output)
	f.connection.bind(cmd.Flags())
	return cmd
}

func (f *statusFlags) run(ctx context.Context, e env) error {
	if err := wantOutput(f.output, "yaml"); err != nil {
		return err
	}
	c, err := e.connect(f.connection)
	if err != nil {
		return err
	}
	s, err := c.Status(ctx, f.connection.namespace())
	if err != nil {
		return err
	}
	e.warn(s.Warnings)
	if f.output != "" {
		return e.print(f.output, s)
	}
	e.page().Status(s)
	return nil
}
