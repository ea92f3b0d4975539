package hold

import (
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
)

// What Kueue reads, see https://kueue.sigs.k8s.io.
const (
	// KueueQueueLabel is the label that puts a Job into a queue of Kueue.
	KueueQueueLabel = "kueue.x-k8s.io/queue-name"
	// KueueGatesAnnotation is the annotation that names the gates which the admission of a Job
	// waits for, separated by commas. Kueue reserves no quota for the Job meanwhile.
	KueueGatesAnnotation = "kueue.x-k8s.io/admission-gated-by"
)

// MaxListBytes bounds what is kept of a list of locations or of gates.
const MaxListBytes = 4 << 10

// IsKnownKey reports whether Gridlatch reads a label or an annotation: one with its own prefix, one
// of Kueue's, the time for which a CronJob has scheduled a Job, or a label that tells what belongs to a
// piece of work.
func IsKnownKey(key string) bool {
	switch key {
	case KueueQueueLabel, KueueGatesAnnotation, batchv1.CronJobScheduledTimestampAnnotation:
		return true
	default:
		return strings.HasPrefix(key, v1alpha1.Prefix) || door.IsKnownLabel(key)
	}
}

// AddKueueGate adds our gate to the gates that Kueue waits for.
func AddKueueGate(gates string) string {
	if strings.TrimSpace(gates) == "" {
		return v1alpha1.Gate
	}
	return gates + "," + v1alpha1.Gate
}

// RemoveKueueGate removes our gate from the gates that Kueue waits for.
func RemoveKueueGate(gates string) string {
	others := slices.DeleteFunc(strings.Split(gates, ","), func(gate string) bool { return strings.TrimSpace(gate) == v1alpha1.Gate })
	return strings.Join(others, ",")
}

// kueueGateRemoval removes our gate from a Job whose annotation has these gates, and fails if the
// annotation has changed.
func kueueGateRemoval(gates string) []change {
	unchanged := change{"test", annotationPath(KueueGatesAnnotation), gates}
	if others := RemoveKueueGate(gates); others != "" {
		return []change{unchanged, {"replace", annotationPath(KueueGatesAnnotation), others}}
	}
	return []change{unchanged, {"remove", annotationPath(KueueGatesAnnotation), nil}}
}
