package plan

import (
	"math"
	"slices"
	"time"
)

// A place is a start that a group may be given, in one location.
type place struct {
	fleet          *Fleet
	start          time.Time
	mean           float64 // gCO2eq/kWh of the run; NaN if unknown
	cost           float64 // the mean, with the wait priced; infinite if unknown
	cheapestCost   float64 // the cost of the cheapest start, to which this one is nearly equal
	powerFactor    float64 // of the group; the costs are multiplied by it
	hasRoom        bool    // for the group, over the whole run
	cheaperWasFull bool    // a cheaper start had no room
}

// timesPower multiplies the costs of a place by a power factor.
func (p place) timesPower(factor float64) place {
	p.powerFactor, p.cost, p.cheapestCost = factor, p.cost*factor, p.cheapestCost*factor
	return p
}

// emitted returns what the run emits: gCO2eq for each kWh that it would take where its power factor
// is one.
func (p place) emitted() float64 { return p.mean * p.powerFactor }

// decide returns the decision on the group, and its place. A group that must start now does so,
// with room or without.
func (g *Group) decide(fleets []*Fleet) (Decision, place) {
	now := g.placeNow(fleets)
	planner := fleets[0].planner
	d := Decision{
		Decided: planner.now, LatestStart: g.LatestStart.UTC(), NextRun: g.NextRun.UTC(), Duration: g.Duration, EstimatedDuration: g.EstimatedDuration,
		ExpectedAtOnce: now.mean, LocationAtOnce: now.fleet.planner.location, PowerFactorAtOnce: now.powerFactor,
		Threshold: g.Threshold, MinGain: max(planner.terms.MinGain, equalShare),
	}
	if g.Held {
		d.MinGain = equalShare
	}
	chosen := now
	if d.Cause = g.causeToStartNow(fleets); d.Cause == "" {
		chosen, d.Runs, d.Cause = g.choose(fleets, now, d.MinGain)
	}
	if g.Pauses != nil {
		d.State = g.Pauses.State
		if d.Runs == nil {
			d.Runs = chosen.throughRun(g)
		}
	}
	planner = chosen.fleet.planner
	d.Start, d.Expected, d.PowerFactor, d.CheaperWasFull, d.Location = chosen.start, chosen.mean, chosen.powerFactor, chosen.cheaperWasFull, planner.location
	d.NoForecastReason, d.Basis, d.IsMadeUp = planner.noForecastReason, planner.basis, planner.origin.IsMadeUp
	if chosen.fleet.room != nil {
		r := chosen.fleet.room
		d.Ceiling, d.Bucket, d.RunningPods = r.ceiling, r.bucket, r.running()
	}
	return d, chosen
}

// choose returns the place of a group that may wait, and its runs if it can be interrupted.
func (g *Group) choose(fleets []*Fleet, now place, minGain float64) (chosen place, runs []PlannedRun, cause Cause) {
	switch {
	case g.Pauses != nil && (g.Threshold == nil || g.Pauses.State != NotStarted):
		return g.chooseRuns(fleets, now, minGain)
	case g.Threshold != nil:
		chosen, cause = g.chooseBelow(fleets, now, minGain)
	case g.hasWidths():
		chosen, cause = g.chooseWidths(fleets, now, minGain)
	default:
		chosen, cause = g.chooseCheapest(fleets, now, minGain)
	}
	return chosen, nil, cause
}

// placeNow returns the place that starts now. It prefers a place with a known intensity, then one
// with room, then the cheapest.
func (g *Group) placeNow(fleets []*Fleet) place {
	if len(fleets) == 1 {
		return fleets[0].at(g, fleets[0].planner.now)
	}
	var few [8]place // keeps most of what is compared off the heap
	best := few[:0]
	cheapestCost := math.Inf(1)
	for _, f := range fleets {
		p := f.at(g, f.planner.now)
		if len(best) > 0 && p.rank() != best[0].rank() {
			if p.rank() < best[0].rank() {
				continue
			}
			best, cheapestCost = best[:0], math.Inf(1)
		}
		best, cheapestCost = append(best, p), math.Min(cheapestCost, p.cost)
	}
	return g.prefer(best, cheapestCost)
}

// rank orders places that start now: known before unknown, then with room before full.
func (p place) rank() int {
	switch {
	case math.IsNaN(p.mean):
		return 0
	case !p.hasRoom:
		return 1
	default:
		return 2
	}
}

// prefer returns one of the places that are as good as the cheapest: the place in the planned
// location or, if that is not among them, the first.
func (g *Group) prefer(places []place, cheapestCost float64) place {
	var first place
	for _, p := range places {
		switch {
		case p.cost-cheapestCost > choiceMargin(cheapestCost): // false if both are infinite
		case g.PlannedLocation != "" && p.fleet.planner.location == g.PlannedLocation:
			return p
		case first.fleet == nil:
			first = p
		}
	}
	return first
}

// causeToStartNow returns why the group starts now whatever is planned; empty if it may wait.
func (g *Group) causeToStartNow(fleets []*Fleet) Cause {
	planner := fleets[0].planner
	switch {
	case !planner.now.Before(g.LatestStart):
		return CauseLatestStart
	case !planner.nextExempt.IsZero() && !planner.now.Before(planner.nextExempt):
		return CauseExempt
	case !slices.ContainsFunc(fleets, func(f *Fleet) bool { return f.planner.curve(g.Duration) != nil }):
		return CauseNoForecast
	default:
		return ""
	}
}

