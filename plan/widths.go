package plan

import (
	"math"
	"sort"
	"time"
)

// The causes of a [WidthPlan], besides CauseCleanerLater, CauseCleanestNow, CauseSmallGain, CauseUncertainGain,
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
// The plan is the cheapest one that is done by Finish. Its cost is what it emits, with each hour
// until a pod runs priced by WaitPrice. Work that waits is held for a gain only, as a [Task] is.
// Running work keeps its width for now if that costs no more than a thousandth.
//
// Without a usable forecast, and while carbon does not count, the plan is to run from now on at the
// least width that is done by Finish.
func (p *Planner) PlanWidths(e Elastic) WidthPlan { return p.planWidths(e, nil) }

// PlanWidths plans like [Planner.PlanWidths], below the ceilings of the fleet: the work is never
// wider than the room that is left, unless it would be late, and never narrower than its least
// width. The room that the plan takes stays taken in the fleet. The pods of the work itself must not
// be among the running work of the fleet.
func (f *Fleet) PlanWidths(e Elastic) WidthPlan {
	w := f.planner.planWidths(e, f.room)
	if f.room != nil {
		for _, step := range w.Steps {
			from, to := f.room.span(step.Start, step.End.Sub(step.Start))
			f.room.occupy(from, to, step.Width)
		}
	}
	return w
}

// CheapestWidths plans like PlanWidths, but asks for no gain, and for no start before the work must be
// done: it is what there is to reach.
func (p *Planner) CheapestWidths(e Elastic) WidthPlan {
	e.IsRunning, e.LatestStart = false, e.Finish
	e = e.bounded(p)
	s := widthSearch{planner: p, work: &e}
	f, _, best, ok := s.cheapest()
	if !ok {
		return s.planNow(CauseLatestStart)
	}
	return s.plan(f.pieces(&best), CauseCleanerLater)
}

func (p *Planner) planWidths(e Elastic, r *room) WidthPlan {
	e = e.bounded(p)
	s := widthSearch{planner: p, work: &e, room: r}
	switch _, isKnown := p.series.At(p.now); {
	case !p.nextExempt.IsZero() && !p.now.Before(p.nextExempt):
		return s.needed(CauseExempt)
	case e.IsRunning && !isKnown || p.series.IsEmpty():
		return s.needed(CauseNoForecast)
	case e.IsRunning:
		return s.planRunning()
	case !p.now.Before(e.LatestStart):
		return s.planNow(CauseLatestStart)
	default:
		return s.planWaiting()
	}
}

// bounded returns the work with numbers and times that can be computed with.
func (e Elastic) bounded(p *Planner) Elastic {
	e.Least = min(max(e.Least, 1), maxWidth)
	e.Most = min(max(e.Most, e.Least), maxWidth)
	e.Remaining = min(max(e.Remaining, time.Second), 2*MaxDuration)
	e.Finish = earlier(e.Finish, p.now.Add(4*MaxDuration)).Truncate(time.Second).UTC()
	if e.LatestStart.IsZero() {
		e.LatestStart = e.Finish.Add(-e.Remaining)
	}
	e.LatestStart = p.endOfWait(earlier(e.LatestStart, e.Finish)).Truncate(time.Second)
	return e
}

// A widthSearch plans one work.
type widthSearch struct {
	planner *Planner
	work    *Elastic
	room    *room
}

// needed returns the plan to run from now on at the least width that is done in time.
func (s *widthSearch) needed(cause Cause) WidthPlan {
	width := s.work.Least + sort.Search(s.work.Most-s.work.Least, func(i int) bool { return s.isEnough(s.work.Least + i) })
	w := s.plan([]widthPiece{{s.planner.nowNanos, s.end(width), width}}, cause)
	if cause == CauseNoForecast || s.planner.series.IsEmpty() {
		w.Steps[0].Intensity = math.NaN()
		w.Emitted, w.EmittedFixed = math.NaN(), math.NaN()
	}
	return w
}

// isEnough reports whether a width from now on is done in time.
func (s *widthSearch) isEnough(width int) bool { return s.end(width) <= nanos(s.work.Finish) }

// end returns when the work is done if it runs at one width from now on, in full seconds.
func (s *widthSearch) end(width int) int64 {
	hours := s.work.Remaining.Hours() * s.work.Speedup.At(s.work.Least) / s.work.Speedup.At(width)
	return ceilSecond(s.planner.nowNanos + int64(hours*float64(time.Hour)))
}

