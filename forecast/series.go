// Package forecast knows how clean the electricity of a grid location is, and will be.
//
// The unit of intensity is everywhere the gram of CO2 equivalent per kilowatt-hour (gCO2eq/kWh); time is UTC, and an
// argument: nothing here reads a clock.
//
//   - A [Slot] is an intensity over [Start, End), a [Series] the slots of one location, in order and without overlap.
//     A series may have gaps: what is not known is said to be unknown, and taken to be clean by nobody.
//   - [Parse] and [FromConfigMap] read what the carbon-intensity exporter publishes, and what is seen in the wild in
//     its place. One bad element costs that element; a broken document is an error and yields nothing.
//   - What cannot be true is not believed: zeros where the grid does not come near zero, numbers that stand for no value,
//     values beyond all bounds. [Believe] tells the rules. They hold for whoever plans, since only what is believed gets
//     into a store or a model; a [Verdict] says what that is not.
//   - A [Store] holds the last good forecasts of every source. The exporter deletes and recreates its ConfigMap at
//     refresh, and the new forecast begins up to five minutes from now: the store bridges both gaps. After the end of
//     the newest issue, the ones before go on while they are fresh.
//   - A [Model] predicts one location from the issues of its forecast and the actual intensities it is told of: it learns
//     by how much, how far ahead and at which hours the forecast has been wrong, and what the days have in common. An
//     old forecast counts for what such old ones have been worth, and after two days the past alone will do. The store
//     keeps a model for each location, and tells it of every issue it accepts; [Model.Save] and [Model.Restore] carry
//     what it was told over a restart.
package forecast

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"sort"
	"time"
)

// MaxIntensity bounds the magnitude of an intensity, in gCO2eq/kWh. The dirtiest grids stay below 2,000 (marginal
// intensities may be negative), so what is beyond is an error of the writer.
const MaxIntensity = 1e6

// Slot is an intensity (gCO2eq/kWh) over [Start, End).
type Slot struct {
	Start, End time.Time
	Intensity  float64
}

// Series is what is known of one location: slots in order, without overlap, possibly with gaps. It is immutable and
// safe for concurrent use. A nil or zero *Series is empty, and every method works on it.
//
// Instants have the resolution of a nanosecond, in the years 1970 to 2262.
type Series struct {
	steps []step
}

// A step is a slot together with the running totals of all steps before it, which make a mean two look-ups.
type step struct {
	start, end int64 // Unix nanoseconds
	intensity  float64
	area       float64 // intensity × nanoseconds before start
	width      int64   // nanoseconds covered before start
}

// NewSeries copies slots, in any order, into a series. Where slots overlap, the one that starts later wins, and of those
// that start together the one given first: the slots of a rolling window, of an hour every five minutes, are over when
// the next begins. Slots that are empty, reversed
// or of an intensity that is no number, or beyond [MaxIntensity] either way, are dropped. It takes O(n log n).
func NewSeries(slots []Slot) *Series {
	given := make([]step, 0, len(slots))
	for _, slot := range slots {
		s := step{start: max(0, nanos(slot.Start)), end: nanos(slot.End), intensity: slot.Intensity}
		if s.start < s.end && math.Abs(s.intensity) <= MaxIntensity {
			given = append(given, s)
		}
	}
	if areInOrder(given) {
		return withTotals(given)
	}
	slices.SortStableFunc(given, func(a, b step) int { return cmp.Compare(b.start, a.start) })
	return withTotals(flatten(given))
}

// inOrder reports whether steps are in order, and do not overlap.
func areInOrder(steps []step) bool {
	for i := 1; i < len(steps); i++ {
		if steps[i-1].end > steps[i].start {
			return false
		}
	}
	return true
}

// total makes a series of ordered steps, which it keeps, and fills in their running totals.
func withTotals(steps []step) *Series {
	if len(steps) > 0 {
		steps[0].width, steps[0].area = 0, 0
	}
	for i := 1; i < len(steps); i++ {
		before := steps[i-1]
		steps[i].width = before.width + before.end - before.start
		steps[i].area = before.area + before.intensity*float64(before.end-before.start)
	}
	return &Series{steps}
}

// Empty reports whether the series has no slot.
func (s *Series) IsEmpty() bool { return len(s.all()) == 0 }

// Start is the start of the first slot; the zero time if there is none.
func (s *Series) Start() time.Time {
	if s.IsEmpty() {
		return time.Time{}
	}
	return timeOf(s.steps[0].start)
}

// End is the end of the last slot; the zero time if there is none.
func (s *Series) End() time.Time {
	if s.IsEmpty() {
		return time.Time{}
	}
	return timeOf(s.steps[len(s.steps)-1].end)
}

// At returns the intensity at t; ok is false in gaps and outside the series. It takes O(log n).
func (s *Series) At(t time.Time) (intensity float64, ok bool) {
	n := nanos(t)
	i := s.firstEndingAfter(n)
	if i == len(s.all()) || s.steps[i].start > n {
		return 0, false
	}
	return s.steps[i].intensity, true
}

