package forecast

import (
	"math"
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
}

// Weather is what somebody knows of the weather of a location at one time: what is expected of the
// hours ahead, and perhaps how the last weeks were. Hours may come in any order. The last of equal
// hours counts.
type Weather []WeatherHour

// weatherValues is how many values the weather of an hour has.
const weatherValues = 3

// maxWeatherGapHours is how far apart two hours of a forecast of weather may be for the hours between
// them to be interpolated. Forecasts of weather have fewer hours the further they look ahead.
const maxWeatherGapHours = 6

// conditions is the weather of an hour: wind speed, temperature and solar radiation. An unknown value
// is NaN.
type conditions [weatherValues]float64

// weatherBounds returns the lowest and the highest value that weather can have. Sensors of radiation read
// a little below zero at night.
func weatherBounds() [weatherValues][2]float64 {
	return [...][2]float64{{0, 150}, {-100, 70}, {-50, 2000}}
}

// conditions returns the values of an hour, in the precision of [Model.Save]. Values that no weather has
// are unknown.
func (w WeatherHour) conditions() conditions {
	c := conditions{w.WindSpeed, w.Temperature, w.SolarRadiation}
	for i, bounds := range weatherBounds() {
		if !(c[i] >= bounds[0] && c[i] <= bounds[1]) {
			c[i] = math.NaN()
		}
		c[i] = float64(float32(c[i]))
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

// hours returns the weather within the time that counts at the hour now. It fills short gaps.
func (w Weather) hours(now hour) weather {
	var hourly weather
	first, end := max(now-retentionHours, 0), now+horizonHours
	for _, given := range w {
		h := hourOf(given.Start)
		if h < first || h >= end {
			continue
		}
		for i, value := range given.conditions() {
			if len(hourly[i].values) == 0 {
				hourly[i] = unknown(first, end)
			}
			hourly[i].set(h, value)
		}
	}
	for i := range hourly {
		hourly[i].fillGaps(maxWeatherGapHours)
	}
	return hourly
}

// revisedBy returns the weather after news that came in the hour now. Of hours that are over, news
// counts if nothing was known.
func (w *weather) revisedBy(news weather, now hour) weather {
	var revised weather
	for i := range w {
		revised[i] = united(news[i].span(now, now+horizonHours), united(w[i], news[i]))
		revised[i] = revised[i].part(now-retentionHours, now+horizonHours)
	}
	return revised
}

// hasNews reports whether another state of the same weather knows what w does not know, or knows
// otherwise.
func (w *weather) hasNews(o *weather) bool {
	for i := range o {
		for k, v := range o[i].values {
			if !math.IsNaN(v) && v != w[i].at(o[i].first.plus(k)) {
				return true
			}
		}
	}
	return false
}
