package backtest_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/plan/backtest"
)

// TestNoLookAhead changes everything that becomes known after a moment, and compares the starts up
// to that moment.
func TestNoLookAhead(t *testing.T) {
	actuals, documents := grid(rand.New(rand.NewPCG(1, 2)))
	from, to := at(20*24), at(36*24)
	jobs, err := backtest.RegularJobs(from, to, 5*hour, []time.Duration{hour, 150 * time.Minute, 12 * hour}, []time.Duration{6 * hour, 48 * hour})
	if err != nil {
		t.Fatal(err)
	}
	policies := []backtest.Policy{
		{Kind: backtest.Gridlatch}, {Kind: backtest.Greedy}, {Kind: backtest.LowestSlot},
		{Kind: backtest.AtPercentile, Value: 20}, {Kind: backtest.AtThreshold, Value: 250},
	}
	flat, err := plan.ParseBuckets("12")
	if err != nil {
		t.Fatal(err)
	}
	weather := windOf(actuals)
	for name, tt := range map[string]struct {
		ceiling   plan.Buckets
		documents []backtest.Document
		weather   []backtest.WeatherIssue
	}{
		"without a ceiling": {documents: documents}, "below a ceiling": {flat, documents, nil},
		"by the weather": {weather: weather}, "by the weather and forecasts": {documents: documents, weather: weather},
	} {
		t.Run(name, func(t *testing.T) {
			setup := backtest.Setup{
				Actuals: actuals, Documents: tt.documents, Weather: tt.weather, Jobs: jobs, From: from, To: to, History: 20 * 24 * hour,
				MaxAge: 24 * hour, Terms: plan.Terms{WaitPrice: 0.001, MinGain: 0.01}, Ceiling: tt.ceiling, WeatherDelay: 6 * hour,
			}
			plain, err := setup.Run(t.Context(), policies...)
			if err != nil {
				t.Fatal(err)
			}
			cuts := []time.Time{at(22*24 + 7), at(26 * 24), at(30*24 + 13.5)}
			if testing.Short() {
				cuts = cuts[:1]
			}
			for i, cut := range cuts {
				seed := uint64(i + 1)
				random := rand.New(rand.NewPCG(seed, seed))
				changed := setup
				changed.Actuals, changed.Documents = disturb(random, actuals, tt.documents, cut)
				changed.Weather = otherWind(random, tt.weather, cut.Add(-6*hour))
				other, err := changed.Run(t.Context(), policies...)
				if err != nil {
					t.Fatal(err)
				}
				compareStarts(t, plain, other, cut)
			}
		})
	}
}

// disturb changes the actual intensities of slots that begin after the cut, and the forecasts after
// it.
func disturb(random *rand.Rand, actuals backtest.Actuals, documents []backtest.Document, cut time.Time) (backtest.Actuals, []backtest.Document) {
	slots := actuals.Series.Slots()
	for i := range slots {
		if slots[i].Start.After(cut) {
			slots[i].Intensity *= 0.3 + 1.4*random.Float64()
		}
	}
	var others []backtest.Document
	for _, document := range documents {
		ahead := document.Series.Slots()
		for i := range ahead {
			if document.Issued.After(cut) {
				ahead[i].Intensity *= 0.3 + 1.4*random.Float64()
			}
		}
		others = append(others, backtest.Document{Issued: document.Issued, Series: forecast.NewSeries(ahead)})
	}
	return backtest.Actuals{Series: forecast.NewSeries(slots), SlotWidth: actuals.SlotWidth}, others
}

// windOf returns forecasts of the wind for two days, which comes with clean electricity.
func windOf(actuals backtest.Actuals) []backtest.WeatherIssue {
	var issues []backtest.WeatherIssue
	slots := actuals.Series.Slots()
	for d := 0; d+2 <= len(slots)/24; d++ {
		issue := backtest.WeatherIssue{Issued: slots[24*d].Start}
		for _, slot := range slots[24*d : 24*(d+2)] {
			issue.Weather = append(issue.Weather, forecast.WeatherHour{Start: slot.Start, WindSpeed: max(0, 20-slot.Intensity/30), Temperature: 10, SolarRadiation: math.NaN(), WindShare: math.NaN(), SolarShare: math.NaN()})
		}
		issues = append(issues, issue)
	}
	return issues
}

// otherWind changes the forecasts of the wind that are issued after the cut.
func otherWind(random *rand.Rand, issues []backtest.WeatherIssue, cut time.Time) []backtest.WeatherIssue {
	var others []backtest.WeatherIssue
	for _, issue := range issues {
		if issue.Issued.After(cut) {
			issue.Weather = slices.Clone(issue.Weather)
			for i := range issue.Weather {
				issue.Weather[i].WindSpeed *= 0.3 + 1.4*random.Float64()
			}
		}
		others = append(others, issue)
	}
	return others
}

// compareStarts wants all starts up to the cut to be the same, and some later starts to differ for
// every policy.
func compareStarts(t *testing.T, plain, other backtest.Result, cut time.Time) {
	t.Helper()
	for k, run := range plain.Runs {
		differ := 0
		for i, start := range run.Starts {
			again := other.Runs[k].Starts[i]
			switch {
			case start.Equal(again):
			case !start.After(cut) || !again.After(cut):
				t.Errorf("%s, cut at %s: the start of job %d moved from %s to %s", run.Policy, cut, i, start, again)
			default:
				differ++
			}
		}
		if differ == 0 {
			t.Errorf("%s, cut at %s: no start after it moved, though all intensities did", run.Policy, cut)
		}
	}
}
