package hold

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// ByHand is the reason of a release by a user.
func ManualReleaseReason(now time.Time) string { return "released by hand at " + plan.FormatTime(now) }

// Release lets a held Job with its pods, or a pod, go now, whether or not a
// controller runs, and returns how many pods that is. A pod of a held Job is
// not released by itself: all pods of a Job are one decision.
func Release(ctx context.Context, c client.Client, o client.Object, reason string, now time.Time) (int, error) {
	switch o := o.(type) {
	case *batchv1.Job:
		return releaseHeldJob(ctx, c, o, reason, now)
	case *corev1.Pod:
		return releaseHeldPod(ctx, c, o, reason, now)
	default:
		return 0, fmt.Errorf("want a Job or a pod, not %T", o)
	}
}

// releaseHeldJob records the release first, as the loop does. Pods that were
// left over by a release that was interrupted go with it.
func releaseHeldJob(ctx context.Context, c client.Client, job *batchv1.Job, reason string, now time.Time) (int, error) {
	held, whole := job.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld || HoldsJobItself(job), 0
	if held {
		var err error
		if whole, err = releaseJob(ctx, c, job, reason, now); err != nil {
			return 0, fmt.Errorf("record the release: %w", err)
		}
	}
	gated, err := ungatePodsOf(ctx, c, job, ReleaseNote{Reason: reason, At: now})
	if err == nil && !held && gated == 0 {
		return 0, notHeldError(job)
	}
	return whole + gated, err
}

// ungate takes our gate off the pods of a Job, and returns how many there were.
func ungatePodsOf(ctx context.Context, c client.Client, job *batchv1.Job, made ReleaseNote) (int, error) {
	released, problems := 0, []error(nil)
	for _, known := range []selection.Operator{selection.Equals, selection.NotEquals} {
		err := EachGatedPod(ctx, c, job.Namespace, known, func(pod *corev1.Pod) {
			if !metav1.IsControlledBy(pod, job) {
				return
			}
			switch err := ungatePod(ctx, c, pod, made); {
			case err == nil:
				released++
			case client.IgnoreNotFound(err) != nil:
				problems = append(problems, fmt.Errorf("take the gate off pod %s: %w", pod.Name, err))
			}
		})
		if err != nil {
			problems = append(problems, err)
		}
	}
	return released, errors.Join(problems...)
}

func releaseHeldPod(ctx context.Context, c client.Client, pod *corev1.Pod, reason string, now time.Time) (int, error) {
	if !HasGate(pod.Spec.SchedulingGates) {
		return 0, notHeldError(pod)
	}
	job, err := ReadOwningJob(ctx, c, pod)
	if err != nil {
		return 0, err
	}
	if job != nil && job.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld {
		return 0, fmt.Errorf("all pods of a Job are released together: release job/%s", job.Name)
	}
	if err := ungatePod(ctx, c, pod, ReleaseNote{Reason: reason, At: now}); err != nil {
		return 0, fmt.Errorf("take the gate off: %w", err)
	}
	return 1, nil
}

// notHeld says why there is nothing to release.
func notHeldError(o client.Object) error {
	if reason := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; reason != "" {
		return errors.New("it is not held any more: " + reason)
	}
	return errors.New("it is not held by Gridlatch")
}

// ReadJob returns the Job that owns a pod, nil if none does, or does any more.
func ReadOwningJob(ctx context.Context, reader client.Reader, pod *corev1.Pod) (*batchv1.Job, error) {
	owner := OwningJob(pod)
	if owner == nil {
		return nil, nil
	}
	var job batchv1.Job
	err := reader.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: owner.Name}, &job)
	if apierrors.IsNotFound(err) || err == nil && job.UID != owner.UID {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read its Job: %w", err)
	}
	return &job, nil
}

