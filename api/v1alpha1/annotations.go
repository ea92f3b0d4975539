package v1alpha1

// Prefix begins every annotation, label and resource of Gridlatch.
const Prefix = "gridlatch.dev/"

// These keys are for users, who write them on a Job, a pod or a pod template. All but RunsOfLabel
// are annotations.
const (
	// DelayTolerantAnnotation is the wish to wait: "true", or "false". The label of the same name
	// is the same wish. If both are there, the annotation counts.
	DelayTolerantAnnotation = Prefix + "delay-tolerant"
	// DeadlineAnnotation is when the work must be finished: an instant, a duration after the
	// creation, or a wall-clock time with a zone.
	DeadlineAnnotation = Prefix + "deadline"
	// DurationAnnotation is how long the work runs, such as 2h.
	DurationAnnotation = Prefix + "duration"
	// ThresholdAnnotation is an intensity in gCO2eq/kWh. The work starts as soon as it would run at
	// this intensity or a lower one.
	ThresholdAnnotation = Prefix + "threshold"
	// LocationAnnotation pins the work to one location of its policy. On an object of KEDA, it is
	// the location whose intensity gives the ceiling.
	LocationAnnotation = Prefix + "location"
	// PolicyAnnotation names the CarbonPolicy, on work or on a namespace. On an object of KEDA, it
	// asks for a ceiling. On held work, it is the policy that was found at admission.
	PolicyAnnotation = Prefix + "policy"
	// HoldAnnotation says how a Job is held: HoldByGate, the default, or HoldBySuspend.
	HoldAnnotation = Prefix + "hold"
	HoldByGate     = "gate"
	HoldBySuspend  = "suspend"
	// PlacementAnnotation says whether the work may run on nodes in a dirtier bucket if there is no
	// room elsewhere: PlacementPreferred, the default, allows that, and PlacementStrict does not.
	PlacementAnnotation = Prefix + "placement"
	PlacementPreferred  = "preferred"
	PlacementStrict     = "strict"
	// PowerWattsAnnotation is the power of one pod of the work in watts, such as 250. It counts where
	// the energy of the work is not measured, and the pods request nothing.
	PowerWattsAnnotation = Prefix + "power-watts"
	// FunctionalUnitsAnnotation is how many functional units the work produces, such as the number of
	// pictures that it renders. The emissions per unit are reported by this number. Without the
	// annotation, each completion is one unit.
	FunctionalUnitsAnnotation = Prefix + "functional-units"
	// InterruptibleAnnotation says whether Gridlatch may pause a Job after its start: "true" or
	// "false". A paused Job has no pods, and is resumed in time.
	InterruptibleAnnotation = Prefix + "interruptible"
	// RestartCostAnnotation is how much run time each resume costs, such as 10m, or 0s.
	RestartCostAnnotation = Prefix + "restart-cost"
	// MinRunAnnotation is how long a run lasts at least before a pause, such as 30m.
	MinRunAnnotation = Prefix + "min-run"
	// RemainingAnnotation is how long interruptible work still has to run, such as 3h. The work itself
	// may write it while it runs.
	RemainingAnnotation = Prefix + "remaining"
	// RunsOfLabel is the label of Jobs that are runs of the same work: the Jobs with the same value
	// in a namespace. A Job of a CronJob that asks to wait gets the CronJob's name, unless the Job
	// has a value already.
	RunsOfLabel = Prefix + "runs-of"
)

// Users write this key on nodes, by the template of a NodePool, and into the node selectors of their work.
// Gridlatch labels no node.
const (
	// CarbonStatusKey is the label of the nodes for work that may wait. Work whose node selector wants
	// the value LowIntensity wishes to wait, unless DelayTolerantAnnotation says otherwise.
	CarbonStatusKey = Prefix + "carbon-status"
	// LowIntensity is the value that work waits for.
	LowIntensity = "low-intensity"
)

// AuditLabel is a label of a namespace, for platform owners. It says which work of the namespace
// Gridlatch audits: AuditAsking or AuditAll. AuditNone is the same as no label. Audited work starts
// at once. Annotations on the work say what would have happened. The key is a label and no
// annotation, because the API server chooses by the labels of a namespace which webhook it calls.
const (
	AuditLabel = Prefix + "audit"
	// AuditAsking audits the work that asks to wait, whatever its policy.
	AuditAsking = "true"
	// AuditAll audits the work that does not ask to wait, too.
	AuditAll = "all"
	// AuditNone audits only the work whose policy has the mode Audit.
	AuditNone = "false"
)

