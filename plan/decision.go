package plan

import (
	"fmt"
	"math"
	"time"
)

// Cause is why a decision is what it is; a closed set, fit for a metric's
// label.
type Cause string

// The causes of a decision.
const (
	// CleanerLater holds: a window before the latest start is cheaper.
	CleanerLater Cause = "cleaner-later"
	// Threshold holds, or starts, at the first window at or below the task's
	// threshold.
	Threshold Cause = "threshold"
	// CleanestNow starts: no window before the latest start is cheaper.
	CleanestNow Cause = "cleanest-now"
	// SmallGain starts: waiting would save less than the policy's minimum.
	SmallGain Cause = "small-gain"
	// AtLatestStart starts: there is no time left to wait.
	AtLatestStart Cause = "latest-start"
	// Exempt starts: carbon does not count now.
	Exempt Cause = "exempt"
	// NoForecast starts: nothing usable is known.
	NoForecast Cause = "no-forecast"
)

// Decision says when and where a task starts, and why. It is a value: nothing
// happens by making one.
type Decision struct {
	Decided     time.Time     // the moment it was made
	Start       time.Time     // when to start; Decided is at once
	LatestStart time.Time     // the promise to the user
	Location    string        // where
	Duration    time.Duration // how long it is taken to run
	Expected    float64       // mean gCO2eq/kWh of the run from Start; NaN if unknown
	AtOnce      float64       // mean gCO2eq/kWh of the run from Decided; NaN if unknown
	Cause       Cause
	Threshold   *float64 // the task's
	MinGain     float64  // the policy's
	Missing     string   // why there is no usable forecast
}

// Holds reports whether the task has to wait.
func (d Decision) Holds() bool { return d.Start.After(d.Decided) }

// Gain returns the share of the intensity that the wait saves, in 0..1; zero
// when nothing is known or saved.
func (d Decision) Gain() float64 {
	if math.IsNaN(d.AtOnce) || math.IsNaN(d.Expected) {
		return 0
	}
	return math.Max(0, gain(d.AtOnce, d.Expected))
}

// Reason explains the decision in one plain sentence with numbers. It names
// instants, not distances, so that it stays true for as long as it is shown.
func (d Decision) Reason() string {
	if d.Holds() {
		return fmt.Sprintf("waits until %s: %s; starts by %s at the latest",
			Clock(d.Start), d.why(), Clock(d.LatestStart))
	}
	return fmt.Sprintf("started at %s: %s", Clock(d.Decided), d.why())
}

func (d Decision) why() string {
	switch d.Cause {
	case CleanerLater:
		return fmt.Sprintf("%s expected%s over %s instead of %s from %s, %.0f %% less",
			grams(d.Expected), d.in(), Span(d.Duration), number(d.AtOnce), Clock(d.Decided), 100*d.Gain())
	case Threshold:
		return fmt.Sprintf("%s expected%s over %s, at or below its threshold of %s",
			grams(d.Expected), d.in(), Span(d.Duration), number(*d.Threshold))
	case CleanestNow:
		return fmt.Sprintf("%s%s is the cleanest window of %s before its latest start %s",
			grams(d.Expected), d.in(), Span(d.Duration), Clock(d.LatestStart))
	case SmallGain:
		return fmt.Sprintf("%s%s now, and waiting would save less than %.3g %%",
			grams(d.Expected), d.in(), 100*d.MinGain)
	case AtLatestStart:
		return fmt.Sprintf("its latest start %s has come%s", Clock(d.LatestStart), d.running())
	case Exempt:
		return "the policy exempts this time, carbon does not count" + d.running()
	default:
		return "no usable forecast: " + d.Missing
	}
}

// running adds the intensity to a sentence, where it is known.
func (d Decision) running() string {
	if math.IsNaN(d.Expected) {
		return ""
	}
	return fmt.Sprintf(", at %s%s", grams(d.Expected), d.in())
}

// in names the location, unless the forecast has no name for it.
func (d Decision) in() string {
	if d.Location == "" {
		return ""
	}
	return " in " + d.Location
}

// grams prints an intensity with its unit.
func grams(intensity float64) string { return number(intensity) + " gCO2eq/kWh" }

func number(intensity float64) string {
	if math.Abs(intensity) < 10 {
		return fmt.Sprintf("%.3g", intensity)
	}
	return fmt.Sprintf("%.0f", intensity)
}

// Clock prints an instant for people: UTC, with seconds only where there are
// some.
func Clock(t time.Time) string {
	t = t.UTC()
	if t.Second() == 0 {
		return t.Format("2006-01-02 15:04 UTC")
	}
	return t.Format("2006-01-02 15:04:05 UTC")
}