// planRunning plans work that runs.
func (s *widthSearch) planRunning() WidthPlan {
	f, chosen, ok := s.fromNow()
	if !ok {
		return s.needed(CauseNoSlack)
	}
	pieces := f.pieces(&chosen)
	if width := pieces[0].width; width != s.work.Width && s.work.Least <= s.work.Width && s.work.Width <= s.work.Most {
		kept := newFilling(s.work, f.cells, s.work.Width, true)
		again, ok := kept.best(0, 0, len(f.cells), true, false)
		if ok && again.amount.over <= chosen.amount.over && again.amount.cost-chosen.amount.cost <= equalMargin(chosen.amount.cost) {
			pieces = kept.pieces(&again)
		}
	}
	return s.plan(pieces, s.causeOf(pieces[0].width))
}

// fromNow returns the cheapest choice for work that runs from now on. The work keeps below the
// ceilings, unless it would be late. ok is false if it is late in any case.
func (s *widthSearch) fromNow() (f *filling, chosen filled, ok bool) {
	cells := s.cells()
	f = newFilling(s.work, cells, 0, true)
	chosen, ok = f.best(0, 0, len(cells), true, false)
	return f, chosen, ok
}

// cells returns the time from now until the work must be done.
func (s *widthSearch) cells() []widthCell {
	return s.planner.cells(s.work, s.room, nanos(s.work.Finish))
}

// causeOf returns why work runs at a width.
func (s *widthSearch) causeOf(width int) Cause {
	const nearlyAll = 1.001
	e := s.work
	left := e.Finish.Sub(s.planner.now).Hours()
	switch {
	case e.Remaining.Hours()*e.Speedup.At(e.Least)*nearlyAll >= left*e.Speedup.At(e.Most):
		return CauseNoSlack
	case width > e.Least:
		return CauseWide
	default:
		return CauseNarrow
	}
}

// planNow plans work that starts now.
func (s *widthSearch) planNow(cause Cause) WidthPlan {
	s.work.IsRunning = true
	f, now, ok := s.fromNow()
	if !ok {
		return s.needed(cause)
	}
	return s.plan(f.pieces(&now), cause)
}

// planWaiting plans work that may wait. If there is no room to be done in time below the ceilings, the
// work starts now.
func (s *widthSearch) planWaiting() WidthPlan {
	f, now, best, ok := s.cheapest()
	if _, inTime := f.best(0, 0, len(f.cells), true, false); !inTime {
		return s.planNow(CauseLatestStart)
	} else if !ok {
		return s.needed(CauseNoForecast)
	}
	atNow, then := s.plan(f.pieces(&now), CauseCleanestNow), s.plan(f.pieces(&best), CauseCleanerLater)
	isGain := now.amount.cost-best.amount.cost > equalMargin(best.amount.cost) && !(then.Emitted > atNow.Emitted*(1-s.minGain()))
	hasRoom := now.amount.over <= best.amount.over+fillNoise*(1+best.amount.over)
	switch {
	case !then.Start().After(s.planner.now):
		return atNow
	case !isGain && !hasRoom:
		then.Cause = CauseNoRoom
		return then
	case !isGain:
		atNow.Cause = CauseSmallGain
		return atNow
	case hasRoom && !s.work.IsHeld && atNow.Emitted-then.Emitted < s.energy()*s.planner.doubt(s.work.Remaining, then.Start()):
		atNow.Cause = CauseUncertainGain
		return atNow
	default:
		return then
	}
}

// energy returns what the work takes at its least width, in kWh for pods of one kW.
func (s *widthSearch) energy() float64 {
	return s.work.Remaining.Hours() * float64(s.work.Least)
}

// cheapest returns the cheapest choice of all, and the cheapest that starts now. ok is false if there
// is none that starts now, or if too little is known.
func (s *widthSearch) cheapest() (f *filling, now, best filled, ok bool) {
	latest := nanos(s.work.LatestStart)
	cells := cutAt(s.cells(), latest)
	f = newFilling(s.work, cells, 0, false)
	if now, ok = f.best(0, 0, len(cells), true, true); !ok {
		return f, now, best, false
	}
	best = now
	last := sort.Search(len(cells), func(i int) bool { return cells[i].start >= latest })
	if later, ok := f.best(0, last-1, len(cells), false, true); ok && later.isBetter(&best) {
		best = later
	}
	if later, ok := f.best(last, min(last, len(cells)-1), len(cells), true, true); ok && later.isBetter(&best) {
		best = later
	}
	return f, now, best, true
}

func (s *widthSearch) minGain() float64 {
	if s.work.IsHeld {
		return equalShare
	}
	return max(s.planner.terms.MinGain, equalShare)
}
