package plan

import (
	"math"
	"slices"
	"sort"
	"time"
)

// uncountedOverlap is how far a run may reach into the time of another without being counted there.
// A release takes a moment. Without this minute, work that starts a few seconds late would find its
// place taken by the work after it.
const uncountedOverlap = time.Minute

// Run is work that was released and still takes room.
type Run struct {
	Until time.Time // the expected end; if it has passed, the run is expected to end soon
	Pods  int
}

// room counts how many more pods fit below the ceilings of a location. Time is cut into cells, at
// the boundaries of slots and every few minutes. A run takes room in every cell that it touches.
type room struct {
	starts  []int64 // of the cells, Unix nanoseconds; the first cell has now, the last has no end
	left    []int   // pods that still fit; below zero if work started without room
	ceiling int     // now
	bucket  string  // now
}

func newRoom(p *Planner, buckets Buckets, running []Run) *room {
	// The ceiling is constant after the forecast. The cells still tell the ends of runs apart for a
	// day more.
	end := p.now
	if !p.series.IsEmpty() && p.series.End().After(end) {
		end = p.series.End()
	}
	end = end.Add(24 * time.Hour)
	width := cellWidth(end.Sub(p.now))
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

// cellWidth returns the smallest width that gives no more than a few thousand cells.
func cellWidth(span time.Duration) time.Duration {
	const maxCells = 4096
	for _, width := range []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour} {
		if span/width <= maxCells {
			return width
		}
	}
	return 24 * time.Hour
}

// intensity returns what is expected at t. Time that is not covered counts as the mean of the whole
// forecast, which is zero without a forecast.
func (p *Planner) intensity(t time.Time) float64 {
	if at, ok := p.series.At(t); ok {
		return at
	}
	return p.fill
}

// cell returns the index of the cell that contains an instant.
func (r *room) cell(nanos int64) int {
	return max(0, sort.Search(len(r.starts), func(i int) bool { return r.starts[i] > nanos })-1)
}

// span returns the first and the last cell in which a run takes room.
func (r *room) span(start time.Time, duration time.Duration) (from, to int) {
	begin := start.UnixNano()
	return r.cell(begin), r.cell(countedUntil(begin, duration))
}

// second returns the first full second of the i-th cell, or the largest instant if there is no such
// cell.
func (r *room) second(i int) int64 {
	if i >= len(r.starts) {
		return math.MaxInt64
	}
	return ceilSecond(r.starts[i])
}

// countedUntil returns the last instant at which a run is counted.
func countedUntil(start int64, duration time.Duration) int64 {
	return start + int64(max(duration-uncountedOverlap, 1)) - 1
}

// forward returns the index of the cell that contains an instant. It searches from a cell that is
// not after the instant.
func (r *room) forward(from int, nanos int64) int {
	for from+1 < len(r.starts) && r.starts[from+1] <= nanos {
		from++
	}
	return from
}

// lastBelow returns the last of the cells from..to that has less room than pods; -1 if there is
// none.
func (r *room) lastBelow(from, to, pods int) int {
	for i := to; i >= from; i-- {
		if r.left[i] < pods {
			return i
		}
	}
	return -1
}

// running returns how many pods run now.
func (r *room) running() int { return r.ceiling - r.left[0] }

// minLeft returns how many pods fit into all of the cells from..to.
func (r *room) minLeft(from, to int) int { return slices.Min(r.left[from : to+1]) }

func (r *room) occupy(from, to, pods int) {
	for i := from; i <= to; i++ {
		r.left[i] -= pods
	}
}
