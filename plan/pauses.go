package plan

import (
	"math"
	"slices"
	"time"
)

// MaxRuns is in how many runs work that can be interrupted is done at most: on real grids a fourth
// run saves less than a percent more.
const MaxRuns = 3

// RunState says how far work that can be interrupted has come.
type RunState int

// The states of work that can be interrupted.
const (
	NotStarted RunState = iota
	Running
	Paused
)

// Pauses is what the planner knows of work that can be interrupted. The task's Duration is then the
// run time that is left, without restarts. Its LatestStart is the moment from which on the work must
// run without a break to be done in time. For paused work, that moment leaves time for the restart.
type Pauses struct {
	// RestartCost is what each resume costs, as run time; zero or more.
	RestartCost time.Duration
	// MinRun is how long each run lasts at least, unless the work is done before.
	MinRun time.Duration
	// Runs is how many more runs may begin. A run that has begun does not count.
	Runs  int
	State RunState
	// RanFor is how long the present run has lasted, if the work runs.
	RanFor time.Duration
}

// PlannedRun is one of the runs in which work is done that can be interrupted.
type PlannedRun struct {
	Start, End time.Time
	Intensity  float64 // mean gCO2eq/kWh; NaN if unknown
}

// restart returns what the next run costs before it does any work.
func (s *Pauses) restart() time.Duration {
	if s.State == Paused {
		return max(s.RestartCost, 0)
	}
	return 0
}

// finish returns when the work is to be done.
func (g *Group) finish() time.Time {
	return g.LatestStart.Add(g.Duration + g.Pauses.restart())
}

// chooseRuns places work that can be interrupted: the cheapest runs that finish in time. A place
// that starts after now means, for work that runs, to pause until then.
func (g *Group) chooseRuns(fleets []*Fleet, now place, minGain float64) (place, []PlannedRun, Cause) {
	var best place
	var bestRuns []PlannedRun
	for _, f := range g.fleetsOfRuns(fleets) {
		p, runs, ok := f.placeRuns(g, minGain)
		if ok && (best.fleet == nil || best.cost-p.cost > choiceMargin(p.cost)) {
			best, bestRuns = p, runs
		}
	}
	switch {
	case best.fleet != nil && best.start.After(now.fleet.planner.now):
		return best, bestRuns, g.causeOfWait()
	case best.fleet != nil:
		return best, bestRuns, g.causeOfRun()
	case g.Pauses.State == NotStarted && !now.hasRoom:
		last := g.placeAtLatestStart(fleets, now)
		return last, last.throughRun(g), CauseNoRoom
	default: // there is no time for another plan
		return now, now.throughRun(g), g.causeOfRun()
	}
}

// fleetsOfRuns returns the fleets that may do the work. Work that has started stays where it is.
func (g *Group) fleetsOfRuns(fleets []*Fleet) []*Fleet {
	if g.Pauses.State == NotStarted {
		return fleets
	}
	here := slices.IndexFunc(fleets, func(f *Fleet) bool { return f.planner.location == g.PlannedLocation })
	return fleets[max(here, 0):][:1]
}

func (g *Group) causeOfWait() Cause {
	if g.Pauses.State == NotStarted {
		return CauseCleanerLater
	}
	return CausePaused
}

func (g *Group) causeOfRun() Cause {
	if g.Pauses.State == Running {
		return CauseRunsOn
	}
	return CauseCleanestNow
}

// throughRun returns the one run of a group that runs without a break.
func (p place) throughRun(g *Group) []PlannedRun {
	end := p.start.Add(g.Duration + g.Pauses.restart())
	return []PlannedRun{{Start: p.start, End: end, Intensity: p.mean}}
}

// placeRuns returns the cheapest runs of a group in the location of the fleet. ok is false if the
// work has to run through now, or if there is no room.
func (f *Fleet) placeRuns(g *Group, minGain float64) (p place, runs []PlannedRun, ok bool) {
	t, ok := f.newTable(g)
	if !ok {
		return place{}, nil, false
	}
	t.solve()
	first := t.chooseFirst(minGain)
	if math.IsInf(t.from(first), 1) {
		return place{}, nil, false
	}
	runs = t.runs(first)
	start := t.begin(first)
	runs[0].Start = start
	emitted, total := 0.0, time.Duration(0)
	for i := range runs {
		run := &runs[i]
		run.Intensity, _ = f.planner.expectMean(run.Start, run.End.Sub(run.Start))
		emitted += run.Intensity * run.End.Sub(run.Start).Hours()
		total += run.End.Sub(run.Start)
	}
	cost := t.from(first) * t.unit.Hours() / g.Duration.Hours()
	p = place{fleet: f, start: start, mean: emitted / g.Duration.Hours(), cost: cost, cheapestCost: cost, hasRoom: true}
	return p.timesPower(g.PowerFactor(f.planner.location)), runs, true
}

// occupyRuns takes room for all runs of a group.
func (f *Fleet) occupyRuns(g *Group, runs []PlannedRun) {
	if f.room == nil {
		return
	}
	for _, run := range runs {
		from, to := f.room.span(run.Start, run.End.Sub(run.Start))
		f.room.occupy(from, to, g.pods())
	}
}
