package plan

import (
	"math"
	"slices"
	"sort"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// A curve has the windows of one duration at every start that is worth looking at, in order of
// time. The first window starts now. The curve reaches as far as it was asked to: where every task
// has a duration of its own, most curves are asked for little.
type curve struct {
	planner      *Planner
	duration     time.Duration
	starts       []int64   // Unix nanoseconds
	means        []float64 // gCO2eq/kWh over [starts[i], starts[i]+duration)
	cheapestUpTo []int32   // the index of the cheapest of 0..i, the earliest of equals
	cheapestCost float64   // of the cheapest window so far
	lowestMeans  []float64 // the lowest mean of 0..i, as far as they are computed
	options      map[int]*options

	sweep                              *forecast.Sweep
	reachedUntil                       int64
	nextStartBoundary, nextEndBoundary int // the planner's next boundaries for either end of a window
}

func (p *Planner) newCurve(duration time.Duration) *curve {
	if duration <= 0 || p.series.IsEmpty() {
		return nil
	}
	c := &curve{planner: p, duration: duration, sweep: p.series.Sweep()}
	if c.add(nanos(p.now)); len(c.starts) == 0 {
		return nil
	}
	c.nextEndBoundary = sort.Search(len(p.boundaries()), func(i int) bool { return p.corner(i, duration) > c.starts[0] })
	return c
}

// boundaries returns the boundaries of the slots after now, in Unix nanoseconds.
func (p *Planner) boundaries() []int64 {
	if p.slotBoundaries == nil {
		for b := range p.series.Boundaries(p.now, p.series.End().Add(1)) {
			p.slotBoundaries = append(p.slotBoundaries, b.UnixNano())
		}
	}
	return p.slotBoundaries
}

// corner returns the start of the window that reaches the i-th boundary after some time, in full
// seconds. It returns the largest instant if there is no such boundary.
func (p *Planner) corner(i int, after time.Duration) int64 {
	if i >= len(p.slotBoundaries) {
		return math.MaxInt64
	}
	return ceilSecond(p.slotBoundaries[i] - int64(after))
}

// reach adds the corners up to an instant. A corner is a start at which an end of the window meets
// the boundary of a slot, or the first full second after that. Corners are ascending, each once.
func (c *curve) reach(to int64) {
	if to <= c.reachedUntil {
		return
	}
	c.reachedUntil = to
	if min(c.planner.corner(c.nextStartBoundary, 0), c.planner.corner(c.nextEndBoundary, c.duration)) > to {
		return
	}
	c.grow(to)
	for {
		near, far := c.planner.corner(c.nextStartBoundary, 0), c.planner.corner(c.nextEndBoundary, c.duration)
		at := min(near, far)
		if at > to || at == math.MaxInt64 {
			return
		}
		if near == at {
			c.nextStartBoundary++
		}
		if far == at {
			c.nextEndBoundary++
		}
		if at > c.starts[len(c.starts)-1] {
			c.add(at)
		}
	}
}

// grow allocates memory for the corners up to an instant at once.
func (c *curve) grow(to int64) {
	bounds := c.planner.boundaries()
	more := sort.Search(len(bounds), func(i int) bool { return bounds[i] > to }) - c.nextStartBoundary
	if end := to + int64(c.duration); end > to {
		more += sort.Search(len(bounds), func(i int) bool { return bounds[i] > end }) - c.nextEndBoundary
	} else {
		more += len(bounds) - c.nextEndBoundary
	}
	more = max(more, 0)
	c.starts, c.means, c.cheapestUpTo = slices.Grow(c.starts, more), slices.Grow(c.means, more), slices.Grow(c.cheapestUpTo, more)
}

// WindowMean returns the mean intensity over a window, in gCO2eq/kWh. It returns false if less than
// half of the window is covered. A gap within the series counts as for a [Planner], and time
// outside the series as the mean of the series.
func WindowMean(series *forecast.Series, start time.Time, duration time.Duration) (float64, bool) {
	return expectMean(withoutGaps(series), start, duration)
}

// withoutGaps returns a series whose gaps count as at least its mean: an unknown intensity is not a
// clean one.
func withoutGaps(series *forecast.Series) *forecast.Series {
	mean, _ := series.Mean(series.Start(), series.End())
	return series.WithoutGaps(mean)
}

func expectMean(series *forecast.Series, start time.Time, duration time.Duration) (float64, bool) {
	mean, covered := series.Mean(start, start.Add(duration))
	if covered == duration {
		return mean, true
	}
	fill, _ := series.Mean(series.Start(), series.End())
	return fillWindow(mean, covered, duration, fill)
}

// fillWindow returns the mean over a window that is covered in part. The rest counts as fill. It
// returns false if too little is covered.
func fillWindow(mean float64, covered, duration time.Duration, fill float64) (float64, bool) {
	if covered == duration {
		return mean, true
	}
	share := float64(covered) / float64(duration)
	if share < minCoverShare {
		return 0, false
	}
	return mean*share + fill*(1-share), true
}

func (p *Planner) expectMean(start time.Time, duration time.Duration) (float64, bool) {
	mean, covered := p.series.Mean(start, start.Add(duration))
	return fillWindow(mean, covered, duration, p.fill)
}

// add adds a start after all others, if the forecast covers enough of its window.
func (c *curve) add(start int64) {
	mean, covered := c.sweep.Mean(start, start+int64(c.duration))
	mean, ok := fillWindow(mean, covered, c.duration, c.planner.fill)
	if !ok {
		return
	}
	i, cost := int32(len(c.starts)), c.price(start, mean)
	c.starts, c.means = append(c.starts, start), append(c.means, mean)
	if i > 0 && cost >= c.cheapestCost {
		c.cheapestUpTo = append(c.cheapestUpTo, c.cheapestUpTo[i-1])
		return
	}
	c.cheapestUpTo, c.cheapestCost = append(c.cheapestUpTo, i), cost
}

// start returns the start of the i-th window.
func (c *curve) start(i int) time.Time { return time.Unix(0, c.starts[i]).UTC() }

// cost returns the mean with the wait priced. An intensity at or below zero cannot be made cheaper
// by waiting longer.
func (c *curve) cost(start time.Time, mean float64) float64 { return c.price(nanos(start), mean) }

// price returns the cost of a start in Unix nanoseconds.
func (c *curve) price(start int64, mean float64) float64 {
	hours := float64(start-c.planner.nowNanos) / float64(time.Hour)
	return math.Max(mean, 0) * (1 + c.planner.terms.WaitPrice*hours)
}

// cheapest returns the cheapest start at or before latest, the earliest of equals, its mean, and
// its index. The index is -1 if the start is latest itself.
func (c *curve) cheapest(latest time.Time) (time.Time, float64, int) {
	last := c.last(latest)
	i := int(c.cheapestUpTo[last])
	if c.starts[last] < nanos(latest) {
		mean, ok := c.planner.expectMean(latest, c.duration)
		if ok && c.cost(latest, mean) < c.price(c.starts[i], c.means[i]) {
			return latest, mean, -1
		}
	}
	return c.start(i), c.means[i], i
}

// firstBelow returns the first start at or before latest whose mean is at or below the threshold,
// and that mean.
func (c *curve) firstBelow(threshold float64, latest time.Time) (time.Time, float64, bool) {
	last := c.last(latest)
	for i := len(c.lowestMeans); i <= last; i++ {
		c.lowestMeans = append(c.lowestMeans, c.means[i])
		if i > 0 {
			c.lowestMeans[i] = math.Min(c.lowestMeans[i-1], c.means[i])
		}
	}
	i := sort.Search(last+1, func(i int) bool { return c.lowestMeans[i] <= threshold })
	switch i {
	case 0:
		return c.start(0), c.means[0], true
	case last + 1:
		return c.crossing(last, latest, threshold)
	default:
		return c.crossing(i-1, c.start(i), threshold)
	}
}

// crossing returns the start between starts[i] and end at which the mean comes down to the
// threshold, in whole seconds and not after end. The mean is above the threshold at starts[i] and
// linear from there.
func (c *curve) crossing(i int, end time.Time, threshold float64) (time.Time, float64, bool) {
	endMean, ok := c.planner.expectMean(end, c.duration)
	if !ok || endMean > threshold {
		return time.Time{}, 0, false
	}
	share := (c.means[i] - threshold) / (c.means[i] - endMean)
	at := c.start(i).Add(time.Duration(share * float64(end.Sub(c.start(i)))))
	at = fullSecond(at)
	mean, ok := c.planner.expectMean(at, c.duration)
	if !ok || mean > threshold || at.After(end) {
		return end, endMean, true
	}
	return at, mean, true
}

// fullSecond rounds up to a full second: a start is written in full seconds, and must not lie
// before the slot that it was chosen for.
func fullSecond(t time.Time) time.Time { return t.Add(time.Second - 1).Truncate(time.Second) }

// ceilSecond is fullSecond in Unix nanoseconds.
func ceilSecond(nanos int64) int64 {
	const second = int64(time.Second)
	over := nanos % second
	if over > 0 {
		over -= second
	}
	return nanos - over
}

// last returns the index of the last start at or before latest. The first start is now, and latest
// is never before now.
func (c *curve) last(latest time.Time) int {
	at := nanos(latest)
	c.reach(at)
	after := sort.Search(len(c.starts), func(i int) bool { return c.starts[i] > at })
	return max(after-1, 0)
}

// nanos returns t in Unix nanoseconds. An instant too far away becomes the nearest that fits.
func nanos(t time.Time) int64 { return int64(t.Sub(time.Unix(0, 0))) }
