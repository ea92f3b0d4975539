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
	SlotWidth time.Duration
	// Gaps counts where slots are missing, Missing is how much time that is.
	Gaps        int
	MissingTime time.Duration
	// Rows are those that do not count.
	Skipped SkippedRows
	// Doubted counts the values that are not believed, and Doubt says why, see
	// [forecast.Believe]; they are missing.
	Doubted int
	Doubt   string
}

// Rows counts rows that do not count.
type SkippedRows struct {
	// Bad cannot be read, for example since there is no number; Problem says what
	// is wrong with the first of them.
	Unreadable int
	Problem    string
	// Repeated are of a slot that is in a row above already: the first counts, as
	// in all forecasts.
	Repeated int
}

// Issue is one publication of a forecast.
type Document struct {
	Issued time.Time
	Series *forecast.Series
}

// A point is the start of a slot whose width is not known yet.
type point struct {
	at    time.Time
	value float64
}

// ReadActuals reads CSV with the columns timestamp (RFC 3339, the start of a
// slot; UTC, if it has no zone) and intensity (gCO2eq/kWh), in any order; or by
// other names that are usual. The width of the slots is inferred. Gaps are
// tolerated, a row that cannot be read, or is of a slot that is in one above,
// costs that row, and all that is counted. An error names the file, line, column,
// value and what is allowed.
func ReadActuals(name string, r io.Reader) (Actuals, error) {
	var a Actuals
	var points []point
	err := a.Skipped.read(name, r, []column{timestamp(), intensity("actual", "actualcarbonintensity", "actualcarbonintensitygco2kwh", "intensityactual")}, func(t *table) error {
		p, err := t.point()
		if err == nil {
			points = append(points, p)
		}
		return err
	})
	if err != nil {
		return Actuals{}, err
	}
	all := len(points)
	points = sorted(points)
	a.Skipped.Repeated = all - len(points)
	if len(points) < 2 {
		return Actuals{}, fmt.Errorf("%s has %d rows of use: want two at least, since a slot is as wide as timestamps are apart%s", name, len(points), a.Skipped.firstProblem())
	}
	a.SlotWidth = spacing(points)
	believed := forecast.Believe(series(points, a.SlotWidth))
	if believed.Believed.IsEmpty() {
		return Actuals{}, fmt.Errorf("%s: %s", name, believed.Doubt)
	}
	a.Series, a.Doubted, a.Doubt = believed.Believed, believed.Doubted, believed.Doubt
	slots := a.Series.Slots()
	for i := 1; i < len(slots); i++ {
		if hole := slots[i].Start.Sub(slots[i-1].End); hole > 0 {
			a.Gaps, a.MissingTime = a.Gaps+1, a.MissingTime+hole
		}
	}
	return a, nil
}

// read reads a series of rows, and counts those that cannot be read.
func (w *SkippedRows) read(name string, r io.Reader, columns []column, row func(*table) error) error {
	t, err := openTable(name, r, false, columns...)
	if err != nil {
		return err
	}
	for {
		ok, err := t.next()
		if err != nil || !ok {
			return err
		}
		err = t.checkFieldCount()
		if err == nil {
			err = row(t)
		}
		if err == nil {
			continue
		}
		if w.Unreadable++; w.Unreadable == 1 {
			w.Problem = err.Error()
		}
	}
}

// first is the end of a sentence on what is wrong.
func (w *SkippedRows) firstProblem() string {
	if w.Unreadable == 0 {
		return ""
	}
	return fmt.Sprintf("; %d cannot be read, the first: %s", w.Unreadable, w.Problem)
}

// Forecasts are all issues of a source.
type Forecasts struct {
	// Issues are ascending.
	Documents []Document
	// Slot is the width of a slot: the most frequent distance of two timestamps
	// of an issue.
	SlotWidth time.Duration
	// Rows are those that do not count.
	Skipped SkippedRows
}

// ReadForecasts reads CSV with the columns issued, timestamp and intensity: what
// was forecast at issued for the slot that starts at timestamp; otherwise like
// [ReadActuals]. What is not believed of it is for the model to say.
func ReadForecasts(name string, r io.Reader) (Forecasts, error) {
	var f Forecasts
	documents := map[int64][]point{} // by Unix seconds
	err := f.Skipped.read(name, r, []column{issued(), timestamp(), intensity("forecast", "forecastcarbonintensity", "forecastcarbonintensitygco2kwh", "intensityforecast")}, func(t *table) error {
		at, err := t.time("issued")
		if err != nil {
			return err
		}
		p, err := t.point()
		if err == nil {
			documents[at.Unix()] = append(documents[at.Unix()], p)
		}
		return err
	})
	if err != nil {
		return Forecasts{}, err
	}
	for at, points := range documents {
		documents[at] = sorted(points)
		f.Skipped.Repeated += len(points) - len(documents[at])
	}
	f.SlotWidth = spacing(slices.Collect(maps.Values(documents))...)
	if f.SlotWidth == 0 {
		return Forecasts{}, fmt.Errorf("%s has no issue of two rows: a slot is as wide as the timestamps of an issue are apart%s", name, f.Skipped.firstProblem())
	}
	for _, at := range slices.Sorted(maps.Keys(documents)) {
		f.Documents = append(f.Documents, Document{Issued: time.Unix(at, 0).UTC(), Series: series(documents[at], f.SlotWidth)})
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
