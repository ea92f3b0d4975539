package forecast

import (
	"math"
	"time"
)

// Before returns what is known of the time from one instant to another, which is over: the actual
// intensities where there are any, else the newest forecast, else what the model has kept of the
// earlier forecasts by the hour.
func (f Forecast) Before(from, to time.Time) *Series {
	known := f.Series.over(f.Model.hours(from, to), from, to)
	return f.Actuals.over(known, from, to)
}

// over returns the series within [from, to), and what the other series knows of the time before and after.
func (s *Series) over(other *Series, from, to time.Time) *Series {
	own := s.part(from, to)
	if len(own) == 0 {
		return other
	}
	first, last := timeOf(own[0].start), timeOf(own[len(own)-1].end)
	return withTotals(append(append(other.part(from, first), own...), other.part(last, to)...))
}

// hours returns the intensities of the hours that are over by an instant, as far as they are known.
func (m *Model) hours(from, to time.Time) *Series {
	if m == nil {
		return &Series{}
	}
	defer m.lock()()
	var steps []step
	for h := hourOf(from); h < min(hourOf(to), m.past.closedUntil()); h = h.plus(1) {
		if intensity := m.past.actual.at(h); !math.IsNaN(intensity) {
			steps = append(steps, step{start: nanos(startOf(h)), end: nanos(startOf(h.plus(1))), intensity: intensity})
		}
	}
	return withTotals(steps)
}
