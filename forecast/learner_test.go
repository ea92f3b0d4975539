package forecast

import "testing"

// TestWhatTheProviderToldOfThePastCountsFromTheFirstDay gives a new model the actual intensities of
// some weeks at once, as a provider does, and then forecasts that are upside down: the model cannot
// know this yet, but it knows the days.
func TestWhatTheProviderToldOfThePastCountsFromTheFirstDay(t *testing.T) {
	const weeks, days = 40 * day, 2 * day
	g := synthetic(6, 44, 0)
	g.forecasts = nil
	for d := range 44 {
		g.announce(d*day, 96, func(h hour) float64 { return 600 - g.at(h) })
	}
	told, asked := &Model{}, &Model{}
	for n, actual := range g.actual[:weeks] {
		told.Observe(Slot{hr(n), hr(n + 1), actual})
	}
	warm, raw := g.mae(told, weeks, weeks+days, day)
	cold, _ := g.mae(asked, weeks, weeks+days, day)
	if warm > 0.7*cold || warm > 0.7*raw {
		t.Errorf("its mean error is %.1f; without the past %.1f, that of the forecast itself %.1f", warm, cold, raw)
	}
}
