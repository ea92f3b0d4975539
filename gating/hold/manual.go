package hold

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// ManualHold holds a Job that exists already, for a user. Gates can be put on pods only as they are
// created, so ManualHold suspends the Job. The loop resumes the Job as if it had been held from the
// beginning.
type ManualHold struct {
	Policy *policy.Policy
	// Snapshot has the forecast; with nil, the loop plans the start.
	Snapshot *forecast.Snapshot
	// Deadline is when the work must be finished. If it is zero, the Job's own deadline counts, or
	// the policy's maxDelay from now on.
	Deadline time.Time
	// Force suspends a Job whose pods run, and takes over a Job that somebody else has suspended.
	Force bool
}

// NeedsForceError says why a Job is held by force only.
type NeedsForceError string

// Error returns the sentence.
func (n NeedsForceError) Error() string { return string(n) }

// Apply suspends the Job until its planned start. The error says why the Job cannot be held, or why
// that would change nothing.
func (h ManualHold) Apply(ctx context.Context, c client.Client, job *batchv1.Job, now time.Time) error {
	if why := whyNotHoldable(job); why != "" {
		return errors.New(why)
	}
	if !h.Force {
		if err := checkHarmless(ctx, c, job); err != nil {
			return err
		}
	}
	annotations, err := h.annotations(ctx, job, now)
	if err != nil {
		return err
	}
	if err := c.Patch(ctx, job, suspendPatch(job, annotations)); err != nil {
		return fmt.Errorf("suspend it: %w", err)
	}
	return nil
}

// whyNotHoldable says why a Job cannot be held by hand at all; empty if it can.
func whyNotHoldable(job *batchv1.Job) string {
	manager := ptr.Deref(job.Spec.ManagedBy, batchv1.JobControllerName)
	switch {
	case job.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld || HoldsJobItself(job):
		return "it is already held: " + job.Annotations[v1alpha1.ReasonAnnotation]
	case job.DeletionTimestamp != nil:
		return "it is being deleted"
	case isFinished(job):
		return "it has finished"
	case manager != batchv1.JobControllerName:
		return "it is managed by " + manager
	case job.Labels[KueueQueueLabel] != "":
		return "Kueue decides when it runs, and waits for Gridlatch only if the Job was created with the annotation " + v1alpha1.DelayTolerantAnnotation
	default:
		return ""
	}
}

// checkHarmless returns an error if work would be lost by holding a Job.
func checkHarmless(ctx context.Context, c client.Reader, job *batchv1.Job) error {
	if ptr.Deref(job.Spec.Suspend, false) {
		return NeedsForceError("somebody else has suspended it, and may not want it to be resumed")
	}
	pods, err := PodsOf(ctx, c, job)
	if err != nil {
		return err
	}
	running := 0
	for i := range pods {
		phase := pods[i].Status.Phase
		if pods[i].Spec.NodeName != "" && phase != corev1.PodSucceeded && phase != corev1.PodFailed {
			running++
		}
	}
	if running > 0 {
		return NeedsForceError(fmt.Sprintf("%d of its pods run, and suspending it would kill them", running))
	}
	return nil
}

// annotations returns the annotations that tell the loop, and people, about the hold.
func (h ManualHold) annotations(ctx context.Context, job *batchv1.Job, now time.Time) (map[string]string, error) {
	notes := policy.JobAskAnnotations(job)
	notes[v1alpha1.DelayTolerantAnnotation] = "true"
	ask, errs := policy.ParseAsk(notes, job.CreationTimestamp.Time, field.NewPath("metadata", "annotations"))
	if len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	ask.Interruptible = ask.Interruptible && policy.ProgressOf(job) != nil
	if ask.Candidates = h.Policy.SuitableLocations(ctx, &job.Spec.Template.Spec); ask.Candidates != "" {
		notes[v1alpha1.CandidateLocationsAnnotation] = ask.Candidates
	}
	jobDeadline := ask.Deadline
	if ask.Deadline = h.deadline(ask, now); !ask.Deadline.Equal(jobDeadline) {
		notes[v1alpha1.DeadlineAnnotation] = policy.FormatTime(ask.Deadline)
	}
	task := h.Policy.Task(ask, now)
	if !now.Before(task.LatestStart) {
		return nil, fmt.Errorf("it has to start by %s to finish in time", plan.FormatTime(task.LatestStart))
	}
	task.ID = string(job.UID)
	notes[v1alpha1.HeldByAnnotation] = v1alpha1.HoldBySuspend
	if h.Snapshot == nil {
		notes[v1alpha1.PolicyAnnotation], notes[v1alpha1.LatestStartAnnotation] = h.Policy.Name, policy.FormatTime(task.LatestStart)
		notes[v1alpha1.ReasonAnnotation] = fmt.Sprintf("held by hand at %s, the start is not planned yet; latest start %s", plan.FormatTime(now), plan.FormatTime(task.LatestStart))
		return notes, nil
	}
	decision := h.Policy.Decide(h.Snapshot, ask.Location, now, task)
	if !decision.Holds() {
		return nil, errors.New("it would start at once: " + decision.Why())
	}
	maps.Copy(notes, h.Policy.Notes(decision))
	return notes, nil
}

// deadline returns the deadline of the hold, or else of the Job, or else what the policy's maxDelay
// allows from now on.
func (h ManualHold) deadline(ask policy.Ask, now time.Time) time.Time {
	switch {
	case !h.Deadline.IsZero():
		return h.Deadline.UTC()
	case !ask.Deadline.IsZero():
		return ask.Deadline
	default:
		task := h.Policy.Task(ask, now)
		durationAndMargin := task.LatestStart.Sub(plan.LatestStart(task.LatestStart, task.Duration))
		return task.LatestStart.Add(durationAndMargin)
	}
}
