package plan

import (
	"sort"
	"time"
)

// elastic returns the work of a group that may run at several widths, as it waits.
func (g *Group) elastic(p *Planner) Elastic {
	e := Elastic{
		Least: g.Elastic.Least, Most: g.Elastic.Most, Speedup: g.Elastic.Speedup,
		Remaining: g.Duration, Finish: g.LatestStart.Add(g.Duration), LatestStart: g.LatestStart, IsHeld: g.Held,
	}
	return e.bounded(p)
}

// chooseWidths starts work that may run at several widths where its widths emit least, or now if the
// wait gains too little. Where the widths cannot be planned, or have no room, it chooses as for work
// of one width.
func (g *Group) chooseWidths(fleets []*Fleet, atOnce place, minGain float64) (place, Cause) {
	var now, best place
	for _, f := range fleets {
		if atNow, cheapest, ok := f.placeWidths(g); ok {
			now, best = now.orCheaper(atNow), best.orCheaper(cheapest)
		}
	}
	switch {
	case best.fleet == nil || !best.hasRoom:
		return g.chooseCheapest(fleets, atOnce, minGain)
	default:
		return g.weighWidths(now, best, minGain)
	}
}

// weighWidths returns the best place, or now if the wait gains too little.
func (g *Group) weighWidths(now, best place, minGain float64) (place, Cause) {
	isGain := now.cost-best.cost > equalMargin(best.cost) && !(best.emitted() > now.emitted()*(1-minGain))
	switch {
	case !best.start.After(best.fleet.planner.now):
		return best, CauseCleanestNow
	case !isGain && !now.hasRoom:
		return best, CauseNoRoom
	case !isGain:
		return now, CauseSmallGain
	case now.hasRoom && !g.Held && now.emitted()-best.emitted() < best.doubt(g):
		return now, CauseUncertainGain
	default:
		return best, CauseCleanerLater
	}
}

// orCheaper returns another place if there is none yet, or if the other one is cheaper.
func (p place) orCheaper(other place) place {
	if p.fleet == nil || p.cost-other.cost > choiceMargin(other.cost) {
		return other
	}
	return p
}

// placeWidths returns the places of the cheapest widths in the location of the fleet: from now on, and
// at any start. Their means are for the energy that the work takes at its least width.
func (f *Fleet) placeWidths(g *Group) (now, best place, ok bool) {
	e := g.elastic(f.planner)
	s := widthSearch{planner: f.planner, work: &e, room: f.room}
	filling, atNow, cheapest, ok := s.cheapest()
	if !ok {
		return now, best, false
	}
	now = s.place(f, g, filling, &atNow)
	filling, cheapest = s.settle(g, filling, cheapest)
	return now, s.place(f, g, filling, &cheapest), true
}

// place returns the place of a choice.
func (s *widthSearch) place(f *Fleet, g *Group, filling *filling, c *filled) place {
	w := s.plan(filling.pieces(c), "")
	energy := s.energy()
	p := place{fleet: f, start: w.Start(), mean: w.Emitted / energy, cost: c.amount.cost / energy, hasRoom: f.fits(g, w.Start())}
	return p.timesPower(g.PowerFactor(f.planner.location))
}

// settle returns a choice that is as good as the best one and starts at another time: when it was
// planned to, or, without ceilings, some minutes later, so that not all work starts in the same
// second.
func (s *widthSearch) settle(g *Group, f *filling, best filled) (*filling, filled) {
	now, start := s.planner.now, time.Unix(0, f.pieces(&best)[0].start)
	if !start.After(now) {
		return f, best
	}
	starts := []time.Time{g.PlannedStart}
	if g.ID != "" && s.room == nil {
		for _, spread := range []time.Duration{maxSpread, maxSpread / 5} {
			starts = append(starts, start.Add(secondsOf(hash(g.ID), min(spread, start.Sub(now)/10))))
		}
	}
	for _, at := range starts {
		if !at.After(now) || at.After(s.work.LatestStart) || at.Equal(start) {
			continue
		}
		other, c, ok := s.startingAt(nanos(at))
		if ok && c.amount.over <= best.amount.over+fillNoise*(1+best.amount.over) && c.amount.cost-best.amount.cost <= equalMargin(best.amount.cost) {
			return other, c
		}
	}
	return f, best
}

// startingAt returns the cheapest choice that starts at an instant.
func (s *widthSearch) startingAt(at int64) (*filling, filled, bool) {
	cells := cutAt(s.cells(), at)
	first := sort.Search(len(cells), func(i int) bool { return cells[i].start >= at })
	if first == len(cells) || cells[first].start != at {
		return nil, filled{}, false
	}
	f := newFilling(s.work, cells, 0, false)
	c, ok := f.best(first, first, len(cells), true, true)
	return f, c, ok
}

// hasWidths reports whether the work may run at several widths.
func (g *Group) hasWidths() bool {
	return g.Elastic != nil && g.Elastic.Most > max(g.Elastic.Least, 1)
}
