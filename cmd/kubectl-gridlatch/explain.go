package main

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// The states of work, as they are explained.
const (
	stateHeld     = v1alpha1.StateHeld
	stateReleased = v1alpha1.StateReleased
	stateNotHeld  = "not-held"  // it asked for it, and cannot be
	stateUnseen   = "undecided" // it asked for it, and nobody has answered
	stateForeign  = "not-opted-in"
)

// An explanation is what there is to say of a Job or a pod.
type explanation struct {
	Kind      kind   `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Job is the one whose decision is that of the pod.
	Job    string `json:"job,omitempty"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// HeldBy is what holds it: gate, suspend or kueue.
	HeldBy  string            `json:"heldBy,omitempty"`
	Pods    int               `json:"pods,omitempty"`
	Policy  string            `json:"policy,omitempty"`
	Asked   map[string]string `json:"asked,omitempty"`
	Created time.Time         `json:"created"`
	// Started is when its first pod was given a node.
	Started      *time.Time `json:"started,omitempty"`
	PlannedStart *time.Time `json:"plannedStart,omitempty"`
	LatestStart  *time.Time `json:"latestStart,omitempty"`
	// OverdueSince is when it should have started, if it is held still.
	OverdueSince *time.Time `json:"overdueSince,omitempty"`
	// Refused is why the API server would not have it released, in its words.
	Refused string `json:"refused,omitempty"`
	// Controller is whether somebody is there to let it go.
	Controller *controller `json:"controller,omitempty"`
	Duration   string      `json:"duration,omitempty"`
	// AtCreation is the intensity that starting at creation would have had, in gCO2eq/kWh, times the power factor there.
	AtCreation *float64 `json:"intensityAtCreation,omitempty"`
	Location   string   `json:"location,omitempty"`
	// Basis is what the windows rest on. Learned says that this is what the controller has learned, too.
	Basis   forecast.Basis `json:"basis,omitempty"`
	Learned bool           `json:"learned"`
	Windows []window       `json:"windows,omitempty"`
	Signals []contribution `json:"signals,omitempty"`

	now      time.Time
	series   *forecast.Series
	duration time.Duration
	warnings []string
}

// A contribution is a part of the intensity that is predicted for the planned start.
type contribution struct {
	Signal    string  `json:"signal"`
	Intensity float64 `json:"intensity"`
}

type explainFlags struct {
	cluster connection
	output  string
	signals bool
}

func newExplain(e env) *cobra.Command {
	f := &explainFlags{}
	cmd := &cobra.Command{
		Use:   "explain (job|pod) NAME",
		Short: "Show why work waits, until when, and what that saves",
		Long: `Show why a Job or a pod waits, until when, what that saves against starting when
it was created, what the alternatives are, and the forecast with the planned run
in it. Of work that has been let go, show when it was, and why.

All pods of a Job are one decision: for a pod of a held Job, the Job is explained.`,
		Example: `  kubectl gridlatch explain job nightly-report
  kubectl gridlatch explain pod/nightly-report-x7k2p -n batch --signals
  kubectl gridlatch explain job nightly-report -o yaml`,
		ValidArgsFunction: completeWork(e, &f.cluster, v1alpha1.StateHeld, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := parseWork(args)
			if err == nil && len(all) > 1 {
				err = usageError{errors.New("want one Job or pod")}
			}
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), e, all[0])
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVarP(&f.signals, "signals", "v", false, "show what the prediction for the planned start is made of")
	bindOutput(cmd, &f.output)
	f.cluster.bind(flags)
	return cmd
}

func (f *explainFlags) run(ctx context.Context, e env, w work) error {
	if err := wantOutput(f.output, "yaml"); err != nil {
		return err
	}
	c, err := e.connect(f.cluster)
	if err != nil {
		return err
	}
	o, err := c.find(ctx, w)
	if err != nil {
		return err
	}
	x, err := c.explain(ctx, o)
	if err != nil {
		return err
	}
	if !f.signals {
		x.Signals = nil
	}
	e.warn(x.warnings)
	if f.output != "" {
		return e.print(f.output, x)
	}
	x.writeText(e)
	return nil
}

