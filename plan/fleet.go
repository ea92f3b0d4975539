package plan

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// maxPods bounds the pods of one group, so that sums cannot overflow.
const maxPods = 1 << 31

// Group is a task of several pods that start together.
type Group struct {
	Task
	// Pods is how many there are; less than one counts as one.
	Pods int
}

func (g *Group) pods() int { return min(max(g.Pods, 1), maxPods) }

// Fleet is the work of one location that is planned together: a planner and the room below the
// ceilings. A fleet is not safe for concurrent use.
type Fleet struct {
	planner       *Planner
	room          *room // nil without ceilings
	startTrees    map[time.Duration]*startTree
	searchedUntil map[thresholdSearch]int
	scratch       []candidate // reused by the first search of each duration
	table         runTable    // reused by all groups that can be interrupted
}

// A thresholdSearch is what groups have in common that search the same windows at or below a
// threshold.
type thresholdSearch struct {
	duration  time.Duration
	threshold float64
	pods      int
}

// Fleet prepares the planning of many groups under ceilings. The ceiling of a slot is the one of
// its intensity. Time that the forecast does not cover has the ceiling of the forecast's mean.
// Running work takes room until its expected end.
func (p *Planner) Fleet(buckets Buckets, running []Run) *Fleet {
	f := &Fleet{planner: p}
	if !buckets.IsEmpty() {
		f.room = newRoom(p, buckets, running)
	}
	return f
}

// Assign plans groups for one or more fleets, which are all prepared for the same moment. It
// returns the decisions in the order of the groups. The room that the groups take stays taken in
// the fleets.
//
// Groups that cannot wait start now, whether there is room or not, and take room. The others are
// given a place one after another: the cheapest start, in all locations that the group may run in,
// with room for all its pods from the beginning of the run to its end. If there is none, the group
// starts at its latest start, with room or without. At last, groups that wait for a time no better
// than now start now, if there is room left.
//
// The first group is the one with the earliest latest start less its duration, because a long run
// is hard to place. Where durations are mixed, this order saves a tenth to a half more than the
// order of latest starts. Of equal groups the first is the one with the smaller ID, then the one
// that was given first.
func Assign(groups []Group, fleet *Fleet, others ...*Fleet) []Decision {
	p := pass{
		fleets: append([]*Fleet{fleet}, others...),
		groups: groups, decisions: make([]Decision, len(groups)), places: make([]place, len(groups)),
	}
	for _, f := range p.fleets {
		f.startTrees, f.searchedUntil = map[time.Duration]*startTree{}, map[thresholdSearch]int{}
	}
	var rest []priority
	for i := range groups {
		if !p.assign(i, true) {
			rest = append(rest, p.priority(i))
		}
	}
	slices.SortFunc(rest, priority.compare)
	for _, next := range rest {
		p.assign(next.index, false)
	}
	for _, next := range rest {
		p.startEarly(next.index)
	}
	return p.decisions
}

// A pass is one planning of all groups.
type pass struct {
	fleets    []*Fleet
	groups    []Group
	decisions []Decision
	places    []place // of the decisions
	allowed   []*Fleet
}

// A priority says when a group is given its place. Groups of one duration are ordered by their
// latest starts.
type priority struct {
	urgency time.Duration // from now to the latest start, less the duration
	id      string
	index   int
}

func (p *pass) priority(i int) priority {
	g := &p.groups[i]
	return priority{g.LatestStart.Sub(p.fleets[0].planner.now) - g.Duration, g.ID, i}
}

func (p priority) compare(other priority) int {
	if c := cmp.Compare(p.urgency, other.urgency); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(p.id, other.id), cmp.Compare(p.index, other.index))
}

// assign decides on a group and takes its room. With urgent, it does so only for a group that
// cannot wait, and returns whether the group is one.
func (p *pass) assign(i int, urgent bool) bool {
	g := &p.groups[i]
	fleets := p.allowedFleets(g)
	if len(fleets) == 0 {
		p.decisions[i] = p.fleets[0].decideWithoutForecast(g)
		return true
	}
	if urgent && g.causeToStartNow(fleets) == "" {
		return false
	}
	d, chosen := g.decide(fleets)
	p.decisions[i], p.places[i] = d, chosen
	if d.Runs == nil {
		chosen.fleet.occupy(g, chosen.start, g.pods())
	} else {
		chosen.fleet.occupyRuns(g, d.Runs)
	}
	return true
}

// startEarly starts a group now that waits below ceilings for a time no better than now, if no
// other group was given that room. Room that has become free is not left unused for the sake of a
// plan.
func (p *pass) startEarly(i int) {
	g, d, planned := &p.groups[i], &p.decisions[i], p.places[i]
	f := planned.fleet
	if !d.Holds() || f.room == nil || d.Runs != nil {
		return
	}
	f.occupy(g, planned.start, -g.pods())
	now := f.at(g, f.planner.now)
	if !now.hasRoom || !(now.cost <= planned.cost+roundingNoise) || g.Threshold != nil && !(now.emitted() <= *g.Threshold) {
		f.occupy(g, planned.start, g.pods())
		return
	}
	f.occupy(g, now.start, g.pods())
	d.Start, d.Expected, d.PowerFactor, d.Cause, d.CheaperWasFull, d.Location = now.start, now.mean, now.powerFactor, CauseCleanestNow, false, f.planner.location
}

// allowedFleets returns the fleets that a group may run in, and whose intensities can be compared.
func (p *pass) allowedFleets(g *Group) []*Fleet {
	if len(g.Locations) == 0 {
		return withSameSignal(p.fleets)
	}
	p.allowed = p.allowed[:0]
	for _, f := range p.fleets {
		if slices.ContainsFunc(g.Locations, func(s Site) bool { return s.Name == f.planner.location }) {
			p.allowed = append(p.allowed, f)
		}
	}
	return withSameSignal(p.allowed)
}

