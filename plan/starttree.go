package plan

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// A startTree finds the cheapest start that has room, among all starts of one duration.
//
// The leaves of the tree are the starts in order of cost. Each node has the most room that any of
// its starts was last seen to have. A start after the latest one that was asked for so far has
// none. Room only shrinks while groups are assigned, so the room that was seen is never too little.
// A start that turns out to be full for so many pods is not looked at again for as many. With
// groups of a duration in order of latest start, a pass looks at each start about once per number
// of pods, however many groups there are.
type startTree struct {
	room        *room
	starts      []candidate // in order of time
	rank        []int       // the rank of each start in order of cost
	byCost      []int       // the start of each rank
	openedUntil int         // how many starts are at or before the latest start so far
	tree        []int       // leaves from len(tree)/2 on, in order of cost
}

// A candidate is a start, and the cells in which a run from that start takes room.
type candidate struct {
	start      int64 // Unix nanoseconds
	mean, cost float64
	from, to   int
}

// at returns when the candidate starts.
func (c candidate) at() time.Time { return time.Unix(0, c.start).UTC() }

// newStartTree looks at the corners of the curve and at the start of every cell, where room may
// begin.
func newStartTree(c *curve, r *room) *startTree {
	s := &startTree{room: r, starts: candidates(nil, c, r, math.MaxInt64)}
	for i := range s.starts {
		s.byCost = append(s.byCost, i)
	}
	slices.SortFunc(s.byCost, func(a, b int) int {
		return cmp.Or(cmp.Compare(roundCost(s.starts[a].cost), roundCost(s.starts[b].cost)), cmp.Compare(a, b))
	})
	s.rank = make([]int, len(s.starts))
	leaves := 1
	for leaves < len(s.starts) {
		leaves *= 2
	}
	s.tree = make([]int, 2*leaves)
	for rank, i := range s.byCost {
		s.rank[i] = rank
	}
	return s
}

// roundCost makes costs that differ by a rounding equal, so that the earlier start wins.
func roundCost(cost float64) float64 { return math.Round(cost / roundingNoise) }

// candidates appends candidates to a list, in order of time, up to an instant in Unix nanoseconds:
// the corners of the curve, and the starts of cells whose window the forecast covers enough.
func candidates(all []candidate, c *curve, r *room, to int64) []candidate {
	to = min(to, nanos(c.planner.until))
	c.reach(to)
	all = slices.Grow(all, len(c.starts)+len(r.starts))
	w := walk{curve: c, room: r, sweep: c.planner.series.Sweep()}
	corner, cell := 0, 0
	for r.second(cell) <= c.starts[0] {
		cell++
	}
	for {
		at, mean, ok := r.second(cell), 0.0, true
		if corner < len(c.starts) && c.starts[corner] <= at {
			at, mean = c.starts[corner], c.means[corner]
			corner++
		} else if at <= to {
			mean, ok = w.expectMean(at)
		}
		if at > to || at == math.MaxInt64 {
			return all
		}
		for r.second(cell) == at {
			cell++
		}
		if ok {
			all = append(all, w.candidate(at, mean))
		}
	}
}

// A walk goes through the starts of one duration in order of time.
type walk struct {
	curve    *curve
	room     *room
	sweep    *forecast.Sweep
	from, to int // the cells of the last candidate
}

// expectMean returns the mean of the window at a start.
func (w *walk) expectMean(start int64) (float64, bool) {
	mean, covered := w.sweep.Mean(start, start+int64(w.curve.duration))
	return fillWindow(mean, covered, w.curve.duration, w.curve.planner.fill)
}

// candidate returns the candidate at a start.
func (w *walk) candidate(start int64, mean float64) candidate {
	end := countedUntil(start, w.curve.duration)
	w.from, w.to = w.room.forward(w.from, start), w.room.forward(w.to, end)
	return candidate{start, mean, w.curve.price(start, mean), w.from, w.to}
}

// cheapest returns the cheapest start at or before latest with room for the pods. latest must not
// be before the latest of an earlier call.
func (s *startTree) cheapest(pods int, latest time.Time) (candidate, bool) {
	for ; s.openedUntil < len(s.starts) && s.starts[s.openedUntil].start <= nanos(latest); s.openedUntil++ {
		s.set(s.rank[s.openedUntil], math.MaxInt)
	}
	for s.tree[1] >= pods {
		rank := s.leftmost(pods)
		c := s.starts[s.byCost[rank]]
		left := s.room.minLeft(c.from, c.to)
		if left >= pods {
			return c, true
		}
		s.set(rank, left)
	}
	return candidate{}, false
}

// cheapestAmong returns the cheapest of some starts, in order of time, with room for the pods. It
// finds what a startTree finds, by a look at each start.
func cheapestAmong(starts []candidate, r *room, pods int) (best candidate, found bool) {
	full := -1 // the last cell that is known to have too little room
	leastCost := math.Inf(1)
	for _, c := range starts {
		cost := roundCost(c.cost)
		if c.from <= full || cost >= leastCost {
			continue
		}
		if at := r.lastBelow(c.from, c.to, pods); at >= 0 {
			full = at
			continue
		}
		best, leastCost, found = c, cost, true
	}
	return best, found
}

// firstBelow returns the first start from index next on, at or before latest, that is at or below a
// threshold and has room. It also returns the index from which the same search goes on: the starts
// before that index stay above the threshold, or full.
func (s *startTree) firstBelow(what thresholdSearch, next int, latest time.Time) (candidate, int, bool) {
	for ; next < len(s.starts) && s.starts[next].start <= nanos(latest); next++ {
		c := s.starts[next]
		if c.mean <= what.threshold && s.room.minLeft(c.from, c.to) >= what.pods {
			return c, next, true
		}
	}
	return candidate{}, next, false
}

// leftmost returns the first leaf with room for the pods. There must be one.
func (s *startTree) leftmost(pods int) int {
	node := 1
	for node < len(s.tree)/2 {
		node *= 2
		if s.tree[node] < pods {
			node++
		}
	}
	return node - len(s.tree)/2
}

func (s *startTree) set(rank, left int) {
	node := rank + len(s.tree)/2
	s.tree[node] = left
	for node /= 2; node > 0; node /= 2 {
		s.tree[node] = max(s.tree[2*node], s.tree[2*node+1])
	}
}
