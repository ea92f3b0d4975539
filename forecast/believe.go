package forecast

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"time"
)

// An unknown intensity is not a clean one. A provider that fails may publish zeros, a provider
// without a value may publish a number that stands for none, and a provider that knows one hour
// only may fill the day with zeros. Such values look cleaner than all others. What the grid has
// been like tells whether they can be true.
const (
	// zeroShare is the share of a grid's usual intensity up to which a value counts as zero. Values
	// in kilograms are below it.
	zeroShare = 0.01
	// An intensity is near zero up to nearZeroShare of the usual one, or up to nearZeroFloor in
	// gCO2eq/kWh if that is more.
	nearZeroShare, nearZeroFloor = 0.1, 10
	// An intensity can be true up to maxPlausible, in gCO2eq/kWh. All known grids stay below.
	// Values in another unit can be true up to maxPlausibleShare times the usual one.
	maxPlausible, maxPlausibleShare = 4000, 5
	// nearbyHours is by how many hours the zeros of two days may differ in the hour of the day.
	nearbyHours = 2
	// maxZerosByHour is how long zeros may last if the grid was near zero at these hours on other
	// days, unless it was near zero for longer before. maxZerosBesideValue is how long they may
	// last if only a value beside them is near zero.
	maxZerosByHour, maxZerosBesideValue = 6 * time.Hour, 12 * time.Hour
)

// Verdict says what is believed of a forecast.
type Verdict struct {
	// Believed has the slots that are believed. It is empty if there are none.
	Believed *Series
	// Slots counts the slots of the forecast, Doubted those that are not believed. Their intensity
	// is unknown.
	Slots, Doubted int
	// Doubt says which slots are not believed, and why; "" if all are believed.
	Doubt string
}

// Believe judges a series by itself, such as the whole past of a grid. [Model.Receive] judges a
// forecast by what the model knows, too.
//
//   - A value of exactly -1, -99, -999 or -9999 stands for no value. It is believed only if other
//     values are at least half as far below zero, and if it occurs once, or no more often than the
//     most frequent of them.
//   - A value far beyond the usual ones is an error.
//   - Zeros, and values up to a hundredth of the usual one, are true only beside other values, for
//     some hours, and in a grid that comes near zero: at these hours of another day, or right
//     before or after.
func Believe(s *Series) Verdict {
	g := newGridProfile(s.all(), nil)
	for _, step := range s.all() {
		if g.isPlausible(step.intensity) && !g.isZero(step.intensity) {
			g.noteHours(step)
		}
	}
	return g.judge(s, nil)
}

// judge does what [Believe] does for a forecast, by the past and by what was expected before, too.
func (p *past) judge(offered, before *Series) Verdict {
	closed := p.closedUntil()
	past := p.actual.span(closed-month, closed+1)
	low, high := p.credible(closed)
	if isBeyondDoubt(offered.all(), past.values, low, high) {
		return Verdict{Believed: offered, Slots: len(offered.all())}
	}
	g := newGridProfile(offered.all(), past.values)
	if low > -MaxIntensity {
		g.low, g.high = low, min(high, g.high)
	}
	for _, step := range before.all() {
		g.noteHours(step)
	}
	g.notePast(&past)
	return g.judge(offered, before)
}

// isBeyondDoubt reports, at little cost, that there is nothing to doubt: all values are far above
// zero and usual.
func isBeyondDoubt(offered []step, past []float64, low, high float64) bool {
	lowest, highest := math.Inf(1), 0.0
	for _, step := range offered {
		lowest, highest = min(lowest, step.intensity), max(highest, step.intensity)
	}
	usual := highest
	for _, v := range past {
		if v > usual {
			usual = v
		}
	}
	return lowest > zeroShare*usual && lowest >= low && highest <= min(high, outlierSpreads*typicalIntensity)
}

// A gridProfile is what a grid is like. Its values are compared with the profile.
type gridProfile struct {
	scale             float64         // three of four values are below it
	low, high         float64         // a value beyond them is an error
	usualRange        string          // the range of the values, for a sentence; "" if there is none
	lowestValue       float64         // the lowest value that does not stand for no value
	belowZeroCounts   map[float64]int // how often each value below zero is offered
	maxBelowZeroCount int             // the highest of these counts, placeholders aside
	nearZeroHours     [day]bool       // the hours of the day at which the grid is near zero
	longestNearZero   time.Duration   // the longest time for which the grid was near zero
}

