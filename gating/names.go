package gating

import (
	"slices"
	"strings"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// NotHeld begins a reason of work that asked to be held, and cannot be.
const NotHeld = "not held: "

// What Kueue reads, see https://kueue.sigs.k8s.io.
const (
	// KueueQueue is the label by which it knows a Job as its own.
	KueueQueue = "kueue.x-k8s.io/queue-name"
	// KueueGates is the annotation that names, separated by commas, those whom
	// the admission of a Job waits for. It reserves no quota meanwhile.
	KueueGates = "kueue.x-k8s.io/admission-gated-by"
)

// What Gridlatch writes on its own ConfigMaps.
const (
	// HistoryOf is the label of a ConfigMap with a history: the digest of the
	// forecast's source.
	HistoryOf = v1alpha1.Prefix + "history-of"
	// Source is the annotation with the source itself.
	Source = v1alpha1.Prefix + "source"
)

// asked are the annotations of an ask, in the order they are explained.
func asked() []string {
	return []string{
		v1alpha1.DelayTolerantAnnotation, v1alpha1.DeadlineAnnotation, v1alpha1.DurationAnnotation,
		v1alpha1.ThresholdAnnotation, v1alpha1.LocationAnnotation, v1alpha1.PolicyAnnotation,
		v1alpha1.HoldAnnotation, v1alpha1.PlacementAnnotation,
	}
}

// written are the annotations that Gridlatch adds to what it decides.
func written() []string {
	return []string{
		v1alpha1.PlannedStartAnnotation, v1alpha1.LatestStartAnnotation, v1alpha1.ReasonAnnotation,
		v1alpha1.IntensityAtCreationAnnotation, v1alpha1.HeldByAnnotation, v1alpha1.StartedAnnotation,
		v1alpha1.ExpectedDurationAnnotation, v1alpha1.DurationSourceAnnotation,
		v1alpha1.PlannedLocationAnnotation, v1alpha1.CandidateLocationsAnnotation,
	}
}

// Written reports whether only Gridlatch writes a label or an annotation of pods and Jobs.
func Written(key string) bool { return key == v1alpha1.StateLabel || slices.Contains(written(), key) }

// Ours reports whether a label or an annotation is one that Gridlatch may read:
// of its own prefix, or of Kueue's.
func Ours(key string) bool {
	return strings.HasPrefix(key, v1alpha1.Prefix) || key == KueueQueue || key == KueueGates
}
