package provider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

// An openMeteoPoint is what the server says of one point. The lists belong together by their index.
type openMeteoPoint struct {
	// Offset is by how much the times that are texts are ahead of UTC, in seconds. The daylight saving time
	// of the whole response is that of now.
	Offset int64 `json:"utc_offset_seconds"`
	// Reason says what is wrong, if IsError.
	IsError bool   `json:"error"`
	Reason  string `json:"reason"`
	Units   struct {
		WindAt100 string `json:"wind_speed_100m"`
		WindAt10  string `json:"wind_speed_10m"`
		Air       string `json:"temperature_2m"`
	} `json:"hourly_units"`
	Hourly struct {
		Time      list   `json:"time"`
		WindAt100 values `json:"wind_speed_100m"`
		WindAt10  values `json:"wind_speed_10m"`
		Air       values `json:"temperature_2m"`
		Radiation values `json:"shortwave_radiation"`
	} `json:"hourly"`
}

// values are numbers of at most maxElements hours. An unknown value is NaN.
type values []float64

// UnmarshalJSON reads an array. What is no number is unknown.
func (v *values) UnmarshalJSON(body []byte) error {
	*v = nil
	if string(body) == "null" {
		return nil
	}
	return eachElement(body, func(element json.RawMessage) {
		value := math.NaN()
		if json.Unmarshal(element, &value) != nil {
			value = math.NaN()
		}
		*v = append(*v, value)
	})
}

// times m and adds an offset, to get another unit.
func (v values) scaled(factor, offset float64) values {
	for i := range v {
		v[i] = v[i]*factor + offset
	}
	return v
}

func (v values) hasAny() bool {
	for _, value := range v {
		if !math.IsNaN(value) {
			return true
		}
	}
	return false
}

// at returns nil for a value that is not there.
func (v values) at(i int) *float64 {
	if i < len(v) {
		return &v[i]
	}
	return nil
}

// parseOpenMeteo reads one object, or a list of one for each point.
func parseOpenMeteo(body []byte, now time.Time) (WeatherReading, error) {
	elements := list{body}
	if trimmed := bytes.TrimSpace(trimMark(body)); len(trimmed) > 0 && trimmed[0] == '[' {
		if err := decode(body, &elements); err != nil {
			return WeatherReading{}, err
		}
	}
	if len(elements) > maxPoints {
		return WeatherReading{}, fmt.Errorf("%w: %d points: want at most %d", ErrUnreadable, len(elements), maxPoints)
	}
	all := newWeatherTally(now)
	all.points = len(elements)
	for i, element := range elements {
		var point openMeteoPoint
		if err := decode(element, &point); err != nil {
			return WeatherReading{}, fmt.Errorf("point %d: %w", i, err)
		}
		if err := point.tally(all); err != nil {
			return WeatherReading{}, fmt.Errorf("point %d: %w", i, err)
		}
	}
	return all.reading()
}

// tally notes the weather of a point. The wind at the height of turbines counts, if the server knows
// any.
func (p *openMeteoPoint) tally(into *weatherTally) error {
	if p.IsError {
		return fmt.Errorf("%w: the server says %.*q", ErrNoData, maxMessageLength, p.Reason)
	}
	hourly, windUnit := &p.Hourly, p.Units.WindAt100
	wind := hourly.WindAt100
	if !wind.hasAny() {
		wind, windUnit = hourly.WindAt10, p.Units.WindAt10
	}
	for name, given := range map[string]values{"wind_speed": wind, "temperature_2m": hourly.Air, "shortwave_radiation": hourly.Radiation} {
		if len(given) != len(hourly.Time) && len(given) != 0 {
			return fmt.Errorf("%w: time has %d elements, %s has %d: want as many", ErrUnreadable, len(hourly.Time), name, len(given))
		}
	}
	factor, err := metresPerSecond(windUnit)
	if err != nil {
		return err
	}
	wind = wind.scaled(factor, 0)
	if p.Units.Air == "°F" {
		hourly.Air = hourly.Air.scaled(5.0/9, -32*5.0/9)
	}
	for i, raw := range hourly.Time {
		if start, ok := p.time(raw); ok {
			into.add(pointHour{start: start, wind: wind.at(i), temperature: hourly.Air.at(i), radiation: hourly.Radiation.at(i)})
		}
	}
	return nil
}

// metresPerSecond returns what one of a unit of speed is in metres per second. The server uses km/h
// unless it is asked for another unit.
func metresPerSecond(unit string) (float64, error) {
	switch strings.ToLower(unit) {
	case "", "m/s":
		return 1, nil
	case "km/h":
		return 1 / 3.6, nil
	case "mp/h", "mph":
		return 0.44704, nil
	case "kn":
		return 1852.0 / 3600, nil
	}
	return 0, fmt.Errorf("%w: wind_speed is in %.20q: want m/s, km/h, mp/h or kn", ErrUnreadable, unit)
}

// time reads Unix seconds, or a local time as a text.
func (p *openMeteoPoint) time(raw json.RawMessage) (time.Time, bool) {
	var seconds int64
	if json.Unmarshal(raw, &seconds) == nil {
		return time.Unix(max(0, min(seconds, maxUnixSeconds)), 0), seconds > 0
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return time.Time{}, false
	}
	local, err := time.Parse("2006-01-02T15:04", text)
	return local.Add(-time.Duration(max(-maxUTCOffset, min(p.Offset, maxUTCOffset))) * time.Second), err == nil
}

// maxUTCOffset is more than any time zone has, in seconds.
const maxUTCOffset = 24 * 60 * 60

// maxUnixSeconds is in the year 2200.
const maxUnixSeconds = 7_258_118_400
