package ceiling

import "github.com/gridlatch/gridlatch/api/v1alpha1"

// Manager is the field manager of every change to an object of KEDA: what to
// tell a GitOps tool to leave alone.
const Manager = "gridlatch"

// What KEDA reads.
const (
	paused          = "autoscaling.keda.sh/paused"
	pausedReplicas  = "autoscaling.keda.sh/paused-replicas"
	pausedScaleIn   = "autoscaling.keda.sh/paused-scale-in"
	pausedScaleOut  = "autoscaling.keda.sh/paused-scale-out"
	forceActivation = "autoscaling.keda.sh/force-activation"
	// jobsOf is the label of a Job with the name of its ScaledJob.
	jobsOf = "scaledjob.keda.sh/name"
	// unsetMax is what KEDA makes of no maxReplicaCount.
	unsetMax = 100
)

// written are the annotations of ours that go with the last claim.
func written() []string {
	return []string{v1alpha1.ReasonAnnotation, v1alpha1.CeilingAnnotation, v1alpha1.OriginalMaxReplicaCountAnnotation, v1alpha1.AppliedMaxReplicaCountAnnotation, v1alpha1.CeilingByAnnotation, v1alpha1.CeilingPausedWithAnnotation, v1alpha1.CeilingLoweredAnnotation}
}
