package ceiling

import (
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
)

// Component is the folder below manifests/components that gives Gridlatch the rights to KEDA's objects.
const Component = "keda"

// What KEDA reads.
const (
	paused          = "autoscaling.keda.sh/paused"
	pausedReplicas  = "autoscaling.keda.sh/paused-replicas"
	pausedScaleIn   = "autoscaling.keda.sh/paused-scale-in"
	pausedScaleOut  = "autoscaling.keda.sh/paused-scale-out"
	forceActivation = "autoscaling.keda.sh/force-activation"
	// maxReplicaCount is the one field of the spec that is lent.
	maxReplicaCount = override.Field("/spec/maxReplicaCount")
	// triggersField is the list of triggers. It is not lent: what a trigger was can be read in the
	// trigger itself.
	triggersField = override.Field("/spec/triggers")
	// scaledJobLabel is the label of a Job with the name of its ScaledJob.
	scaledJobLabel = "scaledjob.keda.sh/name"
	// defaultMax is the maxReplicaCount that KEDA takes where none is set.
	defaultMax = 100
)

const (
	maxNameBytes   = 253 // of the name of an object
	maxReasonBytes = override.MaxSentence
)

// noteKeys returns the annotations that we write on a target, and take away with its last claim.
func noteKeys() []string {
	return []string{
		v1alpha1.ReasonAnnotation, v1alpha1.CeilingAnnotation, v1alpha1.OriginalMaxReplicaCountAnnotation,
		v1alpha1.AppliedMaxReplicaCountAnnotation, v1alpha1.CeilingByAnnotation,
		v1alpha1.CeilingPausedWithAnnotation, v1alpha1.CeilingLoweredAnnotation,
	}
}

// shortened cuts a text of somebody else to a size that an object can bear.
func shortened(text string, maxBytes int) string {
	return override.Shorten(text, maxBytes)
}