// Mean returns the time-weighted mean intensity over the part of [from, to) that slots cover, and how long that part
// is. Where nothing is covered both are 0. Within one slot the mean is exact; otherwise it is rounded as a sum over
// the whole series is, which for days of 5-minute slots is less than 1e-6 gCO2eq/kWh. It takes O(log n).
func (s *Series) Mean(from, to time.Time) (mean float64, covered time.Duration) {
	lo, hi, steps := nanos(from), nanos(to), s.all()
	return meanOf(steps, s.firstEndingAfter(lo), sort.Search(len(steps), func(k int) bool { return steps[k].start >= hi })-1, lo, hi)
}

// meanOf is the mean over [lo, hi), of which steps[i] has the beginning and steps[j] the end.
func meanOf(steps []step, i, j int, lo, hi int64) (mean float64, covered time.Duration) {
	if i > j || lo >= hi {
		return 0, 0
	}
	first, last := steps[i], steps[j]
	if i == j {
		return first.intensity, time.Duration(min(last.end, hi) - max(first.start, lo))
	}
	head, tail := first.end-max(first.start, lo), min(last.end, hi)-last.start
	width := head + tail + last.width - steps[i+1].width
	area := first.intensity*float64(head) + last.intensity*float64(tail) + last.area - steps[i+1].area
	return area / float64(width), time.Duration(width)
}

// A Sweep computes what [Series.Mean] does, of windows of which none begins or ends before the one that was asked for
// before: each mean takes next to no time then. It is not safe for concurrent use.
type Sweep struct {
	steps []step
	i     int // the first step that ends after the last window's beginning
	j     int // the first step that begins at or after its end
}

// Sweep returns one that begins anywhere.
func (s *Series) Sweep() *Sweep { return &Sweep{steps: s.all()} }

// Mean is [Series.Mean] of the window between two instants in Unix nanoseconds.
func (w *Sweep) Mean(from, to int64) (float64, time.Duration) {
	for w.i < len(w.steps) && w.steps[w.i].end <= from {
		w.i++
	}
	for w.j < len(w.steps) && w.steps[w.j].start < to {
		w.j++
	}
	return meanOf(w.steps, w.i, w.j-1, from, to)
}

// Slots returns a copy of the slots, in order, in UTC.
func (s *Series) Slots() []Slot {
	slots := make([]Slot, len(s.all()))
	for i, step := range s.all() {
		slots[i] = Slot{Start: timeOf(step.start), End: timeOf(step.end), Intensity: step.intensity}
	}
	return slots
}

// Boundaries yields every start and end of a slot that lies strictly between from and to, ascending, each once.
func (s *Series) Boundaries(from, to time.Time) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		last, limit := nanos(from), nanos(to)
		for _, step := range s.all()[s.firstEndingAfter(last):] {
			for _, b := range [2]int64{step.start, step.end} {
				if b >= limit || b > last && !yield(timeOf(b)) {
					return
				}
				last = max(last, b)
			}
		}
	}
}

// NextBoundary returns the first start or end of a slot strictly after t, if there is one. It takes O(log n).
func (s *Series) NextBoundary(t time.Time) (time.Time, bool) {
	n := nanos(t)
	i := s.firstEndingAfter(n)
	if i == len(s.all()) {
		return time.Time{}, false
	}
	if s.steps[i].start > n {
		return timeOf(s.steps[i].start), true
	}
	return timeOf(s.steps[i].end), true
}

// Splice returns newer, preceded by what s knows of [from, newer.Start()). The exporter's forecast starts up to five
// minutes after it was issued; splicing keeps the slot that is running. If newer is empty, the answer is s.
func (s *Series) Splice(newer *Series, from time.Time) *Series {
	if newer.IsEmpty() {
		return s
	}
	return withTotals(append(s.part(from, newer.Start()), newer.steps...))
}

// part returns a copy of the steps of [from, to).
func (s *Series) part(from, to time.Time) []step {
	var part []step
	for _, cut := range s.all() {
		cut.start, cut.end = max(cut.start, nanos(from)), min(cut.end, nanos(to))
		if cut.start < cut.end {
			part = append(part, cut)
		}
	}
	return part
}

// Bridged returns the series without gaps between slots: what is not known there counts as the higher of its neighbours,
// and as no less than least. So what is not known is never clean.
func (s *Series) WithoutGaps(least float64) *Series {
	var bridged []step
	for i, next := range s.all() {
		if i > 0 && s.steps[i-1].end < next.start {
			if bridged == nil {
				bridged = slices.Clone(s.steps[:i])
			}
			before := s.steps[i-1]
			bridged = append(bridged, step{start: before.end, end: next.start, intensity: max(before.intensity, next.intensity, least)})
		}
		if bridged != nil {
			bridged = append(bridged, next)
		}
	}
	if bridged == nil {
		return s
	}
	return withTotals(bridged)
}

// all returns the steps, also those of a nil series.
func (s *Series) all() []step {
	if s == nil {
		return nil
	}
	return s.steps
}

// after returns the index of the first step that ends after n, or the number of steps.
func (s *Series) firstEndingAfter(n int64) int {
	steps := s.all()
	return sort.Search(len(steps), func(i int) bool { return steps[i].end > n })
}

// nanos returns t in Unix nanoseconds; instants too far away become the nearest that fits.
func nanos(t time.Time) int64 { return int64(t.Sub(time.Unix(0, 0))) }

func timeOf(n int64) time.Time { return time.Unix(0, n).UTC() }
