package hold

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// ManualReleaseReason returns the reason of a release by a user.
func ManualReleaseReason(now time.Time) string { return "released by hand at " + plan.FormatTime(now) }

// Release releases a held Job with its pods, or a held pod, and returns how many pods were
// released. It needs no controller. A pod of a held Job is not released alone: all pods of a Job
// are one decision.
func Release(ctx context.Context, c client.Client, o client.Object, reason string, now time.Time) (int, error) {
	note := ReleaseNote{Reason: reason, At: now}
	switch o := o.(type) {
	case *batchv1.Job:
		return releaseJobWithPods(ctx, c, o, note)
	case *corev1.Pod:
		return releaseBarePod(ctx, c, o, note)
	default:
		return 0, fmt.Errorf("want a Job or a pod, not %T", o)
	}
}

// releaseJobWithPods records the release on the Job before it releases pods, as the loop does.
// Pods that an interrupted release left are released, too.
func releaseJobWithPods(ctx context.Context, c client.Client, job *batchv1.Job, note ReleaseNote) (int, error) {
	isHeld, pods := job.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld || HoldsJobItself(job), 0
	if isHeld {
		var err error
		if pods, err = releaseJob(ctx, c, job, note); err != nil {
			return 0, fmt.Errorf("record the release: %w", err)
		}
	}
	gated, err := ungatePodsOf(ctx, c, job, note)
	if err == nil && !isHeld && gated == 0 {
		return 0, notHeldError(job)
	}
	return pods + gated, err
}

// releaseJob records that a Job is released, and resumes it if it is held itself. It returns how
// many pods the Job will run then. Pods with gates of their own do not count.
func releaseJob(ctx context.Context, c client.Client, job *batchv1.Job, note ReleaseNote) (int, error) {
	pods := 0
	if HeldBy(job.Annotations) != "" {
		pods = PodsToRun(job)
	}
	write := func(patch client.Patch) error {
		return retryTransient(func() error { return c.Patch(ctx, PatchTarget(JobKind(), job), patch) })
	}
	_, err := note.JobPatches(job).Apply(false, write)
	if err != nil && isReleased(ctx, c, job) {
		return 0, nil // the loop has released the Job meanwhile
	}
	if apierrors.IsInvalid(err) && isTaken(ctx, c, job) {
		pods, err = 0, write(ReleaseNote{Reason: ReasonTaken, At: note.At, Outcome: v1alpha1.OutcomeTaken}.RecordPatch(job))
	}
	return pods, client.IgnoreNotFound(err)
}

// ungatePodsOf takes our gate off the pods of a Job, and returns how many there were.
func ungatePodsOf(ctx context.Context, c client.Client, job *batchv1.Job, note ReleaseNote) (int, error) {
	released, problems := 0, []error(nil)
	for _, held := range []selection.Operator{selection.Equals, selection.NotEquals} {
		err := EachGatedPod(ctx, c, job.Namespace, held, func(pod *corev1.Pod) {
			if !metav1.IsControlledBy(pod, job) {
				return
			}
			switch err := ungatePod(ctx, c, pod, note); {
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

// releaseBarePod releases a pod that no held Job owns.
func releaseBarePod(ctx context.Context, c client.Client, pod *corev1.Pod, note ReleaseNote) (int, error) {
	if !HoldsPod(pod) {
		return 0, notHeldError(pod)
	}
	job, err := ReadOwningJob(ctx, c, pod)
	if err != nil {
		return 0, err
	}
	if job != nil && job.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld {
		return 0, fmt.Errorf("all pods of a Job are released together: release job/%s", job.Name)
	}
	if err := ungatePod(ctx, c, pod, note); err != nil {
		return 0, fmt.Errorf("take the gate off: %w", err)
	}
	return 1, nil
}

// ungatePod takes our gate off a pod. The error is nil if the loop has done so meanwhile.
func ungatePod(ctx context.Context, c client.Client, pod *corev1.Pod, note ReleaseNote) error {
	_, err := note.PodPatches(pod).Apply(false, func(patch client.Patch) error {
		return retryTransient(func() error { return c.Patch(ctx, PatchTarget(PodKind(), pod), patch) })
	})
	if err == nil {
		return nil
	}
	var now corev1.Pod
	if c.Get(ctx, client.ObjectKeyFromObject(pod), &now) == nil && now.UID == pod.UID && !HoldsPod(&now) {
		return nil
	}
	return err
}

// isReleased reports whether the API server has a Job as released.
func isReleased(ctx context.Context, reader client.Reader, job *batchv1.Job) bool {
	var now batchv1.Job
	err := reader.Get(ctx, client.ObjectKeyFromObject(job), &now)
	return err == nil && now.UID == job.UID && now.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased && !HoldsJobItself(&now)
}

// isTaken reports whether somebody else has released a Job that was held itself: by resuming it, by
// removing our mark or by deleting it.
func isTaken(ctx context.Context, reader client.Reader, job *batchv1.Job) bool {
	var now batchv1.Job
	if err := reader.Get(ctx, client.ObjectKeyFromObject(job), &now); err != nil {
		return apierrors.IsNotFound(err)
	}
	return now.UID != job.UID || !HoldsJobItself(&now)
}

// notHeldError says why there is nothing to release.
func notHeldError(o client.Object) error {
	if reason := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; reason != "" {
		return errors.New("it is no longer held: " + reason)
	}
	return errors.New("it is not held by Gridlatch")
}
