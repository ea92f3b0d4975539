package plan

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// Cause is why a decision is what it is; a closed set, fit for a metric's
// label.
type Cause string

// The causes of a decision.
const (
	// CleanerLater holds: a window before the latest start is cheaper.
	CauseCleanerLater Cause = "cleaner-later"
	// Threshold holds, or starts, at the first window at or below the task's
	// threshold.
	CauseThreshold Cause = "threshold"
	// CleanestNow starts: no window before the latest start is cheaper.
	CauseCleanestNow Cause = "cleanest-now"
	// SmallGain starts: waiting would save less than the policy's minimum.
	CauseSmallGain Cause = "small-gain"
	// AtLatestStart starts: there is no time left to wait.
	CauseLatestStart Cause = "latest-start"
	// Exempt starts: carbon does not count now.
	CauseExempt Cause = "exempt"
	// Queued holds until all that waits has been looked at together: it would
	// start now, and there are ceilings.
	CauseQueued Cause = "queued"
	// Spread holds for minutes: now is as clean as any time, and others start now
	// too.
	CauseSpread Cause = "spread"
	// Suspended holds: its user has suspended it, and it is planned once it is resumed.
	CauseSuspended Cause = "suspended"
	// Withdrawn starts: it does not ask to wait any more.
	CauseWithdrawn Cause = "withdrawn"
	// NoForecast starts: nothing usable is known.
	CauseNoForecast Cause = "no-forecast"
	// NoRoom holds: what runs, and what is planned for those with less time,
	// leaves no room below the ceiling now, and waiting gains nothing else.
	CauseNoRoom Cause = "no-room"
)

// Decision says when and where a task starts, and why. It is a value: nothing
// happens by making one.
type Decision struct {
	Decided           time.Time     // the moment it was made
	Start             time.Time     // when to start; Decided is at once
	LatestStart       time.Time     // the promise to the user
	Location          string        // where
	Duration          time.Duration // how long it is taken to run
	EstimatedDuration string        // the task's
	Expected          float64       // mean gCO2eq/kWh of the run from Start; NaN if unknown
	PowerFactor       float64       // the task's power factor there; zero is one
	ExpectedAtOnce    float64       // mean gCO2eq/kWh of the run from Decided; NaN if unknown
	LocationAtOnce    string        // where that is: of several locations, the cleanest at Decided
	PowerFactorAtOnce float64       // the task's power factor there; zero is one
	Cause             Cause
	Threshold         *float64 // the task's
	MinGain           float64  // that was asked for, in 0..1
	NoForecastReason  string   // why there is no usable forecast
	Basis             forecast.Basis
	Ceiling           int    // of the location at Decided, where ceilings apply; else zero
	Bucket            string // the one of the ceiling, see [Buckets.Name]
	RunningPods       int    // pods at Decided, before this task, where ceilings apply
	CheaperWasFull    bool   // a cheaper start had no room below its ceiling
	StillWaitsFor     string // for what else the work waits once it is let go; empty if it can start
}

// Queue makes work that would start now, and need not, wait for a moment, until
// it is planned together with all else below the ceilings.
func (d Decision) Queue() Decision {
	soon := d.Decided.Add(time.Second)
	switch d.Cause {
	case CauseCleanestNow, CauseSmallGain, CauseThreshold, CauseSpread:
		if !d.Holds() && !soon.After(d.LatestStart) {
			d.Start, d.Cause = soon, CauseQueued
		}
	}
	return d
}

// Withdraw is the decision for work that does not ask to wait any more: it starts now,
// in the location that is cleanest now.
func (d Decision) Withdraw() Decision {
	d.Start, d.Cause = d.Decided, CauseWithdrawn
	d.Expected, d.Location, d.PowerFactor = d.ExpectedAtOnce, d.LocationAtOnce, d.PowerFactorAtOnce
	return d
}

// Holds reports whether the task has to wait.
func (d Decision) Holds() bool { return d.Start.After(d.Decided) }

// Gain returns the share of the emissions that the wait saves, in 0..1; zero
// when nothing is known or saved.
func (d Decision) Gain() float64 {
	if math.IsNaN(d.ExpectedAtOnce) || math.IsNaN(d.Expected) {
		return 0
	}
	return math.Max(0, gain(d.EmittedAtOnce(), d.Emitted()))
}

// Emitted returns what the run emits from Start, in gCO2eq for each kWh that it
// would take where its power factor is one; NaN if unknown.
func (d Decision) Emitted() float64 { return d.Expected * orOne(d.PowerFactor) }

// EmittedAtOnce is Emitted for the run from Decided.
func (d Decision) EmittedAtOnce() float64 { return d.ExpectedAtOnce * orOne(d.PowerFactorAtOnce) }

// maxReason is how many characters of an annotation `kubectl describe` prints.
const maxReasonSize = 140

// Reason explains the decision in one plain sentence with numbers. It names
// instants, not distances, so that it stays true for as long as it is shown,
// and is kept within the 140 characters that `kubectl describe` prints, unless
// the location has a long name. A duration that was guessed, and where starting
// at once would be, are told if there is room. It is [Bounded] in any case.
func (d Decision) Reason() string { return d.ReasonWith("") }

// ReasonWith is Reason with more at its end.
func (d Decision) ReasonWith(more string) string {
	reason := d.sentence() + more
	for _, spare := range []*string{&d.EstimatedDuration, &d.LocationAtOnce} {
		if len(reason) > maxReasonSize {
			*spare = ""
			reason = d.sentence() + more
		}
	}
	return Truncate(reason)
}

