package forecast

import (
	"math"
	"sort"
)

// smooth is half of the width, in hours, of the mean that is the slow part of a forecast.
const smoothingHours = 12

// An issue is what a forecast said, by the hour, and when it was known.
type hourlyForecast struct {
	known  hour
	values record
	// running totals, from smooth hours before the first value on, of what is known
	sum, count []float64
	earlier    *hourlyForecast // the one in force most of a day earlier
}

// newIssue takes values, and what issues before had said of the hours before them.
func newHourlyForecast(known hour, values, said *record) *hourlyForecast {
	f := &hourlyForecast{known: known, values: *values, sum: []float64{0}, count: []float64{0}}
	for h := values.first - smoothingHours; h < values.end(); h++ {
		v := values.at(h)
		if h < values.first {
			v = said.at(h)
		}
		last := len(f.sum) - 1
		f.sum, f.count = append(f.sum, f.sum[last]), append(f.count, f.count[last])
		if !math.IsNaN(v) {
			f.sum[last+1] += v
			f.count[last+1]++
		}
	}
	return f
}

func (f *hourlyForecast) at(h hour) float64 { return f.values.at(h) }

// slow is the mean of what is known of a day around h.
func (f *hourlyForecast) slow(h hour) float64 {
	first := f.values.first - smoothingHours
	from := min(max((h-smoothingHours).since(first), 0), len(f.sum)-1)
	to := min(max((h+smoothingHours+1).since(first), 0), len(f.sum)-1)
	return (f.sum[to] - f.sum[from]) / (f.count[to] - f.count[from])
}

// apart is by how many hours the earlier issue, whose error is a signal, precedes the one in force: yesterday's, though
// it may have come a little late.
const earlierForecastHours = 18

// hear takes the next issue in order of time.
func (s *forecastFeatures) receive(known hour, values *record) {
	known = known.plus(s.lag)
	next := newHourlyForecast(known, values, &s.inForce)
	next.earlier = s.newest(known - earlierForecastHours)
	if n := len(s.forecasts); n > 0 && s.forecasts[n-1].known == known {
		s.forecasts = s.forecasts[:n-1]
	}
	s.forecasts = append(s.forecasts, next)
	s.forget(known - maxPastAgeHours)
	for h := known; h < s.inForce.end(); h++ {
		s.closeHour(h)
	}
}

// newest returns the newest issue known at h, nil if there is none.
func (s *forecastFeatures) newest(h hour) *hourlyForecast {
	after := sort.Search(len(s.forecasts), func(n int) bool { return s.forecasts[n].known > h })
	if after == 0 {
		return nil
	}
	return s.forecasts[after-1]
}

// note compares what the issue in force said of an hour with what came.
func (s *forecastFeatures) closeHour(h hour) {
	said := math.NaN()
	if i := s.newest(h); i != nil {
		said = i.at(h)
	}
	s.inForce.set(h, said)
	s.errors.set(h, s.past.actual.at(h)-said)
	s.inForce.forget(h - week)
	s.errors.forget(h - week)
	s.forget(h)
}

// forget drops the issues that are needed neither at h nor to learn from the hours before.
func (s *forecastFeatures) forget(h hour) {
	for len(s.forecasts) > 1 && s.forecasts[1].known < h-maxLeadHours-day {
		s.forecasts[0].earlier = nil
		s.forecasts = s.forecasts[1:]
	}
}
