package plan

import (
	"testing"
	"time"
)

// TestSchedulesAreMeantInTheirZone has changes to and from summer time: Berlin's clock goes from
// 02:00 to 03:00 on 2026-03-29, and from 03:00 back to 02:00 on 2026-10-25. Kolkata is five and a
// half hours ahead of UTC, and Lord Howe's clock changes by half an hour.
func TestSchedulesAreMeantInTheirZone(t *testing.T) {
	tests := map[string]struct{ expression, zone, now, begins, ends string }{
		"winter":                              {"* 22-5 * * *", "Europe/Berlin", "2026-01-10T12:00:00Z", "2026-01-10T21:00:00Z", "2026-01-11T05:00:00Z"},
		"summer":                              {"* 22-5 * * *", "Europe/Berlin", "2026-07-10T12:00:00Z", "2026-07-10T20:00:00Z", "2026-07-11T04:00:00Z"},
		"a night that loses an hour":          {"* 22-5 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-28T21:00:00Z", "2026-03-29T04:00:00Z"},
		"a night that gains an hour":          {"* 22-5 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-24T20:00:00Z", "2026-10-25T05:00:00Z"},
		"an hour that is skipped":             {"* 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T00:00:00Z", "2026-03-30T01:00:00Z"},
		"an hour that comes twice":            {"* 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"},
		"a minute that comes twice, again":    {"30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", "2026-10-25T01:30:00Z", "2026-10-25T01:31:00Z"},
		"the day of the week is the zone's":   {"* * * * MON", "Asia/Tokyo", "2026-11-21T12:00:00Z", "2026-11-22T15:00:00Z", ""},
		"half an hour from UTC's":             {"* 9 * * *", "Asia/Kolkata", "2026-11-21T00:00:00Z", "2026-11-21T03:30:00Z", "2026-11-21T04:30:00Z"},
		"a change by half an hour":            {"* 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z", "2026-10-03T16:00:00Z"},
		"once in four years, in many changes": {"0 0 29 2 *", "Europe/Berlin", "2026-11-21T00:00:00Z", "2028-02-28T23:00:00Z", "2028-02-28T23:01:00Z"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339, tt.now)
			if err != nil {
				t.Fatal(err)
			}
			zone, err := ParseZone(tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			e, err := ParseCronExemption(tt.expression, now)
			if err != nil {
				t.Fatal(err)
			}
			e = e.InZone(zone)
			begins := e.NextChange(now)
			if got := begins.UTC().Format(time.RFC3339); got != tt.begins {
				t.Errorf("begins %s, want %s", got, tt.begins)
			}
			if got := e.NextChange(begins).UTC().Format(time.RFC3339); tt.ends != "" && got != tt.ends {
				t.Errorf("ends %s, want %s", got, tt.ends)
			}
		})
	}
	for _, name := range []string{"", "Local", "../etc", "Europe/Nowhere"} {
		if zone, err := ParseZone(name); err == nil {
			t.Errorf("%q is %v, want an error", name, zone)
		}
	}
}
