package plan

import (
	"cmp"
	"math"
	"slices"
)

// fillNoise is the share of the work that roundings may add or lose.
const fillNoise = 1e-9

// An amount is what some of the work is and costs.
type amount struct {
	work    float64 // throughput times hours
	cost    float64 // price times pod-hours
	over    float64 // pod-hours without room
	unknown float64 // the work that is done in time that the forecast does not cover
}

func (a amount) plus(b amount, times float64) amount {
	return amount{a.work + times*b.work, a.cost + times*b.cost, a.over + times*b.over, a.unknown + times*b.unknown}
}

// A widthSegment widens the work in one cell from one width to another. The gain of each pod is the
// same. The first segment of a cell begins at zero.
type widthSegment struct {
	cell, rank int
	from, to   int
	isOver     bool
	ratio      float64 // cost for each unit of work
	amount     amount
}

func (s *widthSegment) isBase() bool { return s.from == 0 }

// A filling searches for the cheapest widths of one work.
//
// The work occupies all cells from a first to a last one: at the least width at least, but for the
// first and the last cell, which it may use in part. What the least width does not do is done where
// each unit of work costs least. As the gain of a wider step is never larger than that of a
// narrower one, this greedy choice is the cheapest one for the two cells. The search tries all first
// and all last cells. With a later last cell there is less to add and more to choose from. So the
// dearest segment in use only becomes cheaper, and each search from one first cell goes through the
// ordered segments once.
type filling struct {
	cells    []widthCell
	work     float64
	beyond   bool           // a segment without room may be used
	segments []widthSegment // by cell, and from narrow to wide
	bases    []int          // by cell: the index of its first segment; one more at the end
	order    []rankedSegment
}

// A rankedSegment is the place of a segment in the order of what a unit of work costs. Those without
// room are the last.
type rankedSegment struct {
	isOver bool
	ratio  float64
	index  int
}

func (a rankedSegment) compare(b rankedSegment) int {
	switch {
	case a.isOver == b.isOver:
		return cmp.Or(cmp.Compare(a.ratio, b.ratio), cmp.Compare(a.index, b.index))
	case a.isOver:
		return 1
	default:
		return -1
	}
}

// newFilling prepares the search. A pinned width above zero is the only one in the first cell. Only
// with beyond is the work ever wider than there is room, and then as little as possible.
func newFilling(e *Elastic, cells []widthCell, pinned int, beyond bool) *filling {
	f := &filling{cells: cells, work: e.Remaining.Hours() * e.Speedup.At(e.Least), beyond: beyond}
	corners := e.Speedup.corners(e.Least, e.Most)
	f.bases = make([]int, 0, len(cells)+1)
	f.segments = make([]widthSegment, 0, len(cells)*len(corners))
	for i := range cells {
		f.bases = append(f.bases, len(f.segments))
		if i == 0 && pinned > 0 {
			f.add(e, i, 0, pinned)
			continue
		}
		from := 0
		for _, to := range corners {
			f.add(e, i, from, to)
			from = to
		}
	}
	f.bases = append(f.bases, len(f.segments))
	f.order = make([]rankedSegment, len(f.segments))
	for i := range f.segments {
		f.order[i] = rankedSegment{f.segments[i].isOver, f.segments[i].ratio, i}
	}
	slices.SortFunc(f.order, rankedSegment.compare)
	for rank, o := range f.order {
		f.segments[o.index].rank = rank
	}
	return f
}

// add adds a segment, in two parts if the room ends within.
func (f *filling) add(e *Elastic, cell, from, to int) {
	c := &f.cells[cell]
	if from > 0 && from < c.widest && c.widest < to {
		f.add(e, cell, from, c.widest)
		from = c.widest
	}
	hours, gain := c.hours(), e.Speedup.At(to)-e.Speedup.At(from)
	s := widthSegment{cell: cell, from: from, to: to, isOver: to > c.widest}
	if !s.isBase() && (!(gain > 0) || s.isOver && !f.beyond) {
		return
	}
	s.amount = amount{work: gain * hours, cost: c.price * float64(to-from) * hours}
	if s.isOver {
		s.amount.over = float64(to-max(from, c.widest)) * hours
	}
	if !c.isKnown {
		s.amount.unknown = s.amount.work
	}
	s.ratio = c.price * float64(to-from) / gain
	if !s.isBase() { // a rounding does not make a wider step cheaper than a narrower one
		s.ratio = max(s.ratio, f.segments[len(f.segments)-1].ratio)
	}
	f.segments = append(f.segments, s)
}

