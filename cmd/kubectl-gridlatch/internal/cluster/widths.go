package cluster

import (
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/answer"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// Widths says how many pods a Job runs at once that may run wider.
type Widths struct {
	// Now is the spec.parallelism in force.
	Now int `json:"now"`
	// Least and Most are what the Job asks for.
	Least int `json:"least"`
	Most  int `json:"most"`
	// Own is the spec.parallelism that comes back, nil if the one in force is the Job's own.
	Own *int `json:"own,omitempty"`
	// IsTaken says that somebody else has set the spec.parallelism.
	IsTaken bool `json:"taken,omitempty"`
	// Steps are the planned widths, ascending; none if the Job has its own width.
	Steps []Step `json:"steps,omitempty"`
	// Saved is what the widths save against the least width from now on.
	Saved *float64 `json:"savedPercent,omitempty"`
}

// jobWidths are the widths of a Job, and what it asks for.
type jobWidths struct {
	Widths
	job *batchv1.Job
	ask policy.Ask
}

// widthsOf returns the widths of a Job that may run wider; nil for what may not.
func widthsOf(o client.Object) *jobWidths {
	job, ok := o.(*batchv1.Job)
	if !ok || job.Annotations[v1alpha1.ParallelismAnnotation] == "" || hasEnded(job) {
		return nil
	}
	ask, errs := policy.ParseAsk(policy.AskAnnotations(job), policy.WaitsSince(job), field.NewPath("metadata", "annotations"))
	if len(errs) > 0 || ask.Widths == nil || ask.Interruptible || int(ptr.Deref(job.Spec.Completions, 0)) <= ask.Widths.Least {
		return nil
	}
	w := &jobWidths{Widths{Now: int(max(ptr.Deref(job.Spec.Parallelism, 1), 0)), Least: ask.Widths.Least, Most: ask.Widths.Most}, job, ask}
	if own, err := strconv.ParseInt(job.Annotations[v1alpha1.OriginalParallelismAnnotation], 10, 32); err == nil && own >= 0 {
		w.Own = ptr.To(int(own))
	}
	w.IsTaken = job.Annotations[v1alpha1.ParallelismReleasedAnnotation] == v1alpha1.ParallelismTaken
	return w
}

func hasEnded(job *batchv1.Job) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Status == "True" && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed)
	})
}

// plan adds the planned widths of a Job that runs at a width that Gridlatch has set. Nothing is planned for
// another one, or for nil.
func (w *jobWidths) plan(g *grid, where string, now time.Time) {
	if w != nil && w.Own != nil && !w.IsTaken {
		e := g.policy.ElasticOf(w.job, w.ask, w.Now)
		w.add(g.policy.Planner(g.snapshot, where, now, e.Finish).PlanWidths(e))
	}
}

// planWaiting adds the planned widths of a Job that waits.
func (w *jobWidths) planWaiting(g *grid, where string, now time.Time, task plan.Task) {
	e := plan.Elastic{
		Least: w.Least, Most: w.Most, Speedup: w.ask.Widths.Speedup, Remaining: task.Duration,
		Finish: task.LatestStart.Add(task.Duration), LatestStart: task.LatestStart, IsHeld: true,
	}
	w.add(g.policy.Planner(g.snapshot, where, now, e.Finish).PlanWidths(e))
}

func (w *jobWidths) add(p plan.WidthPlan) {
	if p.Cause == plan.CauseNoForecast || p.Cause == plan.CauseExempt {
		return // the width is then the Job's own, if that is enough
	}
	for _, step := range p.Steps {
		w.Steps = append(w.Steps, Step{Start: step.Start, End: step.End, Pods: step.Width, Intensity: answer.Known(step.Intensity)})
	}
	if p.EmittedFixed > 0 {
		w.Saved = answer.Known(100 * (1 - p.Emitted/p.EmittedFixed))
	}
}
