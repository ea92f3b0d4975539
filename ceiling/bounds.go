package ceiling

import (
	"strconv"

	"github.com/gridlatch/gridlatch/override"
)

// bound is an annotation of KEDA that bounds how far an object is scaled. The fields that do so are
// spec.minReplicaCount and spec.maxReplicaCount, and spec.idleReplicaCount, which is always below
// the minimum.
type bound struct {
	key string
	// ignoresValue says that the annotation counts with any value. Otherwise the value is that of a
	// boolean, and a value that is no boolean counts as true.
	ignoresValue bool
	effect       effect
	// pauseValue is the value that stands for a ceiling of 0, empty if there is none.
	pauseValue string
}

// effect is what a bound does while it is in force.
type effect int

const (
	stopsScaling        effect = iota // nothing is scaled
	stopsScalingHalfway               // nothing is scaled in, or nothing is scaled out
	keepsAwake                        // at least one replica runs
)

// bounds returns all annotations of KEDA 2.12 to 2.21 that bound how far an object of a kind is
// scaled. The annotations with a value for a pause come first. The first of them is the one without
// which there is no pause.
//
// A ScaledObject with a ceiling of 0 has no pods. A ScaledJob with a ceiling of 0 starts no more
// Jobs, and the Jobs that run go on. A ScaledObject needs both annotations: KEDA 2.12 makes the
// autoscaler anew again and again while the object has only one of the two (kedacore/keda#5165).
func bounds(k kind) []bound {
	if k == scaledJob {
		return []bound{{key: paused, pauseValue: "true"}}
	}
	return []bound{
		{key: pausedReplicas, ignoresValue: true, pauseValue: "0"},
		{key: paused, pauseValue: "true"},
		{key: pausedScaleIn, effect: stopsScalingHalfway},  // since 2.18
		{key: pausedScaleOut, effect: stopsScalingHalfway}, // since 2.18
		{key: forceActivation, effect: keepsAwake},         // since 2.18
	}
}

// pausingBounds returns the bounds that stand for a ceiling of 0.
func pausingBounds(k kind) (pausing []bound) {
	for _, b := range bounds(k) {
		if b.pauseValue != "" {
			pausing = append(pausing, b)
		}
	}
	return pausing
}

func (b bound) field() override.Field { return override.Annotation(b.key) }

// isInForce reports whether KEDA heeds the annotation.
func (b bound) isInForce(annotations map[string]string) bool {
	value, ok := annotations[b.key]
	if !ok || b.ignoresValue {
		return ok
	}
	on, err := strconv.ParseBool(value)
	return on || err != nil
}

// boundInForce returns the first annotation with an effect that KEDA heeds, empty if there is none.
func (t *target) boundInForce(e effect) string {
	for _, b := range bounds(t.kind) {
		if b.effect == e && b.isInForce(t.Annotations) {
			return b.key
		}
	}
	return ""
}
