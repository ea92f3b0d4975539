package plan

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// slate finds, of all starts of one duration, the cheapest that has room.
//
// A tree over the starts in order of cost holds, in each node, the most room
// that any of its starts was last seen to have; a start after the latest one
// asked for so far has none. Room only shrinks while groups are assigned, so
// what a start was seen to have is never too little, and one that turns out to
// be full for so many pods is not looked at again for as many. With groups of a
// duration in order of latest start, a pass looks at each start about once per number of
// pods, however many groups there are.
type slate struct {
	room   *room
	starts []candidate // in order of time
	rank   []int       // of each in order of cost
	byCost []int       // the other way round
	opened int         // how many are at or before the latest start so far
	tree   []int       // leaves from len(tree)/2 on, in order of cost
}

// candidate is a start, and the cells that a run from it on occupies.
type candidate struct {
	start      time.Time
	mean, cost float64
	from, to   int
}

// newSlate looks at the curve's corners and at every cell's start, which is
// where room begins.
func newSlate(c *curve, r *room) *slate {
	s := &slate{room: r, starts: candidates(c, r)}
	for i := range s.starts {
		s.byCost = append(s.byCost, i)
	}
	slices.SortFunc(s.byCost, func(a, b int) int {
		return cmp.Or(cmp.Compare(rounded(s.starts[a].cost), rounded(s.starts[b].cost)), cmp.Compare(a, b))
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

// rounded makes costs that differ by rounding equal, and so the earlier start
// the better one.
func rounded(cost float64) float64 { return math.Round(cost / noise) }

// candidates returns the curve's corners and the cells' starts at which the
// forecast covers enough, in order of time.
func candidates(c *curve, r *room) []candidate {
	all := make([]candidate, 0, len(c.starts)+len(r.starts))
	add := func(start time.Time, mean float64) {
		from, to := r.span(start, c.duration)
		all = append(all, candidate{start, mean, c.cost(start, mean), from, to})
	}
	for i, start := range c.starts {
		add(start, c.mean[i])
	}
	for _, nanos := range r.starts {
		start := fullSecond(time.Unix(0, nanos).UTC())
		if !start.After(c.outlook.now) || start.After(c.outlook.until) {
			continue
		}
		if mean, ok := c.outlook.expect(start, c.duration); ok {
			add(start, mean)
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return a.start.Compare(b.start) })
	return slices.CompactFunc(all, func(a, b candidate) bool { return a.start.Equal(b.start) })
}

// cheapest returns the cheapest start at or before latest with room for so many
// pods. latest must not be before that of an earlier call.
func (s *slate) cheapest(pods int, latest time.Time) (candidate, bool) {
	for ; s.opened < len(s.starts) && !s.starts[s.opened].start.After(latest); s.opened++ {
		s.set(s.rank[s.opened], math.MaxInt)
	}
	for s.tree[1] >= pods {
		rank := s.leftmost(pods)
		c := s.starts[s.byCost[rank]]
		left := s.room.least(c.from, c.to)
		if left >= pods {
			return c, true
		}
		s.set(rank, left)
	}
	return candidate{}, false
}

// firstBelow returns the first start from index next on, at or before latest,
// at or below a threshold and with room, and the index to go on from for the
// same search: what is before it stays above the threshold, or full.
func (s *slate) firstBelow(what search, next int, latest time.Time) (candidate, int, bool) {
	for ; next < len(s.starts) && !s.starts[next].start.After(latest); next++ {
		c := s.starts[next]
		if c.mean <= what.threshold && s.room.least(c.from, c.to) >= what.pods {
			return c, next, true
		}
	}
	return candidate{}, next, false
}

// leftmost returns the first leaf with at least so much room; there is one.
func (s *slate) leftmost(pods int) int {
	node := 1
	for node < len(s.tree)/2 {
		node *= 2
		if s.tree[node] < pods {
			node++
		}
	}
	return node - len(s.tree)/2
}

func (s *slate) set(rank, left int) {
	node := rank + len(s.tree)/2
	s.tree[node] = left
	for node /= 2; node > 0; node /= 2 {
		s.tree[node] = max(s.tree[2*node], s.tree[2*node+1])
	}
}