// explain finds out what there is to say of an object.
func (c *cluster) explain(ctx context.Context, o client.Object) (*explanation, error) {
	x := &explanation{
		Kind: nameOf(o).kind, Namespace: o.GetNamespace(), Name: o.GetName(), Created: o.GetCreationTimestamp().UTC(), now: c.now,
	}
	head, err := c.head(ctx, x, o)
	if err != nil {
		return nil, err
	}
	x.read(head)
	if x.State == stateHeld || x.State == stateUnseen {
		found, err := c.controller(ctx)
		if err != nil {
			return nil, err
		}
		x.Controller = &found
	}
	if job, ok := head.(*batchv1.Job); x.State == stateHeld && (!ok || !hold.AwaitsResume(job)) {
		if err := c.foresee(ctx, x, head); err != nil {
			return nil, err
		}
	}
	if x.OverdueSince != nil {
		x.Refused = c.refusedFor(ctx, o, head)
	}
	x.warnOfController()
	return x, nil
}

// refusedFor returns why the API server would not have an object, or the one that it is decided on with, released: the
// controller says so in an Event. It is empty if that is not known.
func (c *cluster) refusedFor(ctx context.Context, all ...client.Object) string {
	for _, o := range all {
		var list corev1.EventList
		of := client.MatchingFields{"involvedObject.uid": string(o.GetUID())}
		if err := c.List(ctx, &list, client.InNamespace(o.GetNamespace()), of); err != nil {
			return ""
		}
		for i := range list.Items {
			if list.Items[i].Reason == gating.EventRefused {
				return list.Items[i].Message
			}
		}
	}
	return ""
}

// head returns the object that an object is decided on with, and notes when it has started.
func (c *cluster) head(ctx context.Context, x *explanation, o client.Object) (client.Object, error) {
	switch o := o.(type) {
	case *corev1.Pod:
		x.Started = scheduled(o)
		job, err := hold.ReadOwningJob(ctx, c, o)
		if err != nil {
			return nil, err
		}
		if job != nil && job.Labels[v1alpha1.StateLabel] != "" {
			x.Job = job.Name
			return job, nil
		}
	case *batchv1.Job:
		pods, err := hold.PodsOf(ctx, c, o)
		if err != nil {
			return nil, err
		}
		for i := range pods {
			if at := scheduled(&pods[i]); at != nil && (x.Started == nil || at.Before(*x.Started)) {
				x.Started = at
			}
		}
	}
	return o, nil
}

// scheduled is when a pod was given a node, nil if it was not.
func scheduled(pod *corev1.Pod) *time.Time {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionTrue {
			at := c.LastTransitionTime.UTC()
			return &at
		}
	}
	return nil
}

// read takes up what the object that is decided on says.
func (x *explanation) read(head client.Object) {
	annotations := head.GetAnnotations()
	x.Reason, x.Policy = annotations[v1alpha1.ReasonAnnotation], annotations[v1alpha1.PolicyAnnotation]
	x.State = stateOf(head)
	if x.State != stateHeld && x.State != stateReleased {
		return
	}
	x.Location = annotations[v1alpha1.PlannedLocationAnnotation] // if the policy chooses
	x.PlannedStart, x.LatestStart = instant(annotations[v1alpha1.PlannedStartAnnotation]), instant(annotations[v1alpha1.LatestStartAnnotation])
	if before, err := strconv.ParseFloat(annotations[v1alpha1.IntensityAtCreationAnnotation], 64); err == nil {
		x.AtCreation = known(before)
	}
	x.Asked = policy.Asked(head)
	maps.DeleteFunc(x.Asked, func(key, _ string) bool {
		return key == v1alpha1.DelayTolerantAnnotation || key == v1alpha1.PolicyAnnotation
	})
	if x.State == stateHeld {
		x.HeldBy, x.Pods = v1alpha1.HoldByGate, 1
		if how := annotations[v1alpha1.HeldByAnnotation]; how != "" {
			x.HeldBy = how
		}
		if job, ok := head.(*batchv1.Job); ok {
			x.Pods = hold.PodsToRun(job)
		}
	}
}

