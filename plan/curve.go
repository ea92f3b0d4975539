package plan

import (
	"math"
	"slices"
	"sort"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// curve holds the windows of one duration at every start worth looking at, in
// order of time; the first starts now. It reaches as far as it was asked for:
// where every task has a duration of its own, most are asked for little.
type curve struct {
	planner  *Planner
	duration time.Duration
	starts   []int64   // Unix nanoseconds
	means    []float64 // gCO2eq/kWh over [starts[i], starts[i]+duration)
	best     []int32   // the cheapest of 0..i, the earliest of equals
	least    float64   // what the last of these costs
	lowest   []float64 // the smallest mean of 0..i, as far as it was asked for
	options  map[int]*options

	sweep                              *forecast.Sweep
	reachedUntil                       int64
	nextStartBoundary, nextEndBoundary int // the next of the outlook's boundaries for either end of a window
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

// boundaries are those of the series' slots after now, in Unix nanoseconds.
func (p *Planner) boundaries() []int64 {
	if p.slotBoundaries == nil {
		for b := range p.series.Boundaries(p.now, p.series.End().Add(1)) {
			p.slotBoundaries = append(p.slotBoundaries, b.UnixNano())
		}
	}
	return p.slotBoundaries
}

// corner returns when a window whose end, after some time, is at the i-th boundary
// starts: the first full second from there on; never, if there is no such boundary.
func (p *Planner) corner(i int, after time.Duration) int64 {
	if i >= len(p.slotBoundaries) {
		return math.MaxInt64
	}
	return ceilSecond(p.slotBoundaries[i] - int64(after))
}

// reach adds the corners up to an instant: every start at which an end of the
// window meets a slot's boundary, or the first full second after that; ascending,
// each once.
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

// grow makes room for the corners up to an instant at once.
func (c *curve) grow(to int64) {
	bounds := c.planner.boundaries()
	more := sort.Search(len(bounds), func(i int) bool { return bounds[i] > to }) - c.nextStartBoundary
	if end := to + int64(c.duration); end > to {
		more += sort.Search(len(bounds), func(i int) bool { return bounds[i] > end }) - c.nextEndBoundary
	} else {
		more += len(bounds) - c.nextEndBoundary
	}
	more = max(more, 0)
	c.starts, c.means, c.best = slices.Grow(c.starts, more), slices.Grow(c.means, more), slices.Grow(c.best, more)
}

// Expect returns the mean intensity over a window of some length, in
// gCO2eq/kWh; false if less than half of it is covered. A gap within the series
// counts as a [Planner] takes it, what is beyond as the mean of the series.
func WindowMean(series *forecast.Series, start time.Time, duration time.Duration) (float64, bool) {
	return expect(bridged(series), start, duration)
}

// bridged is a series without gaps: what is not known is not clean.
func bridged(series *forecast.Series) *forecast.Series {
	mean, _ := series.Mean(series.Start(), series.End())
	return series.WithoutGaps(mean)
}

func expect(series *forecast.Series, start time.Time, duration time.Duration) (float64, bool) {
	mean, covered := series.Mean(start, start.Add(duration))
	if covered == duration {
		return mean, true
	}
	fill, _ := series.Mean(series.Start(), series.End())
	return filled(mean, covered, duration, fill)
}

// filled is the mean over a window of which some is covered.
func filled(mean float64, covered, duration time.Duration, fill float64) (float64, bool) {
	if covered == duration {
		return mean, true
	}
	share := float64(covered) / float64(duration)
	if share < minCover {
		return 0, false
	}
	return mean*share + fill*(1-share), true
}

func (p *Planner) expect(start time.Time, duration time.Duration) (float64, bool) {
	mean, covered := p.series.Mean(start, start.Add(duration))
	return filled(mean, covered, duration, p.fill)
}

// add adds a start after all others, if the forecast covers enough of its window.
func (c *curve) add(start int64) {
	mean, covered := c.sweep.Mean(start, start+int64(c.duration))
	mean, ok := filled(mean, covered, c.duration, c.planner.fill)
	if !ok {
		return
	}
	i, cost := int32(len(c.starts)), c.price(start, mean)
	c.starts, c.means = append(c.starts, start), append(c.means, mean)
	if i > 0 && cost >= c.least {
		c.best = append(c.best, c.best[i-1])
		return
	}
	c.best, c.least = append(c.best, i), cost
}

// start is that of the i-th window.
func (c *curve) start(i int) time.Time { return time.Unix(0, c.starts[i]).UTC() }

// cost prices the wait. An intensity at or below zero cannot be made cheaper
// by waiting longer.
func (c *curve) cost(start time.Time, mean float64) float64 { return c.price(nanos(start), mean) }

// price is cost of a start in Unix nanoseconds.
func (c *curve) price(start int64, mean float64) float64 {
	hours := float64(start-c.planner.nowNanos) / float64(time.Hour)
	return math.Max(mean, 0) * (1 + c.planner.terms.WaitPrice*hours)
}

// cheapest returns the cheapest start at or before latest, the earliest of
// equals, its mean, and its index; -1 if it is latest itself.
func (c *curve) cheapest(latest time.Time) (time.Time, float64, int) {
	last := c.last(latest)
	i := int(c.best[last])
	if c.starts[last] < nanos(latest) {
		mean, ok := c.planner.expect(latest, c.duration)
		if ok && c.cost(latest, mean) < c.price(c.starts[i], c.means[i]) {
			return latest, mean, -1
		}
	}
	return c.start(i), c.means[i], i
}

// firstBelow returns the first start at or before latest at which the mean is
// at or below the threshold, and that mean.
func (c *curve) firstBelow(threshold float64, latest time.Time) (time.Time, float64, bool) {
	last := c.last(latest)
	for i := len(c.lowest); i <= last; i++ {
		c.lowest = append(c.lowest, c.means[i])
		if i > 0 {
			c.lowest[i] = math.Min(c.lowest[i-1], c.means[i])
		}
	}
	i := sort.Search(last+1, func(i int) bool { return c.lowest[i] <= threshold })
	switch i {
	case 0:
		return c.start(0), c.means[0], true
	case last + 1:
		return c.crossing(last, latest, threshold)
	default:
		return c.crossing(i-1, c.start(i), threshold)
	}
}

// crossing returns where between starts[i] and end the mean, above the
// threshold at first and linear in between, comes down to it: in whole
// seconds, but not after end.
func (c *curve) crossing(i int, end time.Time, threshold float64) (time.Time, float64, bool) {
	endMean, ok := c.planner.expect(end, c.duration)
	if !ok || endMean > threshold {
		return time.Time{}, 0, false
	}
	share := (c.means[i] - threshold) / (c.means[i] - endMean)
	at := c.start(i).Add(time.Duration(share * float64(end.Sub(c.start(i)))))
	at = fullSecond(at)
	mean, ok := c.planner.expect(at, c.duration)
	if !ok || mean > threshold || at.After(end) {
		return end, endMean, true
	}
	return at, mean, true
}

// fullSecond rounds up: a start is written down in full seconds, and must not
// lie before the slot that it was chosen for.
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

// last returns the index of the last start at or before latest. The first
// start is now, and latest is never before it.
func (c *curve) last(latest time.Time) int {
	at := nanos(latest)
	c.reach(at)
	after := sort.Search(len(c.starts), func(i int) bool { return c.starts[i] > at })
	return max(after-1, 0)
}

// nanos returns t in Unix nanoseconds; instants too far away become the nearest
// that fits.
func nanos(t time.Time) int64 { return int64(t.Sub(time.Unix(0, 0))) }