// newGridProfile takes the values of a forecast, and the hourly values of the past. The forecast
// tells what is usual if there is less than a day of the past.
func newGridProfile(offered []step, past []float64) *gridProfile {
	g := &gridProfile{belowZeroCounts: map[float64]int{}}
	values := make([]float64, 0, len(past)+len(offered))
	for _, v := range past {
		if !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	if len(values) < day {
		for _, step := range offered {
			if step.intensity > 0 {
				values = append(values, step.intensity)
			}
		}
	}
	slices.Sort(values)
	if n := len(values); n > 0 {
		g.scale = max(values[n*3/4], 0)
		g.usualRange = formatIntensity(values[n/20]) + " to " + formatIntensity(values[n-1-n/20])
	}
	g.low, g.high = -outlierSpreads*max(g.scale, typicalIntensity), max(maxPlausible, maxPlausibleShare*g.scale)
	g.countBelowZero(offered, values)
	return g
}

// countBelowZero takes note of values below zero.
func (g *gridProfile) countBelowZero(offered []step, values []float64) {
	for _, step := range offered {
		if v := step.intensity; v < 0 && v >= g.low {
			g.belowZeroCounts[v]++
			values = append(values, v)
		}
	}
	for _, v := range values {
		if !isPlaceholder(v) {
			g.lowestValue, g.maxBelowZeroCount = min(g.lowestValue, v), max(g.maxBelowZeroCount, g.belowZeroCounts[v])
		}
	}
}

// isPlaceholder reports whether providers write a value where they have none.
func isPlaceholder(v float64) bool { return v == -1 || v == -99 || v == -999 || v == -9999 }

// isPlausible reports whether a value by itself can be true.
func (g *gridProfile) isPlausible(v float64) bool {
	if isPlaceholder(v) && (g.lowestValue > v/2 || g.belowZeroCounts[v] > max(1, g.maxBelowZeroCount)) {
		return false
	}
	return v >= g.low && v <= g.high
}

// isZero reports whether a value is zero, compared with what is usual.
func (g *gridProfile) isZero(v float64) bool { return math.Abs(v) <= zeroShare*g.scale }

// isNearZero reports whether a value is near zero, or below.
func (g *gridProfile) isNearZero(v float64) bool {
	return v <= max(nearZeroFloor, nearZeroShare*g.scale)
}

// noteHours takes note of the hours of the day at which a step is near zero.
func (g *gridProfile) noteHours(s step) {
	if !g.isNearZero(s.intensity) {
		return
	}
	first := hourOf(timeOf(s.start))
	for h := first; h < first+day && startOf(h).Before(timeOf(s.end)); h++ {
		g.nearZeroHours[h.ofDay()] = true
	}
}

// notePast takes note of the past.
func (g *gridProfile) notePast(past *record) {
	hoursInRow := 0
	for i, v := range past.values {
		if !g.isNearZero(v) { // or it is unknown
			hoursInRow = 0
			continue
		}
		hoursInRow++
		g.nearZeroHours[past.first.plus(i).ofDay()] = true
		g.longestNearZero = max(g.longestNearZero, time.Duration(hoursInRow)*time.Hour)
	}
}

// judge returns the verdict on a forecast.
func (g *gridProfile) judge(offered, before *Series) Verdict {
	steps := offered.all()
	doubted := make([]bool, len(steps))
	hasOther := false
	for i, step := range steps {
		doubted[i] = !g.isPlausible(step.intensity)
		hasOther = hasOther || !doubted[i] && !g.isZero(step.intensity)
	}
	for from, to := range g.zeros(steps, doubted) {
		if !hasOther || !g.canBeZero(steps, from, to, before) {
			for i := from; i < to; i++ {
				doubted[i] = true
			}
		}
	}
	return g.verdict(steps, doubted)
}

// zeros yields where stretches of zeros begin and end. Doubted values within a stretch belong to
// it.
func (g *gridProfile) zeros(steps []step, doubted []bool) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		from := -1
		for i, step := range steps {
			isZero := g.isZero(step.intensity)
			switch {
			case from < 0 && isZero && !doubted[i]:
				from = i
			case from >= 0 && !isZero && !doubted[i]:
				if !yield(from, i) {
					return
				}
				from = -1
			}
		}
		if from >= 0 {
			yield(from, len(steps))
		}
	}
}

// canBeZero reports whether the zeros among steps[from:to] can be true.
func (g *gridProfile) canBeZero(steps []step, from, to int, before *Series) bool {
	first, last := timeOf(steps[from].start), timeOf(steps[to-1].end)
	length := last.Sub(first)
	left, beside := before.At(first.Add(-1))
	if from > 0 {
		left, beside = steps[from-1].intensity, g.isPlausible(steps[from-1].intensity)
	}
	if length <= maxZerosBesideValue && (beside && g.isNearZero(left) || to < len(steps) && g.isNearZero(steps[to].intensity)) {
		return true
	}
	if length > max(maxZerosByHour, g.longestNearZero+nearbyHours*time.Hour) {
		return false
	}
	for h := hourOf(first); startOf(h).Before(last); h++ {
		if !g.isNearZeroAt(h) {
			return false
		}
	}
	return true
}

// isNearZeroAt reports whether other days were near zero at about the same hour of the day.
func (g *gridProfile) isNearZeroAt(h hour) bool {
	for off := hour(-nearbyHours); off <= nearbyHours; off++ {
		if g.nearZeroHours[(h + off + day).ofDay()] {
			return true
		}
	}
	return false
}

// verdict leaves out the doubted steps.
func (g *gridProfile) verdict(steps []step, doubted []bool) Verdict {
	v := Verdict{Slots: len(steps)}
	var believed []step
	for i, step := range steps {
		if doubted[i] {
			v.Doubted++
		} else {
			believed = append(believed, step)
		}
	}
	v.Believed = withTotals(believed)
	if v.Doubted > 0 {
		v.Doubt = g.doubt(steps, doubted, v.Doubted)
	}
	return v
}

// doubt describes the doubted values by the first row of them.
func (g *gridProfile) doubt(steps []step, doubted []bool, all int) string {
	from := slices.Index(doubted, true)
	areZeros, to := g.isZero(steps[from].intensity), from
	lowest, highest := math.Inf(1), math.Inf(-1)
	for ; to < len(steps) && doubted[to] && g.isZero(steps[to].intensity) == areZeros; to++ {
		lowest, highest = min(lowest, steps[to].intensity), max(highest, steps[to].intensity)
	}
	what := formatIntensity(lowest)
	if highest > lowest {
		what += " to " + formatIntensity(highest)
	}
	usual := ""
	if g.usualRange != "" {
		usual = ", where " + g.usualRange + " is usual"
	}
	return fmt.Sprintf("%d of %d values are not believed, and count as not known: %s from %s to %s%s", all, len(steps), what,
		timeOf(steps[from].start).Format(time.RFC3339), timeOf(steps[to-1].end).Format(time.RFC3339), usual)
}

// formatIntensity prints an intensity for a sentence.
func formatIntensity(v float64) string { return fmt.Sprintf("%.4g", v) }
