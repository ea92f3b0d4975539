package cluster

import (
	"cmp"
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/answer"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// Pausing says how work that may be paused is to be done.
type Pausing struct {
	// Since is since when the work is paused, nil if it is not.
	Since *time.Time `json:"pausedSince,omitempty"`
	// Pauses is how often the work was paused.
	Pauses int `json:"pauses"`
	// Ran is how long the work has run, without restarts, empty if it has not.
	Ran string `json:"ran,omitempty"`
	// Remaining is how long the work has still to run, without restarts.
	Remaining string `json:"remaining"`
	// RestartCost is what the next resume costs.
	RestartCost string `json:"restartCost,omitempty"`
	// FinishBy is when the work must be done.
	FinishBy *time.Time `json:"finishBy,omitempty"`
	// Unpaused says why work that runs is not paused any more, empty if it may be paused.
	Unpaused string `json:"unpaused,omitempty"`
	// Runs are the planned runs, ascending. The first one of work that runs begins now.
	Runs []Step `json:"runs,omitempty"`
	// Saved is what the runs save against a run from now on without a break.
	Saved *float64 `json:"savedPercent,omitempty"`
}

// Step is a part of a plan.
type Step struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Pods is how many pods run, zero if the plan does not say.
	Pods int `json:"pods,omitempty"`
	// Intensity is the mean in gCO2eq/kWh, nil if unknown.
	Intensity *float64 `json:"intensity"`
}

// HasPauses reports whether the work is planned in several runs.
func (p *Pausing) HasPauses() bool { return p != nil && len(p.Runs) > 1 }

// IsPaused reports whether the work waits after a run.
func (p *Pausing) IsPaused() bool { return p != nil && p.Since != nil }

// waiting says how work that may be paused stands while it waits; nil for other work.
func waiting(object metav1.Object, task plan.Task) *Pausing {
	if task.Pauses == nil {
		return nil
	}
	p := &Pausing{Remaining: plan.FormatDuration(task.Duration), RestartCost: plan.FormatDuration(task.Pauses.RestartCost)}
	finish := task.LatestStart.Add(task.Duration + restart(task))
	p.FinishBy = &finish
	if task.Pauses.State == plan.Paused {
		annotations := object.GetAnnotations()
		runs := policy.ReadRuns(annotations)
		p.Since, p.Pauses, p.Ran = instant(annotations[v1alpha1.PausedAnnotation]), runs.Pauses, plan.FormatDuration(runs.Ran)
		p.FinishBy = cmp.Or(instant(annotations[v1alpha1.FinishByAnnotation]), p.FinishBy)
	}
	return p
}

// restart returns what work pays that is paused before it goes on.
func restart(task plan.Task) time.Duration {
	if task.Pauses == nil || task.Pauses.State != plan.Paused {
		return 0
	}
	return max(task.Pauses.RestartCost, 0)
}

// plan adds the runs of a decision.
func (p *Pausing) plan(d plan.Decision) {
	for _, run := range d.Runs {
		p.Runs = append(p.Runs, Step{Start: run.Start, End: run.End, Intensity: answer.Known(run.Intensity)})
	}
	if len(p.Runs) > 1 {
		p.Saved = answer.Known(100 * d.Gain())
	}
}

// follow adds what is planned for work that has started: its runs, or its widths.
func (c *Cluster) follow(ctx context.Context, x *Explanation, head client.Object) error {
	object, widths := hold.WithProgress(head), widthsOf(head)
	owner, isOwner := hold.OwnerOf(head)
	mayPause := policy.ProgressOf(object) != nil && head.GetAnnotations()[v1alpha1.OutcomeAnnotation] == ""
	runs := x.State == Released && isOwner && !owner.IsSuspended
	if !runs || !mayPause && widths == nil {
		return nil
	}
	if widths != nil {
		x.Widths = &widths.Widths
	}
	g, err := c.readGrid(ctx, x.Policy, c.Now, nil)
	if apierrors.IsForbidden(err) { // what the object says is known all the same
		x.Warnings = append(x.Warnings, err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	x.Warnings = append(x.Warnings, g.doubts()...)
	where := g.policy.LocationOf(head.GetAnnotations())
	if mayPause {
		x.Pausing = g.running(object, where, c.Now)
	}
	if g.problem == nil {
		x.expect(g, where)
		widths.plan(g, where, c.Now)
	}
	return nil
}

// running says how work that may be paused stands while it runs; nil for work that was promised nothing.
func (g *grid) running(object metav1.Object, where string, now time.Time) *Pausing {
	task, isKnown := g.policy.RunningTaskOf(object, policy.RunBegan(object), now)
	if !isKnown {
		return nil
	}
	p := &Pausing{
		Pauses: task.PausedBefore, Ran: plan.FormatDuration(task.Done.Truncate(time.Second)), Remaining: plan.FormatDuration(task.Duration.Truncate(time.Second)),
		RestartCost: plan.FormatDuration(task.Pauses.RestartCost), FinishBy: &task.FinishBy, Unpaused: whyUnpaused(object, task, now),
	}
	if g.problem == nil && p.Unpaused == "" {
		p.plan(g.policy.Decide(g.snapshot, where, now, task.Task))
	}
	return p
}

// whyUnpaused says why work that runs is not paused now, whatever the grid does; empty if it may be.
func whyUnpaused(object metav1.Object, task policy.RunningTask, now time.Time) string {
	switch {
	case task.PausedBefore >= plan.MaxRuns-1:
		return "it has been paused as often as it may be"
	case !now.Before(task.ResumeBy()):
		return "there is no time left for a pause"
	case task.IsNearlyDone():
		return "too little is left of it"
	case policy.ProgressOf(object).Ready == 0:
		return "none of its pods is ready"
	default:
		return ""
	}
}
