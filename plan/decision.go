package plan

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// Cause says why a decision is what it is. Causes are a closed set, fit for the label of a metric.
type Cause string

// The causes of a decision.
const (
	// CauseCleanerLater holds the task: a window before the latest start is cheaper.
	CauseCleanerLater Cause = "cleaner-later"
	// CauseThreshold holds the task until the first window at or below its threshold, or starts it
	// in that window.
	CauseThreshold Cause = "threshold"
	// CauseCleanestNow starts the task: no window before the latest start is cheaper.
	CauseCleanestNow Cause = "cleanest-now"
	// CauseSmallGain starts the task: waiting would save less than the policy's minimum.
	CauseSmallGain Cause = "small-gain"
	// CauseUncertainGain starts the task: waiting would save less than the forecast is usually wrong by,
	// times the policy's caution.
	CauseUncertainGain Cause = "uncertain-gain"
	// CauseLatestStart starts the task: there is no time left to wait.
	CauseLatestStart Cause = "latest-start"
	// CauseExempt starts the task: carbon does not count now.
	CauseExempt Cause = "exempt"
	// CauseQueued holds a task that would start now, until all held work has been planned together
	// below the ceilings.
	CauseQueued Cause = "queued"
	// CauseSpread holds the task for minutes: now is as clean as any time, and other tasks start
	// now, too.
	CauseSpread Cause = "spread"
	// CauseSuspended holds the task: its user has suspended it. It is planned once it is resumed.
	CauseSuspended Cause = "suspended"
	// CauseWithdrawn starts the task: it does not ask to wait any more.
	CauseWithdrawn Cause = "withdrawn"
	// CauseAudit starts the task: its policy or its namespace has come into audit mode, which holds
	// nothing.
	CauseAudit Cause = "audit"
	// CauseNoForecast starts the task: nothing usable is known.
	CauseNoForecast Cause = "no-forecast"
	// CauseNoRoom holds the task: running pods, and the plans of tasks with less time, leave no
	// room below the ceiling now, and there is no other gain in waiting.
	CauseNoRoom Cause = "no-room"
	// CausePaused pauses work that has started, or keeps it paused: to run later is cheaper.
	CausePaused Cause = "paused"
	// CauseRunsOn lets work that can be interrupted run on: a pause now would save too little.
	CauseRunsOn Cause = "runs-on"
)

// Decision says when and where a task starts, and why. A decision is a value: nothing happens by
// making one.
type Decision struct {
	Decided           time.Time     // when the decision was made
	Start             time.Time     // when to start; Decided means at once
	LatestStart       time.Time     // the promise to the user
	NextRun           time.Time     // the one of the task
	Location          string        // where to start
	Duration          time.Duration // how long the task is expected to run
	EstimatedDuration string        // the one of the task
	Expected          float64       // mean gCO2eq/kWh of the run from Start; NaN if unknown
	PowerFactor       float64       // of the task in Location; zero is one
	ExpectedAtOnce    float64       // mean gCO2eq/kWh of the run from Decided; NaN if unknown
	LocationAtOnce    string        // where that is: the location that is cleanest at Decided
	PowerFactorAtOnce float64       // of the task in LocationAtOnce; zero is one
	Cause             Cause
	Threshold         *float64 // of the task
	MinGain           float64  // that was asked for, in 0..1
	NoForecastReason  string   // why there is no usable forecast
	Basis             forecast.Basis
	IsMadeUp          bool   // no grid is behind the intensities
	Ceiling           int    // of the location at Decided, with ceilings; else zero
	Bucket            string // of that ceiling, see [Buckets.Name]
	RunningPods       int    // at Decided, before this task, with ceilings
	CheaperWasFull    bool   // a cheaper start had no room below its ceiling
	StillWaitsFor     string // what else the work waits for once it is released; empty if it can start
	// Runs are the runs in which work is done that can be interrupted, ascending; nil for other work.
	// For work that runs, the first one has begun, unless the decision pauses the work.
	Runs  []PlannedRun
	State RunState // of work that can be interrupted
}

