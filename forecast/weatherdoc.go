package forecast

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// maxWeatherHours bounds the hours of all locations of a document: eight weeks of the past and eight days
// ahead of 64 locations.
const maxWeatherHours = 64 * 64 * day

// weatherRun has the weather of a location in hours that follow each other. An unknown value is null, and
// shares that are all unknown are left out.
type weatherRun struct {
	Location       string     `json:"location,omitempty"`
	Start          time.Time  `json:"start"`
	WindSpeed      []*float64 `json:"windSpeed"`      // in m/s
	Temperature    []*float64 `json:"temperature"`    // in degrees Celsius
	SolarRadiation []*float64 `json:"solarRadiation"` // in W/m²
	WindShare      []*float64 `json:"windShare,omitempty"`
	SolarShare     []*float64 `json:"solarShare,omitempty"`
}

// values returns where the run has each of the values of [WeatherHour.conditions].
func (r *weatherRun) values() [weatherValues]*[]*float64 {
	return [...]*[]*float64{&r.WindSpeed, &r.Temperature, &r.SolarRadiation, &r.WindShare, &r.SolarShare}
}

// encodeWeather encodes the weather of each location: an array of runs in JSON, compressed by gzip.
// Values have one decimal, and shares have three. Equal weather gives equal bytes.
func encodeWeather(weather map[string]Weather) ([]byte, error) {
	runs := []weatherRun{}
	for _, location := range slices.Sorted(maps.Keys(weather)) {
		if run := weather[location].run(location); len(run.WindSpeed) > 0 {
			runs = append(runs, run)
		}
	}
	var encoded bytes.Buffer
	z := gzip.NewWriter(&encoded)
	if err := json.NewEncoder(z).Encode(runs); err != nil {
		return nil, fmt.Errorf("encode the weather: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("encode the weather: %w", err)
	}
	return encoded.Bytes(), nil
}

// run returns the weather as a run. Hours that are further than the model looks from the first one are
// left out.
func (w Weather) run(location string) weatherRun {
	run := weatherRun{Location: location}
	for _, given := range JoinWeather(w) {
		if run.Start.IsZero() {
			run.Start = startOf(hourOf(given.Start))
		}
		i := hourOf(given.Start).since(hourOf(run.Start))
		if i >= retentionHours+horizonHours {
			break
		}
		for k, value := range given.conditions() {
			for into := run.values()[k]; len(*into) <= i; {
				*into = append(*into, nil)
			}
			(*run.values()[k])[i] = rounded(value, decimalsOf(k))
		}
	}
	for _, shares := range []*[]*float64{&run.WindShare, &run.SolarShare} {
		if !slices.ContainsFunc(*shares, func(value *float64) bool { return value != nil }) {
			*shares = nil
		}
	}
	return run
}

// decimalsOf returns how many decimals count of a value of [WeatherHour.conditions].
func decimalsOf(value int) int {
	if value < skyValues {
		return 1
	}
	return 3
}

// rounded returns nil for a value that is unknown.
func rounded(value float64, decimals int) *float64 {
	if math.IsNaN(value) {
		return nil
	}
	scale := math.Pow10(decimals)
	value = math.Round(value*scale) / scale
	return &value
}

// decodeWeather reads what encodeWeather writes. Without data there is no weather.
func decodeWeather(encoded []byte) (map[string]Weather, error) {
	if len(encoded) == 0 {
		return nil, nil
	}
	plain, err := decompress(encoded)
	if err != nil {
		return nil, err
	}
	weather, count := map[string]Weather{}, 0
	err = eachRun(plain, func(run weatherRun) error {
		if count += len(run.WindSpeed); count > maxWeatherHours {
			return fmt.Errorf("want at most %d hours in all", maxWeatherHours)
		}
		if err := run.check(); err != nil {
			return err
		}
		if weather[run.Location] = append(weather[run.Location], run.weather()...); len(weather) > maxLocations {
			return fmt.Errorf("want at most %d locations", maxLocations)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return weather, nil
}

// check returns an error if the run cannot be one of encodeWeather.
func (r weatherRun) check() error {
	for k, values := range r.values() {
		if isLeftOut := k >= skyValues && len(*values) == 0; !isLeftOut && len(*values) != len(r.WindSpeed) {
			return errors.New("want as many temperatures, radiations and shares as wind speeds")
		}
	}
	switch {
	case isLongName(r.Location):
		return fmt.Errorf("location: %.40q: want a name of at most %d characters", r.Location, maxNameLength)
	case r.Start.Year() < 2000 || r.Start.Year() > 2200:
		return errors.New("start: want the years 2000 to 2200")
	}
	return nil
}

func (r weatherRun) weather() Weather {
	hours := make(Weather, len(r.WindSpeed))
	for i := range hours {
		hour := UnknownWeather(r.Start.UTC().Add(time.Duration(i) * time.Hour))
		for k, into := range hour.values() {
			if values := *r.values()[k]; i < len(values) && values[i] != nil {
				*into = *values[i]
			}
		}
		hours[i] = hour
	}
	return hours
}
