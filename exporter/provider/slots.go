package provider

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

const (
	// maxSlotWidth is the longest slot. A longer distance between two points is a gap.
	maxSlotWidth = 24 * time.Hour
	// minRun is how many equal distances in a row are the width of slots. Fewer may be gaps.
	minRun = 3
	// minuteLayout is how some servers read instants, and some write them. It is not RFC 3339.
	minuteLayout = "2006-01-02T15:04Z"
	// judgedSpan is how much of the past is fetched at least. Zeros in one hour can be true or not:
	// the days around it tell (see [forecast.Believe]).
	judgedSpan = 48 * time.Hour
	// maxPast bounds the past of one call, and so its requests and its memory.
	maxPast = 366 * 24 * time.Hour
)

func trimMark(body []byte) []byte { return bytes.TrimPrefix(body, []byte("\ufeff")) }

// slotsOf returns slots of a known width.
func slotsOf(points []point, width time.Duration) []forecast.Slot {
	slots := make([]forecast.Slot, 0, len(points))
	for _, p := range sorted(points) {
		slots = append(slots, forecast.Slot{Start: p.at, End: p.at.Add(width), Intensity: p.value})
	}
	return slots
}

// inferSlots returns slots whose width the distances of the points tell. The width may change on the
// way: a distance that comes three times in a row is a width, another one may be a gap. Then the
// slot is as short as those beside it. usual is the width of a slot where no distance tells; 0 if
// there is no usual one, and such a slot is left out.
func inferSlots(points []point, usual time.Duration) []forecast.Slot {
	points = sorted(points)
	if len(points) == 0 {
		return nil
	}
	widths := widthsOf(distances(points), usual)
	slots := make([]forecast.Slot, 0, len(points))
	for i, p := range points {
		slots = append(slots, forecast.Slot{Start: p.at, End: p.at.Add(widths[i]), Intensity: p.value})
	}
	return slots
}

// sorted returns the points in order. Of points at the same instant the first known one stays.
func sorted(points []point) []point {
	points = slices.Clone(points)
	slices.SortStableFunc(points, func(a, b point) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(unknownRank(a), unknownRank(b)))
	})
	return slices.CompactFunc(points, func(a, b point) bool { return a.at.Equal(b.at) })
}

func unknownRank(p point) int {
	if math.IsNaN(p.value) {
		return 1
	}
	return 0
}

func distances(points []point) []time.Duration {
	between := make([]time.Duration, 0, len(points))
	for i := 1; i < len(points); i++ {
		between = append(between, points[i].at.Sub(points[i-1].at))
	}
	return between
}

// widthsOf returns the width of each slot, one more than there are distances.
func widthsOf(between []time.Duration, usual time.Duration) []time.Duration {
	if usual == 0 && len(between) > 0 {
		usual = min(slices.Min(between), maxSlotWidth)
	}
	sure := runs(between)
	widths := make([]time.Duration, len(between)+1)
	before := usual
	for i := range widths { // what the widths before tell
		if i < len(sure) && sure[i] > 0 {
			before = sure[i]
		}
		widths[i] = before
	}
	after := widths[len(between)]
	for i := len(between) - 1; i >= 0; i-- { // and the widths after; a slot ends where the next begins
		if sure[i] > 0 {
			after = sure[i]
		}
		widths[i] = min(widths[i], after, between[i])
	}
	return widths
}

// runs returns the distances that come often enough in a row to be widths, and 0 for the others.
func runs(between []time.Duration) []time.Duration {
	sure := make([]time.Duration, len(between))
	for from := 0; from < len(between); {
		to := from
		for to < len(between) && between[to] == between[from] {
			to++
		}
		if to-from >= minRun && between[from] <= maxSlotWidth {
			copy(sure[from:to], between[from:to])
		}
		from = to
	}
	return sure
}

// A span is the part of the past that a caller wants.
type span struct{ from, to time.Time }

// pastSpan returns what there can be of a past: no end after now, and no more than maxPast.
func pastSpan(from, to, now time.Time) span {
	if to.After(now) {
		to = now
	}
	if limit := to.Add(-maxPast); from.Before(limit) {
		from = limit
	}
	return span{from.UTC(), to.UTC()}
}

func (s span) isEmpty() bool { return !s.from.Before(s.to) }

// judged returns the span to fetch, so that the values of the span can be judged.
func (s span) judged() span {
	if early := s.to.Add(-judgedSpan); early.Before(s.from) {
		return span{early, s.to}
	}
	return s
}

// cut returns what a series has of the span.
func (s span) cut(series *forecast.Series) *forecast.Series {
	slots := make([]forecast.Slot, 0, len(series.Slots()))
	for _, slot := range series.Slots() {
		if slot.Start.Before(s.from) {
			slot.Start = s.from
		}
		if slot.End.After(s.to) {
			slot.End = s.to
		}
		slots = append(slots, slot) // NewSeries drops those that are reversed now
	}
	return forecast.NewSeries(slots)
}

// inPages fetches a span page by page, the newest page first. A page without data is a gap. An error
// of the first page is an error. After an error of a further page the tally has the newer pages, and
// is incomplete.
func (s span) inPages(ctx context.Context, width time.Duration, fetch func(context.Context, span) (tally, error)) (tally, error) {
	all := tally{from: s.to}
	for all.from.After(s.from) {
		page := span{all.from.Add(-width), all.from}
		if page.from.Before(s.from) {
			page.from = s.from
		}
		t, err := fetch(ctx, page)
		switch {
		case errors.Is(err, ErrNoData):
			t = tally{}
		case err != nil && page.to.Equal(s.to):
			return tally{}, err
		case err != nil:
			all.incomplete = err
			return all, nil
		}
		all.join(t)
		all.from = page.from
	}
	return all, nil
}
