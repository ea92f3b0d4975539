package forecast

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxDuration is the longest duration of an element.
const maxDuration = 31 * 24 * time.Hour

// An element is one element of the exporter's array. Fields that appear as different JSON types
// stay raw.
type element struct {
	Location  string
	Timestamp json.RawMessage
	Time      json.RawMessage // another name for Timestamp
	Duration  json.RawMessage
	Value     json.RawMessage
	Rating    json.RawMessage // another name for Value
}

// parseElement reads an element. hasValue is false if the element leaves its value out; the value
// is then 0. If only the value is bad, parseElement returns the location and the slot along with
// the error.
func parseElement(raw json.RawMessage) (location string, slot Slot, hasValue bool, err error) {
	var e element
	if json.Unmarshal(raw, &e) != nil {
		return "", Slot{}, false, fmt.Errorf("%.40q: want an object of location (a string), timestamp, duration, value", raw)
	}
	if isLongName(e.Location) {
		return "", Slot{}, false, fmt.Errorf("location: %.40q: want at most %d characters", e.Location, maxNameLength)
	}
	start, err := ParseTime(textOf(firstPresent(e.Timestamp, e.Time)))
	if err != nil {
		return "", Slot{}, false, fmt.Errorf("timestamp: %w", err)
	}
	duration, err := parseDuration(textOf(e.Duration))
	if err != nil {
		return "", Slot{}, false, fmt.Errorf("duration: %w", err)
	}
	slot = Slot{Start: start, End: start.Add(duration)}
	if len(e.Value)+len(e.Rating) == 0 {
		return e.Location, slot, false, checkOmittedValue(raw)
	}
	if slot.Intensity, err = parseValue(firstPresent(e.Value, e.Rating)); err != nil {
		return e.Location, slot, false, fmt.Errorf("value: %w", err)
	}
	return e.Location, slot, true, nil
}

// checkOmittedValue returns an error if the value may stand in another field. The exporter leaves
// out a value that is zero, and writes no fields but the four that are listed here.
func checkOmittedValue(raw json.RawMessage) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return fmt.Errorf("%.40q: %w", raw, err)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains([]string{"location", "timestamp", "time", "duration"}, strings.ToLower(name)) {
			return fmt.Errorf("value: missing, and the field %.40q is unknown: want value, in gCO2eq/kWh", name)
		}
	}
	return nil
}

// ParseTime reads an instant in the forms that [Parse] lists, in UTC.
func ParseTime(s string) (time.Time, error) {
	instant, _, _ := strings.Cut(s, " m=") // Go's Time.String adds the monotonic clock
	instant = strings.ToUpper(strings.Replace(instant, " ", "T", 1))
	for _, layout := range []string{
		time.RFC3339, // all layouts with seconds accept fractions of a second
		"2006-01-02T15:04Z07:00",
		"2006-01-02T15:04:05",
		"2006-01-02T15:04",
		"2006-01-02T15:04:05 -0700 MST", // Go's Time.String
	} {
		if t, err := time.Parse(layout, instant); err == nil && t.UTC().Year() >= 2000 && t.UTC().Year() <= 2200 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q: want RFC 3339 in the years 2000 to 2200", s)
}

// parseDuration reads minutes, or a duration in the forms that [Parse] lists.
func parseDuration(s string) (time.Duration, error) {
	if minutes, err := strconv.ParseFloat(s, 64); err == nil && minutes > 0 && minutes <= maxDuration.Minutes() {
		if d := time.Duration(math.Round(minutes * float64(time.Minute))); d > 0 {
			return d, nil
		}
	}
	if d, err := time.ParseDuration(strings.TrimPrefix(strings.ToLower(s), "pt")); err == nil && d > 0 && d <= maxDuration {
		return d, nil
	}
	if t, err := time.Parse(time.TimeOnly, s); err == nil {
		if d := t.Sub(t.Truncate(24 * time.Hour)); d > 0 {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%.40q: want minutes, above 0 and up to %v", s, maxDuration.Minutes())
}

// parseValue reads an intensity. A null is no intensity.
func parseValue(raw json.RawMessage) (float64, error) {
	written := textOf(raw)
	if isMissing(raw) {
		written = "null"
	}
	value, err := strconv.ParseFloat(written, 64)
	if err != nil || !(math.Abs(value) <= MaxIntensity) {
		return 0, fmt.Errorf("%.40q: want gCO2eq/kWh, a number from %.0f to %.0f", written, -MaxIntensity, MaxIntensity)
	}
	return value, nil
}

// textOf returns the content of a JSON string, or any other JSON as it is written. It returns "" if
// there is no JSON.
func textOf(raw json.RawMessage) string {
	var s string
	if isMissing(raw) || json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

func isMissing(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

func firstPresent(a, b json.RawMessage) json.RawMessage {
	if isMissing(a) {
		return b
	}
	return a
}
