package forecast

import "time"

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
