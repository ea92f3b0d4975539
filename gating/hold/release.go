package hold

import (
	"context"
	"errors"
	"fmt"
	"time"

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

// Release releases a held owner with its pods, or a held pod, and returns how many pods were
// released. It needs no controller. A pod of a held Job is not released alone: all pods of a Job
// are one decision.
func Release(ctx context.Context, c client.Client, o client.Object, reason string, now time.Time) (int, error) {
	note := ReleaseNote{Reason: reason, At: now}
	if pod, ok := o.(*corev1.Pod); ok {
		return releaseBarePod(ctx, c, pod, note)
	}
	owner, ok := OwnerOf(o)
	if !ok {
		return 0, fmt.Errorf("want a pod, a Job or what else is held whole, not %T", o)
	}
	return releaseOwnerWithPods(ctx, c, owner, note.byHand(owner))
}

// byHand returns the note of a release by a user, who wants the owner to run, and not to be paused.
func (r ReleaseNote) byHand(owner Owner) ReleaseNote {
	if owner.GetAnnotations()[v1alpha1.InterruptibleAnnotation] == "true" {
		r.Outcome = v1alpha1.OutcomeTaken
	}
	return r
}

// releaseOwnerWithPods records the release on the owner before it releases pods, as the loop does.
// Pods that an interrupted release left are released, too. The loop may release pods as soon as the release
// is recorded. These pods count, too.
func releaseOwnerWithPods(ctx context.Context, c client.Client, owner Owner, note ReleaseNote) (int, error) {
	isHeld, pods, waiting := owner.GetLabels()[v1alpha1.StateLabel] == v1alpha1.StateHeld || owner.HoldsItself(), 0, 0
	if isHeld {
		err := eachGatedPodOf(ctx, c, owner, func(*corev1.Pod) { waiting++ })
		if err != nil {
			return 0, err
		}
		if pods, err = releaseOwner(ctx, c, owner, note); err != nil {
			return 0, fmt.Errorf("record the release: %w", err)
		}
	}
	gated, err := ungatePodsOf(ctx, c, owner, note)
	switch {
	case err != nil:
		return pods + gated, err
	case !isHeld && gated == 0:
		return 0, notHeldError(owner)
	}
	return pods + max(gated, waiting), nil
}

// releaseOwner records that an owner is released, and opens its door if it is held itself. It returns
// how many pods the owner will run then. Pods with gates of their own do not count.
func releaseOwner(ctx context.Context, c client.Client, owner Owner, note ReleaseNote) (int, error) {
	pods := 0
	if HeldBy(owner.GetAnnotations()) != "" {
		pods = owner.Pods
	}
	write := func(patch client.Patch) error {
		return retryTransient(func() error { return c.Patch(ctx, PatchTarget(owner.Kind, owner), patch) })
	}
	_, err := note.OwnerPatches(owner, owner.Kind.GroupKind()).Apply(false, write)
	if err != nil && isReleased(ctx, c, owner) {
		return 0, nil // the loop has released it meanwhile
	}
	if apierrors.IsInvalid(err) && isTaken(ctx, c, owner) {
		pods, err = 0, write(ReleaseNote{Reason: ReasonTaken, At: note.At, Outcome: v1alpha1.OutcomeTaken}.RecordPatch(owner))
	}
	return pods, client.IgnoreNotFound(err)
}

// ungatePodsOf takes our gate off the pods of an owner, and returns how many there were.
func ungatePodsOf(ctx context.Context, c client.Client, owner Owner, note ReleaseNote) (int, error) {
	released, problems := 0, []error(nil)
	err := eachGatedPodOf(ctx, c, owner, func(pod *corev1.Pod) {
		switch err := ungatePod(ctx, c, pod, note); {
		case err == nil:
			released++
		case client.IgnoreNotFound(err) != nil:
			problems = append(problems, fmt.Errorf("take the gate off pod %s: %w", pod.Name, err))
		}
	})
	return released, errors.Join(append(problems, err)...)
}

// eachGatedPodOf calls f for each pod of an owner that waits, whatever its label says.
func eachGatedPodOf(ctx context.Context, c client.Client, owner Owner, f func(*corev1.Pod)) error {
	var problems []error
	for _, held := range []selection.Operator{selection.Equals, selection.NotEquals} {
		problems = append(problems, EachGatedPod(ctx, c, owner.GetNamespace(), held, func(pod *corev1.Pod) {
			if metav1.IsControlledBy(pod, owner) {
				f(pod)
			}
		}))
	}
	return errors.Join(problems...)
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

// isReleased reports whether the API server has an owner as released.
func isReleased(ctx context.Context, reader client.Reader, owner Owner) bool {
	now, err := ReadOwner(ctx, reader, owner.Kind, client.ObjectKeyFromObject(owner))
	return err == nil && now.GetUID() == owner.GetUID() && now.GetLabels()[v1alpha1.StateLabel] == v1alpha1.StateReleased && !now.HoldsItself()
}

// isTaken reports whether somebody else has released an owner that was held itself: by opening its
// door, by removing our mark or by deleting it.
func isTaken(ctx context.Context, reader client.Reader, owner Owner) bool {
	now, err := ReadOwner(ctx, reader, owner.Kind, client.ObjectKeyFromObject(owner))
	if err != nil {
		return apierrors.IsNotFound(err)
	}
	return now.GetUID() != owner.GetUID() || !now.HoldsItself()
}

// notHeldError says why there is nothing to release.
func notHeldError(o client.Object) error {
	if reason := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; reason != "" {
		return errors.New("it is no longer held: " + reason)
	}
	return errors.New("it is not held by Gridlatch")
}