// PodsOf returns the pods of a Job.
func PodsOf(ctx context.Context, reader client.Reader, job *batchv1.Job) ([]corev1.Pod, error) {
	if job.Spec.Selector == nil {
		return nil, nil // the API server always sets one
	}
	selector, err := metav1.LabelSelectorAsSelector(job.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("select its pods: %w", err)
	}
	var list corev1.PodList
	if err := reader.List(ctx, &list, client.InNamespace(job.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, fmt.Errorf("list its pods: %w", err)
	}
	var pods []corev1.Pod
	for i := range list.Items {
		if metav1.IsControlledBy(&list.Items[i], job) {
			pods = append(pods, list.Items[i])
		}
	}
	return pods, nil
}

// A HandHold is the wish of a user to hold a Job that exists already. Gates can
// be put on pods at their creation only, so the Job is suspended; the loop
// resumes it as if it had been held from the beginning.
type ManualHold struct {
	Policy *policy.Policy
	// Book has the forecast; with nil, the loop plans.
	Snapshot *forecast.Snapshot
	// Deadline is when the work must be finished. If it is zero the Job's own
	// holds, or the policy's longest delay from now on.
	Deadline time.Time
	// Force suspends also what would lose work by it, and takes over what
	// somebody else has suspended.
	Force bool
}

// NeedsForce is why a Job is held by force only.
type NeedsForceError string

func (n NeedsForceError) Error() string { return string(n) }

// Apply suspends the Job until it is planned to start. The error is a sentence
// on why that cannot be, or would be pointless.
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

// unholdable says why a Job cannot be held by hand at all.
func whyNotHoldable(job *batchv1.Job) string {
	manager := ptr.Deref(job.Spec.ManagedBy, batchv1.JobControllerName)
	switch {
	case job.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld || HoldsJobItself(job):
		return "it is held already: " + job.Annotations[v1alpha1.ReasonAnnotation]
	case job.DeletionTimestamp != nil:
		return "it is being deleted"
	case isFinished(job):
		return "it has finished"
	case manager != batchv1.JobControllerName:
		return "it is managed by " + manager
	case job.Labels[KueueQueueLabel] != "":
		return "Kueue decides when it runs, and asks Gridlatch only if it was created with the annotation " + v1alpha1.DelayTolerantAnnotation
	default:
		return ""
	}
}

// harmless is nil if nothing is lost by holding a Job.
func checkHarmless(ctx context.Context, c client.Reader, job *batchv1.Job) error {
	if ptr.Deref(job.Spec.Suspend, false) {
		return NeedsForceError("it is suspended already, by somebody else, who may not want it to be resumed")
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
		return NeedsForceError(fmt.Sprintf("%d of its pods run, and would be killed", running))
	}
	return nil
}

// annotations are what the loop, and people, have to know of the Job.
func (h ManualHold) annotations(ctx context.Context, job *batchv1.Job, now time.Time) (map[string]string, error) {
	notes := policy.JobAsk(&job.Spec.Template, job)
	notes[v1alpha1.DelayTolerantAnnotation] = "true"
	ask, errs := policy.ParseAsk(notes, job.CreationTimestamp.Time, field.NewPath("metadata", "annotations"))
	if len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	if ask.Only = h.Policy.Suiting(ctx, &job.Spec.Template.Spec); ask.Only != "" {
		notes[v1alpha1.CandidateLocationsAnnotation] = ask.Only
	}
	asked := ask.Deadline
	if ask.Deadline = h.deadline(ask, now); !ask.Deadline.Equal(asked) {
		notes[v1alpha1.DeadlineAnnotation] = policy.Stamp(ask.Deadline)
	}
	task := h.Policy.Task(ask, now)
	if !now.Before(task.LatestStart) {
		return nil, fmt.Errorf("it has to start by %s to be finished in time", plan.FormatTime(task.LatestStart))
	}
	task.ID = string(job.UID)
	notes[v1alpha1.HeldByAnnotation] = v1alpha1.HoldBySuspend
	if h.Snapshot == nil {
		notes[v1alpha1.PolicyAnnotation], notes[v1alpha1.LatestStartAnnotation] = h.Policy.Name, policy.Stamp(task.LatestStart)
		notes[v1alpha1.ReasonAnnotation] = fmt.Sprintf("held by hand at %s, to be planned; latest start %s", plan.FormatTime(now), plan.FormatTime(task.LatestStart))
		return notes, nil
	}
	decision := h.Policy.Decide(h.Snapshot, ask.Location, now, task)
	if !decision.Holds() {
		return nil, errors.New("it would start at once: " + decision.Why())
	}
	maps.Copy(notes, h.Policy.Notes(decision))
	return notes, nil
}

// deadline is the one that was given now, or at creation, or what the policy
// makes of none, counted from now.
func (h ManualHold) deadline(ask policy.Ask, now time.Time) time.Time {
	switch {
	case !h.Deadline.IsZero():
		return h.Deadline.UTC()
	case !ask.Deadline.IsZero():
		return ask.Deadline
	default:
		task := h.Policy.Task(ask, now)
		need := task.LatestStart.Sub(plan.LatestStart(task.LatestStart, task.Duration)) // with its margin
		return task.LatestStart.Add(need)
	}
}
