package forecast

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

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

// flatForecasts returns a grid whose days are steep and whose level changes slowly. Its forecasts know the
// level and not the days.
func flatForecasts(seed uint64, days int) *grid {
	rng, g := rand.New(rand.NewPCG(seed, 3)), &grid{first: h0}
	levels, slow := make([]float64, (days+4)*day), 0.0
	for i := range levels {
		slow = 0.98*slow + 8*rng.NormFloat64()
		levels[i] = 300 + slow
	}
	for i := range days * day {
		g.actual = append(g.actual, levels[i]+80*math.Sin(2*math.Pi*float64(i)/day))
	}
	for d := range days {
		g.announce(d*day, 96, func(h hour) float64 { return levels[h.since(h0)] })
	}
	return g
}

// TestAWarmStartTakesTheLevelFromTheForecastAndTheDaysFromThePast compares a model that knows the past with
// one that lived through the past with its forecasts.
func TestAWarmStartTakesTheLevelFromTheForecastAndTheDaysFromThePast(t *testing.T) {
	const weeks, days = 40 * day, 5 * day
	g := flatForecasts(1, 46)
	told := &Model{}
	told.ObserveAll(even(hr(0), time.Hour, g.actual[:weeks]...), hr(weeks))
	warm, raw := g.mae(told, weeks, weeks+days, day)
	if warm > 0.3*raw { // half the forecast and half the past would be 0.4
		t.Errorf("its mean error is %.1f, that of the forecast itself %.1f", warm, raw)
	}
}

// TestABeginnerChangesNothingOnceTheErrorsOfTheForecastAreKnown compares a model with one that never had a
// beginner.
func TestABeginnerChangesNothingOnceTheErrorsOfTheForecastAreKnown(t *testing.T) {
	const weeks = 30 * day
	g := flatForecasts(2, 46)
	helped, alone := &Model{}, &Model{}
	for _, m := range []*Model{helped, alone} {
		m.ObserveAll(even(hr(0), time.Hour, g.actual[:weeks]...), hr(weeks))
		g.tell(m, weeks, weeks+1, nil)
	}
	alone.forecastLearners[0].beginner = nil
	for d := range 15 {
		from, to := weeks+d*day+1, weeks+(d+1)*day+1
		for _, m := range []*Model{helped, alone} {
			g.tell(m, from, to, nil)
		}
		got, want := helped.Predict(hr(to-1), trust).Series, alone.Predict(hr(to-1), trust).Series
		if same := cmp.Equal(got.Slots(), want.Slots()); same != ((d+1)*day >= beginnerHours) {
			t.Errorf("after %d days: are both the same? %v", d+1, same)
		}
	}
	if helped.forecastLearners[0].beginner != nil {
		t.Error("the beginner is kept")
	}
}
