package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// AskKeys returns the annotations by which work asks, in the order of the documentation.
func AskKeys() []string {
	return []string{
		v1alpha1.DelayTolerantAnnotation, v1alpha1.DeadlineAnnotation, v1alpha1.DurationAnnotation,
		v1alpha1.ThresholdAnnotation, v1alpha1.LocationAnnotation, v1alpha1.PolicyAnnotation,
		v1alpha1.HoldAnnotation, v1alpha1.PlacementAnnotation,
		v1alpha1.InterruptibleAnnotation, v1alpha1.RestartCostAnnotation, v1alpha1.MinRunAnnotation, v1alpha1.RemainingAnnotation,
		v1alpha1.PowerWattsAnnotation, v1alpha1.FunctionalUnitsAnnotation,
		v1alpha1.ParallelismAnnotation, v1alpha1.SpeedupAnnotation,
	}
}

// WrittenKeys returns the annotations that only Gridlatch writes on pods and Jobs.
func WrittenKeys() []string {
	return []string{
		v1alpha1.PlannedStartAnnotation, v1alpha1.LatestStartAnnotation, v1alpha1.NextRunAnnotation, v1alpha1.ReasonAnnotation, v1alpha1.OutcomeAnnotation,
		v1alpha1.IntensityAtCreationAnnotation, v1alpha1.HeldByAnnotation, v1alpha1.StartedAnnotation,
		v1alpha1.ExpectedDurationAnnotation, v1alpha1.DurationSourceAnnotation,
		v1alpha1.PausedAnnotation, v1alpha1.RanAnnotation, v1alpha1.PausesAnnotation, v1alpha1.FinishByAnnotation,
		v1alpha1.PlannedLocationAnnotation, v1alpha1.CandidateLocationsAnnotation,
		v1alpha1.OriginalParallelismAnnotation, v1alpha1.AppliedParallelismAnnotation,
		v1alpha1.ParallelismChangedAnnotation, v1alpha1.ParallelismReleasedAnnotation,
	}
}

// IsWrittenKey reports whether only Gridlatch writes a label or an annotation of pods and Jobs.
func IsWrittenKey(key string) bool {
	return key == v1alpha1.StateLabel || slices.Contains(WrittenKeys(), key)
}

// MaxValue bounds how many bytes of an annotation are read.
const MaxValue = 256

// Truncate returns a value of at most limit bytes as it is. Truncate cuts a longer value to limit
// bytes and one more, so that the value still counts as too long and the rest does not stay in
// memory.
func Truncate(value string, limit int) string {
	if len(value) <= limit {
		return value
	}
	return strings.Clone(value[:limit+1])
}

// UnknownKeys returns a warning for each annotation with Gridlatch's prefix that nobody reads, such
// as a misspelt one.
func UnknownKeys(annotations map[string]string, path *field.Path) []string {
	var warnings []string
	ours := append(append(AskKeys(), WrittenKeys()...), v1alpha1.AuditLabel, v1alpha1.CarbonStatusKey)
	if _, ok := annotations[v1alpha1.AuditLabel]; ok {
		warnings = append(warnings, fmt.Sprintf("%s: has no effect here: write it on the namespace, as a label", path.Key(v1alpha1.AuditLabel)))
	}
	if _, ok := annotations[v1alpha1.CarbonStatusKey]; ok {
		warnings = append(warnings, fmt.Sprintf("%s: has no effect here: write it into the node selector of the pods", path.Key(v1alpha1.CarbonStatusKey)))
	}
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if strings.HasPrefix(key, v1alpha1.Prefix) && !slices.Contains(ours, key) && len(warnings) < maxUnknownKeys {
			warnings = append(warnings, fmt.Sprintf("%s: has no effect, because Gridlatch does not know this annotation; want %s and one of %s",
				path.Key(fmt.Sprintf("%.80s", key)), v1alpha1.Prefix, strings.ReplaceAll(strings.Join(AskKeys(), ", "), v1alpha1.Prefix, "")))
		}
	}
	return warnings
}

// maxUnknownKeys bounds the warnings about unknown annotations.
const maxUnknownKeys = 3