// Gridlatch writes these keys on pods and Jobs, and users read them. All but Gate and StateLabel
// are annotations.
const (
	// Gate is the scheduling gate that holds a pod.
	Gate = Prefix + "carbon"
	// StateLabel is the label of the pods and Jobs that were decided on: StateHeld, StateReleased or
	// StateAudited. On a Job it is the one decision for all its pods.
	StateLabel    = Prefix + "state"
	StateHeld     = "held"
	StateReleased = "released"
	// StateAudited is the state of work that was never held, and whose annotations say what would have
	// happened: the planned start is when the work would have started.
	StateAudited = "audited"
	// PlannedStartAnnotation is when the work is planned to start (RFC 3339).
	PlannedStartAnnotation = Prefix + "planned-start"
	// LatestStartAnnotation is when the work starts whatever the grid does (RFC 3339).
	LatestStartAnnotation = Prefix + "latest-start"
	// NextRunAnnotation is when the next run of the work's CronJob comes (RFC 3339). The work starts
	// early enough to be done before this time.
	NextRunAnnotation = Prefix + "next-run"
	// ReasonAnnotation is one plain sentence on why the work waits, or why it started. On an object
	// of KEDA, it says why the ceiling is as it is.
	ReasonAnnotation = Prefix + "reason"
	// OutcomeAnnotation tells what became of work that Gridlatch neither holds nor releases:
	// OutcomeNotHeld or OutcomeTaken.
	OutcomeAnnotation = Prefix + "outcome"
	// OutcomeNotHeld is the outcome of work that asked to be held and could not be.
	OutcomeNotHeld = "not-held"
	// OutcomeTaken is the outcome of a Job that somebody else has started while Gridlatch held it.
	OutcomeTaken = "taken"
	// IntensityAtCreationAnnotation is the mean intensity in gCO2eq/kWh that the work would have
	// had if it had started at its creation. Where the policy chooses the location, the intensity
	// is multiplied by the location's power factor. Savings are measured by this intensity.
	IntensityAtCreationAnnotation = Prefix + "intensity-at-creation"
	// HeldByAnnotation says how a Job is held whose pods do not carry our gate: HoldBySuspend if
	// Gridlatch has suspended the Job, and HoldByKueue if its queue waits for Gridlatch. Gridlatch
	// never resumes a Job without this annotation.
	HeldByAnnotation = Prefix + "held-by"
	HoldByKueue      = "kueue"
	// StartedAnnotation is when the work was released (RFC 3339).
	StartedAnnotation = Prefix + "started"
	// PausedAnnotation is since when an interruptible Job is paused (RFC 3339). Without the annotation,
	// a held Job has not started.
	PausedAnnotation = Prefix + "paused"
	// RanAnnotation is how long a Job has run before the present run or pause, less what its resumes
	// have cost.
	RanAnnotation = Prefix + "ran"
	// PausesAnnotation is how often a Job was paused.
	PausesAnnotation = Prefix + "pauses"
	// FinishByAnnotation is when the work of a Job that was paused must be done (RFC 3339).
	FinishByAnnotation = Prefix + "finish-by"
	// PlannedLocationAnnotation is where the work is planned to run. After the release, it is where
	// Gridlatch has asked the scheduler to put the work. Gridlatch writes it only if the policy
	// chooses between locations.
	PlannedLocationAnnotation = Prefix + "planned-location"
	// CandidateLocationsAnnotation names, separated by commas, the locations whose nodes are
	// suitable for the work. Gridlatch writes it if the work's own node selector or required
	// affinity rules some locations out. NAME=0.7 says that the least power factor of the nodes
	// there is 0.7.
	CandidateLocationsAnnotation = Prefix + "candidate-locations"
	// ExpectedDurationAnnotation is how long a Job without a duration is expected to run, by its
	// earlier runs.
	ExpectedDurationAnnotation = Prefix + "expected-duration"
	// DurationSourceAnnotation says where the expected duration of a Job without a duration comes
	// from.
	DurationSourceAnnotation = Prefix + "duration-source"
)

// These are extended resources. Pods request zero of them, so that kube-scheduler asks the
// extender.
const (
	// PlacementResource makes kube-scheduler ask which nodes are cleanest.
	PlacementResource = Prefix + "placement"
	// StrictPlacementResource makes kube-scheduler ask which nodes are too dirty.
	StrictPlacementResource = Prefix + "strict-placement"
)

