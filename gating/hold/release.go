package hold

import (
	"context"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// bare is an object without what the API server answers and nobody needs.
func PatchTarget(o client.Object) *metav1.PartialObjectMetadata {
	target := policy.Metadata(PodKind())
	if _, ok := o.(*batchv1.Job); ok {
		target = policy.Metadata(JobKind())
	}
	target.Namespace, target.Name = o.GetNamespace(), o.GetName()
	return target
}

// letGo records that a Job is released, and lets it go if it is held whole. It
// returns how many pods that is; those that wait by themselves do not count.
func releaseJob(ctx context.Context, c client.Client, job *batchv1.Job, reason string, now time.Time) (int, error) {
	pods := 0
	if job.Annotations[v1alpha1.HeldByAnnotation] != "" {
		pods = PodsToRun(job)
	}
	write := func(patch client.Patch) error {
		return retryTransient(func() error { return c.Patch(ctx, PatchTarget(job), patch) })
	}
	_, err := ReleaseNote{Reason: reason, At: now}.JobPatches(job).Apply(false, write)
	if apierrors.IsInvalid(err) && IsTaken(ctx, c, job) {
		pods, err = 0, write(ReleaseNote{Reason: ReasonTaken, At: now, IsTaken: true}.RecordPatch(job))
	}
	if err != nil && isReleased(ctx, c, job) {
		return 0, nil // the loop has released it meanwhile
	}
	return pods, client.IgnoreNotFound(err)
}

// goneOn reports whether a Job was released meanwhile.
func isReleased(ctx context.Context, live client.Reader, job *batchv1.Job) bool {
	var now batchv1.Job
	err := live.Get(ctx, client.ObjectKeyFromObject(job), &now)
	return err == nil && now.UID == job.UID && now.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased && !HoldsJobItself(&now)
}

// takeGateOff releases a pod. The error is nil as well if its gate is off already:
// the loop goes on with what a user has begun.
func ungatePod(ctx context.Context, c client.Client, pod *corev1.Pod, made ReleaseNote) error {
	_, err := made.PodPatches(pod).Apply(false, func(patch client.Patch) error {
		return retryTransient(func() error { return c.Patch(ctx, PatchTarget(pod), patch) })
	})
	if err == nil {
		return nil
	}
	var now corev1.Pod
	if c.Get(ctx, client.ObjectKeyFromObject(pod), &now) == nil && now.UID == pod.UID && !HasGate(now.Spec.SchedulingGates) {
		return nil
	}
	return err
}
