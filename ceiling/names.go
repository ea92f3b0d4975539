package ceiling

const prefix = "gridlatch.dev/"

// What users write on a ScaledObject or a ScaledJob.
const (
	// PolicyName opts in, and names the CarbonPolicy whose buckets give the
	// ceiling.
	PolicyName = prefix + "policy"
	// Ceilings are buckets of the object's own, see plan.ParseBuckets. Without
	// PolicyName they opt in to the default policy.
	Ceilings = prefix + "ceilings"
	// LowerBy is by how much the ceiling is lowered at most, once in the interval
	// --ceiling-lower-interval: a number of replicas, or such as 10% of the ceiling
	// in force. It is raised at once.
	LowerBy = prefix + "lower-by"
	// Location is the location of the policy that counts; without it, the
	// policy's first does.
	Location = prefix + "location"
)

// What Gridlatch writes there, and users read.
const (
	// Reason is one sentence on why the ceiling is as it is.
	Reason = prefix + "reason"
	// Ceiling is the ceiling in force, 0 while the object is paused for it.
	// Without it there is none.
	Ceiling = prefix + "ceiling"
	// Original is the maxReplicaCount that comes back when the ceiling goes, or
	// Unset. Whoever knows better may change it.
	Original = prefix + "original-max-replica-count"
	// Unset stands for a maxReplicaCount that is not set.
	Unset = "unset"
	// Applied is the maxReplicaCount of an object that is paused, in the same
	// form. Otherwise it is the ceiling.
	Applied = prefix + "applied-max-replica-count"
	// By is the claim whose ceiling it is: CarbonPolicy/NAME, or
	// CarbonAwareKedaScaler/NAMESPACE/NAME.
	By = prefix + "ceiling-by"
	// PausedWith are the annotations of KEDA's that we have set, and will take
	// away, with commas between; KEY=VALUE is one that will have a value again.
	PausedWith = prefix + "ceiling-paused-with"
	// Lowered is when the ceiling in force was last lowered because of the
	// intensity (RFC 3339).
	Lowered = prefix + "ceiling-lowered"
)

// Released is until when a ceiling that was taken off by hand is not set again
// (RFC 3339).
const Released = prefix + "ceiling-released"

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
	return []string{Reason, Ceiling, Original, Applied, By, PausedWith, Lowered}
}
