// Package forecast knows how clean the electricity of a grid location is, and how clean it will be.
//
// Every intensity is in grams of CO2 equivalent per kilowatt-hour (gCO2eq/kWh). Every time is in
// UTC. Time is an argument: nothing here reads a clock.
//
//   - A [Slot] is an intensity over [Start, End). A [Series] has the slots of one location, in
//     order and without overlap. A series may have gaps. The intensity in a gap is unknown, and
//     nobody takes an unknown intensity for a clean one.
//   - [Parse] and [FromConfigMap] read a [Document]: what the carbon-intensity exporter publishes,
//     and the variants that other programs publish in its place. A bad element costs that element
//     only. A broken document is an error.
//   - [Believe] tells which values can be true. Zeros are not believed where the grid does not come
//     near zero, nor are numbers that stand for "no value", nor values beyond all bounds. Only
//     values that are believed get into a store or a model. A [Verdict] lists the rest.
//   - A [Store] keeps the last good forecasts of every [Source] in a [Snapshot]. The exporter
//     deletes and recreates its ConfigMap at each refresh, and the new forecast begins up to five
//     minutes from now. The store bridges both gaps. After the end of the newest forecast the
//     earlier ones go on while they are fresh.
//   - A [Model] predicts the intensity of one location from its forecasts and its actual
//     intensities. The model learns by how much, how far ahead and at which hours the forecasts
//     have been wrong, and what the days have in common. An old forecast counts for as much as
//     forecasts of that age have been worth. After two days the past alone is enough for a
//     prediction. The store keeps one model for each location and gives the model every forecast
//     that the store accepts. [Model.Save] and [Model.Restore] carry what the model has learned
//     from over a restart.
package forecast

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"sort"
	"time"
)

// MaxIntensity bounds the magnitude of an intensity, in gCO2eq/kWh. The dirtiest grids stay below
// 2,000, and marginal intensities may be negative. A value beyond the bound is an error of its
// writer.
const MaxIntensity = 1e6

// Slot is an intensity (gCO2eq/kWh) over [Start, End).
type Slot struct {
	Start, End time.Time
	Intensity  float64
}

// Series is what is known of one location: slots in order, without overlap, possibly with gaps. A
// series is immutable and safe for concurrent use. A nil or zero *Series is empty, and every method
// works on it.
//
// Instants have the resolution of a nanosecond, in the years 1970 to 2262.
type Series struct {
	steps []step
}

// A step is a slot with the running totals of all steps before it. The totals make a mean cost two
// look-ups.
type step struct {
	start, end int64 // Unix nanoseconds
	intensity  float64
	area       float64 // the sum of intensity × nanoseconds before start
	width      int64   // the nanoseconds that slots cover before start
}

// NewSeries makes a series of slots in any order. It copies the slots. Where slots overlap, the
// slot that starts later wins: a source that publishes one-hour windows every five minutes means
// each window until the next begins. Of slots that start together the one given first wins.
// NewSeries drops slots that are empty or reversed, and slots whose intensity is not a number or is
// beyond [MaxIntensity] either way. It takes O(n log n).
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

// areInOrder reports whether steps are in order and do not overlap.
func areInOrder(steps []step) bool {
	for i := 1; i < len(steps); i++ {
		if steps[i-1].end > steps[i].start {
			return false
		}
	}
	return true
}

// withTotals makes a series of ordered steps and fills in their running totals. The series keeps
// the slice.
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

// IsEmpty reports whether the series has no slot.
func (s *Series) IsEmpty() bool { return len(s.all()) == 0 }

// Start returns the start of the first slot, or the zero time if there is no slot.
func (s *Series) Start() time.Time {
	if s.IsEmpty() {
		return time.Time{}
	}
	return timeOf(s.steps[0].start)
}

// End returns the end of the last slot, or the zero time if there is no slot.
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

// Mean returns the time-weighted mean intensity over the part of [from, to) that slots cover, and
// the length of that part. Both are 0 if slots cover nothing. Within one slot the mean is exact.
// Otherwise the rounding error is as large as in a sum over the whole series: less than 1e-6
// gCO2eq/kWh for days of 5-minute slots. It takes O(log n).
func (s *Series) Mean(from, to time.Time) (mean float64, covered time.Duration) {
	lo, hi, steps := nanos(from), nanos(to), s.all()
	return meanOf(steps, s.firstEndingAfter(lo), sort.Search(len(steps), func(k int) bool { return steps[k].start >= hi })-1, lo, hi)
}

// meanOf returns the mean over [lo, hi). The window begins in steps[i] and ends in steps[j], or in
// the gaps beside them.
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

// Sweep computes the means of windows that move forward: no window may begin or end before the
// window of the call before. Each mean then takes next to no time. A sweep is not safe for
// concurrent use.
type Sweep struct {
	steps []step
	i     int // the first step that ends after the beginning of the last window
	j     int // the first step that begins at or after the end of the last window
}

// Sweep returns a sweep whose first window may begin anywhere.
func (s *Series) Sweep() *Sweep { return &Sweep{steps: s.all()} }

// SweepFrom returns a sweep whose windows begin at an instant, in Unix nanoseconds, or later. It takes
// O(log n), and the sweep does not look at what is before.
func (s *Series) SweepFrom(from int64) *Sweep {
	i := s.firstEndingAfter(from)
	return &Sweep{steps: s.all(), i: i, j: i}
}

// Mean returns [Series.Mean] of a window between two instants in Unix nanoseconds.
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

// Boundaries yields every start and end of a slot that lies strictly between from and to,
// ascending, each once.
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

// NextBoundary returns the first start or end of a slot strictly after t; ok is false if there is
// none. It takes O(log n).
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

// Splice returns newer, preceded by what s knows of [from, newer.Start()). If newer is empty,
// Splice returns s. The exporter's forecast starts up to five minutes after the exporter made it:
// splicing keeps the slot that covers now.
func (s *Series) Splice(newer *Series, from time.Time) *Series {
	if newer.IsEmpty() {
		return s
	}
	return withTotals(append(s.part(from, newer.Start()), newer.steps...))
}

// part returns a copy of the steps within [from, to), cut at both ends.
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

// WithoutGaps returns the series with a step in place of each gap between slots. The intensity of
// the step is the higher of its two neighbours, and floor at least: an unknown intensity is never
// taken for a clean one.
func (s *Series) WithoutGaps(floor float64) *Series {
	var bridged []step
	for i, next := range s.all() {
		if i > 0 && s.steps[i-1].end < next.start {
			if bridged == nil {
				bridged = slices.Clone(s.steps[:i])
			}
			before := s.steps[i-1]
			bridged = append(bridged, step{start: before.end, end: next.start, intensity: max(before.intensity, next.intensity, floor)})
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

// all returns the steps, also for a nil series.
func (s *Series) all() []step {
	if s == nil {
		return nil
	}
	return s.steps
}

// firstEndingAfter returns the index of the first step that ends after n, or the number of steps if
// there is none.
func (s *Series) firstEndingAfter(n int64) int {
	steps := s.all()
	return sort.Search(len(steps), func(i int) bool { return steps[i].end > n })
}

// nanos returns t in Unix nanoseconds. An instant too far away becomes the nearest that fits.
func nanos(t time.Time) int64 { return int64(t.Sub(time.Unix(0, 0))) }

func timeOf(n int64) time.Time { return time.Unix(0, n).UTC() }
