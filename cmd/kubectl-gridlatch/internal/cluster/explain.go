package cluster

import (
	"cmp"
	"context"
	"maps"
	"math"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/answer"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// maxAlternatives bounds how many starts are shown that were not chosen.
	maxAlternatives = 2
	// minContribution is the least part of an intensity that is shown, in gCO2eq/kWh.
	minContribution = 0.05
)

// State says what Gridlatch does with work.
type State string

// The states of work.
const (
	Held       State = v1alpha1.StateHeld
	Released   State = v1alpha1.StateReleased
	Audited    State = v1alpha1.StateAudited
	NotHeld    State = "not-held"     // it asked to wait, and Gridlatch could not hold it
	Undecided  State = "undecided"    // it asks to wait, and Gridlatch has not decided
	NotOptedIn State = "not-opted-in" // it does not ask to wait
)

// Explanation says why work waits, and for how long.
type Explanation struct {
	Kind      Kind   `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Job is the Job that is decided on for a pod, empty if the pod is decided on by itself.
	Job    string `json:"job,omitempty"`
	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"`
	// HeldBy says what holds the work: gate, suspend or kueue.
	HeldBy  string            `json:"heldBy,omitempty"`
	Pods    int               `json:"pods,omitempty"`
	Policy  string            `json:"policy,omitempty"`
	Asked   map[string]string `json:"asked,omitempty"`
	Created time.Time         `json:"created"`
	// Started is when the first pod was given a node.
	Started      *time.Time `json:"started,omitempty"`
	PlannedStart *time.Time `json:"plannedStart,omitempty"`
	LatestStart  *time.Time `json:"latestStart,omitempty"`
	// OverdueSince is when the work should have started, nil if the work is not overdue.
	OverdueSince *time.Time `json:"overdueSince,omitempty"`
	// Refused says why the API server refuses the release, in the words of the API server.
	Refused string `json:"refused,omitempty"`
	// Controller says whether somebody is there to release the work.
	Controller *Controller `json:"controller,omitempty"`
	Duration   string      `json:"duration,omitempty"`
	// AtCreation is the intensity of a start at creation in gCO2eq/kWh, times the power factor
	// there.
	AtCreation *float64 `json:"intensityAtCreation,omitempty"`
	Location   string   `json:"location,omitempty"`
	// Origin says where the intensities come from; nil if the forecast does not say.
	Origin *forecast.Origin `json:"origin,omitempty"`
	// Attribution is the sentence that the licence of the data demands.
	Attribution string `json:"attribution,omitempty"`
	// Basis says which data the windows come from.
	Basis forecast.Basis `json:"basis,omitempty"`
	// Learned says that the windows are corrected by what the controller has learned.
	Learned bool            `json:"learned"`
	Windows []answer.Window `json:"windows,omitempty"`
	Signals []Signal        `json:"signals,omitempty"`
	// Pausing is nil for work that may not be paused.
	Pausing *Pausing `json:"pausing,omitempty"`
	// Widths is nil for work that may not run wider.
	Widths *Widths `json:"widths,omitempty"`

	Now time.Time `json:"-"`
	// Expected are the intensities that the windows rest on, empty if nothing is known.
	Expected *forecast.Series `json:"-"`
	// Run is the duration.
	Run      time.Duration `json:"-"`
	Warnings []string      `json:"-"`
}

// Signal is a part of the intensity that is predicted for the planned start.
type Signal struct {
	Signal    string  `json:"signal"`
	Intensity float64 `json:"intensity"`
}

// Explain finds out why a pod, a Job or what else is held whole waits.
func (c *Cluster) Explain(ctx context.Context, o client.Object) (*Explanation, error) {
	x := &Explanation{
		Kind: WorkOf(o).Kind, Namespace: o.GetNamespace(), Name: o.GetName(), Created: o.GetCreationTimestamp().UTC(), Now: c.Now,
	}
	head, err := c.head(ctx, x, o)
	if err != nil {
		return nil, err
	}
	x.read(head)
	if x.State == Held || x.State == Undecided {
		found, err := c.Controller(ctx)
		if err != nil {
			return nil, err
		}
		x.Controller = &found
	}
	if job, ok := head.(*batchv1.Job); x.State == Held && (!ok || !hold.AwaitsResume(job)) {
		if err := c.predict(ctx, x, head); err != nil {
			return nil, err
		}
	} else if err := c.follow(ctx, x, head); err != nil {
		return nil, err
	}
	if x.OverdueSince != nil {
		x.Refused = c.refusal(ctx, o, head)
	}
	x.warnOfController()
	return x, nil
}

