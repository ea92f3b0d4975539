package forecast

import (
	"math"
	"testing"
	"time"
)

// wholeWeather returns what the grid knows of the weather until an hour, as one that is told the past at once.
func (g *grid) wholeWeather(until int) Weather {
	var all Weather
	for _, issue := range g.weather {
		if issue.received.Before(hr(until)) {
			all = append(all, issue.weather...)
		}
	}
	return all
}

// TestThePastWeatherTrainsAtOnceInWhateverOrderTheExporterWrites has a reader that is new. The exporter writes
// the weather before the past, which comes in pages.
func TestThePastWeatherTrainsAtOnceInWhateverOrderTheExporterWrites(t *testing.T) {
	g := windy(3, 40)
	now := hr(40 * day)
	weather := map[string]Weather{"A": g.wholeWeather(40 * day)}
	past := func(from int) map[string]*Series {
		return map[string]*Series{"A": even(hr(from), time.Hour, g.actual[from:40*day]...)}
	}
	details := map[string]Details{"A": {Origin: Origin{Provider: "P"}}}
	for name, documents := range map[string][]Document{
		"all at once":           {{Actuals: past(0), Weather: weather}},
		"the past first":        {{Actuals: past(0)}, {Actuals: past(0), Weather: weather}},
		"the weather first":     {{Weather: weather}, {Actuals: past(0), Weather: weather}},
		"the past page by page": {{Weather: weather}, {Actuals: past(26 * day), Weather: weather}, {Actuals: past(12 * day), Weather: weather}, {Actuals: past(0), Weather: weather}},
	} {
		var store Store
		for _, d := range documents {
			d.Details = details
			if err := store.Offer(Source{}, d, now); err != nil {
				t.Fatal(err)
			}
		}
		f, _ := store.Snapshot(Source{}).Forecast("A")
		if n := len(f.Model.sky.outlooks); n < 35 {
			t.Errorf("%s: the model has %d outlooks, want one of each day", name, n)
		}
		if b := f.Model.Predict(now, trust); b.Basis != BasisWeather || math.IsNaN(b.SavingShare) {
			t.Errorf("%s: the basis is %s", name, b.Basis)
		}
	}
}

// BenchmarkTheFirstDocument is what a new reader does with eight weeks of a location.
func BenchmarkTheFirstDocument(b *testing.B) {
	g := windy(3, 56)
	withShares(g)
	d := Document{
		Actuals: map[string]*Series{"A": even(hr(0), time.Hour, g.actual...)}, Weather: map[string]Weather{"A": g.wholeWeather(56 * day)},
		Details: map[string]Details{"A": {Origin: Origin{Provider: "P"}}},
	}
	for b.Loop() {
		var store Store
		if err := store.Offer(Source{}, d, hr(56*day)); err != nil {
			b.Fatal(err)
		}
	}
}
