package plan

import (
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	good := map[string]time.Duration{
		"8h": 8 * hour, "90m": 90 * time.Minute, "1d12h": 36 * hour, "2d": 2 * day, "1w": 7 * day, "1w1d1h": 8*day + hour,
		"PT8H": 8 * hour, "P1DT12H": 36 * hour, "PT2H30M": 150 * time.Minute, "PT1.5H": 90 * time.Minute, "P1W": 7 * day,
		" 45s ": 45 * time.Second, "1.5h": 90 * time.Minute, "366d": 366 * day,
	}
	for text, want := range good {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
		if got, err := ParseDuration(FormatDuration(want)); err != nil || got != want {
			t.Errorf("%q: Span %q reads back as %v, %v", text, FormatDuration(want), got, err)
		}
	}
	for _, text := range []string{
		"", " ", "tomorrow", "8", "0h", "-1h", "1d-2h", "+1h", "P", "PT", "P1Y", "P1M", "1h2d", "367d", "9999999h", "99999w99999d",
		"9223372036854775807ns", "1e3h", "PT-8H", "P1DT", "8h 30m", "１h", strings.Repeat("1h", 10000),
	} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%.40q: got %v, want an error", text, got)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Hour: "1h", 90 * time.Minute: "1h30m", 36 * time.Hour: "1d12h", 24 * time.Hour: "1d",
		20 * time.Minute: "20m", 45 * time.Second: "45s", time.Hour + time.Second: "1h0m1s", 0: "0s",
		24*time.Hour + time.Minute: "1d1m",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("Span(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestParseDeadline(t *testing.T) {
	tests := map[string]struct{ created, deadline, want string }{
		"a duration after creation":             {"2026-11-21T12:00:00Z", "8h", "2026-11-21T20:00:00Z"},
		"an ISO 8601 duration after creation":   {"2026-11-21T12:00:00Z", "P1DT6H", "2026-11-22T18:00:00Z"},
		"an instant":                            {"2026-11-21T12:00:00Z", "2026-11-22T06:00:00+01:00", "2026-11-22T05:00:00Z"},
		"an instant that is past stays":         {"2026-11-21T12:00:00Z", "2026-11-20T06:00:00Z", "2026-11-20T06:00:00Z"},
		"a time of day later today":             {"2026-11-21T12:00:00Z", "18:30 UTC", "2026-11-21T18:30:00Z"},
		"a time of day that was today":          {"2026-11-21T12:00:00Z", "06:00 Europe/Berlin", "2026-11-22T05:00:00Z"},
		"a time of day that is now is tomorrow": {"2026-11-21T12:00:00Z", "12:00 UTC", "2026-11-22T12:00:00Z"},
		"the zone's day, not UTC's":             {"2026-11-21T23:30:00Z", "01:00 Europe/Berlin", "2026-11-22T00:00:00Z"},
		"west of UTC":                           {"2026-11-22T03:00:00Z", "20:00 America/Los_Angeles", "2026-11-22T04:00:00Z"},
		"seconds":                               {"2026-11-21T12:00:00Z", "12:00:30 UTC", "2026-11-21T12:00:30Z"},
		// Berlin: 2027-03-28 02:00 CET becomes 03:00 CEST; 2026-10-25 03:00 CEST becomes 02:00 CET.
		"after the change to summer time":           {"2027-03-27T20:00:00Z", "06:00 Europe/Berlin", "2027-03-28T04:00:00Z"},
		"before the change to summer time":          {"2027-03-27T20:00:00Z", "01:30 Europe/Berlin", "2027-03-28T00:30:00Z"},
		"a time that summer time skips":             {"2027-03-27T20:00:00Z", "02:30 Europe/Berlin", "2027-03-28T01:30:00Z"},
		"the evening after the change":              {"2027-03-28T06:00:00Z", "20:00 Europe/Berlin", "2027-03-28T18:00:00Z"},
		"the day before the change":                 {"2027-03-26T20:00:00Z", "06:00 Europe/Berlin", "2027-03-27T05:00:00Z"},
		"after the change to winter time":           {"2026-10-24T20:00:00Z", "06:00 Europe/Berlin", "2026-10-25T05:00:00Z"},
		"a time that comes twice is its first":      {"2026-10-24T20:00:00Z", "02:30 Europe/Berlin", "2026-10-25T00:30:00Z"},
		"between the two is the next day":           {"2026-10-25T00:45:00Z", "02:30 Europe/Berlin", "2026-10-26T01:30:00Z"},
		"half an hour of summer time at Lord Howe":  {"2026-10-03T12:00:00Z", "06:00 Australia/Lord_Howe", "2026-10-03T19:00:00Z"},
		"a time skipped at Lord Howe":               {"2026-10-03T12:00:00Z", "02:15 Australia/Lord_Howe", "2026-10-03T15:45:00Z"},
		"the same in New York, where it changes":    {"2026-11-01T03:00:00Z", "01:30 America/New_York", "2026-11-01T05:30:00Z"},
		"a wall clock with several spaces":          {"2026-11-21T12:00:00Z", " 18:30   UTC ", "2026-11-21T18:30:00Z"},
		"a fraction of a second in the instant":     {"2026-11-21T12:00:00Z", "2026-11-22T06:00:00.5Z", "2026-11-22T06:00:00.5Z"},
		"one digit for the hour":                    {"2026-11-21T12:00:00Z", "6:00 Europe/Berlin", "2026-11-22T05:00:00Z"},
		"days that do not start at midnight (Cuba)": {"2027-03-13T20:00:00Z", "00:30 America/Havana", "2027-03-14T05:30:00Z"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			created, err := time.Parse(time.RFC3339, tt.created)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseDeadline(tt.deadline, created)
			if err != nil {
				t.Fatal(err)
			}
			if s := got.Format(time.RFC3339Nano); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
		})
	}
	for _, text := range []string{
		"", "tomorrow", "06:00", "06:00 Nowhere/City", "25:00 UTC", "06:60 UTC", "06:00 Local", "06:00 ../../etc/passwd",
		"2026-11-22", "2026-11-22T06:00:00", "2026-13-01T00:00:00Z", "9999-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "-8h",
	} {
		if got, err := ParseDeadline(text, t0); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestLatestStart(t *testing.T) {
	for _, tt := range []struct{ duration, before time.Duration }{
		{time.Hour, 63 * time.Minute},
		{12 * time.Hour, 12*time.Hour + 10*time.Minute},
		{10 * time.Second, 11 * time.Second},
	} {
		if got, want := LatestStart(t0, tt.duration), t0.Add(-tt.before); !got.Equal(want) {
			t.Errorf("%v: got %v, want %v", tt.duration, got, want)
		}
	}
}

func TestParseIntensity(t *testing.T) {
	for text, want := range map[string]float64{"200": 200, "0": 0, " 12.5 ": 12.5, "1e3": 1000} {
		if got, err := ParseIntensity(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "low", "-1", "NaN", "Inf", "1e7", "200g"} {
		if got, err := ParseIntensity(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

// FuzzParseDeadline checks that no input panics, that a relative deadline is in the future, and
// that a time of day comes within two days.
func FuzzParseDeadline(f *testing.F) {
	for _, s := range []string{"8h", "1d12h", "PT8H", "06:00 Europe/Berlin", "2026-11-22T06:00:00Z", "02:30 America/Havana"} {
		f.Add(s, int64(0))
	}
	f.Fuzz(func(t *testing.T, s string, seconds int64) {
		created := t0.Add(time.Duration(seconds%4e8) * time.Second)
		deadline, err := ParseDeadline(s, created)
		if err != nil {
			return
		}
		if _, err := time.Parse(time.RFC3339, strings.TrimSpace(s)); err == nil {
			return
		}
		if !deadline.After(created) {
			t.Fatalf("%q after %s is %s", s, created, deadline)
		}
		if strings.Contains(s, ":") && deadline.Sub(created) > 49*time.Hour {
			t.Fatalf("%q after %s is %s, more than two days", s, created, deadline)
		}
	})
}
