package ceiling

import "strconv"

// bound is an annotation of KEDA's that bounds how far an object is scaled. The
// fields that do are spec.minReplicaCount and spec.maxReplicaCount, and
// spec.idleReplicaCount, which is always below the minimum.
type bound struct {
	key string
	// always says that any value counts. Else the value is that of a boolean,
	// and what is none counts as true.
	always bool
	does   effect
	// pause is the value that stands for a ceiling of 0; empty if there is none.
	pause string
}

// effect is what a bound does while it holds.
type effect int

const (
	stops  effect = iota // nothing is scaled
	halves               // one direction is closed
	wakes                // at least one replica runs
)

// bounds are all annotations of KEDA 2.12 to 2.21 that bound how far an object of
// a kind is scaled. Those with a value for a pause come first, and of them the one
// without which there is none.
//
// A ScaledObject with a ceiling of 0 has no pods, as with any ceiling that is
// reached from above; a ScaledJob starts no more Jobs, and those that run go on.
// KEDA 2.12 makes the autoscaler of a ScaledObject anew, again and again, as long
// as it has only one of the two (kedacore/keda#5165).
func bounds(k kind) []bound {
	if k == scaledJob {
		return []bound{{key: paused, pause: "true"}}
	}
	return []bound{
		{key: pausedReplicas, always: true, pause: "0"},
		{key: paused, pause: "true"},
		{key: pausedScaleIn, does: halves},  // since 2.18
		{key: pausedScaleOut, does: halves}, // since 2.18
		{key: forceActivation, does: wakes}, // since 2.18
	}
}

// holds reports whether KEDA heeds the annotation.
func (b bound) holds(annotations map[string]string) bool {
	value, ok := annotations[b.key]
	if !ok || b.always {
		return ok
	}
	on, err := strconv.ParseBool(value)
	return on || err != nil
}

// held returns the first annotation with an effect that holds, empty if none does.
func (t *target) held(does effect) string {
	for _, b := range bounds(t.kind) {
		if b.does == does && b.holds(t.Annotations) {
			return b.key
		}
	}
	return ""
}

// pauses are the bounds that stand for a ceiling of 0.
func pauses(k kind) (all []bound) {
	for _, b := range bounds(k) {
		if b.pause != "" {
			all = append(all, b)
		}
	}
	return all
}
