package plan

import (
	"math"
	"time"
)

// The causes of a [WidthPlan], besides CauseCleanerLater, CauseCleanestNow, CauseSmallGain,
// CauseExempt, CauseNoForecast and CauseNoRoom, which mean what they mean for a [Decision].
const (
	// CauseWide runs the work wider than its least width: this time is among the cleanest.
	CauseWide Cause = "wide"
	// CauseNarrow runs the work at its least width: cleaner time comes, or there is no need to widen.
	CauseNarrow Cause = "narrow"
	// CauseNoSlack runs the work at the width that it needs to be done in time: no time is left to
	// choose from.
	CauseNoSlack Cause = "no-slack"
)

// Elastic is work that may run at several widths: with more or with fewer pods at once. Once it has
// started it never runs at less than the least width until it is done.
type Elastic struct {
	// Least and Most bound the width. Less than one counts as one, and a Most below Least as Least.
	Least, Most int
	// Speedup tells how much the work does at a width.
	Speedup Speedup
	// Remaining is how long the rest of the work takes at the width Least.
	Remaining time.Duration
	// Finish is when the work must be done. A margin is not taken off any more.
	Finish time.Time
	// LatestStart is when work that waits starts whatever the grid does. Zero is Finish less Remaining:
	// from there on the least width would be enough.
	LatestStart time.Time
	// IsRunning says that the work has started, at Width.
	IsRunning bool
	// Width is how many pods run now, if the work runs.
	Width int
	// IsHeld says that the work waits already, see [Task.Held].
	IsHeld bool
}

// WidthStep is a time in which work runs at one width.
type WidthStep struct {
	Start, End time.Time
	Width      int
	Intensity  float64 // mean gCO2eq/kWh; NaN if unknown
}

// WidthPlan says at which widths work runs until it is done. A plan is a value: nothing happens by
// making one.
type WidthPlan struct {
	// Steps are ascending and have no gap. There is at least one. The first one starts now, unless the work waits.
	Steps []WidthStep
	// Emitted is what the work emits in g, if each pod takes one kW; EmittedFixed is the same at the
	// least width from now on. Both are NaN without a usable forecast.
	Emitted, EmittedFixed float64
	Cause                 Cause
}

// Start returns when the work starts, or now if it runs.
func (w WidthPlan) Start() time.Time { return w.Steps[0].Start }

// End returns when the work is done.
func (w WidthPlan) End() time.Time { return w.Steps[len(w.Steps)-1].End }

// WidthAt returns the width at t; zero before the start and from the end on.
func (w WidthPlan) WidthAt(t time.Time) int {
	for _, step := range w.Steps {
		if !t.Before(step.Start) && t.Before(step.End) {
			return step.Width
		}
	}
	return 0
}

// PlanWidths plans at which widths work runs, by itself, in the location of the planner.
//
// Without a usable forecast, and while carbon does not count, the plan is to run from now on at the
// least width that is done by Finish.
func (p *Planner) PlanWidths(e Elastic) WidthPlan {
	return e.bounded().needed(p.now, CauseNoForecast)
}

// PlanWidths plans like [Planner.PlanWidths], below the ceilings of the fleet: the work is never
// wider than the room that is left allows, unless it would be late, and never narrower than its
// least width. The room that the plan takes stays taken in the fleet. The pods of the work itself
// must not be among the running work of the fleet.
func (f *Fleet) PlanWidths(e Elastic) WidthPlan {
	return f.planner.PlanWidths(e)
}

// bounded returns the work with usable numbers.
func (e Elastic) bounded() Elastic {
	e.Least = min(max(e.Least, 1), maxWidth)
	e.Most = min(max(e.Most, e.Least), maxWidth)
	e.Remaining = min(max(e.Remaining, time.Second), 2*MaxDuration)
	return e
}

// needed returns the plan to run from now on at the least width that is done in time.
func (e Elastic) needed(now time.Time, cause Cause) WidthPlan {
	width, work := e.Least, e.Remaining.Seconds()*e.Speedup.At(e.Least)
	left := e.Finish.Sub(now).Seconds()
	for width < e.Most && e.Speedup.At(width)*left < work {
		width++
	}
	end := now.Add(time.Duration(work / e.Speedup.At(width) * float64(time.Second)))
	return WidthPlan{
		Steps:   []WidthStep{{Start: now, End: end, Width: width, Intensity: math.NaN()}},
		Emitted: math.NaN(), EmittedFixed: math.NaN(), Cause: cause,
	}
}