// Queue makes work wait for a moment that would start now and need not, until it is planned
// together with all other work below the ceilings.
func (d Decision) Queue() Decision {
	soon := d.Decided.Add(time.Second)
	switch d.Cause {
	case CauseCleanestNow, CauseSmallGain, CauseUncertainGain, CauseThreshold, CauseSpread:
		if !d.Holds() && !soon.After(d.LatestStart) {
			d.Start, d.Cause = soon, CauseQueued
		}
	}
	return d
}

// Withdraw returns the decision for work that does not ask to wait any more: it starts now, in the
// location that is cleanest now.
func (d Decision) Withdraw() Decision { return d.startNow(CauseWithdrawn) }

// EndHold returns the decision for held work that comes into audit mode: it starts now, in the
// location that is cleanest now.
func (d Decision) EndHold() Decision { return d.startNow(CauseAudit) }

func (d Decision) startNow(cause Cause) Decision {
	d.Start, d.Cause = d.Decided, cause
	d.Expected, d.Location, d.PowerFactor = d.ExpectedAtOnce, d.LocationAtOnce, d.PowerFactorAtOnce
	return d
}

// Holds reports whether the task has to wait.
func (d Decision) Holds() bool { return d.Start.After(d.Decided) }

// Gain returns the share of the emissions that the wait saves, in 0..1. It is zero if nothing is
// known or saved.
func (d Decision) Gain() float64 {
	if math.IsNaN(d.ExpectedAtOnce) || math.IsNaN(d.Expected) {
		return 0
	}
	return math.Max(0, gain(d.EmittedAtOnce(), d.Emitted()))
}

// Emitted returns what the run emits from Start, in gCO2eq for each kWh that it would take where
// its power factor is one; NaN if unknown.
func (d Decision) Emitted() float64 { return d.Expected * orOne(d.PowerFactor) }

// EmittedAtOnce returns Emitted for the run from Decided.
func (d Decision) EmittedAtOnce() float64 { return d.ExpectedAtOnce * orOne(d.PowerFactorAtOnce) }

// maxReasonSize is how many characters of an annotation `kubectl describe` prints.
const maxReasonSize = 140

// Reason explains the decision in one plain sentence with numbers. The sentence names instants, not
// distances, so that it stays true for as long as it is shown. It fits in the 140 characters that
// `kubectl describe` prints, unless the location has a long name: the estimated duration, and the
// location of a start at once, are left out if they do not fit. [Truncate] shortens the sentence in
// any case.
func (d Decision) Reason() string { return d.ReasonWith("") }

// ReasonWith returns Reason with more at its end.
func (d Decision) ReasonWith(more string) string {
	return d.fit(func(d Decision) string { return d.sentence() + more })
}

// AuditReason explains, in the form of Reason, what would have happened to audited work, which starts
// at once. The sentence leaves the latest start out, which nobody was promised.
func (d Decision) AuditReason() string { return d.fit(Decision.auditSentence) }

// fit returns a sentence without what may be left out, if the sentence is too long.
func (d Decision) fit(sentence func(Decision) string) string {
	reason := sentence(d)
	for _, spare := range []*string{&d.EstimatedDuration, &d.LocationAtOnce} {
		if len(reason) > maxReasonSize {
			*spare = ""
			reason = sentence(d)
		}
	}
	if len(reason) > maxReasonSize && d.Basis == forecast.BasisWeather {
		d.Basis = briefWeather
		reason = sentence(d)
	}
	return Truncate(reason)
}

// briefWeather stands for [forecast.BasisWeather] in a sentence that is too long.
const briefWeather forecast.Basis = "brief-weather"

// Truncate shortens a message about an object to a KiB. An object with too much text cannot be
// written at all, not even to release it.
func Truncate(message string) string {
	const maxSize, ellipsis = 1024, "…"
	if len(message) <= maxSize {
		return message
	}
	return strings.ToValidUTF8(message[:maxSize-len(ellipsis)], "") + ellipsis
}