// ranked returns the segment of a rank.
func (f *filling) ranked(rank int) *widthSegment { return &f.segments[f.order[rank].index] }

// A filled is one choice of widths.
type filled struct {
	first, last int
	startsFirst bool    // the whole first cell is used
	upTo        int     // how many of the segments are in use, as far as they are of these cells
	share       float64 // of the last of these segments that is in use
	amount      amount
}

// isBetter reports whether a choice has less without room, or as little and costs less.
func (a *filled) isBetter(b *filled) bool {
	noise := fillNoise * (1 + a.amount.over + b.amount.over)
	if difference := a.amount.over - b.amount.over; math.Abs(difference) > noise {
		return difference < 0
	}
	return a.amount.cost < b.amount.cost-fillNoise*math.Abs(b.amount.cost)
}

// isKnown reports whether at least half of the work is in time that the forecast covers.
func (a *filled) isKnown() bool {
	return a.amount.unknown <= (1-minCoverShare)*a.amount.work*(1+fillNoise)
}

// uses reports whether a segment is among those to choose from.
func (a *filled) uses(s *widthSegment) bool {
	if s.cell < a.first || s.cell > a.last {
		return false
	}
	return !s.isBase() || s.cell == a.last || s.cell == a.first && !a.startsFirst
}

// best returns the cheapest choice that starts in one of the cells first..last, and is done by the
// end of the cell before end. With startsFirst it starts at the beginning of a cell. With onlyKnown,
// at least half of the work is in time that the forecast covers. ok is false if there is none.
func (f *filling) best(first, last, end int, startsFirst, onlyKnown bool) (best filled, ok bool) {
	for ; first <= last; first++ {
		f.from(filled{first: first, startsFirst: startsFirst}, end, func(c *filled) {
			if onlyKnown && !c.isKnown() {
				return
			}
			if !ok || c.isBetter(&best) {
				best, ok = *c, true
			}
		})
	}
	return best, ok
}

// from looks at all choices from one first cell.
func (f *filling) from(c filled, end int, look func(*filled)) {
	var forced, chosen amount
	noise := fillNoise * f.work
	c.upTo = len(f.order)
	for c.last = c.first; c.last < end; c.last++ {
		if before := c.last - 1; before > c.first || before == c.first && c.startsFirst {
			base := &f.segments[f.bases[before]]
			if base.rank < c.upTo {
				chosen = chosen.plus(base.amount, -1)
			}
			forced = forced.plus(base.amount, 1)
		}
		for i := f.bases[c.last]; i < f.bases[c.last+1]; i++ {
			if s := &f.segments[i]; s.rank < c.upTo {
				chosen = chosen.plus(s.amount, 1)
			}
		}
		rest := f.work - forced.work
		if rest < -noise {
			return
		}
		if chosen.work < rest-noise {
			continue
		}
		chosen = f.shrink(&c, chosen, rest)
		c.share, c.amount = 1, forced.plus(chosen, 1)
		if c.upTo > 0 {
			dearest := f.ranked(c.upTo - 1)
			c.share = 1 - max(chosen.work-rest, 0)/dearest.amount.work
			c.amount = c.amount.plus(dearest.amount, c.share-1)
		}
		look(&c)
	}
}

// shrink gives up the dearest segments that are not needed for the rest of the work.
func (f *filling) shrink(c *filled, chosen amount, rest float64) amount {
	for c.upTo > 0 {
		dearest := f.ranked(c.upTo - 1)
		if c.uses(dearest) {
			if chosen.work-dearest.amount.work < rest {
				break
			}
			chosen = chosen.plus(dearest.amount, -1)
		}
		c.upTo--
	}
	return chosen
}
