package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

type releaseFlags struct {
	cluster       connection
	all           bool
	allNamespaces bool
}

func newRelease(e env) *cobra.Command {
	f := &releaseFlags{}
	cmd := &cobra.Command{
		Use:   "release (job|pod) NAME... | --all (-n NAMESPACE | -A)",
		Short: "Let held work go now",
		Long: `Let held Jobs and pods go now, whatever is planned. It works without the
controller, too. All pods of a Job are released together.

--all releases all that is held now, in one namespace or in the cluster. What is
created afterwards waits as ever.`,
		Example: `  kubectl gridlatch release job nightly-report
  kubectl gridlatch release job/nightly-report pod/backup -n batch
  kubectl gridlatch release --all -n batch
  kubectl gridlatch release --all --all-namespaces`,
		ValidArgsFunction: completeWork(e, &f.cluster, v1alpha1.StateHeld, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), e, args)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&f.all, "all", false, "release all that is held, in the namespace or everywhere")
	flags.BoolVarP(&f.allNamespaces, "all-namespaces", "A", false, "with --all: in all namespaces")
	f.cluster.bind(flags)
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
	c, err := e.connect(f.cluster)
	if err != nil {
		return err
	}
	return c.forEach(ctx, all, func(o client.Object) error {
		pods, err := hold.Release(ctx, c, o, hold.ManualReleaseReason(c.now), c.now)
		if err != nil {
			return err
		}
		e.stdout.Printf("%s released, %s\n", nameOf(o), several(pods, "pod"))
		return nil
	})
}

func (f *releaseFlags) releaseAll(ctx context.Context, e env, args []string) error {
	namespace := f.cluster.overrides.Context.Namespace
	switch {
	case !f.all:
		return usageError{errors.New("--all-namespaces is for --all")}
	case len(args) > 0:
		return usageError{errors.New("want either --all, or names")}
	case (namespace == "") == !f.allNamespaces:
		return usageError{errors.New("--all: want either a namespace by -n, or --all-namespaces")}
	}
	c, err := e.connect(f.cluster)
	if err != nil {
		return err
	}
	shown := newCounter(e, "releasing")
	exit := hold.Exit{Client: c, Namespace: namespace, Reason: hold.ManualReleaseReason(c.now), Now: c.now, Progress: shown.show}
	released, err := exit.ReleaseAll(ctx)
	shown.end()
	e.stdout.Printf("released %s\n", several(released, "pod"))
	return err
}

// forEach finds objects and does something with each; one that fails does not stop the others.
func (c *cluster) forEach(ctx context.Context, all []work, do func(client.Object) error) error {
	var failed []error
	for _, w := range all {
		o, err := c.find(ctx, w)
		if err == nil {
			if err = do(o); err != nil {
				err = fmt.Errorf("%s: %w", nameOf(o), err)
			}
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

type holdFlags struct {
	cluster  connection
	deadline string
	policy   string
	force    bool
}

func newHold(e env) *cobra.Command {
	f := &holdFlags{}
	cmd := &cobra.Command{
		Use:   "hold [job] NAME...",
		Short: "Hold Jobs that exist already and have not started",
		Long: `Hold Jobs that exist already until the grid is clean: they are suspended, and
the controller resumes them as if they had been created with the annotation
gridlatch.dev/delay-tolerant. A Job is not held if starting at once is as good.

Only a Job that has not started should be held: suspending it kills its pods, so
that it is refused without --force once they run. A pod cannot be held by hand:
a scheduling gate can be put on it at its creation only.`,
		Example: `  kubectl gridlatch hold job nightly-report --deadline 8h
  kubectl gridlatch hold job/a job/b -n batch --policy nightly`,
		ValidArgsFunction: completeWork(e, &f.cluster, "", true),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), e, args)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.deadline, "deadline", "", "when it has to be finished: 8h from now, 2026-11-22T06:00:00Z, or '06:00 Europe/Berlin'\n"+
		"(default: the Job's own, or else it starts within the policy's maxDelay from now)")
	flags.StringVar(&f.policy, "policy", "", "CarbonPolicy to plan by (default: the Job's own, its namespace's, or default)")
	flags.BoolVar(&f.force, "force", false, "even if pods that run are killed, if somebody else has suspended it, or if no controller is there")
	f.cluster.bind(flags)
	return cmd
}

func (f *holdFlags) run(ctx context.Context, e env, args []string) error {
	all, err := parseWork(args)
	if err != nil {
		return err
	}
	var deadline time.Time
	if f.deadline != "" {
		if deadline, err = plan.ParseDeadline(f.deadline, e.now().UTC().Truncate(time.Second)); err != nil {
			return wrong("deadline", f.deadline, err)
		}
	}
	c, err := e.connect(f.cluster)
	if err != nil {
		return err
	}
	found, err := c.controller(ctx)
	if err == nil && found.Problem != "" {
		err = hold.NeedsForceError("nobody would let it go: " + found.Problem)
	}
	if err != nil && !f.force {
		return hint(err)
	}
	return c.forEach(ctx, all, func(o client.Object) error {
		job, ok := o.(*batchv1.Job)
		if !ok {
			return errors.New("a pod cannot be held by hand: a scheduling gate can be put on it at its creation only," +
				" by the annotation " + v1alpha1.DelayTolerantAnnotation + ": \"true\"")
		}
		return f.hold(ctx, e, c, job, deadline)
	})
}

func (f *holdFlags) hold(ctx context.Context, e env, c *cluster, job *batchv1.Job, deadline time.Time) error {
	name, err := f.policyOf(ctx, c, job)
	if err != nil {
		return err
	}
	o, err := c.look(ctx, name)
	if err != nil {
		return err
	}
	e.warn(o.warnings)
	err = hold.ManualHold{Policy: o.policy, Snapshot: o.book, Deadline: deadline, Force: f.force}.Apply(ctx, c, job, c.now)
	if apierrors.IsConflict(err) {
		return errors.New("it has just changed; look at it, and try again")
	}
	if err != nil {
		return hint(err)
	}
	e.stdout.Printf("%s held: %s\n", nameOf(job), job.Annotations[v1alpha1.ReasonAnnotation])
	return nil
}

// hint tells by which flag something is done all the same.
func hint(err error) error {
	if _, ok := errors.AsType[hold.NeedsForceError](err); ok {
		return fmt.Errorf("%w (--force does it all the same)", err)
	}
	return err
}

// policyOf is the policy that is asked for: by flag, by the Job, or by its namespace.
func (f *holdFlags) policyOf(ctx context.Context, c *cluster, job *batchv1.Job) (string, error) {
	if f.policy != "" {
		return f.policy, nil
	}
	if name := policy.JobAsk(&job.Spec.Template, job)[v1alpha1.PolicyAnnotation]; name != "" {
		return name, nil
	}
	namespace := namespaceMetadata()
	err := c.Get(ctx, types.NamespacedName{Name: job.Namespace}, namespace)
	if err != nil && !apierrors.IsForbidden(err) {
		return "", fmt.Errorf("read its namespace: %w", err)
	}
	return namespace.Annotations[v1alpha1.PolicyAnnotation], nil
}
