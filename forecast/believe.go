package forecast

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"time"
)

// What is not known is not clean. A provider that fails publishes zeros, one that knows no value a number that stands for
// none, and one that knows nothing beyond an hour fills up the day. Such values look cleaner than all others. Whether they
// can be true is told by what the grid has been like.
const (
	// zeroShare is up to which share of a grid's usual intensity a value is taken for a zero. What is in kilograms is below.
	zeroShare = 0.01
	// nearShare and nearLeast are up to where an intensity is near zero: as a share of the usual one, or in gCO2eq/kWh if
	// that is more.
	nearZeroShare, nearZeroFloor = 0.1, 10
	// highest and highestShare are up to where an intensity can be true: all that is known stays below, in gCO2eq/kWh, or,
	// should the values have another unit, this many times the usual one.
	maxPlausible, maxPlausibleShare = 4000, 5
	// nearby is by how many hours of the day the zeros of one day may be off those of another.
	nearbyHours = 2
	// zerosLong is how long zeros may last where other days were near zero at that time, if they never were for longer;
	// zerosBeside is how long if it is only known that a value next to them is near zero.
	maxZerosByHour, maxZerosBesideValue = 6 * time.Hour, 12 * time.Hour
)

// Verdict is what is believed of an issue.
type Verdict struct {
	// Believed is what is taken to be true; it is empty if that is nothing.
	Believed *Series
	// Slots counts the slots of the issue, Doubted those of them that are not believed, and so not known.
	Slots, Doubted int
	// Doubt says which those are, and why; "" if all are believed.
	Doubt string
}

// Believe judges a series by itself, such as the whole past of a grid; [Model.Receive] judges an issue by what the model
// knows, too.
//
//   - A value of exactly -1, -99, -999 or -9999 stands for none, unless others are below zero by half as much, and no
//     other is as frequent.
//   - A value that is far beyond the usual ones is an error.
//   - Zeros, or what is a hundredth of the usual at most, are true only beside other values, for hours, and in a grid that
//     comes near zero: at these hours of another day, or right before or after.
func Believe(s *Series) Verdict {
	m := newGridProfile(s.all(), nil)
	for _, step := range s.all() {
		if m.isPlausible(step.intensity) && !m.isZero(step.intensity) {
			m.noteHours(step)
		}
	}
	return m.judge(s, nil)
}

// judge is [Believe] for an issue: by the past, too, and by what was expected before.
func (p *past) judge(offered, before *Series) Verdict {
	closed := p.closedUntil()
	past := p.actual.span(closed-month, closed+1)
	low, high := p.credible(closed)
	if isBeyondDoubt(offered.all(), past.values, low, high) {
		return Verdict{Believed: offered, Slots: len(offered.all())}
	}
	m := newGridProfile(offered.all(), past.values)
	if low > -MaxIntensity {
		m.low, m.high = low, min(high, m.high)
	}
	for _, step := range before.all() {
		m.noteHours(step)
	}
	m.notePast(&past)
	return m.judge(offered, before)
}

// harmless reports, at little cost, that there is nothing to doubt: all values are far above zero, and usual.
func isBeyondDoubt(offered []step, past []float64, low, high float64) bool {
	least, most := math.Inf(1), 0.0
	for _, step := range offered {
		least, most = min(least, step.intensity), max(most, step.intensity)
	}
	usually := most
	for _, v := range past {
		if v > usually {
			usually = v
		}
	}
	return least > zeroShare*usually && least >= low && most <= min(high, outlierSpreads*typicalIntensity)
}

// A measure is what a grid is like: what its values are held against.
type gridProfile struct {
	scale             float64         // three of four values are below it
	low, high         float64         // a value beyond them is an error
	usualRange        string          // the range of the values, for a sentence; "" if there is none
	lowestValue       float64         // the least value that does not stand for none
	belowZeroCounts   map[float64]int // how often a value below zero is in the issue
	maxBelowZeroCount int             // the most of these, of those that do not stand for none
	nearZeroHours     [day]bool       // at which hours of the day it is near zero
	longestNearZero   time.Duration   // for which it was near zero
}

// newMeasure takes the values of an issue, and of the past by the hour. The issue tells what is usual if the past is less
// than a day.
func newGridProfile(offered []step, past []float64) *gridProfile {
	m := &gridProfile{belowZeroCounts: map[float64]int{}}
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
		m.scale = max(values[n*3/4], 0)
		m.usualRange = formatIntensity(values[n/20]) + " to " + formatIntensity(values[n-1-n/20])
	}
	m.low, m.high = -outlierSpreads*max(m.scale, typicalIntensity), max(maxPlausible, maxPlausibleShare*m.scale)
	m.countBelowZero(offered, values)
	return m
}

// count takes note of values below zero.
func (m *gridProfile) countBelowZero(offered []step, values []float64) {
	for _, step := range offered {
		if v := step.intensity; v < 0 && v >= m.low {
			m.belowZeroCounts[v]++
			values = append(values, v)
		}
	}
	for _, v := range values {
		if !isPlaceholder(v) {
			m.lowestValue, m.maxBelowZeroCount = min(m.lowestValue, v), max(m.maxBelowZeroCount, m.belowZeroCounts[v])
		}
	}
}

