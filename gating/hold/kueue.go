package hold

import (
	"maps"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/policy"
)

// What Kueue reads and writes, see https://kueue.sigs.k8s.io.
const (
	// KueueQueueLabel is the label that puts work into a queue of Kueue.
	KueueQueueLabel = "kueue.x-k8s.io/queue-name"
	// KueueGatesAnnotation is the annotation that names the gates which the admission of work waits
	// for, separated by commas. Kueue reserves no quota for the work meanwhile. Gates can be named
	// only as the work is created, and be removed at any time.
	KueueGatesAnnotation = "kueue.x-k8s.io/admission-gated-by"
	// kueueWorkloadKey is the label, or the annotation, that names a Workload which was made before
	// the work. Kueue does not copy KueueGatesAnnotation to such a Workload.
	kueueWorkloadKey = "kueue.x-k8s.io/prebuilt-workload-name"
	// kueueElasticAnnotation makes a Job elastic. Kueue copies KueueGatesAnnotation to the Workload of
	// an elastic Job at its creation, and never again. So a gate there would stay.
	kueueElasticAnnotation = "kueue.x-k8s.io/elastic-job"
)

const (
	// MaxListBytes bounds what is kept of a list of locations or of gates.
	MaxListBytes = 4 << 10
	// maxKueueGateBytes bounds the gates of others beside which ours is put. What is kept of the list
	// is then the whole list, from which ours can be removed.
	maxKueueGateBytes = MaxListBytes - len(v1alpha1.Gate) - 1
)

// IsKnownKey reports whether Gridlatch reads a label or an annotation: one with its own prefix, one
// of Kueue's, the time for which a CronJob has scheduled a Job, or a label that tells what belongs to a
// piece of work.
func IsKnownKey(key string) bool {
	switch key {
	case KueueQueueLabel, KueueGatesAnnotation, policy.QuotaLabel, kueueWorkloadKey, kueueElasticAnnotation, batchv1.CronJobScheduledTimestampAnnotation:
		return true
	default:
		return strings.HasPrefix(key, v1alpha1.Prefix) || door.IsKnownLabel(key)
	}
}

// AddKueueGate adds our gate to the gates that Kueue waits for. Kueue refuses an object that names a
// gate twice.
func AddKueueGate(gates string) string {
	switch {
	case strings.TrimSpace(gates) == "":
		return v1alpha1.Gate
	case hasKueueGate(gates):
		return gates
	default:
		return gates + "," + v1alpha1.Gate
	}
}

// RemoveKueueGate removes our gate from the gates that Kueue waits for.
func RemoveKueueGate(gates string) string {
	others := slices.DeleteFunc(strings.Split(gates, ","), isKueueGate)
	return strings.Join(others, ",")
}

// ForgetKueueGate removes our gate from annotations in which somebody else has written it.
func ForgetKueueGate(annotations map[string]string) {
	gates := annotations[KueueGatesAnnotation]
	if !hasKueueGate(gates) {
		return
	}
	if annotations[KueueGatesAnnotation] = RemoveKueueGate(gates); annotations[KueueGatesAnnotation] == "" {
		delete(annotations, KueueGatesAnnotation)
	}
}

func hasKueueGate(gates string) bool {
	return slices.ContainsFunc(strings.Split(gates, ","), isKueueGate)
}

func isKueueGate(gate string) bool { return strings.TrimSpace(gate) == v1alpha1.Gate }

// IsAtQueue reports whether our gate keeps work at its queue in Kueue, as its annotations have it.
func IsAtQueue(annotations map[string]string) bool {
	return hasKueueGate(annotations[KueueGatesAnnotation]) || annotations[v1alpha1.HeldByAnnotation] == v1alpha1.HoldByKueue
}

// HasQuota reports whether the labels of a pod, or of the pod template of a Job, say that Kueue has
// given quota to it. Whoever writes a pod can write the label, too. The pod then starts sooner.
func HasQuota(labels map[string]string) bool {
	_, ok := labels[policy.QuotaLabel]
	return ok
}

// WhyNotInQueue says why new work with a queue label cannot be held at its queue; empty if it can,
// or if it is in no queue.
func WhyNotInQueue(o metav1.Object) string {
	labels, annotations := o.GetLabels(), o.GetAnnotations()
	switch {
	case labels[KueueQueueLabel] == "":
		return ""
	case labels[kueueWorkloadKey] != "" || annotations[kueueWorkloadKey] != "":
		return "its Workload existed before the work, and such a Workload does not wait for Gridlatch"
	case annotations[kueueElasticAnnotation] == "true":
		return "Kueue would never start an elastic Job that Gridlatch has held"
	case len(annotations[KueueGatesAnnotation]) > maxKueueGateBytes:
		return "its annotation " + KueueGatesAnnotation + " is too long"
	default:
		return ""
	}
}

// kueueGateRemoval removes our gate from an object whose annotation has these gates, and fails if the
// annotation has changed.
func kueueGateRemoval(gates string) []change {
	unchanged := change{"test", annotationPath(KueueGatesAnnotation), gates}
	if others := RemoveKueueGate(gates); others != "" {
		return []change{unchanged, {"replace", annotationPath(KueueGatesAnnotation), others}}
	}
	return []change{unchanged, {"remove", annotationPath(KueueGatesAnnotation), nil}}
}

// withoutKueueGate returns what a merge patch makes of the annotation that names these gates: the
// gates of others, or nil. If another gate was removed meanwhile, Kueue and Gridlatch's admission
// policy refuse the patch, because it would add that gate again.
func withoutKueueGate(gates string) *string {
	if others := RemoveKueueGate(gates); others != "" {
		return &others
	}
	return nil
}

// LeaveQueuePatch makes a Job that waits at its queue wait without its queue, by the gates of its
// pods or, with suspend, by spec.suspend. It writes notes on the Job. It fails as invalid if the Job
// is suspended.
func LeaveQueuePatch(job metav1.Object, notes map[string]string, suspend bool) client.Patch {
	annotations := job.GetAnnotations()
	changes := append(holdTests(job), change{"test", "/spec/suspend", false})
	if hasKueueGate(annotations[KueueGatesAnnotation]) {
		changes = append(changes, kueueGateRemoval(annotations[KueueGatesAnnotation])...)
	}
	_, marked := annotations[v1alpha1.HeldByAnnotation]
	switch {
	case suspend:
		changes = append(changes, change{"replace", "/spec/suspend", true}, change{"add", annotationPath(v1alpha1.HeldByAnnotation), v1alpha1.HoldBySuspend})
	case marked:
		changes = append(changes, change{"remove", annotationPath(v1alpha1.HeldByAnnotation), nil})
	}
	for _, key := range slices.Sorted(maps.Keys(notes)) {
		changes = append(changes, change{"add", annotationPath(key), notes[key]})
	}
	return jsonPatch(changes)
}
