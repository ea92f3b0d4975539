package backtest

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// Actuals are the actual intensities of a grid.
type Actuals struct {
	Series *forecast.Series
	// SlotWidth is the most frequent distance of two timestamps.
	SlotWidth time.Duration
	// Gaps counts the gaps between slots, MissingTime is their total length.
	Gaps        int
	MissingTime time.Duration
	// Skipped counts the rows that do not count.
	Skipped SkippedRows
	// Doubted counts the values that are not believed, and Doubt says why, see [forecast.Believe].
	// The slots of these values are missing.
	Doubted int
	Doubt   string
}

// SkippedRows counts rows that do not count.
type SkippedRows struct {
	// Unreadable counts rows that cannot be read, for example because a value is not a number.
	// Problem says what is wrong with the first.
	Unreadable int
	Problem    string
	// Repeated counts rows whose slot is in an earlier row. The earlier row counts.
	Repeated int
}

// Document is one publication of a forecast.
type Document struct {
	Issued time.Time
	Series *forecast.Series
}

// A point is the start of a slot whose width is not known yet.
type point struct {
	at    time.Time
	value float64
}

// ReadActuals reads CSV with the columns timestamp (RFC 3339, the start of a slot; UTC without a
// zone) and intensity (gCO2eq/kWh), in any order, or by other usual names. It infers the width of
// the slots. It tolerates gaps, and skips a row that cannot be read or whose slot is in an earlier
// row. It counts all of these. An error names the file, line, column, value and what is allowed.
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
	points = sortPoints(points)
	a.Skipped.Repeated = all - len(points)
	if len(points) < 2 {
		return Actuals{}, fmt.Errorf("%s has %d usable rows: want at least two, since the distance of two timestamps is the width of a slot%s", name, len(points), a.Skipped.firstProblem())
	}
	a.SlotWidth = slotWidth(points)
	believed := forecast.Believe(seriesOf(points, a.SlotWidth))
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

// read reads a series of rows, and counts the unreadable ones.
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

// firstProblem returns the end of a sentence that says how many rows cannot be read, and why the
// first cannot.
func (w *SkippedRows) firstProblem() string {
	if w.Unreadable == 0 {
		return ""
	}
	return fmt.Sprintf("; %d cannot be read, the first: %s", w.Unreadable, w.Problem)
}

// Forecasts are all forecasts of a source.
type Forecasts struct {
	// Documents are ascending.
	Documents []Document
	// SlotWidth is the most frequent distance of two timestamps of a forecast.
	SlotWidth time.Duration
	// Skipped counts the rows that do not count.
	Skipped SkippedRows
}

// ReadForecasts reads CSV with the columns issued, timestamp and intensity: what was forecast at
// issued for the slot that starts at timestamp. Otherwise it is like [ReadActuals]. The model
// decides which of the values are believed.
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
		documents[at] = sortPoints(points)
		f.Skipped.Repeated += len(points) - len(documents[at])
	}
	f.SlotWidth = slotWidth(slices.Collect(maps.Values(documents))...)
	if f.SlotWidth == 0 {
		return Forecasts{}, fmt.Errorf("%s has no forecast of two rows: the distance of two timestamps of a forecast is the width of a slot%s", name, f.Skipped.firstProblem())
	}
	for _, at := range slices.Sorted(maps.Keys(documents)) {
		f.Documents = append(f.Documents, Document{Issued: time.Unix(at, 0).UTC(), Series: seriesOf(documents[at], f.SlotWidth)})
	}
	return f, nil
}

// sortPoints orders points by time, and keeps the first of equal times.
func sortPoints(points []point) []point {
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

// slotWidth returns the most frequent distance between neighbours, the shortest of equally frequent
// ones; 0 if there are no neighbours.
func slotWidth(rows ...[]point) time.Duration {
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

// seriesOf makes a slot of each point. A slot ends after its width, or earlier if the next one
// begins earlier.
func seriesOf(points []point, width time.Duration) *forecast.Series {
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
