package forecast

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// WeatherHour is the weather of one hour, as it is expected or as it was. An unknown value is NaN.
type WeatherHour struct {
	// Start is when the hour begins. An instant within an hour stands for the whole hour.
	Start time.Time
	// WindSpeed is in m/s. All winds of a location are of the same height.
	WindSpeed float64
	// Temperature is in degrees Celsius.
	Temperature float64
	// SolarRadiation is what reaches the ground, in W/m².
	SolarRadiation float64
	// WindShare and SolarShare are how much of the load wind and sun supply, as the operator of the grid
	// expects: 0.4 is 40 %. A grid that exports power may have more than 1.
	WindShare, SolarShare float64
}

// UnknownWeather returns an hour of which nothing is known yet.
func UnknownWeather(start time.Time) WeatherHour {
	unknown := math.NaN()
	return WeatherHour{start, unknown, unknown, unknown, unknown, unknown}
}

// values returns where the hour has each of its values.
func (w *WeatherHour) values() [weatherValues]*float64 {
	return [...]*float64{&w.WindSpeed, &w.Temperature, &w.SolarRadiation, &w.WindShare, &w.SolarShare}
}

// Weather is what somebody knows of the weather of a location at one time: what is expected of the
// hours ahead, and perhaps how the last weeks were. Hours may come in any order. Of several values of an
// hour, the last that is known counts.
type Weather []WeatherHour

// JoinWeather returns in order of time what several say of the weather of a location. Of several values of
// an hour, the last that is known counts.
func JoinWeather(all ...Weather) Weather {
	var joined Weather
	sorted := slices.SortedStableFunc(slices.Values(slices.Concat(all...)), func(a, b WeatherHour) int { return cmp.Compare(hourOf(a.Start), hourOf(b.Start)) })
	for _, given := range sorted {
		if n := len(joined); n == 0 || hourOf(joined[n-1].Start) != hourOf(given.Start) {
			joined = append(joined, given)
			continue
		}
		into := joined[len(joined)-1].values()
		for i, value := range given.conditions() {
			if !math.IsNaN(value) {
				*into[i] = *given.values()[i]
			}
		}
	}
	return joined
}

// weatherValues is how many values the weather of an hour has, and skyValues how many of them come first
// that nobody needs an operator for.
const weatherValues, skyValues = 5, 3

// maxWeatherGapHours is how far apart two hours of a forecast of weather may be for the hours between
// them to be interpolated. Forecasts of weather have fewer hours the further they look ahead.
const maxWeatherGapHours = 6

// conditions is the weather of an hour: wind speed, temperature, solar radiation, and the shares of wind and
// sun. An unknown value is NaN.
type conditions [weatherValues]float64

// weatherBounds returns the lowest and the highest value that weather can have. Sensors of radiation read
// a little below zero at night.
func weatherBounds() [weatherValues][2]float64 {
	return [...][2]float64{{0, 150}, {-100, 70}, {-50, 2000}, {0, 10}, {0, 10}}
}

// IsKnown reports whether any value of the hour is known.
func (w WeatherHour) IsKnown() bool {
	values := w.values()
	return slices.ContainsFunc(values[:], func(value *float64) bool { return !math.IsNaN(*value) })
}

// Believed returns the hour without the values that no weather has: they are unknown.
func (w WeatherHour) Believed() WeatherHour {
	for i, bounds := range weatherBounds() {
		if value := w.values()[i]; !(*value >= bounds[0] && *value <= bounds[1]) {
			*value = math.NaN()
		}
	}
	return w
}

// conditions returns the values of an hour that are believed, in the precision of [Model.Save].
func (w WeatherHour) conditions() conditions {
	w = w.Believed()
	var c conditions
	for i, value := range w.values() {
		c[i] = float64(float32(*value))
	}
	return c
}

// weather is what is known of the weather by the hour: the hours that are over as they were expected
// last before they were over, and the hours ahead as they are expected now.
type weather [weatherValues]record

func (w *weather) at(h hour) conditions {
	var c conditions
	for i := range w {
		c[i] = w[i].at(h)
	}
	return c
}

// isKnownAt reports whether anything is known of the weather of an hour.
func (w *weather) isKnownAt(h hour) bool {
	for _, value := range w.at(h) {
		if !math.IsNaN(value) {
			return true
		}
	}
	return false
}

// hasShares reports whether the share of wind or of the sun is known.
func (c conditions) hasShares() bool { return !math.IsNaN(c[skyValues]) || !math.IsNaN(c[skyValues+1]) }

// hasSky reports whether anything is known that nobody needs an operator for.
func (c conditions) hasSky() bool {
	return slices.ContainsFunc(c[:skyValues], func(value float64) bool { return !math.IsNaN(value) })
}

// isLessAt reports whether the hour has no weather, or no shares, and has them in other weather.
func (w *weather) isLessAt(h hour, other *weather) bool {
	return !w.isKnownAt(h) && other.isKnownAt(h) || !w.at(h).hasShares() && other.at(h).hasShares()
}

// hours returns the weather within the time that counts at the hour now. It fills short gaps.
func (w Weather) hours(now hour) weather {
	first, end := now+horizonHours, hour(0)
	for _, given := range w {
		if h := hourOf(given.Start); counts(h, now) {
			first, end = min(first, h), max(end, h+1)
		}
	}
	var hourly weather
	if first >= end {
		return hourly
	}
	for i := range hourly {
		hourly[i] = unknown(first, end)
	}
	for _, given := range w {
		h := hourOf(given.Start)
		if !counts(h, now) {
			continue
		}
		for i, value := range given.conditions() {
			if !math.IsNaN(value) {
				hourly[i].set(h, value)
			}
		}
	}
	for i := range hourly {
		hourly[i].fillGaps(maxWeatherGapHours)
	}
	return hourly
}

// counts reports whether the weather of an hour is of use at the hour now.
func counts(h, now hour) bool { return h >= now-retentionHours && h < now+horizonHours }

// revisedBy returns the weather after news that came in the hour now. Of hours that are over, news
// counts if nothing was known. It also returns the hours that
// have changed, once for each value.
func (w *weather) revisedBy(news weather, now hour) (revised weather, changed []hour) {
	for i := range w {
		revised[i] = w[i].part(now-retentionHours, now+horizonHours)
		if news[i].first < revised[i].first || len(revised[i].values) == 0 {
			revised[i] = united(revised[i], unknown(news[i].first, news[i].end()))
		}
		for k, v := range news[i].values {
			h := news[i].first.plus(k)
			before := revised[i].at(h)
			if math.IsNaN(v) || v == before || h < now && !math.IsNaN(before) {
				continue
			}
			revised[i].set(h, v)
			changed = append(changed, h)
		}
	}
	return revised, changed
}
