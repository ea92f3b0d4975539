package plan

import (
	"math"
	"slices"
	"sort"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// curve holds the windows of one duration at every start worth looking at, in
// order of time; the first starts now.
type curve struct {
	outlook  *Outlook
	duration time.Duration
	starts   []time.Time
	mean     []float64 // gCO2eq/kWh over [starts[i], starts[i]+duration)
	best     []int     // the cheapest of 0..i, the earliest of equals
	lowest   []float64 // the smallest mean of 0..i
	options  map[int][]option
}

func (o *Outlook) newCurve(duration time.Duration) *curve {
	if duration <= 0 || o.series.Empty() {
		return nil
	}
	c := &curve{outlook: o, duration: duration, options: map[int][]option{}}
	for _, start := range o.corners(duration) {
		mean, ok := o.expect(start, duration)
		if ok {
			c.add(start, mean)
		} else if start.Equal(o.now) {
			return nil
		}
	}
	return c
}

// corners returns now and every later start, up to until, at which an end of
// the window meets a slot's boundary, or the first full second after that;
// ascending, each once.
func (o *Outlook) corners(duration time.Duration) []time.Time {
	corners := []time.Time{o.now}
	if !o.until.After(o.now) {
		return corners
	}
	// the far ends are inclusive: a window may start at until itself
	for b := range o.series.Boundaries(o.now, o.until.Add(1)) {
		corners = append(corners, fullSecond(b))
	}
	for b := range o.series.Boundaries(o.now.Add(duration), o.until.Add(duration+1)) {
		corners = append(corners, fullSecond(b.Add(-duration)))
	}
	slices.SortFunc(corners, time.Time.Compare)
	return slices.CompactFunc(corners, time.Time.Equal)
}

// Expect returns the mean intensity over a window of some length, in
// gCO2eq/kWh; false if less than half of it is covered. A gap within the series
// counts as an [Outlook] takes it, what is beyond as the mean of the series.
func Expect(series *forecast.Series, start time.Time, duration time.Duration) (float64, bool) {
	return expect(bridged(series), start, duration)
}

// bridged is a series without gaps: what is not known is not clean.
func bridged(series *forecast.Series) *forecast.Series {
	mean, _ := series.Mean(series.Start(), series.End())
	return series.Bridged(mean)
}

func expect(series *forecast.Series, start time.Time, duration time.Duration) (float64, bool) {
	mean, covered := series.Mean(start, start.Add(duration))
	if covered == duration {
		return mean, true
	}
	share := float64(covered) / float64(duration)
	if share < minCover {
		return 0, false
	}
	fill, _ := series.Mean(series.Start(), series.End())
	return mean*share + fill*(1-share), true
}

func (o *Outlook) expect(start time.Time, duration time.Duration) (float64, bool) {
	return expect(o.series, start, duration)
}

func (c *curve) add(start time.Time, mean float64) {
	i := len(c.starts)
	c.starts = append(c.starts, start)
	c.mean = append(c.mean, mean)
	if i == 0 {
		c.best, c.lowest = []int{0}, []float64{mean}
		return
	}
	best := c.best[i-1]
	if c.cost(start, mean) < c.cost(c.starts[best], c.mean[best]) {
		best = i
	}
	c.best = append(c.best, best)
	c.lowest = append(c.lowest, math.Min(c.lowest[i-1], mean))
}

// cost prices the wait. An intensity at or below zero cannot be made cheaper
// by waiting longer.
func (c *curve) cost(start time.Time, mean float64) float64 {
	hours := start.Sub(c.outlook.now).Hours()
	return math.Max(mean, 0) * (1 + c.outlook.terms.WaitPrice*hours)
}

// cheapest returns the cheapest start at or before latest, the earliest of
// equals, its mean, and its index; -1 if it is latest itself.
func (c *curve) cheapest(latest time.Time) (time.Time, float64, int) {
	last := c.last(latest)
	i := c.best[last]
	if c.starts[last].Before(latest) {
		mean, ok := c.outlook.expect(latest, c.duration)
		if ok && c.cost(latest, mean) < c.cost(c.starts[i], c.mean[i]) {
			return latest, mean, -1
		}
	}
	return c.starts[i], c.mean[i], i
}

// firstBelow returns the first start at or before latest at which the mean is
// at or below the threshold, and that mean.
func (c *curve) firstBelow(threshold float64, latest time.Time) (time.Time, float64, bool) {
	last := c.last(latest)
	i := sort.Search(last+1, func(i int) bool { return c.lowest[i] <= threshold })
	switch i {
	case 0:
		return c.starts[0], c.mean[0], true
	case last + 1:
		return c.crossing(last, latest, threshold)
	default:
		return c.crossing(i-1, c.starts[i], threshold)
	}
}

// crossing returns where between starts[i] and end the mean, above the
// threshold at first and linear in between, comes down to it: in whole
// seconds, but not after end.
func (c *curve) crossing(i int, end time.Time, threshold float64) (time.Time, float64, bool) {
	endMean, ok := c.outlook.expect(end, c.duration)
	if !ok || endMean > threshold {
		return time.Time{}, 0, false
	}
	share := (c.mean[i] - threshold) / (c.mean[i] - endMean)
	at := c.starts[i].Add(time.Duration(share * float64(end.Sub(c.starts[i]))))
	at = fullSecond(at)
	mean, ok := c.outlook.expect(at, c.duration)
	if !ok || mean > threshold || at.After(end) {
		return end, endMean, true
	}
	return at, mean, true
}

// fullSecond rounds up: a start is written down in full seconds, and must not
// lie before the slot that it was chosen for.
func fullSecond(t time.Time) time.Time { return t.Add(time.Second - 1).Truncate(time.Second) }

// last returns the index of the last start at or before latest. The first
// start is now, and latest is never before it.
func (c *curve) last(latest time.Time) int {
	after := sort.Search(len(c.starts), func(i int) bool { return c.starts[i].After(latest) })
	return max(after-1, 0)
}
