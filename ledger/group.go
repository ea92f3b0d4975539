package ledger

import (
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/ledger/energy"
)

// Mode says whether Gridlatch carried out what it decided.
type Mode string

const (
	// Enforce is the mode of work that Gridlatch held, or would have held for a gain.
	Enforce Mode = "Enforce"
	// Audit is the mode of work that started at once, whatever Gridlatch had decided.
	Audit Mode = "Audit"
)

// Group is one group of work that Gridlatch decided on, once it has ended. A group is all pods of
// one Job, of one object that is held whole, or one pod.
type Group struct {
	// UID is the UID of the Job, the object or the pod. It tells groups apart.
	UID       string `json:"uid"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Owner is the highest owner that is known, such as CronJob/nightly. It is Kind/Name if there
	// is none.
	Owner  string `json:"owner"`
	Policy string `json:"policy"`
	Mode   Mode   `json:"mode"`
	// Source names the source of the forecast, as the String of a forecast.Source. Location is
	// where the work ran, as the source names it. OtherLocation is where the work would have run
	// otherwise: with Enforce had it started at its arrival, with Audit had it been held.
	Source        string `json:"source"`
	Location      string `json:"location"`
	OtherLocation string `json:"otherLocation"`
	// Arrived is when the work came. LatestStart is until when it could wait; zero if it could not.
	Arrived     time.Time `json:"arrived"`
	LatestStart time.Time `json:"latestStart,omitzero"`
	// Released is when the work could start. With Audit it is Arrived.
	Released time.Time `json:"released"`
	// Ended is when the last of its pods ended. SeenEnd says that Gridlatch has seen that:
	// otherwise Ended is when the work was last seen.
	Ended   time.Time `json:"ended"`
	SeenEnd bool      `json:"seenEnd"`
	// Wait is how long the work waited (Enforce: Released less Arrived), or would have waited
	// (Audit).
	Wait time.Duration `json:"wait"`
	// Pauses is how often Gridlatch has paused the work after its start. RestartCost is how much run time
	// each resume has cost.
	Pauses      int           `json:"pauses,omitempty"`
	RestartCost time.Duration `json:"restartCost,omitempty"`
	// Failed says that the work ended without success. All its energy went without work.
	Failed bool `json:"failed,omitempty"`
	// Steps are the power over time, ascending, without overlap, with at most MaxSteps steps.
	Steps  []Step        `json:"steps"`
	Energy energy.Source `json:"energy"`
	// Units are the functional units of the SCI: completions, or what the work states. Failed work
	// has 0.
	Units float64 `json:"units"`
	// EmbodiedGrams are the share of the nodes' embodied emissions, in gCO2eq.
	EmbodiedGrams float64 `json:"embodiedGrams,omitempty"`
	// CoreHours are the requested cores times the hours for which the pods ran.
	CoreHours float64 `json:"coreHours,omitempty"`
}

// Step is a stretch of constant power, in watts at the meter of the data centre.
type Step struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Watts is the power of all pods. FailedWatts is the part of pods that failed.
	Watts       float64 `json:"watts"`
	FailedWatts float64 `json:"failedWatts,omitempty"`
}

// Attempt is the run of one pod.
type Attempt struct {
	Start, End time.Time
	Watts      float64
	Failed     bool
}

// PodRun is the run of one pod, for a meter.
type PodRun struct {
	UID, Namespace, Name string
	Start, End           time.Time
	// HasGPUs says that the pod requested GPUs. Without their energy, such a pod is not measured.
	HasGPUs bool
}

// MaxSteps bounds the steps of a group.
const MaxSteps = 24

// Actuals returns the actual intensities of a location of a source. An empty series knows nothing.
type Actuals func(source, location string) *forecast.Series
