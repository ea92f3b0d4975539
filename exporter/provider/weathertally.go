package provider

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// maxWeatherPast and maxWeatherAhead bound the hours that count: the past of a quarter, and two weeks
// ahead. A file may have years before them.
const maxWeatherPast, maxWeatherAhead = 100 * 24 * time.Hour, 16 * 24 * time.Hour

// maxWeatherHours is how many hours a reading has at most.
const maxWeatherHours = int((maxWeatherPast+maxWeatherAhead)/time.Hour) + 1

// A weatherTally takes the mean of the weather of several points, hour by hour. An hour that few points
// know has no mean: the mean of others would look like a change of the weather.
type weatherTally struct {
	now    time.Time // hours that are far from now do not count
	points int
	hours  map[time.Time]*weatherSums
}

// newWeatherTally returns a tally of one point.
func newWeatherTally(now time.Time) *weatherTally {
	return &weatherTally{now: now, points: 1, hours: map[time.Time]*weatherSums{}}
}

// A pointHour is the weather of an hour at one point. A nil value is unknown.
type pointHour struct {
	start                        time.Time
	wind, temperature, radiation *float64
	windShare, solarShare        *float64 // of the load
}

type weatherSums struct{ wind, temperature, radiation, windShare, solarShare meanValue }

// A meanValue is the sum of the values that are known, and their number.
type meanValue struct {
	sum   float64
	count int
}

func (m *meanValue) add(value *float64) {
	if value != nil && !math.IsNaN(*value) && !math.IsInf(*value, 0) {
		m.sum += *value
		m.count++
	}
}

// mean returns NaN if nothing is known.
func (m *meanValue) mean() float64 { return m.sum / float64(m.count) }

// meanOf returns NaN if fewer than half of some points are known.
func (m *meanValue) meanOf(points int) float64 {
	if 2*m.count < points {
		return math.NaN()
	}
	return m.mean()
}

// add notes the weather of an hour at one point. A value that no weather has is unknown.
func (t *weatherTally) add(h pointHour) {
	if h.start.Before(t.now.Add(-maxWeatherPast)) || h.start.After(t.now.Add(maxWeatherAhead)) {
		return
	}
	start := h.start.UTC().Truncate(time.Hour)
	sums := t.hours[start]
	if sums == nil {
		sums = &weatherSums{}
		t.hours[start] = sums
	}
	believed := forecast.UnknownWeather(start)
	believed.WindSpeed, believed.Temperature, believed.SolarRadiation = orNaN(h.wind), orNaN(h.temperature), orNaN(h.radiation)
	believed.WindShare, believed.SolarShare = orNaN(h.windShare), orNaN(h.solarShare)
	believed = believed.Believed()
	sums.wind.add(&believed.WindSpeed)
	sums.temperature.add(&believed.Temperature)
	sums.radiation.add(&believed.SolarRadiation)
	sums.windShare.add(&believed.WindShare)
	sums.solarShare.add(&believed.SolarShare)
}

func orNaN(value *float64) float64 {
	if value == nil {
		return math.NaN()
	}
	return *value
}

// weather returns the means in order of time.
func (t *weatherTally) weather() forecast.Weather {
	var all forecast.Weather
	for _, start := range slices.SortedFunc(maps.Keys(t.hours), time.Time.Compare) {
		hour, mean := t.hours[start], forecast.UnknownWeather(start)
		mean.WindSpeed, mean.Temperature, mean.SolarRadiation = hour.wind.meanOf(t.points), hour.temperature.meanOf(t.points), hour.radiation.meanOf(t.points)
		mean.WindShare, mean.SolarShare = hour.windShare.meanOf(t.points), hour.solarShare.meanOf(t.points)
		all = append(all, mean)
	}
	return all
}

// reading returns what was noted. Without a value, there is an error.
func (t *weatherTally) reading() (WeatherReading, error) {
	r := WeatherReading{Weather: t.weather(), Points: t.points}
	if !slices.ContainsFunc(r.Weather, forecast.WeatherHour.IsKnown) {
		return WeatherReading{}, ErrNoData
	}
	if newest := r.Weather[len(r.Weather)-1].Start; newest.Before(t.now.Add(-time.Hour)) {
		r.Problem = fmt.Sprintf("the newest hour is %s: want hours that are still to come", newest.Format(time.RFC3339))
	}
	return r, nil
}

// withinGaps returns the hours of a point in order of time, and those between two that are at most some
// hours apart: a forecast has fewer hours the further it looks ahead, and not all points change to that
// at the same hour. Hours far from now are left out before.
func (t *weatherTally) withinGaps(given []pointHour, most int) []pointHour {
	given = slices.DeleteFunc(given, func(h pointHour) bool {
		return h.start.Before(t.now.Add(-maxWeatherPast)) || h.start.After(t.now.Add(maxWeatherAhead))
	})
	slices.SortStableFunc(given, func(a, b pointHour) int { return a.start.Compare(b.start) })
	var all []pointHour
	for i, next := range given {
		if i > 0 {
			all = append(all, between(given[i-1], next, most)...)
		}
		all = append(all, next)
	}
	return all
}

// between interpolates the full hours between two hours that are at most some hours apart.
func between(a, b pointHour, most int) []pointHour {
	n := int(b.start.Sub(a.start) / time.Hour)
	if n < 2 || n > most {
		return nil
	}
	var all []pointHour
	for i := 1; i < n; i++ {
		share := float64(i) / float64(n)
		mix := func(x, y *float64) *float64 {
			if x == nil || y == nil {
				return nil
			}
			mixed := *x*(1-share) + *y*share
			return &mixed
		}
		h := pointHour{
			start: a.start.Add(time.Duration(i) * time.Hour),
			wind:  mix(a.wind, b.wind), temperature: mix(a.temperature, b.temperature), radiation: mix(a.radiation, b.radiation),
		}
		if h.wind != nil || h.temperature != nil || h.radiation != nil {
			all = append(all, h)
		}
	}
	return all
}
