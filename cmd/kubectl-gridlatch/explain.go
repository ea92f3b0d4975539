package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
)

type explainFlags struct {
	connection  connection
	output      string
	withSignals bool
}

func newExplain(e env) *cobra.Command {
	f := &explainFlags{}
	cmd := &cobra.Command{
		Use:   "explain KIND NAME",
		Short: "Show why work waits, until when, and what the wait saves",
		Long: `Show why work waits and until when, what the wait saves against starting when the
work was created, which other starts there are, and the forecast with the planned run
in it. For work that has started, show when it started, and why then. For work that may be
paused, or run wider, show the planned runs or widths, also while it runs.

` + kindsOfWork() + `

Gridlatch decides once for all pods of a Job: for a pod of a Job, the decision
for the Job is shown.`,
		Example: `  # Why does this Job wait?
  kubectl gridlatch explain job nightly-report

  # The same, with what the prediction is made of
  kubectl gridlatch explain pod/nightly-report-x7k2p -n batch --signals

  # For a program
  kubectl gridlatch explain job nightly-report -o yaml`,
		ValidArgsFunction: completeWork(e, &f.connection, v1alpha1.StateHeld, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := parseWork(args)
			if err == nil && len(all) > 1 {
				err = usageError{errors.New("want one Job, pod or other object")}
			}
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), e, all[0])
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVarP(&f.withSignals, "signals", "v", false, "show what the prediction for the planned start is made of")
	bindOutput(cmd, &f.output)
	f.connection.bind(flags)
	return cmd
}

func (f *explainFlags) run(ctx context.Context, e env, w cluster.Work) error {
	if err := wantOutput(f.output, "yaml"); err != nil {
		return err
	}
	c, err := e.connect(f.connection)
	if err != nil {
		return err
	}
	o, err := c.Find(ctx, w)
	if err != nil {
		return err
	}
	x, err := c.Explain(ctx, o)
	if err != nil {
		return err
	}
	if !f.withSignals {
		x.Signals = nil
	}
	e.warn(x.Warnings)
	if f.output != "" {
		return e.print(f.output, x)
	}
	e.page().Explanation(x)
	return nil
}
