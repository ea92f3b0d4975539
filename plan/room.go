package plan

import (
	"math"
	"slices"
	"sort"
	"time"
)

// overlap is how far a run may reach into the time of another without being
// counted there: a release takes a moment, and what comes a few seconds late
// would otherwise find its place taken by what follows it.
const uncountedOverlap = time.Minute

// Run is work that was released and still occupies room.
type Run struct {
	Until time.Time // its expected end; one that is past is taken to end soon
	Pods  int
}

// room counts how many more pods fit below the ceilings of a location. Time is
// cut into cells, at the slots' boundaries and every few minutes; a run
// occupies every cell that it touches.
type room struct {
	starts  []int64 // of the cells, Unix nanoseconds; the first holds now, the last has no end
	left    []int   // below zero where work went regardless
	ceiling int     // now
	bucket  string  // now
}

func newRoom(p *Planner, buckets Buckets, running []Run) *room {
	// Runs that reach past the forecast, where the ceiling does not change, are
	// told apart for a day.
	end := p.now
	if !p.series.IsEmpty() && p.series.End().After(end) {
		end = p.series.End()
	}
	end = end.Add(24 * time.Hour)
	width := widthOfCells(end.Sub(p.now))
	first := p.now.Truncate(width)
	r := &room{}
	for t := first; t.Before(end); t = t.Add(width) {
		r.starts = append(r.starts, t.UnixNano())
	}
	for b := range p.series.Boundaries(first, end) {
		r.starts = append(r.starts, b.UnixNano())
	}
	slices.Sort(r.starts)
	r.starts = slices.Compact(r.starts)
	for _, start := range r.starts {
		r.left = append(r.left, buckets.Ceiling(p.intensity(time.Unix(0, start))))
	}
	r.ceiling, r.bucket = buckets.Ceiling(p.intensity(p.now)), buckets.Name(p.intensity(p.now))
	now := p.now.UnixNano()
	for _, run := range running {
		r.occupy(r.cell(now), r.cell(max(now, run.Until.Add(-uncountedOverlap).UnixNano())), max(run.Pods, 0))
	}
	return r
}

// cellWidth cuts time as finely as a few thousand cells can.
func widthOfCells(span time.Duration) time.Duration {
	const most = 4096
	for _, width := range []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour} {
		if span/width <= most {
			return width
		}
	}
	return 24 * time.Hour
}

// intensity is what is expected at t; what is not covered counts as the mean of
// the whole forecast, zero if there is none.
func (p *Planner) intensity(t time.Time) float64 {
	if at, ok := p.series.At(t); ok {
		return at
	}
	return p.fill
}

// cell returns the index of the cell that holds an instant.
func (r *room) cell(nanos int64) int {
	return max(0, sort.Search(len(r.starts), func(i int) bool { return r.starts[i] > nanos })-1)
}

// span returns the first and the last cell that a run occupies.
func (r *room) span(start time.Time, duration time.Duration) (from, to int) {
	begin := start.UnixNano()
	return r.cell(begin), r.cell(runEnd(begin, duration))
}

// second is the first full second of the i-th cell; never, if there is no such cell.
func (r *room) second(i int) int64 {
	if i >= len(r.starts) {
		return math.MaxInt64
	}
	return ceilSecond(r.starts[i])
}

// runEnd is the last instant at which a run is counted.
func runEnd(start int64, duration time.Duration) int64 {
	return start + int64(max(duration-uncountedOverlap, 1)) - 1
}

// forward returns the index of the cell that holds an instant, from one on that is
// not after it.
func (r *room) forward(from int, nanos int64) int {
	for from+1 < len(r.starts) && r.starts[from+1] <= nanos {
		from++
	}
	return from
}

// lastBelow returns the last of the cells from..to into which so many pods do not
// fit; -1 if they fit into all.
func (r *room) lastBelow(from, to, pods int) int {
	for i := to; i >= from; i-- {
		if r.left[i] < pods {
			return i
		}
	}
	return -1
}

// running is how many pods occupy room now.
func (r *room) running() int { return r.ceiling - r.left[0] }

// least returns how many pods fit into all of the cells from..to.
func (r *room) least(from, to int) int { return slices.Min(r.left[from : to+1]) }

func (r *room) occupy(from, to, pods int) {
	for i := from; i <= to; i++ {
		r.left[i] -= pods
	}
}
