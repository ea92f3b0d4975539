package backtest

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// Actuals are the intensities that really were.
type Actuals struct {
	Series *forecast.Series
	// Slot is the width of a slot: the most frequent distance of two
	// timestamps.
	Slot time.Duration
	// Gaps counts where slots are missing, Missing is how much time that is.
	Gaps    int
	Missing time.Duration
}

// Issue is one publication of a forecast.
type Issue struct {
	Issued time.Time
	Series *forecast.Series
}

// A point is the start of a slot whose width is not known yet.
type point struct {
	at    time.Time
	value float64
}

// ReadActuals reads CSV with the columns timestamp (RFC 3339, the start of a
// slot) and intensity (gCO2eq/kWh), ascending. The width of the slots is
// inferred. Gaps are tolerated; all else that is wrong is an error that names
// the file, line, column, value and what is allowed.
func ReadActuals(name string, r io.Reader) (Actuals, error) {
	t, err := openTable(name, r, []string{"timestamp", "intensity"})
	if err != nil {
		return Actuals{}, err
	}
	var points []point
	for {
		ok, err := t.next()
		if err != nil {
			return Actuals{}, err
		}
		if !ok {
			break
		}
		p, err := t.point()
		if err == nil && len(points) > 0 {
			err = t.follow(points[len(points)-1].at, p.at)
		}
		if err != nil {
			return Actuals{}, err
		}
		points = append(points, p)
	}
	if len(points) < 2 {
		return Actuals{}, fmt.Errorf("%s has %d rows: want two at least, since a slot is as wide as timestamps are apart", name, len(points))
	}
	a := Actuals{Slot: spacing(points)}
	a.Series = series(points, a.Slot)
	for i := 1; i < len(points); i++ {
		if hole := points[i].at.Sub(points[i-1].at) - a.Slot; hole > 0 {
			a.Gaps, a.Missing = a.Gaps+1, a.Missing+hole
		}
	}
	return a, nil
}

// Forecasts are all issues of a source.
type Forecasts struct {
	// Issues are ascending.
	Issues []Issue
	// Slot is the width of a slot: the most frequent distance of two timestamps
	// of an issue.
	Slot time.Duration
	// Repeated counts the rows whose issue and slot are in a row above already:
	// the first counts, as in all forecasts.
	Repeated int
}

// ReadForecasts reads CSV with the columns issued, timestamp (both RFC 3339)
// and intensity (gCO2eq/kWh): what was forecast at issued for the slot that
// starts at timestamp; in any order. Errors are those of [ReadActuals].
func ReadForecasts(name string, r io.Reader) (Forecasts, error) {
	t, err := openTable(name, r, []string{"issued", "timestamp", "intensity"})
	if err != nil {
		return Forecasts{}, err
	}
	issues := map[int64][]point{} // by Unix seconds
	for {
		ok, err := t.next()
		if err != nil {
			return Forecasts{}, err
		}
		if !ok {
			break
		}
		issued, err := t.time("issued")
		if err != nil {
			return Forecasts{}, err
		}
		p, err := t.point()
		if err != nil {
			return Forecasts{}, err
		}
		issues[issued.Unix()] = append(issues[issued.Unix()], p)
	}
	return newForecasts(name, issues)
}

func newForecasts(name string, issues map[int64][]point) (Forecasts, error) {
	var f Forecasts
	for issued, points := range issues {
		issues[issued] = sorted(points)
		f.Repeated += len(points) - len(issues[issued])
	}
	f.Slot = spacing(slices.Collect(maps.Values(issues))...)
	if f.Slot == 0 {
		return Forecasts{}, fmt.Errorf("%s has no issue of two rows: a slot is as wide as the timestamps of an issue are apart", name)
	}
	for _, issued := range slices.Sorted(maps.Keys(issues)) {
		f.Issues = append(f.Issues, Issue{Issued: time.Unix(issued, 0).UTC(), Series: series(issues[issued], f.Slot)})
	}
	return f, nil
}

// sorted orders points by time, and keeps the first of equal times.
func sorted(points []point) []point {
	slices.SortStableFunc(points, func(a, b point) int { return a.at.Compare(b.at) })
	return slices.CompactFunc(points, func(a, b point) bool { return a.at.Equal(b.at) })
}

// point reads a timestamp and its intensity.
func (t *table) point() (point, error) {
	at, err := t.time("timestamp")
	if err != nil {
		return point{}, err
	}
	value, err := t.intensity("intensity")
	return point{at, value}, err
}

// follow refuses a timestamp that does not come after the one before it.
func (t *table) follow(before, at time.Time) error {
	switch {
	case at.Equal(before):
		return t.refuse("timestamp", "it is there twice, want each once")
	case at.Before(before):
		return t.refuse("timestamp", "it is before "+before.Format(time.RFC3339)+" in a row above, want them ascending")
	default:
		return nil
	}
}

// spacing is the most frequent distance between neighbours, the shortest of
// equally frequent ones; 0 if there are no neighbours.
func spacing(rows ...[]point) time.Duration {
	count := map[time.Duration]int{}
	for _, points := range rows {
		for i := 1; i < len(points); i++ {
			count[points[i].at.Sub(points[i-1].at)]++
		}
	}
	var best time.Duration
	for _, distance := range slices.Sorted(maps.Keys(count)) {
		if count[distance] > count[best] {
			best = distance
		}
	}
	return best
}

// series makes each point a slot that ends where the next begins, at the
// latest.
func series(points []point, width time.Duration) *forecast.Series {
	slots := make([]forecast.Slot, len(points))
	for i, p := range points {
		end := p.at.Add(width)
		if i+1 < len(points) && points[i+1].at.Before(end) {
			end = points[i+1].at
		}
		slots[i] = forecast.Slot{Start: p.at, End: end, Intensity: p.value}
	}
	return forecast.NewSeries(slots)
}
