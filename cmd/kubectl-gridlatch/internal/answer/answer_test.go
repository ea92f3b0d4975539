package answer

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// hourly returns a series of hours from t0 on.
func hourly(intensities ...float64) *forecast.Series {
	var slots []forecast.Slot
	for i, intensity := range intensities {
		start := t0.Add(time.Duration(i) * time.Hour)
		slots = append(slots, forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: intensity})
	}
	return forecast.NewSeries(slots)
}

// planned returns the plan of a job of an hour that can wait three hours.
func planned(series *forecast.Series) Plan {
	latest := t0.Add(3 * time.Hour)
	planner := plan.NewPlanner("DE", series, "there is none", plan.Terms{}, t0, latest)
	return Plan{Decision: planner.Decide(plan.Task{Duration: time.Hour, LatestStart: latest}), Expected: series, Forecast: forecast.Forecast{Location: "DE", Series: series}}
}

func TestWindowsCompareAPlanWithStartingAtOnce(t *testing.T) {
	elsewhere := NewWindow("in FR", t0.Add(time.Hour), time.Hour, 40, 2)
	unknown := NewWindow("in PL", t0, time.Hour, math.NaN(), 1)
	for name, tt := range map[string]struct {
		plan Plan
		want []string
	}{
		"work that waits": {
			planned(hourly(400, 300, 100, 200)),
			[]string{"at once 12:00 400", "planned 14:00 100 saves 75 %", "latest start 15:00 200 saves 50 %"},
		},
		"work that starts at once": {
			planned(hourly(100, 300, 100, 200)),
			[]string{"at once 12:00 100", "latest start 15:00 200 saves -100 %"},
		},
		"a latest start beyond the forecast": {
			planned(hourly(400, 100)),
			[]string{"at once 12:00 400", "planned 13:00 100 saves 75 %", "latest start 15:00 unknown"},
		},
		"no forecast": {planned(nil), []string{"at once 12:00 unknown", "latest start 15:00 unknown"}},
		"other locations, with their power factors, where they are known": {
			Plan{Decision: planned(hourly(400, 100)).Decision, Elsewhere: []Window{elsewhere, unknown}},
			[]string{"at once 12:00 400", "planned 13:00 100 saves 75 %", "latest start 15:00 unknown", "in FR 13:00 40 saves 80 %"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, w := range tt.plan.Windows() {
				text := fmt.Sprintf("%s %s unknown", w.Name, w.Start.Format("15:04"))
				if w.Intensity != nil {
					text = fmt.Sprintf("%s %s %.0f", w.Name, w.Start.Format("15:04"), *w.Intensity)
				}
				if w.Saved != nil {
					text += fmt.Sprintf(" saves %.0f %%", *w.Saved)
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheReportOfAPlanThatKnowsNothingIsJSON(t *testing.T) {
	data, err := json.Marshal(planned(nil).Report())
	if err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(data, &got); err != nil || got.Intensity != nil || got.AtOnce != nil || got.Waits || got.Cause != plan.CauseNoForecast {
		t.Errorf("%v: %s", err, data)
	}
}