// chooseBelow starts the group at the first window at or below its threshold or, if there is none
// in time, at the cheapest.
func (g *Group) chooseBelow(fleets []*Fleet, now place, minGain float64) (place, Cause) {
	var first place
	for _, f := range fleets {
		p, ok := f.firstBelow(g)
		if ok && (first.fleet == nil || p.start.Before(first.start) || p.start.Equal(first.start) && first.cost-p.cost > choiceMargin(p.cost)) {
			first = p
		}
	}
	if first.fleet == nil {
		return g.chooseCheapest(fleets, now, minGain)
	}
	planned, ok := g.plannedPlace(fleets)
	if ok && planned.emitted() <= *g.Threshold && !planned.start.Before(first.start) && planned.start.Sub(first.start) <= maxSpread {
		return planned, CauseThreshold
	}
	return first, CauseThreshold
}

// chooseCheapest starts the group at the cheapest window with room, at the planned start if that is
// as good, or now if the wait gains too little.
func (g *Group) chooseCheapest(fleets []*Fleet, now place, minGain float64) (place, Cause) {
	enough := math.Inf(-1) // where nothing is emitted there is nothing to gain
	if now.mean > 0 {
		enough = now.emitted() * (1 - minGain)
	}
	best, ok := g.cheapest(fleets, enough)
	if !ok {
		return g.placeAtLatestStart(fleets, now), CauseNoRoom
	}
	if now.fleet.room == nil && now.cost-best.cheapestCost <= roundingNoise {
		now.cheaperWasFull = best.cheaperWasFull
		return g.spreadStart(now, best, enough)
	}
	if planned, ok := g.plannedPlace(fleets); ok && planned.cost-best.cheapestCost <= equalMargin(best.cheapestCost) {
		planned.cheaperWasFull = best.cheaperWasFull
		return planned, planned.causeOfStart(now, enough)
	}
	now.cheaperWasFull = best.cheaperWasFull
	return g.weigh(now, best, enough)
}

// weigh returns the best place, or now if the wait gains too little.
func (g *Group) weigh(now, best place, enough float64) (place, Cause) {
	switch {
	case !now.hasRoom || best.start.Equal(now.start):
		return best, best.causeOfStart(now, enough)
	case now.cost-best.cheapestCost <= equalMargin(best.cheapestCost) || best.emitted() > enough:
		return now, CauseSmallGain
	case !g.Held && now.emitted()-best.emitted() < best.doubt(g):
		return now, CauseUncertainGain
	default:
		return best, CauseCleanerLater
	}
}

// doubt returns how much the place must save for the group to wait for it.
func (p place) doubt(g *Group) float64 {
	return p.powerFactor * p.fleet.planner.doubt(g.Duration, p.start)
}

// spreadStart starts a group now that now is as good as any time. A held group starts within its
// minutes of the spread.
func (g *Group) spreadStart(now, best place, enough float64) (place, Cause) {
	if g.Held {
		if later := now.fleet.spreadStart(g, best.cheapestCost); later.fleet != nil {
			return later, CauseSpread
		}
	}
	if best.start.Equal(now.start) {
		return now, best.causeOfStart(now, enough)
	}
	return now, CauseSmallGain
}

// causeOfStart returns why a group is given this place.
func (p place) causeOfStart(now place, enough float64) Cause {
	switch {
	case p.start.Equal(now.start):
		return CauseCleanestNow
	case !now.hasRoom && p.emitted() > enough:
		return CauseNoRoom
	default:
		return CauseCleanerLater
	}
}

// cheapest returns the cheapest place with room of all fleets.
func (g *Group) cheapest(fleets []*Fleet, enough float64) (best place, ok bool) {
	if len(fleets) == 1 {
		return fleets[0].cheapest(g, enough)
	}
	var few [8]place
	places, cheapestCost := few[:0], math.Inf(1)
	for _, f := range fleets {
		if p, found := f.cheapest(g, enough); found {
			places, cheapestCost = append(places, p), math.Min(cheapestCost, p.cheapestCost)
		}
	}
	best = g.prefer(places, cheapestCost)
	best.cheapestCost = cheapestCost
	return best, len(places) > 0
}

// plannedPlace returns the place of the earlier plan, if it is still to come, in time, and has
// room.
func (g *Group) plannedPlace(fleets []*Fleet) (place, bool) {
	for _, f := range fleets {
		if g.PlannedLocation != "" && g.PlannedLocation != f.planner.location {
			continue
		}
		planned := g.PlannedStart.UTC()
		if !planned.After(f.planner.now) || planned.After(f.planner.endOfWait(g.LatestStart)) {
			return place{}, false
		}
		p := f.at(g, planned)
		return p, p.hasRoom && !math.IsNaN(p.mean)
	}
	return place{}, false
}

// placeAtLatestStart returns the place at the latest start, for a group without room at any earlier
// start.
func (g *Group) placeAtLatestStart(fleets []*Fleet, now place) place {
	last := now.fleet.at(g, now.fleet.planner.endOfWait(g.LatestStart))
	for _, f := range fleets {
		if p := f.at(g, f.planner.endOfWait(g.LatestStart)); p.cost < last.cost {
			last = p
		}
	}
	last.cheaperWasFull = true
	return last
}