// Bounded keeps what is told of an object within a KiB: an object that carries
// too much cannot be written at all, be it to release it.
func Truncate(message string) string {
	const most, more = 1024, "…"
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most-len(more)], "") + more
}

func (d Decision) sentence() string {
	switch {
	case d.Cause == CauseQueued && d.Holds():
		return "waits for its turn below the ceilings of its policy; latest start " + formatMinute(d.LatestStart)
	case d.Cause == CauseNoRoom && d.Holds():
		return fmt.Sprintf("waits for room%s%s: %d of %d running, until %s UTC; latest start %s",
			d.inBucket(), d.inLocation(), d.RunningPods, d.Ceiling, formatClock(d.Start), formatMinute(d.LatestStart))
	case d.Holds():
		return fmt.Sprintf("waits until %s UTC: %s; latest start %s", formatClock(d.Start), d.Why(), formatMinute(d.LatestStart))
	}
	if d.StillWaitsFor != "" {
		return fmt.Sprintf("let go %s UTC: %s; it still waits for %s", formatClock(d.Decided), d.Why(), d.StillWaitsFor)
	}
	return fmt.Sprintf("started %s UTC: %s", formatClock(d.Decided), d.Why())
}

// Why is the part of the reason that does not say when.
func (d Decision) Why() string {
	switch d.Cause {
	case CauseCleanestNow, CauseSmallGain:
		return fmt.Sprintf("%s, %s", d.runIntensity(), d.reasonNotToWait())
	case CauseCleanerLater:
		return fmt.Sprintf("%s, %.0f %% less than the %s%s at %s",
			d.runIntensity(), 100*d.Gain(), formatNumber(d.ExpectedAtOnce), d.immediateLocation(), formatMinute(d.Decided))
	case CauseThreshold:
		return fmt.Sprintf("%s, within its threshold of %s", d.runIntensity(), formatNumber(*d.Threshold))
	case CauseSpread:
		return fmt.Sprintf("%s, as clean as now; not all start in the same minute", d.runIntensity())
	case CauseLatestStart:
		return "its latest start has come" + d.atIntensity()
	case CauseWithdrawn:
		return "it does not ask to wait any more" + d.atIntensity()
	case CauseExempt:
		return "the policy exempts this time" + d.atIntensity()
	default:
		return "no usable forecast: " + d.NoForecastReason
	}
}

// noGain says why it is not worth to wait.
func (d Decision) reasonNotToWait() string {
	switch {
	case d.ExpectedAtOnce <= 0:
		return "nothing to gain at or below zero"
	case d.Cause == CauseSmallGain:
		return fmt.Sprintf("waiting would save less than %.3g %%", 100*d.MinGain)
	case d.CheaperWasFull:
		return "no window in time with room is cleaner"
	default:
		return "no window in time is cleaner"
	}
}

// running adds the intensity to a sentence, where it is known.
func (d Decision) atIntensity() string {
	if math.IsNaN(d.Expected) {
		return ""
	}
	return ", at " + d.runIntensity()
}

// expected prints the intensity of the run, where that is, on what it rests if
// that is not the newest forecast, and over how long if that was guessed.
func (d Decision) runIntensity() string {
	s := formatIntensity(d.Expected) + FormatPowerFactor(d.PowerFactor) + d.inLocation()
	switch d.Basis {
	case forecast.BasisHistory:
		s += " by history"
	case forecast.BasisStaleForecast:
		s += " (stale)"
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

// in names the location, unless the forecast has no name for it.
func (d Decision) inLocation() string {
	if d.Location == "" {
		return ""
	}
	return " in " + d.Location
}

// elsewhere names the location to start at once in, where it is another, and the
// power factor there.
func (d Decision) immediateLocation() string {
	switch {
	case d.LocationAtOnce == d.Location:
		return ""
	case d.LocationAtOnce != "":
		return FormatPowerFactor(d.PowerFactorAtOnce) + " in " + d.LocationAtOnce
	case d.PowerFactorAtOnce != d.PowerFactor: // there was no room for the name
		return FormatPowerFactor(d.PowerFactorAtOnce)
	default:
		return ""
	}
}

// grams prints an intensity with its unit.
func formatIntensity(intensity float64) string { return formatNumber(intensity) + " gCO2eq/kWh" }

func formatNumber(intensity float64) string {
	if math.Abs(intensity) < 10 {
		return fmt.Sprintf("%.3g", intensity)
	}
	return fmt.Sprintf("%.0f", intensity)
}

// clock prints an instant in UTC, with seconds only where there are some.
func formatClock(t time.Time) string {
	if t.Second() == 0 {
		return formatMinute(t)
	}
	return t.UTC().Format("Jan 2 15:04:05")
}

func formatMinute(t time.Time) string { return t.UTC().Format("Jan 2 15:04") }

// Times prints a power factor behind an intensity; nothing if it is one.
func FormatPowerFactor(factor float64) string {
	if orOne(factor) == 1 {
		return ""
	}
	return fmt.Sprintf(" x %.3g", factor)
}

// Clock prints an instant for people, in UTC and with its year.
func FormatTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// gain is the share of the intensity saved by running at later instead of at
// now; zero when there is nothing to save.
func gain(now, later float64) float64 {
	if !(now > 0) {
		return 0
	}
	return (now - later) / now
}
