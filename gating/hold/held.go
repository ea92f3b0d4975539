package hold

import (
	"context"
	"math"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

func PodKind() schema.GroupVersionKind { return schema.GroupVersionKind{Version: "v1", Kind: "Pod"} }

func JobKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}
}

// JobOf returns the reference to the Job that owns an object, nil if none does.
func OwningJob(object metav1.Object) *metav1.OwnerReference {
	owner := metav1.GetControllerOfNoCopy(object)
	if owner == nil || owner.Kind != "Job" || !strings.HasPrefix(owner.APIVersion, "batch/") {
		return nil
	}
	return owner
}

// takenReason is shown on a Job that we do not let go, since we no longer hold
// it.
const ReasonTaken = "not held any more: somebody else has let it go"

// taken reports whether a Job that we held whole is not held by us any more:
// it was resumed, or our mark on it was removed.
func IsTaken(ctx context.Context, live client.Reader, job metav1.Object) bool {
	var now batchv1.Job
	if err := live.Get(ctx, client.ObjectKey{Namespace: job.GetNamespace(), Name: job.GetName()}, &now); err != nil {
		return apierrors.IsNotFound(err)
	}
	return now.UID != job.GetUID() || !HoldsJobItself(&now)
}

// holdsWhole reports whether we hold a Job by other means than the gates of its
// pods.
func HoldsJobItself(job *batchv1.Job) bool {
	return HoldsItself(job.Annotations, ptr.Deref(job.Spec.Suspend, false))
}

// heldWhole is holdsWhole for what is known of a Job.
func HoldsItself(annotations map[string]string, suspended bool) bool {
	switch annotations[v1alpha1.HeldByAnnotation] {
	case v1alpha1.HoldBySuspend:
		return suspended
	case v1alpha1.HoldByKueue:
		gates := annotations[KueueGatesAnnotation]
		return suspended && (RemoveKueueGate(gates) != gates || len(gates) > MaxListBytes) // ours is among them, or may be
	default:
		return false
	}
}

// HasGate reports whether our gate is among them.
func HasGate(gates []corev1.PodSchedulingGate) bool {
	return slices.ContainsFunc(gates, func(g corev1.PodSchedulingGate) bool { return g.Name == v1alpha1.Gate })
}

func isFinished(job *batchv1.Job) bool {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

// PodsToRun returns how many pods a Job runs at once, of those that it has still to
// run, whether it is suspended or not.
func PodsToRun(job *batchv1.Job) int {
	return int(min(ptr.Deref(job.Spec.Parallelism, 1), podsRemaining(job)))
}

// podsLeft returns how many pods a Job has still to run: none once it is over.
func podsRemaining(job *batchv1.Job) int32 {
	switch {
	case isFinished(job):
		return 0
	case job.Spec.Completions == nil: // as many as its parallelism says
		return math.MaxInt32
	default:
		return max(*job.Spec.Completions-job.Status.Succeeded, 0)
	}
}

// ReasonAwaitsResume is that of a Job which is not planned before its user, who has
// created it suspended, resumes it.
const ReasonAwaitsResume = "waits until it is resumed, and is planned from then: it was created suspended"

// parked reports whether a Job is suspended, or was until a moment ago: the Job
// controller has not noted yet that it was resumed.
func IsSuspendedOrJustResumed(job *batchv1.Job) bool {
	c := policy.SuspendedCondition(job)
	return ptr.Deref(job.Spec.Suspend, false) || c != nil && c.Status == corev1.ConditionTrue
}

// AwaitsResume reports whether a held Job is not planned before its user, who has
// created it suspended, resumes it.
func AwaitsResume(job *batchv1.Job) bool {
	return job.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld && HasNoPromise(IsSuspendedOrJustResumed(job), job.Annotations)
}

// IsPromisedNothing reports whether the annotations of a held Job promise no start yet, since its
// user has created the Job suspended and has not resumed it.
func HasNoPromise(parked bool, annotations map[string]string) bool {
	return parked && annotations[v1alpha1.HeldByAnnotation] == "" && annotations[v1alpha1.LatestStartAnnotation] == ""
}