// Users write these annotations on a ScaledObject or a ScaledJob of KEDA, beside PolicyAnnotation
// and LocationAnnotation.
const (
	// CeilingsAnnotation has buckets of the object's own, such as 437=110,504=60,*=10. Without
	// PolicyAnnotation, it asks for a ceiling by the default policy.
	CeilingsAnnotation = Prefix + "ceilings"
	// LowerByAnnotation is by how much the ceiling is lowered at most in each
	// --ceiling-lower-interval: a number of replicas, or a share of the ceiling in force such as
	// 10%. A ceiling is raised at once.
	LowerByAnnotation = Prefix + "lower-by"
)

// Gridlatch writes these annotations on a ScaledObject or a ScaledJob of KEDA, and users read them,
// beside ReasonAnnotation.
const (
	// CeilingAnnotation is the ceiling in force. It is 0 while the object is paused for the
	// ceiling. Without the annotation there is no ceiling.
	CeilingAnnotation = Prefix + "ceiling"
	// OriginalMaxReplicaCountAnnotation is the maxReplicaCount that comes back when the ceiling
	// goes, or MaxReplicaCountUnset. Users may change it.
	OriginalMaxReplicaCountAnnotation = Prefix + "original-max-replica-count"
	// MaxReplicaCountUnset stands for a maxReplicaCount that is not set.
	MaxReplicaCountUnset = "unset"
	// AppliedMaxReplicaCountAnnotation is the maxReplicaCount of a paused object, in the same form.
	// Otherwise it is the ceiling.
	AppliedMaxReplicaCountAnnotation = Prefix + "applied-max-replica-count"
	// CeilingByAnnotation says whose ceiling it is: CarbonPolicy/NAME, or
	// CarbonAwareKedaScaler/NAMESPACE/NAME.
	CeilingByAnnotation = Prefix + "ceiling-by"
	// CeilingPausedWithAnnotation names, separated by commas, KEDA's annotations that Gridlatch has
	// set and will remove. KEY=VALUE names an annotation that will have that value again.
	CeilingPausedWithAnnotation = Prefix + "ceiling-paused-with"
	// CeilingLoweredAnnotation is when the ceiling in force was last lowered because of the
	// intensity (RFC 3339).
	CeilingLoweredAnnotation = Prefix + "ceiling-lowered"
	// CeilingReleasedAnnotation is until when a ceiling that a user has removed is not set again
	// (RFC 3339).
	CeilingReleasedAnnotation = Prefix + "ceiling-released"
	// TriggerPausedAnnotation names KEDA's annotation that Gridlatch has set for a trigger of the
	// type carbon-intensity with the handler pause, and will remove. KEY=VALUE says that the
	// annotation will have that value again. The value owner says that the owner has written over
	// the pause, which is not set again until the grid has been clean.
	TriggerPausedAnnotation = Prefix + "trigger-paused"
)

// Users write these annotations on a NodePool of Karpenter, beside PolicyAnnotation,
// LocationAnnotation and PowerFactorKey.
const (
	// LimitsAnnotation has the most of some resources that the pool may have at which intensity, such
	// as "200=cpu:1000,350=cpu:200;memory:1Ti,*=cpu:0;memory:0".
	LimitsAnnotation = Prefix + "limits"
	// WeightsAnnotation is WeightsAuto, or has the weight of the pool at which intensity, such as
	// "200=90,350=50,*=10".
	WeightsAnnotation = Prefix + "weights"
	// WeightsAuto ranks all pools that ask for it: the pool with the least emissions for the same work
	// comes first.
	WeightsAuto = "auto"
	// CarbonPriceAnnotation has by how many percent nodes of the pool look dearer at which intensity,
	// such as "200=0%,350=10%,*=25%".
	CarbonPriceAnnotation = Prefix + "carbon-price"
)

