package hold

import (
	"context"
	"fmt"
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

const (
	// ReasonTaken is the reason on a Job that somebody else has released. Gridlatch leaves the Job
	// alone then.
	ReasonTaken = "no longer held: somebody else has released it"
	// ReasonStartedByKueue is the reason on work that was to wait at its queue in Kueue, and did not.
	ReasonStartedByKueue = "no longer held: Kueue has given it quota and has not waited for Gridlatch, as Kueue does since 0.19"
	// ReasonAwaitsResume is the reason on a Job that its user has created suspended. No start is
	// planned for the Job before its user resumes it.
	ReasonAwaitsResume = "waits for its user to resume it, since it was created suspended; its start is planned after that"
)

// PodKind returns the kind of pods.
func PodKind() schema.GroupVersionKind { return schema.GroupVersionKind{Version: "v1", Kind: "Pod"} }

// JobKind returns the kind of Jobs.
func JobKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}
}

// HoldsPod reports whether we hold a pod: by our gate, or at its queue in Kueue while the pod has the
// gates of Kueue.
func HoldsPod(pod *corev1.Pod) bool {
	gates := pod.Spec.SchedulingGates
	return HasGate(gates) || len(gates) > 0 && hasKueueGate(pod.Annotations[KueueGatesAnnotation])
}

// HasGate reports whether our gate is among some gates.
func HasGate(gates []corev1.PodSchedulingGate) bool {
	return slices.ContainsFunc(gates, func(g corev1.PodSchedulingGate) bool { return g.Name == v1alpha1.Gate })
}

// HoldsJobItself reports whether we hold a Job itself, rather than its pods by their gates.
func HoldsJobItself(job *batchv1.Job) bool {
	return HoldsItself(job.Annotations, ptr.Deref(job.Spec.Suspend, false))
}

// HeldBy says by what a Job is held itself, as its annotations have it; empty if it is not. Our gate
// at its queue holds the Job also without HeldByAnnotation, because nobody else removes the gate.
func HeldBy(annotations map[string]string) string {
	if by := annotations[v1alpha1.HeldByAnnotation]; by != "" {
		return by
	}
	if hasKueueGate(annotations[KueueGatesAnnotation]) {
		return v1alpha1.HoldByKueue
	}
	return ""
}

// HoldsItself is HoldsJobItself for the annotations of a Job, and whether it is suspended.
func HoldsItself(annotations map[string]string, suspended bool) bool {
	switch HeldBy(annotations) {
	case v1alpha1.HoldBySuspend:
		return suspended
	case v1alpha1.HoldByKueue:
		gates := annotations[KueueGatesAnnotation]
		return suspended && (hasKueueGate(gates) || len(gates) > MaxListBytes) // ours may be in what was cut off
	default:
		return false
	}
}

// IsSuspendedOrJustResumed reports whether a Job is suspended, or was resumed and the Job
// controller has not noted that yet.
func IsSuspendedOrJustResumed(job *batchv1.Job) bool {
	c := policy.SuspendedCondition(job)
	return ptr.Deref(job.Spec.Suspend, false) || c != nil && c.Status == corev1.ConditionTrue
}

// AwaitsResume reports whether a held Job was created suspended, and its user has not resumed it.
func AwaitsResume(job *batchv1.Job) bool {
	return job.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld && HasNoPromise(IsSuspendedOrJustResumed(job), job.Annotations)
}

// HasNoPromise reports whether the annotations of a held Job promise no latest start yet, because
// its user has created the Job suspended and has not resumed it.
func HasNoPromise(suspended bool, annotations map[string]string) bool {
	return suspended && annotations[v1alpha1.HeldByAnnotation] == "" && annotations[v1alpha1.LatestStartAnnotation] == ""
}

// PodsToRun returns how many pods a Job runs at once, once it is not suspended.
func PodsToRun(job *batchv1.Job) int {
	return int(min(ptr.Deref(job.Spec.Parallelism, 1), podsRemaining(job)))
}

// podsRemaining returns how many pods a Job still has to run.
func podsRemaining(job *batchv1.Job) int32 {
	switch {
	case isFinished(job):
		return 0
	case job.Spec.Completions == nil: // any number, until one succeeds
		return math.MaxInt32
	default:
		return max(*job.Spec.Completions-job.Status.Succeeded, 0)
	}
}

func isFinished(job *batchv1.Job) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
	})
}

// OwningJob returns the reference to the Job that owns an object; nil if no Job does.
func OwningJob(object metav1.Object) *metav1.OwnerReference {
	owner := metav1.GetControllerOfNoCopy(object)
	if owner == nil || owner.Kind != "Job" || !strings.HasPrefix(owner.APIVersion, "batch/") {
		return nil
	}
	return owner
}

// ReadOwningJob reads the Job that owns a pod. It returns nil if no Job does, or if the Job is gone.
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