func (d Decision) sentence() string {
	switch {
	case d.Cause == CauseQueued && d.Holds():
		return "waits for its turn below the ceilings of its policy; " + d.latestStart()
	case d.Cause == CauseNoRoom && d.Holds():
		return fmt.Sprintf("waits for room%s%s: %d of %d running, until %s UTC; %s",
			d.inBucket(), d.inLocation(), d.RunningPods, d.Ceiling, formatClock(d.Start), d.latestStart())
	case d.Holds() && d.State != NotStarted:
		return fmt.Sprintf("paused until %s UTC: %s; resumes by %s", formatClock(d.Start), d.Why(), formatMinute(d.LatestStart))
	case d.Holds():
		return fmt.Sprintf("waits until %s UTC: %s; %s", formatClock(d.Start), d.Why(), d.latestStart())
	}
	if d.StillWaitsFor != "" {
		return fmt.Sprintf("released %s UTC: %s; it still waits for %s", formatClock(d.Decided), d.Why(), d.StillWaitsFor)
	}
	return fmt.Sprintf("%s %s UTC: %s", d.verb(), formatClock(d.Decided), d.Why())
}

// verb says what work does that does not wait.
func (d Decision) verb() string {
	switch d.State {
	case Running:
		return "runs on"
	case Paused:
		return "resumed"
	default:
		return "started"
	}
}

func (d Decision) auditSentence() string {
	if !d.Holds() {
		return "audit: would have started at once: " + d.Why()
	}
	return fmt.Sprintf("audit: would have waited until %s UTC: %s", formatClock(d.Start), d.Why())
}

// Why returns the part of the reason that does not say when.
func (d Decision) Why() string {
	switch d.Cause {
	case CauseCleanestNow, CauseSmallGain, CauseUncertainGain, CauseRunsOn:
		return fmt.Sprintf("%s, %s", d.runIntensity(), d.reasonNotToWait())
	case CauseCleanerLater, CausePaused:
		return fmt.Sprintf("%s, %.0f %% less than the %s%s at %s",
			d.runIntensity(), 100*d.Gain(), formatNumber(d.ExpectedAtOnce), d.immediateLocation(), formatMinute(d.Decided))
	case CauseThreshold:
		return fmt.Sprintf("%s, within its threshold of %s", d.runIntensity(), formatNumber(*d.Threshold))
	case CauseSpread:
		return fmt.Sprintf("%s, as clean as now; starts are spread over some minutes", d.runIntensity())
	case CauseLatestStart:
		if d.State != NotStarted {
			return "there is no time left for a pause" + d.atIntensity()
		}
		return "its latest start has come" + d.becauseOfNextRun() + d.atIntensity()
	case CauseWithdrawn:
		return "it does not ask to wait any more" + d.atIntensity()
	case CauseAudit:
		return "audit mode holds no work" + d.atIntensity()
	case CauseExempt:
		return "the policy exempts this time" + d.atIntensity()
	default:
		return "no usable forecast: " + d.NoForecastReason
	}
}

// latestStart prints the latest start, and the next run if the latest start leaves time for it. The
// day of the next run is left out if it is the same.
func (d Decision) latestStart() string {
	s := "latest start " + formatMinute(d.LatestStart)
	switch {
	case d.NextRun.IsZero():
		return s
	case d.NextRun.UTC().YearDay() == d.LatestStart.UTC().YearDay():
		return s + " (next run " + d.NextRun.UTC().Format("15:04") + ")"
	default:
		return s + " (next run " + formatMinute(d.NextRun) + ")"
	}
}

// becauseOfNextRun says that the latest start leaves time for the next run, if it does.
func (d Decision) becauseOfNextRun() string {
	if d.NextRun.IsZero() {
		return ""
	}
	return ", because the next run of its CronJob comes at " + formatMinute(d.NextRun)
}