// Gridlatch writes these annotations on a NodePool of Karpenter, and users read them, beside
// ReasonAnnotation.
const (
	// LimitsBucketAnnotation names the bucket whose limits are in force. Without the annotation, the
	// pool has its own limits.
	LimitsBucketAnnotation = Prefix + "limits-bucket"
	// OriginalLimitsAnnotation has, as JSON by resource, the limits that come back. null stands for a
	// limit that the pool did not have.
	OriginalLimitsAnnotation = Prefix + "original-limits"
	// AppliedLimitsAnnotation has the limits that Gridlatch has set, in the same form.
	AppliedLimitsAnnotation = Prefix + "applied-limits"
	// LimitsLoweredAnnotation is when the limits in force were last lowered because of the intensity
	// (RFC 3339).
	LimitsLoweredAnnotation = Prefix + "limits-lowered"
	// OriginalWeightAnnotation is the weight that comes back, or WeightUnset.
	OriginalWeightAnnotation = Prefix + "original-weight"
	// WeightUnset stands for a weight that is not set.
	WeightUnset = "unset"
	// AppliedWeightAnnotation is the weight that Gridlatch has set.
	AppliedWeightAnnotation = Prefix + "applied-weight"
	// WeightChangedAnnotation is when Gridlatch last changed the weight because of the intensity
	// (RFC 3339).
	WeightChangedAnnotation = Prefix + "weight-changed"
	// PriceChangedAnnotation is, on the NodeOverlay of a NodePool, when Gridlatch last changed the price
	// because of the intensity (RFC 3339).
	PriceChangedAnnotation = Prefix + "price-changed"
	// NodePoolByAnnotation says by whom the limits and the weight are set: CarbonPolicy/NAME.
	NodePoolByAnnotation = Prefix + "nodepool-by"
	// NodePoolReleasedAnnotation is until when a NodePool that was given back by hand keeps its own
	// limits and weight (RFC 3339).
	NodePoolReleasedAnnotation = Prefix + "nodepool-released"

	// These annotations are on the ConfigMap that has the priorities of Cluster Autoscaler's node groups.

	// OriginalPrioritiesAnnotation has the priorities that come back, as a JSON string. null says that the
	// ConfigMap had none, and PrioritiesAbsent that there was no ConfigMap.
	OriginalPrioritiesAnnotation = Prefix + "original-priorities"
	// PrioritiesAbsent stands for a ConfigMap that Gridlatch has made.
	PrioritiesAbsent = "absent"
	// AppliedPrioritiesAnnotation has the priorities that Gridlatch has set, as a JSON string.
	AppliedPrioritiesAnnotation = Prefix + "applied-priorities"
	// PrioritiesChangedAnnotation is when the order was last changed because of the intensity (RFC 3339).
	PrioritiesChangedAnnotation = Prefix + "priorities-changed"
	// PrioritiesByAnnotation says by whom the priorities are set: CarbonPolicy/NAME.
	PrioritiesByAnnotation = Prefix + "priorities-by"
	// PrioritiesReleasedAnnotation is until when a ConfigMap that was given back by hand keeps its own
	// priorities (RFC 3339).
	PrioritiesReleasedAnnotation = Prefix + "priorities-released"
)

// Users write these annotations on a Job that may run wider while the grid is clean.
const (
	// ParallelismAnnotation has the least and the most pods that the Job runs at once, such as 2-40.
	// Gridlatch sets the Job's spec.parallelism between the two.
	ParallelismAnnotation = Prefix + "parallelism"
	// SpeedupAnnotation has how much work the Job does with some numbers of pods at once, such as
	// 1=1,10=8,40=20.
	SpeedupAnnotation = Prefix + "speedup"
)

// Gridlatch writes these annotations on a Job whose spec.parallelism it has set, and users read them,
// beside ReasonAnnotation.
const (
	// OriginalParallelismAnnotation is the spec.parallelism that comes back.
	OriginalParallelismAnnotation = Prefix + "original-parallelism"
	// AppliedParallelismAnnotation is the spec.parallelism that Gridlatch has set.
	AppliedParallelismAnnotation = Prefix + "applied-parallelism"
	// ParallelismChangedAnnotation is when Gridlatch last changed the spec.parallelism (RFC 3339).
	ParallelismChangedAnnotation = Prefix + "parallelism-changed"
	// ParallelismReleasedAnnotation is until when a Job that was given back by hand keeps its own
	// spec.parallelism (RFC 3339), or ParallelismTaken.
	ParallelismReleasedAnnotation = Prefix + "parallelism-released"
	// ParallelismTaken says that somebody else has set the spec.parallelism, and that Gridlatch leaves
	// it alone.
	ParallelismTaken = "owner"
)

// ReleaseFinalizer is a finalizer on the objects of Gridlatch's installation that give Gridlatch its
// rights. While it is there, these objects stay, so that Gridlatch can release held work before it goes.
const ReleaseFinalizer = Prefix + "release"
