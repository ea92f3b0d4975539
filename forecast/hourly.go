package forecast

import (
	"math"
	"sort"
)

// smoothingHours is half of the width of the moving mean that smooths a forecast.
const smoothingHours = 12

// An hourlyForecast is a forecast in hourly values, and the hour at which it became known.
type hourlyForecast struct {
	knownAt hour
	values  record
	// running totals of the known values, from smoothingHours before the first value on
	sum, count []float64
	earlier    *hourlyForecast // the one in force most of a day before
}

// newHourlyForecast takes the values of a forecast, and what earlier forecasts said of the hours
// before them.
func newHourlyForecast(known hour, values, inForce *record) *hourlyForecast {
	f := &hourlyForecast{knownAt: known, values: *values, sum: []float64{0}, count: []float64{0}}
	for h := values.first - smoothingHours; h < values.end(); h++ {
		v := values.at(h)
		if h < values.first {
			v = inForce.at(h)
		}
		i := len(f.sum) - 1
		f.sum, f.count = append(f.sum, f.sum[i]), append(f.count, f.count[i])
		if !math.IsNaN(v) {
			f.sum[i+1] += v
			f.count[i+1]++
		}
	}
	return f
}

func (f *hourlyForecast) at(h hour) float64 { return f.values.at(h) }

// smoothed returns the mean of the known values of a day around h.
func (f *hourlyForecast) smoothed(h hour) float64 {
	first := f.values.first - smoothingHours
	from := min(max((h-smoothingHours).since(first), 0), len(f.sum)-1)
	to := min(max((h+smoothingHours+1).since(first), 0), len(f.sum)-1)
	return (f.sum[to] - f.sum[from]) / (f.count[to] - f.count[from])
}

// earlierForecastHours is by how many hours the earlier forecast, whose error is a feature,
// precedes the one in force. It finds yesterday's forecast, even one that came a little late.
const earlierForecastHours = 18

// receive takes the next forecast in order of time.
func (s *forecastFeatures) receive(known hour, values *record) {
	known = known.plus(s.lag)
	next := newHourlyForecast(known, values, &s.inForce)
	next.earlier = s.forecasts.newest(known - earlierForecastHours)
	s.forecasts = s.forecasts.with(next)
	s.forecasts.forget(known - maxPastAgeHours)
	for h := known; h < s.inForce.end(); h++ {
		s.closeHour(h)
	}
}

// closeHour compares what the forecast in force said of an hour with the actual intensity.
func (s *forecastFeatures) closeHour(h hour) {
	said := math.NaN()
	if f := s.forecasts.newest(h); f != nil {
		said = f.at(h)
	}
	s.inForce.set(h, said)
	s.actualErrors.set(h, s.past.actual.at(h)-said)
	s.inForce.forget(h - week)
	s.actualErrors.forget(h - week)
	s.forecasts.forget(h)
	s.outlooks.forget(h)
}

// issues are forecasts, in the order in which they became known.
type issues []*hourlyForecast

// with adds the next forecast. It replaces one that became known in the same hour.
func (all issues) with(next *hourlyForecast) issues {
	if n := len(all); n > 0 && all[n-1].knownAt == next.knownAt {
		all = all[:n-1]
	}
	return append(all, next)
}

// newest returns the newest forecast that was known at h, or nil.
func (all issues) newest(h hour) *hourlyForecast {
	after := sort.Search(len(all), func(n int) bool { return all[n].knownAt > h })
	if after == 0 {
		return nil
	}
	return all[after-1]
}

// forget drops the forecasts that are needed neither at h nor to learn from the hours before.
func (all *issues) forget(h hour) {
	for len(*all) > 1 && (*all)[1].knownAt < h-maxLeadHours-day {
		(*all)[0].earlier = nil
		*all = (*all)[1:]
	}
}
