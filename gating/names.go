package gating

import "strings"

// What users write: annotations on a Job, a pod or a pod template.
const (
	// DelayTolerant opts in with "true". It may be a label instead, see Wish.
	DelayTolerant = prefix + "delay-tolerant"
	// Deadline is when the work must be finished, see plan.ParseDeadline.
	Deadline = prefix + "deadline"
	// Duration is how long it runs, see plan.ParseDuration.
	Duration = prefix + "duration"
	// Threshold in gCO2eq/kWh ends the wait, see plan.ParseIntensity.
	Threshold = prefix + "threshold"
	// Location pins the work to one location of its policy.
	Location = prefix + "location"
	// PolicyName names the CarbonPolicy, on work or on a namespace. On what is
	// held it is the policy that was found at admission.
	PolicyName = prefix + "policy"
	// Hold says how a Job is held: HoldByGate, the default, or HoldBySuspend.
	Hold          = prefix + "hold"
	HoldByGate    = "gate"
	HoldBySuspend = "suspend"
	// Placement says whether nodes of a dirtier bucket will do if they have to,
	// PlacementPreferred, the default, or not: PlacementStrict.
	Placement          = prefix + "placement"
	PlacementPreferred = "preferred"
	PlacementStrict    = "strict"
	// RunsOf is a label, not an annotation, of Jobs that are runs of the same
	// work: those with the same value in a namespace. A Job of a CronJob that
	// asks to wait has the CronJob's name, unless it comes with another.
	RunsOf = prefix + "runs-of"
)

// What Gridlatch writes, and users read.
const (
	// Gate is the scheduling gate that holds a pod.
	Gate = prefix + "carbon"
	// State is the label by which our pods and Jobs are selected: StateHeld or
	// StateReleased. On a Job it records the one decision for all its pods.
	State         = prefix + "state"
	StateHeld     = "held"
	StateReleased = "released"
	// PlannedStart is when the work is to start as planned now (RFC 3339).
	PlannedStart = prefix + "planned-start"
	// LatestStart is when it starts whatever the grid does (RFC 3339).
	LatestStart = prefix + "latest-start"
	// Reason is one plain sentence on why it waits, or started.
	Reason = prefix + "reason"
	// NotHeld begins a reason of work that asked to be held, and cannot be.
	NotHeld = "not held: "
	// AtCreation is the mean intensity in gCO2eq/kWh that starting at once
	// would have had when the work was created, times the power factor of the
	// location if that is chosen: what a saving is measured by.
	AtCreation = prefix + "intensity-at-creation"
	// HeldBy says how a Job is held whose pods do not carry our gate: it is
	// HoldBySuspend if we have suspended it, and HoldByKueue if its queue waits
	// for us. Without it, a Job is never resumed by us.
	HeldBy      = prefix + "held-by"
	HoldByKueue = "kueue"
	// Started is when it was released (RFC 3339).
	Started = prefix + "started"
	// PlannedLocation is where it is to run as planned now, and, once it is
	// released, where the scheduler was asked to put it. It is written where the
	// policy chooses between locations.
	PlannedLocation = prefix + "planned-location"
	// Candidates names, separated by commas, the locations of the policy whose
	// nodes suit the work, if its own node selector or required affinity leave
	// some out; with =0.7, say, behind one where the least power factor of these
	// nodes is not 1.
	Candidates = prefix + "candidate-locations"
	// ExpectedDuration is how long a Job that does not say is taken to run, by
	// its earlier runs, see plan.ParseDuration.
	ExpectedDuration = prefix + "expected-duration"
	// DurationSource says where the duration of a Job that asks for none comes
	// from.
	DurationSource = prefix + "duration-source"
)

// Extended resources, of which pods have zero, see package extender.
const (
	// PlacementMark has the scheduler ask the extender which nodes are cleanest.
	PlacementMark = Placement
	// StrictMark has it ask which nodes are too dirty.
	StrictMark = prefix + "strict-placement"
)

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
	HistoryOf = prefix + "history-of"
	// Source is the annotation with the source itself.
	Source = prefix + "source"
)

const prefix = "gridlatch.dev/"

// asked are the annotations of an ask, in the order they are explained.
func asked() []string {
	return []string{DelayTolerant, Deadline, Duration, Threshold, Location, PolicyName, Hold, Placement}
}

// written are the annotations that Gridlatch adds to what it decides.
func written() []string {
	return []string{
		PlannedStart, LatestStart, Reason, AtCreation, HeldBy, Started, ExpectedDuration, DurationSource,
		PlannedLocation, Candidates,
	}
}

// Ours reports whether a label or an annotation is one that Gridlatch may read:
// of its own prefix, or of Kueue's.
func Ours(key string) bool {
	return strings.HasPrefix(key, prefix) || key == KueueQueue || key == KueueGates
}