// refusal returns why the API server refuses to have one of some objects released. The controller
// says so in an Event. The reason is empty if there is no such Event.
func (c *Cluster) refusal(ctx context.Context, objects ...client.Object) string {
	for _, o := range objects {
		var list corev1.EventList
		about := client.MatchingFields{"involvedObject.uid": string(o.GetUID())}
		if err := c.API.List(ctx, &list, client.InNamespace(o.GetNamespace()), about); err != nil {
			return ""
		}
		for i := range list.Items {
			if list.Items[i].Reason == v1alpha1.EventRefused {
				return list.Items[i].Message
			}
		}
	}
	return ""
}

// head returns the object that is decided on for an object, and notes when the work has started.
func (c *Cluster) head(ctx context.Context, x *Explanation, o client.Object) (client.Object, error) {
	switch o := o.(type) {
	case *corev1.Pod:
		x.Started = scheduled(o)
		job, err := hold.ReadOwningJob(ctx, c.API, o)
		if err != nil {
			return nil, err
		}
		if job != nil && job.Labels[v1alpha1.StateLabel] != "" {
			x.Job = job.Name
			return job, nil
		}
	case *batchv1.Job:
		pods, err := hold.PodsOf(ctx, c.API, o)
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

// scheduled returns when a pod was given a node, nil if it has none.
func scheduled(pod *corev1.Pod) *time.Time {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionTrue {
			at := c.LastTransitionTime.UTC()
			return &at
		}
	}
	return nil
}

// read copies what the labels and annotations of an object say.
func (x *Explanation) read(head client.Object) {
	annotations := head.GetAnnotations()
	x.Reason, x.Policy = annotations[v1alpha1.ReasonAnnotation], annotations[v1alpha1.PolicyAnnotation]
	x.State = stateOf(head)
	if x.State != Held && x.State != Released {
		return
	}
	x.Location = annotations[v1alpha1.PlannedLocationAnnotation] // if the policy chooses between locations
	x.PlannedStart, x.LatestStart = instant(annotations[v1alpha1.PlannedStartAnnotation]), instant(annotations[v1alpha1.LatestStartAnnotation])
	if before, err := strconv.ParseFloat(annotations[v1alpha1.IntensityAtCreationAnnotation], 64); err == nil {
		x.AtCreation = answer.Known(before)
	}
	x.Asked = policy.AskAnnotations(head)
	maps.DeleteFunc(x.Asked, func(key, _ string) bool {
		return key == v1alpha1.DelayTolerantAnnotation || key == v1alpha1.PolicyAnnotation
	})
	if x.State == Held {
		x.HeldBy, x.Pods = v1alpha1.HoldByGate, 1
		if how := hold.HeldBy(annotations); how != "" {
			x.HeldBy = how
		}
		if owner, ok := hold.OwnerOf(head); ok {
			x.Pods = owner.Pods
		}
	}
}

func stateOf(o client.Object) State {
	asked := askedBy(o)
	asksToWait, state := asked[v1alpha1.DelayTolerantAnnotation] == "true", o.GetLabels()[v1alpha1.StateLabel]
	switch {
	case state == v1alpha1.StateHeld:
		return Held
	case state == v1alpha1.StateAudited:
		return Audited
	case asksToWait && o.GetAnnotations()[v1alpha1.OutcomeAnnotation] == v1alpha1.OutcomeNotHeld:
		return NotHeld
	case state == v1alpha1.StateReleased:
		return Released
	case asksToWait:
		return Undecided
	default:
		return NotOptedIn
	}
}

// askedBy returns the annotations by which an object asks.
func askedBy(o client.Object) map[string]string {
	switch o := o.(type) {
	case *batchv1.Job:
		return policy.JobAskAnnotations(o)
	case *corev1.Pod:
		return policy.PodAskAnnotations(o)
	default:
		return policy.AskAnnotations(o)
	}
}

// predict adds the controller's prediction of the grid, and the windows by that prediction.
func (c *Cluster) predict(ctx context.Context, x *Explanation, head client.Object) error {
	g, err := c.readGrid(ctx, x.Policy, c.Now, nil)
	if apierrors.IsForbidden(err) { // what the object says is known all the same
		x.Warnings = append(x.Warnings, err.Error())
		x.OverdueSince = overdueSince(c.Now, x.LatestStart, x.PlannedStart)
		return nil
	}
	if err != nil {
		return err
	}
	x.Warnings = append(x.Warnings, g.doubts()...)
	object := hold.WithProgress(head)
	task := g.policy.TaskOf(object)
	task.Held = true
	x.Run = task.Duration + restart(task)
	x.LatestStart, x.Duration, x.Pausing = &task.LatestStart, plan.FormatDuration(x.Run), waiting(object, task)
	x.OverdueSince = overdueSince(c.Now, x.LatestStart, x.PlannedStart)
	widths := widthsOf(head)
	if widths != nil {
		x.Widths = &widths.Widths
	}
	if g.problem == nil {
		x.plan(g, head, task, widths)
	}
	return nil
}

// plan adds the plan for work that waits, and what the plan rests on.
func (x *Explanation) plan(g *grid, head client.Object, task plan.Task, widths *jobWidths) {
	where := cmp.Or(x.Location, head.GetAnnotations()[v1alpha1.LocationAnnotation])
	decision := g.policy.Decide(g.snapshot, where, x.Now, task)
	if x.PlannedStart == nil { // the controller has not planned it yet
		where = decision.Location
	}
	x.expect(g, where)
	if x.Expected.IsEmpty() {
		return
	}
	if x.PlannedStart == nil {
		x.PlannedStart = &decision.Start
	}
	if x.Pausing != nil {
		x.Pausing.plan(decision)
	}
	if widths != nil {
		widths.planWaiting(g, where, x.Now, task)
	}
	x.Windows = append(x.windows(g.policy.Planner(g.snapshot, where, x.Now, task.LatestStart), task), g.elsewhere(x.Now, task, x.Location)...)
	answer.Compare(x.Windows)
	for _, part := range g.policy.Contributions(g.snapshot, where, x.Now, *x.PlannedStart) {
		if math.Abs(part.Intensity) >= minContribution {
			x.Signals = append(x.Signals, Signal{part.Feature, part.Intensity})
		}
	}
}

// expect adds what is expected of the grid at a location.
func (x *Explanation) expect(g *grid, where string) {
	expected, published := g.policy.Predict(g.snapshot, where, x.Now)
	x.Basis, x.Learned, x.Location = expected.Basis, g.isLearned, published.Location
	if details := published.Details; details.Origin != (forecast.Origin{}) {
		x.Origin, x.Attribution = &details.Origin, details.Attribution
	}
	if !expected.Series.IsEmpty() {
		x.Expected = expected.Series
	}
}

// windows returns the planned start and the starts that it was chosen from, in the location of a
// planner.
func (x *Explanation) windows(planner *plan.Planner, task plan.Task) []answer.Window {
	powerFactor, planned := task.PowerFactor(x.Location), *x.PlannedStart
	expect := func(name string, start time.Time) answer.Window {
		return answer.Expect(name, x.Expected, start, x.Run, powerFactor)
	}
	var windows []answer.Window
	if x.AtCreation != nil && !x.Pausing.IsPaused() { // the others are compared with the first
		windows = append(windows, answer.NewWindow(answer.AtCreation, x.Created, task.Duration, *x.AtCreation, 1))
	}
	windows = append(windows, expect(answer.AtOnce, x.Now))
	if latest := task.LatestStart; x.Pausing.HasPauses() { // the runs are shown by themselves
		if latest.After(x.Now) {
			windows = append(windows, expect(answer.LatestStart, latest))
		}
		return windows
	}
	if planned.After(x.Now) {
		windows = append(windows, expect(answer.Planned, planned))
	}
	for _, a := range planner.Alternatives(task, planned, maxAlternatives) {
		windows = append(windows, answer.NewWindow(answer.Alternative, a.Start, x.Run, a.Intensity, powerFactor))
	}
	if latest := task.LatestStart; latest.After(x.Now) && !latest.Equal(planned) {
		windows = append(windows, expect(answer.LatestStart, latest))
	}
	return windows
}

// warnOfController warns if the work is overdue, or nobody seems to be there to release it.
func (x *Explanation) warnOfController() {
	switch {
	case x.Controller == nil:
	case x.Controller.Problem != "":
		x.Warnings = append(x.Warnings, x.Controller.Problem)
	case x.OverdueSince == nil:
	case x.Refused != "":
		x.Warnings = append(x.Warnings, "the work should have started: the controller runs, but the API server refuses to have the work released")
	case x.Controller.State == ControllerUnknown:
		x.Warnings = append(x.Warnings, "the work should have started: is the controller running?")
	default:
		x.Warnings = append(x.Warnings, "the work should have started: the controller runs, but has not released it")
	}
}
