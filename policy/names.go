package policy

import (
	"slices"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// asked are the annotations of an ask, in the order they are explained.
func AskKeys() []string {
	return []string{
		v1alpha1.DelayTolerantAnnotation, v1alpha1.DeadlineAnnotation, v1alpha1.DurationAnnotation,
		v1alpha1.ThresholdAnnotation, v1alpha1.LocationAnnotation, v1alpha1.PolicyAnnotation,
		v1alpha1.HoldAnnotation, v1alpha1.PlacementAnnotation,
	}
}

// written are the annotations that Gridlatch adds to what it decides.
func WrittenKeys() []string {
	return []string{
		v1alpha1.PlannedStartAnnotation, v1alpha1.LatestStartAnnotation, v1alpha1.ReasonAnnotation, v1alpha1.OutcomeAnnotation,
		v1alpha1.IntensityAtCreationAnnotation, v1alpha1.HeldByAnnotation, v1alpha1.StartedAnnotation,
		v1alpha1.ExpectedDurationAnnotation, v1alpha1.DurationSourceAnnotation,
		v1alpha1.PlannedLocationAnnotation, v1alpha1.CandidateLocationsAnnotation,
	}
}

// Written reports whether only Gridlatch writes a label or an annotation of pods and Jobs.
func IsWritten(key string) bool {
	return key == v1alpha1.StateLabel || slices.Contains(WrittenKeys(), key)
}