// withSameSignal returns the fleets whose intensities are of the same signal as those of the first
// fleet that has any. It does not change its argument.
func withSameSignal(fleets []*Fleet) []*Fleet {
	known := slices.IndexFunc(fleets, func(f *Fleet) bool { return !f.planner.series.IsEmpty() })
	if known < 0 {
		return fleets
	}
	differs := func(f *Fleet) bool { return f.planner.origin.Signal != fleets[known].planner.origin.Signal }
	if !slices.ContainsFunc(fleets, differs) {
		return fleets
	}
	return slices.DeleteFunc(slices.Clone(fleets), differs)
}

// decideWithoutForecast starts a group whose locations are all unknown.
func (f *Fleet) decideWithoutForecast(g *Group) Decision {
	return Decision{
		Decided: f.planner.now, Start: f.planner.now, LatestStart: g.LatestStart.UTC(), Location: g.Locations[0].Name,
		Duration: g.Duration, EstimatedDuration: g.EstimatedDuration, Threshold: g.Threshold, Expected: math.NaN(), ExpectedAtOnce: math.NaN(),
		LocationAtOnce: g.Locations[0].Name, Cause: CauseNoForecast, NoForecastReason: "there is none for its location",
	}
}

// at returns the place of a group that starts at a given moment.
func (f *Fleet) at(g *Group, start time.Time) place {
	powerFactor := g.PowerFactor(f.planner.location)
	p := place{fleet: f, start: start, mean: math.NaN(), cost: math.Inf(1), hasRoom: f.fits(g, start)}
	c := f.planner.curve(g.Duration)
	if c == nil {
		return p.timesPower(powerFactor)
	}
	mean, ok := c.means[0], true
	if !start.Equal(f.planner.now) {
		mean, ok = f.planner.expectMean(start, g.Duration)
	}
	if ok {
		p.mean, p.cost = mean, c.cost(start, mean)
	}
	return p.timesPower(powerFactor)
}

// fits reports whether there is room for the group from start to its end.
func (f *Fleet) fits(g *Group, start time.Time) bool {
	if f.room == nil {
		return true
	}
	return f.room.minLeft(f.room.span(start, g.Duration)) >= g.pods()
}

// occupy takes room for pods of the group. It gives room back if pods is negative.
func (f *Fleet) occupy(g *Group, start time.Time, pods int) {
	if f.room != nil {
		from, to := f.room.span(start, g.Duration)
		f.room.occupy(from, to, pods)
	}
}

// cheapest returns the cheapest place with room. Without ceilings, starts are also spread within
// their slots. With ceilings the spread would take room from the work before or after.
func (f *Fleet) cheapest(g *Group, enough float64) (place, bool) {
	c := f.planner.curve(g.Duration)
	if c == nil {
		return place{}, false
	}
	latest := f.planner.endOfWait(g.LatestStart)
	powerFactor := g.PowerFactor(f.planner.location)
	start, mean, cheapestCost := c.pick(g.ID, latest, enough/powerFactor, f.room == nil)
	if f.fits(g, start) {
		return place{fleet: f, start: start, mean: mean, cost: c.cost(start, mean), cheapestCost: cheapestCost, hasRoom: true}.timesPower(powerFactor), true
	}
	p, ok := f.cheapestFree(g, latest)
	return place{fleet: f, start: p.at(), mean: p.mean, cost: p.cost, cheapestCost: p.cost, hasRoom: true, cheaperWasFull: true}.timesPower(powerFactor), ok
}

// firstBelow returns the first place with room at or below the threshold of the group.
func (f *Fleet) firstBelow(g *Group) (place, bool) {
	c := f.planner.curve(g.Duration)
	if c == nil {
		return place{}, false
	}
	latest := f.planner.endOfWait(g.LatestStart)
	powerFactor := g.PowerFactor(f.planner.location)
	threshold := *g.Threshold / powerFactor
	start, mean, ok := c.firstBelow(threshold, latest)
	if !ok {
		return place{}, false
	}
	if f.room == nil {
		start, mean = c.pickBelow(g.ID, start, mean, latest, threshold)
	}
	if f.fits(g, start) {
		return place{fleet: f, start: start, mean: mean, cost: c.cost(start, mean), hasRoom: true}.timesPower(powerFactor), true
	}
	key := thresholdSearch{g.Duration, threshold, g.pods()}
	p, next, ok := f.startTree(g.Duration).firstBelow(key, f.searchedUntil[key], latest)
	f.searchedUntil[key] = next
	return place{fleet: f, start: p.at(), mean: p.mean, cost: p.cost, hasRoom: true, cheaperWasFull: true}.timesPower(powerFactor), ok
}

// cheapestFree returns the cheapest start with room. It builds a startTree only for a duration that
// comes a second time.
func (f *Fleet) cheapestFree(g *Group, latest time.Time) (candidate, bool) {
	if _, asked := f.startTrees[g.Duration]; !asked {
		f.startTrees[g.Duration] = nil
		f.scratch = candidates(f.scratch[:0], f.planner.curve(g.Duration), f.room, nanos(latest))
		return cheapestAmong(f.scratch, f.room, g.pods())
	}
	return f.startTree(g.Duration).cheapest(g.pods(), latest)
}

func (f *Fleet) startTree(duration time.Duration) *startTree {
	s := f.startTrees[duration]
	if s == nil {
		s = newStartTree(f.planner.curve(duration), f.room)
		f.startTrees[duration] = s
	}
	return s
}
