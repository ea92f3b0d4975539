package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
	"github.com/gridlatch/gridlatch/plan"
)

// deadlineForms describes the values of --deadline.
const deadlineForms = "when the work must be finished: 8h (from now), 2026-11-22T06:00:00Z, or '06:00 Europe/Berlin'"

type holdFlags struct {
	connection connection
	deadline   string
	policy     string
	force      bool
}

func newHold(e env) *cobra.Command {
	f := &holdFlags{}
	cmd := &cobra.Command{
		Use:   "hold [job] NAME...",
		Short: "Hold Jobs that exist already and have not started",
		Long: `Hold Jobs that exist already until the grid is clean. Gridlatch suspends the Job, and
resumes it as if it had been created with the annotation
gridlatch.dev/delay-tolerant. A Job is not held if waiting would save nothing.

Suspending a Job deletes its pods. So a Job whose pods run already is held only with
--force. A pod cannot be held by hand: a scheduling gate can be put on a pod only when
the pod is created.`,
		Example: `  # Hold a Job that has to be finished within eight hours
  kubectl gridlatch hold job nightly-report --deadline 8h

  # Hold two Jobs by another policy
  kubectl gridlatch hold job/a job/b -n batch --policy nightly`,
		ValidArgsFunction: completeWork(e, &f.connection, "", true),
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), e, args) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.deadline, "deadline", "", deadlineForms+"\n"+
		"(default: that of the Job; without one, the Job starts within the policy's maxDelay from now)")
	flags.StringVar(&f.policy, "policy", "", "CarbonPolicy to plan by (default: that of the Job or of its namespace, or else \"default\")")
	flags.BoolVar(&f.force, "force", false, "hold even if running pods are deleted, if somebody else has suspended the Job,\nor if no controller is found that would resume it")
	f.connection.bind(flags)
	return cmd
}

func (f *holdFlags) run(ctx context.Context, e env, args []string) error {
	all, err := parseWork(args)
	if err != nil {
		return err
	}
	hold := cluster.Hold{Policy: f.policy, Force: f.force}
	if f.deadline != "" {
		if hold.Deadline, err = plan.ParseDeadline(f.deadline, e.now().UTC().Truncate(time.Second)); err != nil {
			return wrong("deadline", f.deadline, err)
		}
	}
	c, err := e.connect(f.connection)
	if err != nil {
		return err
	}
	if err := c.CheckController(ctx, hold); err != nil {
		return withForce(err)
	}
	return c.ForEach(ctx, all, func(o client.Object) error {
		reason, warnings, err := c.Hold(ctx, o, hold)
		e.warn(warnings)
		if err != nil {
			return withForce(err)
		}
		e.stdout.Printf("%s held: %s\n", cluster.WorkOf(o), reason)
		return nil
	})
}

// withForce adds to an error that --force does what was refused.
func withForce(err error) error {
	if cluster.NeedsForce(err) {
		return fmt.Errorf("%w (to hold it all the same: --force)", err)
	}
	return err
}
