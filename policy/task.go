package policy

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// TaskOf returns the task of held work: what its annotations ask for, or what
// was expected of it at its admission, and no later than promised then. Of what
// is asked for, whatever cannot be read makes it start now rather than wait for
// something else than was meant. If its policy is gone, whose delay it may have
// asked for, the promise holds.
func (p *Policy) TaskOf(object metav1.Object) plan.Task {
	created := WaitsSince(object)
	ask, errs := ParseAsk(object.GetAnnotations(), created, field.NewPath("metadata", "annotations"))
	if expected := object.GetAnnotations()[v1alpha1.ExpectedDurationAnnotation]; len(expected) <= MaxValue {
		ask.Earlier.Median, _ = plan.ParseDuration(expected) // zero if there is none
	}
	ask.Only = object.GetAnnotations()[v1alpha1.CandidateLocationsAnnotation]
	task := p.Task(ask, created)
	task.PlannedLocation = object.GetAnnotations()[v1alpha1.PlannedLocationAnnotation]
	task.ID = TaskID(object, object.GetUID())
	task.PlannedStart, _ = time.Parse(time.RFC3339, object.GetAnnotations()[v1alpha1.PlannedStartAnnotation]) // zero if there is none
	promised, err := time.Parse(time.RFC3339, object.GetAnnotations()[v1alpha1.LatestStartAnnotation])
	switch {
	case err == nil && (len(errs) > 0 || p.gone || promised.Before(task.LatestStart)):
		task.LatestStart = promised.UTC()
	case err != nil && len(errs) > 0:
		task.LatestStart = created.UTC()
	}
	return task
}

// TaskID returns the ID of the task of work, by which it picks one of several
// starts that are as good: the UID of the controller that owns it, so that all
// that one owner creates for the same deadline, such as the Jobs of a JobSet or
// the pods of a ReplicaSet, picks the same; else its own.
func TaskID(object metav1.Object, own types.UID) string {
	if owner := metav1.GetControllerOfNoCopy(object); owner != nil {
		return string(owner.UID)
	}
	return string(own)
}

// Task turns an ask for work created at created into a task. Work that asks for
// no duration is planned with the median of its earlier runs, and starts early
// enough for the slowest of them to meet the deadline; without earlier runs, it
// is taken to run as long as the policy says.
func (p *Policy) Task(ask Ask, created time.Time) plan.Task {
	task := plan.Task{Duration: ask.Duration, Threshold: ask.Threshold, Locations: p.candidates(ask.Location, ask.Only)}
	longest := ask.Duration
	switch {
	case ask.Duration > 0:
	case ask.Earlier.Median > 0:
		task.Duration, longest = ask.Earlier.Median, max(ask.Earlier.Median, ask.Earlier.Slowest)
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
	ask.Limit(&task, created, longest)
	return task
}

// suspension returns the condition of a Job that tells of its suspension; nil if
// it never was suspended.
func SuspendedCondition(job *batchv1.Job) *batchv1.JobCondition {
	for i := range job.Status.Conditions {
		if job.Status.Conditions[i].Type == batchv1.JobSuspended {
			return &job.Status.Conditions[i]
		}
	}
	return nil
}

// resumed returns when a Job was resumed last; zero if it never was. The Job
// controller notes it once it has seen that.
func ResumedAt(job *batchv1.Job) time.Time {
	if c := SuspendedCondition(job); c != nil && c.Status == corev1.ConditionFalse {
		return c.LastTransitionTime.UTC()
	}
	return time.Time{}
}

// since returns from when on what work asks for counts: its creation or, of a Job
// that others suspend, when it was resumed last.
func WaitsSince(object metav1.Object) time.Time {
	var again time.Time
	switch o := object.(type) {
	case interface{ ResumedAt() time.Time }:
		again = o.ResumedAt()
	case *batchv1.Job:
		again = ResumedAt(o)
	}
	if created := object.GetCreationTimestamp().Time; object.GetAnnotations()[v1alpha1.HeldByAnnotation] != "" || again.Before(created) {
		return created
	}
	return again
}