func stateOf(o client.Object) string {
	state, annotations := o.GetLabels()[v1alpha1.StateLabel], o.GetAnnotations()
	asked := policy.Asked(o)
	if job, ok := o.(*batchv1.Job); ok {
		asked = policy.JobAsk(&job.Spec.Template, job)
	}
	switch {
	case annotations[v1alpha1.OutcomeAnnotation] == v1alpha1.OutcomeNotHeld && asked[v1alpha1.DelayTolerantAnnotation] == "true":
		return stateNotHeld
	case state == stateHeld || state == stateReleased:
		return state
	case asked[v1alpha1.DelayTolerantAnnotation] == "true":
		return stateUnseen
	default:
		return stateForeign
	}
}

// instant reads what Gridlatch has written, nil if there is nothing.
func instant(text string) *time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil
	}
	t = t.UTC()
	return &t
}

// foresee adds what is expected of the grid, as the controller does.
func (c *cluster) foresee(ctx context.Context, x *explanation, head client.Object) error {
	o, err := c.look(ctx, x.Policy)
	if apierrors.IsForbidden(err) { // what it says itself is known all the same
		x.warnings = append(x.warnings, err.Error())
		x.OverdueSince = overdueSince(c.now, x.LatestStart, x.PlannedStart)
		return nil
	}
	if err != nil {
		return err
	}
	x.warnings = append(x.warnings, o.warnings...)
	task := o.policy.TaskOf(head)
	task.Held = true
	x.LatestStart, x.duration, x.Duration = &task.LatestStart, task.Duration, plan.FormatDuration(task.Duration)
	x.OverdueSince = overdueSince(c.now, x.LatestStart, x.PlannedStart)
	if o.book == nil {
		return nil
	}
	where := cmp.Or(x.Location, head.GetAnnotations()[v1alpha1.LocationAnnotation])
	decision := o.policy.Decide(o.book, where, c.now, task)
	if x.PlannedStart == nil { // it is not planned yet
		where = decision.Location
	}
	expected, rests := o.policy.Predict(o.book, where, c.now)
	x.Basis, x.Learned, x.Location = expected.Basis, o.learned, rests.Location
	if expected.Series.IsEmpty() {
		return nil
	}
	if x.PlannedStart == nil {
		x.PlannedStart = &decision.Start
	}
	x.series = expected.Series
	if x.AtCreation != nil { // what the others are compared with
		x.Windows = []window{newWindow("at creation", x.Created, x.duration, x.AtCreation, 1)}
	}
	x.Windows = append(x.Windows, windows(x.series, c.now, *x.PlannedStart, *x.LatestStart, x.duration, task.PowerFactor(x.Location))...)
	x.Windows = append(x.Windows, elsewhere(o.policy, o.book, c.now, task, x.Location)...)
	compare(x.Windows)
	for _, part := range o.policy.Contributions(o.book, where, c.now, *x.PlannedStart) {
		if math.Abs(part.Intensity) >= 0.05 {
			x.Signals = append(x.Signals, contribution{part.Feature, part.Intensity})
		}
	}
	return nil
}

// warnOfController warns if nobody seems to be there to let it go.
func (x *explanation) warnOfController() {
	switch {
	case x.Controller == nil:
	case x.Controller.Problem != "":
		x.warnings = append(x.warnings, x.Controller.Problem)
	case x.OverdueSince == nil:
	case x.Refused != "":
		x.warnings = append(x.warnings, "it should have started: the controller runs, and the API server refuses to have it let go")
	case x.Controller.State == controllerUnknown:
		x.warnings = append(x.warnings, "it should have started: is the controller running?")
	default:
		x.warnings = append(x.warnings, "it should have started: the controller runs, and has not let it go")
	}
}