// reasonNotToWait says why it is not worth to wait.
func (d Decision) reasonNotToWait() string {
	switch {
	case d.ExpectedAtOnce <= 0:
		return "nothing to gain at or below zero"
	case d.Cause == CauseSmallGain:
		return fmt.Sprintf("waiting would save less than %.3g %%", 100*d.MinGain)
	case d.Cause == CauseUncertainGain:
		return "waiting would save less than the forecast may be wrong by"
	case d.Cause == CauseRunsOn && len(d.Runs) > 1:
		return "and pauses at " + formatMinute(d.Runs[0].End)
	case d.Cause == CauseRunsOn:
		return fmt.Sprintf("a pause would save less than %.3g %%", 100*d.MinGain)
	case d.CheaperWasFull:
		return "no later start with room is cleaner"
	default:
		return "no later start is cleaner"
	}
}

// atIntensity returns the end of a sentence with the intensity, if that is known.
func (d Decision) atIntensity() string {
	if math.IsNaN(d.Expected) {
		return ""
	}
	return ", at " + d.runIntensity()
}

// runIntensity prints the intensity of the run and its location. It says if the intensity is made
// up. It adds the basis if that is not a
// fresh forecast, and the duration if that is an estimate.
func (d Decision) runIntensity() string {
	s := formatIntensity(d.Expected)
	if d.IsMadeUp {
		s += " (made up)"
	}
	s += FormatPowerFactor(d.PowerFactor) + d.inLocation()
	switch d.Basis {
	case forecast.BasisHistory:
		s += " by history"
	case forecast.BasisWeather:
		s += " by weather and history"
	case briefWeather:
		s += " by weather"
	case forecast.BasisStaleForecast:
		s += " (stale)"
	}
	if len(d.Runs) > 1 {
		s += fmt.Sprintf(" in %d runs", len(d.Runs))
	}
	if d.EstimatedDuration != "" {
		s += " over " + d.EstimatedDuration
	}
	return s
}

func (d Decision) inBucket() string {
	if d.Bucket == "" {
		return ""
	}
	return " in bucket " + d.Bucket
}

// inLocation names the location, if the forecast has a name for it.
func (d Decision) inLocation() string {
	if d.Location == "" {
		return ""
	}
	return " in " + d.Location
}

// immediateLocation names the location of a start at once, and the power factor there, if that is
// another location.
func (d Decision) immediateLocation() string {
	switch {
	case d.LocationAtOnce == d.Location:
		return ""
	case d.LocationAtOnce != "":
		return FormatPowerFactor(d.PowerFactorAtOnce) + " in " + d.LocationAtOnce
	case d.PowerFactorAtOnce != d.PowerFactor: // the name was left out because it did not fit
		return FormatPowerFactor(d.PowerFactorAtOnce)
	default:
		return ""
	}
}

// formatIntensity prints an intensity with its unit.
func formatIntensity(intensity float64) string { return formatNumber(intensity) + " gCO2eq/kWh" }

func formatNumber(intensity float64) string {
	if math.Abs(intensity) < 10 {
		return fmt.Sprintf("%.3g", intensity)
	}
	return fmt.Sprintf("%.0f", intensity)
}

// formatClock prints an instant in UTC, with seconds only if they are not zero.
func formatClock(t time.Time) string {
	if t.Second() == 0 {
		return formatMinute(t)
	}
	return t.UTC().Format("Jan 2 15:04:05")
}

func formatMinute(t time.Time) string { return t.UTC().Format("Jan 2 15:04") }

// FormatPowerFactor prints a power factor for use behind an intensity. It prints nothing if the
// factor is one.
func FormatPowerFactor(factor float64) string {
	if orOne(factor) == 1 {
		return ""
	}
	return fmt.Sprintf(" x %.3g", factor)
}

// timeLayout is how instants are printed for people.
const timeLayout = "2006-01-02 15:04 UTC"

// FormatTime prints an instant for people, in UTC and with its year.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// gain returns the share of the intensity that is saved by running at later instead of at now. It
// is zero if there is nothing to save.
func gain(now, later float64) float64 {
	if !(now > 0) {
		return 0
	}
	return (now - later) / now
}
