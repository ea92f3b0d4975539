package plan

import (
	"errors"
	"fmt"
	"math"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// MaxDuration bounds every duration that a user may write.
const MaxDuration = 366 * 24 * time.Hour

// maxIntensity bounds a threshold, in gCO2eq/kWh: far above any grid.
const maxIntensity = 1e6

var (
	daysForm = regexp.MustCompile(`^(?:(\d{1,5})w)?(?:(\d{1,5})d)?(.*)$`)
	isoForm  = regexp.MustCompile(`^P(?:(\d{1,5})W)?(?:(\d{1,5})D)?(?:T(\d[\dHMS.]*))?$`)
	wallForm = regexp.MustCompile(`^(\d{1,2}):(\d{2})(?::(\d{2}))?[ \t]+(\S+)$`)
)

// ParseDuration reads `90m`, `2h30m`, `1d12h`, `1w`, or the same in ISO 8601 (`PT2H30M`,
// `P1DT12H`). The duration must be more than zero and at most MaxDuration. A day is 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	const want = "want a duration such as 90m, 8h, 1d12h or PT8H"
	text := strings.TrimSpace(s)
	parts := isoForm.FindStringSubmatch(text)
	if parts == nil {
		parts = daysForm.FindStringSubmatch(text)
	} else {
		parts[3] = strings.ToLower(parts[3])
	}
	if parts == nil || parts[1]+parts[2]+parts[3] == "" {
		return 0, errors.New(want)
	}
	total := daysOf(parts[1], 7) + daysOf(parts[2], 1)
	if parts[3] != "" {
		rest, err := time.ParseDuration(parts[3])
		if err != nil || parts[3][0] == '-' || parts[3][0] == '+' {
			return 0, errors.New(want)
		}
		total += min(rest, MaxDuration+1) // cannot overflow in the sum
	}
	if total <= 0 || total > MaxDuration {
		return 0, fmt.Errorf("want more than zero and at most %s", FormatDuration(MaxDuration))
	}
	return total, nil
}

func daysOf(count string, each int) time.Duration {
	n, _ := strconv.Atoi(count) // absent is zero; the form bounds it to five digits
	return time.Duration(n*each) * 24 * time.Hour
}

// FormatDuration prints a duration as ParseDuration reads it: 1d12h, 90m, 45s.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%time.Minute == 0 {
		rest := strings.TrimSuffix(FormatDuration(d%day), "0s")
		return fmt.Sprintf("%dd%s", d/day, rest)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// ParseDeadline reads when work must be finished, in one of three forms: an RFC 3339 instant, a
// duration after created (see ParseDuration), or a wall-clock time with a zone (`06:00
// Europe/Berlin`). A wall-clock time means its next occurrence after created.
//
// A change to or from summer time may skip or repeat that wall-clock time. The offset in force
// before the change then applies, as in RFC 5545: a repeated time means its first occurrence, and a
// skipped time is as long after midnight as on any other day.
func ParseDeadline(s string, created time.Time) (time.Time, error) {
	text := strings.TrimSpace(s)
	if parts := wallForm.FindStringSubmatch(text); parts != nil {
		return parseWallClock(parts, created)
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		if year := t.Year(); year < 2000 || year > 2200 {
			return time.Time{}, errors.New("want a year from 2000 to 2200")
		}
		return t.UTC(), nil
	}
	d, err := ParseDuration(text)
	if err != nil {
		return time.Time{}, errors.New("want an instant (2026-11-22T06:00:00Z), a duration after creation (8h, 1d12h, PT8H) " +
			"or a time of day with its zone (06:00 Europe/Berlin)")
	}
	return created.Add(d).UTC(), nil
}

func parseWallClock(parts []string, created time.Time) (time.Time, error) {
	hour, _ := strconv.Atoi(parts[1]) // the form admits digits only
	minute, _ := strconv.Atoi(parts[2])
	second, _ := strconv.Atoi("0" + parts[3])
	if hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, errors.New("want a time of day from 00:00 to 23:59")
	}
	zone, err := ParseZone(parts[4])
	if err != nil {
		return time.Time{}, err
	}
	year, month, day := created.In(zone).Date()
	for ahead := 0; ; ahead++ {
		t := wallClock(time.Date(year, month, day+ahead, hour, minute, second, 0, time.UTC), zone)
		if t.After(created) {
			return t, nil
		}
	}
}

// ParseZone reads the name of a time zone of the IANA time zone database.
func ParseZone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" || name != path.Clean(name) { // Go gives a meaning to "" and Local, which are no names
		// And a name may be the path of a file. One zone has one name, so that who keeps zones by name keeps few.
		return nil, fmt.Errorf("zone %q is not known: want a name of the IANA time zone database, such as Europe/Berlin or UTC", name)
	}
	return zone, nil
}

// wallClock returns the instant at which a clock in zone shows what wall shows in UTC. If there is
// no such instant, or if there are two, the offset before the change applies.
func wallClock(wall time.Time, zone *time.Location) time.Time {
	offset := func(t time.Time) time.Duration {
		_, seconds := t.In(zone).Zone()
		return time.Duration(seconds) * time.Second
	}
	later := wall.Add(-offset(wall.Add(24 * time.Hour)))
	earlier := wall.Add(-offset(wall.Add(-24 * time.Hour)))
	// The offset of the day before applies unless the change came before this time of day, and the
	// clock shows this time with the offset after the change.
	if earlier.Add(offset(earlier)).Equal(wall) || !later.Add(offset(later)).Equal(wall) {
		return earlier.UTC()
	}
	return later.UTC()
}

// ParseIntensity reads a threshold in gCO2eq/kWh: a number from 0 to a million.
func ParseIntensity(s string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(v) || v < 0 || v > maxIntensity {
		return 0, errors.New("want gCO2eq/kWh as a number from 0 to 1000000, such as 200")
	}
	return v, nil
}
