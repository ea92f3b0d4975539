package widen

import (
	"context"
	"fmt"
	"math"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// verdict is what is wanted of a Job at one moment.
type verdict struct {
	// width is what is wanted, 0 for the owner's own.
	width int
	// isPending says that it is too early for a verdict, or that nothing is to be changed. The Job is
	// left as it is.
	isPending bool
	// isLimited says that the width is below a ceiling.
	isLimited bool
	// isHeld says that the Job waits. Its reason belongs to the loop then.
	isHeld bool
	// mayChange is when a width that the grid has set may change again. isLate reports whether the
	// work would be late if it ran at a width until then.
	mayChange func(since time.Time) time.Time
	isLate    func(width int, until time.Time) bool
	// left is how many completions are left to do. More pods than that do not run.
	left int
	override.Sentence
	// until is when to look again, zero if that is not needed.
	until time.Time
}

// own returns the verdict that the owner's own width is wanted.
func own(why, detail string) verdict {
	return verdict{Sentence: override.Sentence{Reason: why, Detail: detail}}
}

// rules returns the policy of a Job. Without one, it returns the verdict.
func (c *Controller) rules(ctx context.Context, w *work) (rules *policy.Policy, v verdict, err error) {
	rules, err = c.Policies.Get(ctx, w.policy())
	if apierrors.IsNotFound(err) {
		return nil, own("CarbonPolicy "+w.policy()+" does not exist", ""), nil
	}
	return rules, v, err
}

// judge returns the verdict on a Job that lends its width.
func (c *Controller) judge(ctx context.Context, w *work, rules *policy.Policy, now time.Time) (verdict, error) {
	c.sources.Store(nameOf(w), rules.Source)
	audits, _ := policy.IsAuditedNamespace(ctx, c.Policies.Reader, w.Namespace) // the webhook tells of a bad label
	switch {
	case audits || rules.IsAudit():
		v := own("it is audited", "")
		v.until = now.Add(DefaultInterval)
		return v, nil
	case w.isHeld():
		return verdict{width: w.ask.Widths.Least, isHeld: true, until: now.Add(DefaultInterval)}, nil
	case w.isSuspended():
		return verdict{isPending: true}, nil // it runs no pods, and its owner decides when it does
	}
	return c.plan(w, rules, now)
}

// plan returns the verdict on a Job that runs.
func (c *Controller) plan(w *work, rules *policy.Policy, now time.Time) (verdict, error) {
	snapshot := c.Store.Snapshot(rules.Source)
	if until := c.tooEarlyUntil(snapshot, w, now); !until.IsZero() {
		return verdict{isPending: true, until: until}, nil
	}
	location, e := rules.LocationOf(w.Annotations), w.elastic(rules)
	planned, err := c.planWidths(rules, snapshot, location, w, e, now)
	if err != nil {
		return verdict{}, err
	}
	all, succeeded := policy.CompletionsOf(w.job)
	v := verdict{width: planned.Steps[0].Width, left: all - succeeded, isLimited: rules.HasBuckets(), until: now.Add(c.Options.lookInterval())}
	if next := planned.Steps[0].End; len(planned.Steps) > 1 && next.After(now) && next.Before(v.until) {
		v.until = next
	}
	expected, _ := rules.Predict(snapshot, location, now)
	v.mayChange = func(since time.Time) time.Time { return mayChange(expected.Series, since, c.Options.Interval) }
	v.isLate = func(width int, until time.Time) bool { return isLate(e, width, until, e.Most, now) }
	isUnknown := planned.Cause == plan.CauseNoForecast || planned.Cause == plan.CauseExempt
	if isUnknown && !isLate(e, w.original(), now, w.original(), now) {
		v.width, v.Reason = 0, tellCause(planned.Cause, e)
		return v, nil
	}
	v.Reason, v.Detail = tellCause(planned.Cause, e), tellPlan(planned, now)
	return v, nil
}

// planWidths plans a Job, below the ceilings of its policy if there are any.
func (c *Controller) planWidths(rules *policy.Policy, snapshot *forecast.Snapshot, location string, w *work, e plan.Elastic, now time.Time) (plan.WidthPlan, error) {
	planner := rules.Planner(snapshot, location, now, e.Finish)
	if !rules.HasBuckets() {
		return planner.PlanWidths(e), nil
	}
	running, err := c.Work.Beside(rules, location, w.UID, c.expected(w.UID, now))
	if err != nil {
		return plan.WidthPlan{}, err
	}
	return planner.Fleet(rules.Buckets(), running).PlanWidths(e), nil
}

// tooEarlyUntil returns when it can be said that there is no forecast; zero if it can be said now, or if
// there is one. What is in force outlives a start for a while: the exporter deletes its ConfigMap for
// half a minute at every refresh.
func (c *Controller) tooEarlyUntil(snapshot *forecast.Snapshot, w *work, now time.Time) time.Time {
	graceEnd := c.started.Add(startGrace)
	switch {
	case !snapshot.IsKnown():
		return now.Add(time.Second)
	case !snapshot.HasForecast() && w.hasNotes() && now.Before(graceEnd):
		return graceEnd
	default:
		return time.Time{}
	}
}

// mayChange returns from when on a width may change that was set at since: in the next slot, and not
// before an interval is over.
func mayChange(expected *forecast.Series, since time.Time, interval time.Duration) time.Time {
	if interval == 0 {
		return since
	}
	earliest := since.Add(interval)
	if next, ok := expected.NextBoundary(since); ok && next.After(earliest) {
		return next
	}
	return earliest
}

// isLate reports whether work would be late that ran at a width until some time, and at another one from
// then on.
func isLate(e plan.Elastic, width int, until time.Time, then int, now time.Time) bool {
	work := e.Remaining.Seconds()*e.Speedup.At(e.Least) - e.Speedup.At(width)*until.Sub(now).Seconds()
	return e.Speedup.At(then)*e.Finish.Sub(until).Seconds() < work
}

// tellCause says why the work has its width.
func tellCause(cause plan.Cause, e plan.Elastic) string {
	switch cause {
	case plan.CauseWide:
		return "this time is among the cleanest in which it can run"
	case plan.CauseNarrow:
		return "it has cleaner time to come, or needs no more pods"
	case plan.CauseNoSlack:
		return "it needs these pods to be done by " + plan.FormatTime(e.Finish)
	case plan.CauseNoRoom:
		return "there is no room for more below the ceiling"
	case plan.CauseSmallGain:
		return "another width would save too little"
	case plan.CauseNoForecast:
		return "there is no usable forecast"
	case plan.CauseExempt:
		return "carbon does not count, by an exemption of the policy"
	default:
		return "by its plan: " + string(cause)
	}
}

// tellPlan says what comes after the present width.
func tellPlan(p plan.WidthPlan, now time.Time) string {
	text := "planned at " + plan.FormatTime(now)
	if intensity := p.Steps[0].Intensity; !math.IsNaN(intensity) {
		text += fmt.Sprintf(", at %.0f gCO2eq/kWh", intensity)
	}
	if len(p.Steps) > 1 {
		text += fmt.Sprintf("; %d pods from %s on", p.Steps[1].Width, plan.FormatTime(p.Steps[1].Start))
	}
	text += "; done at " + plan.FormatTime(p.End())
	if saved := 1 - p.Emitted/p.EmittedFixed; saved > 0.005 && !math.IsInf(saved, 0) {
		text += fmt.Sprintf(", and saves %.0f %% of what the least width would emit from now on", 100*saved)
	}
	return text
}
