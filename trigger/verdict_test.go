package trigger

import (
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// hourly returns a series whose first hour begins some hours after noon.
func hourly(after int, values ...float64) *forecast.Series {
	var slots []forecast.Slot
	for i, v := range values {
		start := noon.Add(time.Duration(after+i) * time.Hour)
		slots = append(slots, forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: v})
	}
	return forecast.NewSeries(slots)
}

func levelAt(intensity float64, past *forecast.Series, expected ...float64) plan.Level {
	return plan.Level{
		Location: "DE", Intensity: intensity, IsKnown: true, Past: past,
		Expected: hourly(0, append([]float64{intensity}, expected...)...), ValidUntil: noon.Add(time.Hour),
	}
}

func TestTheGridIsCleanUpToTheThreshold(t *testing.T) {
	plain, lazy := Wish{Threshold: 200, Zone: time.UTC}, Wish{Threshold: 200, Hysteresis: 0.1, Zone: time.UTC}
	gradual := Wish{Threshold: 200, GradualUpTo: 400, Zone: time.UTC}
	for name, tt := range map[string]struct {
		wish  Wish
		level plan.Level
		share float64
		says  string
		next  int // hours after noon, 0 if not known
	}{
		"at the threshold":                  {plain, levelAt(200, nil, 200, 300), 1, "the grid at DE is clean: 200 gCO2eq/kWh is at most 200, expected to change at 2026-11-27 14:00 UTC", 2},
		"above it":                          {plain, levelAt(200.1, nil, 300, 100), 0, "the grid at DE is dirty: 200.1 gCO2eq/kWh is more than 200, expected to change at 2026-11-27 14:00 UTC", 2},
		"below zero":                        {plain, levelAt(-5, nil), 1, "-5 gCO2eq/kWh is at most 200", 0},
		"within the hysteresis, from below": {lazy, levelAt(215, hourly(-3, 300, 190, 210), 221), 1, "the grid at DE is still clean: 215 gCO2eq/kWh is at most 10% above 200, expected to change at 2026-11-27 13:00 UTC", 1},
		"within the hysteresis, from above": {lazy, levelAt(215, hourly(-3, 190, 221, 210), 210, 200), 0, "is dirty: 215 gCO2eq/kWh is more than 200", 2},
		"within it, without a past":         {lazy, levelAt(215, nil), 0, "is dirty", 0},
		"above the hysteresis":              {lazy, levelAt(221, hourly(-1, 100)), 0, "is dirty", 0},
		"half way":                          {gradual, levelAt(300, nil, 310, 340), 0.5, "the grid at DE is clean to 50%: 300 gCO2eq/kWh is between 200 and 400, expected to change at 2026-11-27 14:00 UTC", 2},
		"nearly clean":                      {gradual, levelAt(201, nil), 1, "clean to 100%", 0},
		"nearly dirty":                      {gradual, levelAt(399, nil), 0, "is dirty", 0},
	} {
		t.Run(name, func(t *testing.T) {
			v := tt.wish.Judge(tt.level, noon)
			if v.Share != tt.share || !v.IsKnown || v.IsMistake || v.IsClean() != (tt.share > 0) {
				t.Errorf("got the share %v: %+v", v.Share, v)
			}
			if !strings.Contains(v.Reason, tt.says) {
				t.Errorf("got %q, want %q", v.Reason, tt.says)
			}
			if want := noon.Add(time.Duration(tt.next) * time.Hour); tt.next == 0 && !v.Next.IsZero() || tt.next > 0 && !v.Next.Equal(want) {
				t.Errorf("it is expected to change at %v", v.Next)
			}
			if v.Until.After(noon.Add(time.Hour)) {
				t.Errorf("nobody looks again before %v", v.Until)
			}
		})
	}
}

func TestWhatIsNotKnownIsClean(t *testing.T) {
	for name, tt := range map[string]struct {
		change    func(*plan.Level)
		says      string
		isKnown   bool
		isMistake bool
	}{
		"nothing is known":         {func(l *plan.Level) { l.IsKnown, l.UnknownReason = false, "no ConfigMap" }, "there is no usable forecast and no history: no ConfigMap", false, false},
		"carbon does not count":    {func(l *plan.Level) { l.IsExempt = true }, "by an exemption of the policy", true, false},
		"the policy only watches":  {func(l *plan.Level) { l.IsAudited = true }, "the policy has the mode Audit", true, false},
		"there is no such region":  {func(l *plan.Level) { l.HasNoLocation, l.UnknownReason = true, "want DE" }, "want DE", false, true},
		"no hour of today's known": {func(l *plan.Level) { l.Expected, l.UnknownReason = nil, "no ConfigMap" }, "no ConfigMap", false, false},
	} {
		wish := Wish{Threshold: 200, Zone: time.UTC}
		if name == "no hour of today's known" {
			wish = Wish{CleanHours: time.Hour, Zone: time.UTC}
		}
		level := levelAt(900, nil)
		tt.change(&level)
		if v := wish.Judge(level, noon); v.Share != 1 || v.IsKnown != tt.isKnown || v.IsMistake != tt.isMistake || !strings.Contains(v.Reason, tt.says) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// A day of the grid, as seen at each of its hours: the past is known, and the rest is expected. The
// cleanest hours are taken, and no others.
func TestTheCleanestHoursOfEachDayAreClean(t *testing.T) {
	var values []float64
	for hour := range 24 {
		values = append(values, []float64{300, 100, 400, 200}[hour/6]) // 06:00 to 12:00, then 18:00 to 24:00
	}
	wish := Wish{CleanHours: 8 * time.Hour, Zone: time.UTC}
	midnight, clean := noon.Add(-12*time.Hour), 0
	for hour := range 24 {
		now := midnight.Add(time.Duration(hour)*time.Hour + 10*time.Minute)
		level := plan.Level{IsKnown: true, Past: hourly(-12, values[:hour+1]...), Expected: hourly(hour-12, values[hour:]...)}
		v := wish.Judge(level, now)
		if want := hour >= 6 && hour < 12 || hour >= 18 && hour < 20; v.IsClean() != want {
			t.Errorf("at %d: %s", hour, v.Reason)
		}
		if v.IsClean() {
			clean++
		}
		if !v.Until.After(now) {
			t.Errorf("at %d: nobody looks again", hour)
		}
	}
	if clean != 8 {
		t.Errorf("%d hours are clean", clean)
	}
}

// Summer begins at midnight in some zones: the last hour before belongs to its day all the same.
func TestADayWithoutAMidnightIsWhole(t *testing.T) {
	for _, name := range []string{"America/Santiago", "America/Havana", "Africa/Cairo", "Asia/Beirut"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		wish := Wish{CleanHours: 25 * time.Hour, Zone: zone} // the longest day
		change := noon
		for range 2 { // to summer and to winter
			_, change = change.In(zone).ZoneBounds()
			for now := change.Add(-2 * time.Hour); now.Before(change.Add(2 * time.Hour)); now = now.Add(time.Minute) {
				days := forecast.NewSeries([]forecast.Slot{{Start: change.Add(-48 * time.Hour), End: change.Add(48 * time.Hour)}})
				if v := wish.Judge(plan.Level{IsKnown: true, Past: days, Expected: days}, now); !v.IsClean() || !v.Next.After(now) {
					t.Fatalf("%s at %s: the next change is at %s: %s", name, now.In(zone), v.Next, v.Reason)
				}
			}
		}
	}
}
