package policy

import (
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// TaskOf returns the task of held work. The annotations of the work say what the work asks for, and
// what was expected and promised at admission. The latest start is never later than promised. If an
// annotation cannot be read, the work starts now unless a latest start was promised. If the policy
// does not exist any more, the promise applies. The task of paused work is about what is left of it.
func (p *Policy) TaskOf(object metav1.Object) plan.Task {
	task, ask, _ := p.taskAndAsk(object)
	if task.Pauses != nil && IsPaused(object) {
		p.pausedTask(&task, object, ask)
	}
	return task
}

// taskAndAsk returns the task of the whole work, whether it has started or not, what the work asks
// for, and whether all that it asks for can be read.
func (p *Policy) taskAndAsk(object metav1.Object) (task plan.Task, ask Ask, isReadable bool) {
	annotations, created, hasRun := object.GetAnnotations(), WaitsSince(object), false
	if ProgressOf(object) != nil { // who resumes it is Gridlatch
		created = object.GetCreationTimestamp().Time
		hasRun = !ReadRuns(annotations).FinishBy.IsZero()
	}
	ask, errs := ParseAsk(annotations, created, field.NewPath("metadata", "annotations"))
	ask.Interruptible = ask.Interruptible && ProgressOf(object) != nil
	if expected := annotations[v1alpha1.ExpectedDurationAnnotation]; len(expected) <= MaxValue {
		ask.EarlierRuns.Median, _ = plan.ParseDuration(expected) // zero if there is none
	}
	promised, noPromise := time.Parse(time.RFC3339, annotations[v1alpha1.LatestStartAnnotation])
	next, err := time.Parse(time.RFC3339, annotations[v1alpha1.NextRunAnnotation])
	if err == nil && promised.Before(next) { // a later promise was made by hand, and counts
		ask.NextRun = next.UTC()
	}
	ask.Candidates = annotations[v1alpha1.CandidateLocationsAnnotation]
	task = p.Task(ask, created)
	task.PlannedLocation = annotations[v1alpha1.PlannedLocationAnnotation]
	task.ID = TaskID(object, object.GetUID())
	task.PlannedStart, _ = time.Parse(time.RFC3339, annotations[v1alpha1.PlannedStartAnnotation]) // zero if there is none
	if !hasRun {                                                                                  // else the promise is about what was left at the pause
		p.keepPromise(&task, promised, noPromise == nil, len(errs) == 0, created)
	}
	return task, ask, len(errs) == 0
}

// keepPromise makes a task start no later than promised. Without a readable promise, work whose ask
// cannot be read starts now.
func (p *Policy) keepPromise(task *plan.Task, promised time.Time, isPromised, isReadable bool, created time.Time) {
	switch {
	case isPromised && (!isReadable || p.isAbandoned || promised.Before(task.LatestStart)):
		task.LatestStart = promised.UTC()
	case !isPromised && !isReadable:
		task.LatestStart = created.UTC()
	}
}

// TaskID returns the ID of a task, by which the task picks one of several starts that are equally
// good. The ID is the UID of the controller that owns the work, or else the work's own UID. So all
// Jobs of a JobSet, or all pods of a ReplicaSet, pick the same start.
func TaskID(object metav1.Object, own types.UID) string {
	if owner := metav1.GetControllerOfNoCopy(object); owner != nil {
		return string(owner.UID)
	}
	return string(own)
}

// Task makes a task of what work asks for that was created at created. Without a duration, the work
// is planned with the median of its earlier runs, and starts early enough for the slowest run to
// meet the deadline. Without earlier runs, the policy's default duration applies. The start of work
// that asks for widths is chosen for these widths.
func (p *Policy) Task(ask Ask, created time.Time) plan.Task {
	task := plan.Task{Duration: ask.Duration, Threshold: ask.Threshold, Locations: p.candidates(ask.Location, ask.Candidates), Pauses: p.pauses(ask)}
	longest := ask.Duration
	switch {
	case ask.Duration > 0:
	case ask.EarlierRuns.Median > 0:
		task.Duration, longest = ask.EarlierRuns.Median, max(ask.EarlierRuns.Median, ask.EarlierRuns.Slowest)
		task.EstimatedDuration = "~" + plan.FormatDuration(task.Duration)
	default:
		task.Duration, longest = p.defaultDuration, p.defaultDuration
		task.EstimatedDuration = plan.FormatDuration(task.Duration)
	}
	if ask.Deadline.IsZero() {
		task.LatestStart = created.Add(p.maxDelay).Truncate(time.Second).UTC()
	} else {
		task.LatestStart = plan.LatestStart(ask.Deadline, longest)
	}
	ask.LimitLatestStart(&task, created, longest)
	if w := ask.Widths; w != nil && !ask.Interruptible {
		task.Elastic = &plan.Elastic{Least: w.Least, Most: w.Most, Speedup: w.Speedup}
	}
	return task
}

// LimitLatestStart moves the latest start of a task to an earlier time where others do not wait for
// the work: its tool, see [Tool.Limits], and the next run of its CronJob.
func (a *Ask) LimitLatestStart(task *plan.Task, created time.Time, longest time.Duration) {
	if a.Tool != nil && a.Tool.Limits(a.Deadline) {
		if at := a.Tool.LatestStart(created, longest); at.Before(task.LatestStart) {
			task.LatestStart = at
		}
	}
	if at := plan.LatestStart(a.NextRun, longest); a.NextRun.After(created) && at.Before(task.LatestStart) {
		task.LatestStart, task.NextRun = at, a.NextRun
	}
}

// RunTimes is how long earlier runs of the same work took. The zero value is for no known run.
type RunTimes struct {
	// Median is rounded up: above ten minutes to a minute, and otherwise to a second.
	Median time.Duration
	// Slowest is how long the slowest run took.
	Slowest time.Duration
	// Count is the number of runs.
	Count int
}

// String names the runs whose median counts.
func (t RunTimes) String() string {
	if t.Count == 1 {
		return "the one earlier run"
	}
	return fmt.Sprintf("median of %d earlier runs", t.Count)
}

// SuspendedCondition returns the condition Suspended of a Job, and nil if the Job never was
// suspended.
func SuspendedCondition(job *batchv1.Job) *batchv1.JobCondition {
	for i := range job.Status.Conditions {
		if job.Status.Conditions[i].Type == batchv1.JobSuspended {
			return &job.Status.Conditions[i]
		}
	}
	return nil
}

// ResumedAt returns when a Job was last resumed, and the zero time if the Job never was. The Job
// controller writes the condition some time after the Job was resumed.
func ResumedAt(job *batchv1.Job) time.Time {
	if c := SuspendedCondition(job); c != nil && c.Status == corev1.ConditionFalse {
		return c.LastTransitionTime.UTC()
	}
	return time.Time{}
}

// WaitsSince returns from when on durations in the annotations of work count. This is the creation
// of the work or, for a Job that others suspend, the time at which the Job was last resumed.
func WaitsSince(object metav1.Object) time.Time {
	again, created := resumedAt(object), object.GetCreationTimestamp().Time
	if object.GetAnnotations()[v1alpha1.HeldByAnnotation] != "" || again.Before(created) {
		return created
	}
	return again
}

// resumedAt returns when an object was last resumed, and the zero time if it never was.
func resumedAt(object metav1.Object) time.Time {
	switch o := object.(type) {
	case interface{ ResumedAt() time.Time }:
		return o.ResumedAt()
	case *batchv1.Job:
		return ResumedAt(o)
	default:
		return time.Time{}
	}
}