// placeholder reports whether a value is written where there is none.
func isPlaceholder(v float64) bool { return v == -1 || v == -99 || v == -999 || v == -9999 }

// likely reports whether a value by itself can be true.
func (m *gridProfile) isPlausible(v float64) bool {
	if isPlaceholder(v) && (m.lowestValue > v/2 || m.belowZeroCounts[v] > max(1, m.maxBelowZeroCount)) {
		return false
	}
	return v >= m.low && v <= m.high
}

// isZero reports whether a value is zero, next to what is usual.
func (m *gridProfile) isZero(v float64) bool { return math.Abs(v) <= zeroShare*m.scale }

// isNear reports whether a value is near zero, or below.
func (m *gridProfile) isNearZero(v float64) bool {
	return v <= max(nearZeroFloor, nearZeroShare*m.scale)
}

// note takes note of the hours of the day at which a value is near zero.
func (m *gridProfile) noteHours(s step) {
	if !m.isNearZero(s.intensity) {
		return
	}
	first := hourOf(timeOf(s.start))
	for h := first; h < first+day && startOf(h).Before(timeOf(s.end)); h++ {
		m.nearZeroHours[h.ofDay()] = true
	}
}

// noteDays takes note of the past.
func (m *gridProfile) notePast(past *record) {
	row := 0
	for i, v := range past.values {
		if !m.isNearZero(v) { // or it is not known
			row = 0
			continue
		}
		row++
		m.nearZeroHours[past.first.plus(i).ofDay()] = true
		m.longestNearZero = max(m.longestNearZero, time.Duration(row)*time.Hour)
	}
}

// judge says what is believed of an issue.
func (m *gridProfile) judge(offered, before *Series) Verdict {
	steps := offered.all()
	doubted := make([]bool, len(steps))
	valued := false
	for i, step := range steps {
		doubted[i] = !m.isPlausible(step.intensity)
		valued = valued || !doubted[i] && !m.isZero(step.intensity)
	}
	for from, to := range m.zeros(steps, doubted) {
		if !valued || !m.canBeZero(steps, from, to, before) {
			for i := from; i < to; i++ {
				doubted[i] = true
			}
		}
	}
	return m.verdict(steps, doubted)
}

// zeros yields where zeros begin and end, with what is doubted among them.
func (m *gridProfile) zeros(steps []step, doubted []bool) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		from := -1
		for i, step := range steps {
			zero := m.isZero(step.intensity)
			switch {
			case from < 0 && zero && !doubted[i]:
				from = i
			case from >= 0 && !zero && !doubted[i]:
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

// comesToZero reports whether the zeros among steps[from:to] can be true.
func (m *gridProfile) canBeZero(steps []step, from, to int, before *Series) bool {
	first, last := timeOf(steps[from].start), timeOf(steps[to-1].end)
	lasts := last.Sub(first)
	left, beside := before.At(first.Add(-1))
	if from > 0 {
		left, beside = steps[from-1].intensity, m.isPlausible(steps[from-1].intensity)
	}
	if lasts <= maxZerosBesideValue && (beside && m.isNearZero(left) || to < len(steps) && m.isNearZero(steps[to].intensity)) {
		return true
	}
	if lasts > max(maxZerosByHour, m.longestNearZero+nearbyHours*time.Hour) {
		return false
	}
	for h := hourOf(first); startOf(h).Before(last); h++ {
		if !m.isNearZeroAt(h) {
			return false
		}
	}
	return true
}

// nearAt reports whether other days were near zero at about the same time of the day.
func (m *gridProfile) isNearZeroAt(h hour) bool {
	for off := hour(-nearbyHours); off <= nearbyHours; off++ {
		if m.nearZeroHours[(h + off + day).ofDay()] {
			return true
		}
	}
	return false
}

// verdict leaves out what is doubted.
func (m *gridProfile) verdict(steps []step, doubted []bool) Verdict {
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
		v.Doubt = m.doubt(steps, doubted, v.Doubted)
	}
	return v
}

// doubt says what is not believed, by the first such values in a row.
func (m *gridProfile) doubt(steps []step, doubted []bool, all int) string {
	from := slices.Index(doubted, true)
	kind, to := m.isZero(steps[from].intensity), from
	least, most := math.Inf(1), math.Inf(-1)
	for ; to < len(steps) && doubted[to] && m.isZero(steps[to].intensity) == kind; to++ {
		least, most = min(least, steps[to].intensity), max(most, steps[to].intensity)
	}
	what := formatIntensity(least)
	if most > least {
		what += " to " + formatIntensity(most)
	}
	usually := ""
	if m.usualRange != "" {
		usually = ", where " + m.usualRange + " is usual"
	}
	return fmt.Sprintf("%d of %d values are not believed, and count as not known: %s from %s to %s%s", all, len(steps), what,
		timeOf(steps[from].start).Format(time.RFC3339), timeOf(steps[to-1].end).Format(time.RFC3339), usually)
}

// grams prints an intensity for a sentence.
func formatIntensity(v float64) string { return fmt.Sprintf("%.4g", v) }
