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

// weatherRun has the weather of a location in hours that follow each other. An unknown value is null.
type weatherRun struct {
	Location       string     `json:"location,omitempty"`
	Start          time.Time  `json:"start"`
	WindSpeed      []*float64 `json:"windSpeed"`      // in m/s
	Temperature    []*float64 `json:"temperature"`    // in degrees Celsius
	SolarRadiation []*float64 `json:"solarRadiation"` // in W/m²
}

// encodeWeather encodes the weather of each location: an array of runs in JSON, compressed by gzip.
// Values have one decimal. Equal weather gives equal bytes.
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
	sorted := slices.SortedStableFunc(slices.Values(w), func(a, b WeatherHour) int { return a.Start.Compare(b.Start) })
	for _, given := range sorted {
		if run.Start.IsZero() {
			run.Start = startOf(hourOf(given.Start))
		}
		i := hourOf(given.Start).since(hourOf(run.Start))
		if i >= retentionHours+horizonHours {
			break
		}
		for len(run.WindSpeed) <= i {
			run.WindSpeed, run.Temperature, run.SolarRadiation = append(run.WindSpeed, nil), append(run.Temperature, nil), append(run.SolarRadiation, nil)
		}
		values := given.conditions()
		run.WindSpeed[i], run.Temperature[i], run.SolarRadiation[i] = oneDecimal(values[0]), oneDecimal(values[1]), oneDecimal(values[2])
	}
	return run
}

// oneDecimal returns nil for a value that is unknown.
func oneDecimal(value float64) *float64 {
	if math.IsNaN(value) {
		return nil
	}
	rounded := math.Round(value*10) / 10
	return &rounded
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
	switch {
	case len(r.Temperature) != len(r.WindSpeed), len(r.SolarRadiation) != len(r.WindSpeed):
		return errors.New("want as many temperatures and radiations as wind speeds")
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
		hours[i] = WeatherHour{
			Start:     r.Start.UTC().Add(time.Duration(i) * time.Hour),
			WindSpeed: orNaN(r.WindSpeed[i]), Temperature: orNaN(r.Temperature[i]), SolarRadiation: orNaN(r.SolarRadiation[i]),
		}
	}
	return hours
}

func orNaN(value *float64) float64 {
	if value == nil {
		return math.NaN()
	}
	return *value
}
