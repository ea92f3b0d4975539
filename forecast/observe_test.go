package forecast

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// between returns the actual intensities of the hours [from, to) of a grid.
func (g *grid) between(from, to int) *Series {
	var values []float64
	for n := from; n < to; n++ {
		values = append(values, g.at(g.first.plus(n)))
	}
	return even(startOf(g.first.plus(from)), time.Hour, values...)
}

// observed returns a model that has observed the hours [0, to) of a grid, one by one.
func observed(g *grid, to int) *Model {
	m := &Model{}
	for _, s := range g.between(0, to).Slots() {
		m.Observe(s)
	}
	return m
}

func TestAModelThatStartsWarmIsAsOneThatLivedThroughThePast(t *testing.T) {
	const now = 56 * day
	g := synthetic(3, 58, 0)
	want := observed(g, now).Predict(hr(now), trust)
	for name, tell := range map[string]func(m *Model){
		"all at once": func(m *Model) { m.ObserveAll(g.between(0, now), hr(now)) },
		"the newest hour first": func(m *Model) {
			m.ObserveAll(g.between(now-1, now), hr(now))
			m.ObserveAll(g.between(0, now), hr(now))
		},
		"the last day first": func(m *Model) {
			m.ObserveAll(g.between(now-day, now-1), hr(now-1))
			m.ObserveAll(g.between(0, now), hr(now))
		},
		"with a week's hole that is filled later": func(m *Model) {
			m.ObserveAll(NewSeries(slices.Concat(g.between(0, 10*day).Slots(), g.between(17*day, now).Slots())), hr(now))
			m.ObserveAll(g.between(0, now), hr(now))
		},
		"after the forecasts of a week": func(m *Model) {
			for d := range 7 {
				m.Receive(g.between(d*day, d*day+48), hr(d*day))
			}
			m.archive, m.course, m.received = nil, course{}, time.Time{} // the forecasts themselves would be used, too
			m.ObserveAll(g.between(0, now), hr(now))
		},
		"hour by hour": func(m *Model) {
			for n := 1; n <= now; n++ {
				m.ObserveAll(g.between(max(0, n-60), n), hr(n))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := &Model{}
			tell(m)
			got := m.Predict(hr(now), trust)
			slots := cmp.Transformer("slots", func(s *Series) []Slot { return s.Slots() })
			if diff := cmp.Diff(want, got, slots, cmp.AllowUnexported(Differences{}), cmpopts.EquateApprox(1e-9, 0)); diff != "" || got.Basis != BasisHistory {
				t.Errorf("basis %s\n%s", got.Basis, diff)
			}
		})
	}
}

// TestARealGridIsLearnedAtOnce has the real grids, whose values are judged before they are observed.
func TestARealGridIsLearnedAtOnce(t *testing.T) {
	for _, region := range traceRegions(t) {
		g := readTrace(t, region, 60)
		to := min(len(g.actual), 56*day)
		now := startOf(g.first.plus(to))
		warm := &Model{}
		if v := warm.ObserveAll(g.between(0, to), now); v.Doubted > 0 {
			t.Errorf("%s: %s", region, v.Doubt)
		}
		slots := cmp.Transformer("slots", func(s *Series) []Slot { return s.Slots() })
		if diff := cmp.Diff(observed(g, to).Predict(now, trust), warm.Predict(now, trust), slots, cmp.AllowUnexported(Differences{}), cmpopts.EquateApprox(1e-9, 0)); diff != "" {
			t.Errorf("%s: %s", region, diff)
		}
	}
}

func TestWhatIsNewIsObserved(t *testing.T) {
	unknown := math.NaN()
	hours := func(from int, values ...float64) *Series { return even(hr(from), time.Hour, values...) }
	for name, tt := range map[string]struct {
		offers []*Series // the nth at the nth hour of the second day
		want   []float64 // from the first hour on
		until  time.Time
	}{
		"a revision comes too late":                  {[]*Series{hours(20, 300, 310, 320, 330), hours(20, 200, 210, 220, 230, 240)}, []float64{300, 310, 320, 330, 240}, hr(25)},
		"fewer hours than a day are not filled":      {[]*Series{hours(20, 300, 310), hours(23, 330, 340), hours(20, 1, 2, 222, 3, 4, 350)}, []float64{300, 310, unknown, 330, 340, 350}, hr(26)},
		"what nobody knows stays unknown":            {[]*Series{NewSeries(slices.Concat(hours(20, 300).Slots(), hours(22, 320).Slots()))}, []float64{300, unknown, 320}, hr(23)},
		"the slot that runs counts to its end":       {[]*Series{hours(22, 300, 310, 320)}, []float64{300, 310, 320}, hr(25)},
		"a slot that has not begun is no actual one": {[]*Series{hours(22, 300, 310, 320, 330, 340)}, []float64{300, 310, 320}, hr(25)},
		"a slot of a week is cut":                    {[]*Series{even(hr(20), 7*day*time.Hour, 300)}, []float64{300, 300, 300, 300, 300, 300}, hr(26)},
	} {
		t.Run(name, func(t *testing.T) {
			m := &Model{}
			for i, offered := range tt.offers {
				m.ObserveAll(offered, hr(day+i))
			}
			if diff := cmp.Diff(tt.want, m.closedActuals().values, cmp.Comparer(func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) })); diff != "" || !m.actualUntil().Equal(tt.until) {
				t.Errorf("until %v, want %v\n%s", m.actualUntil(), tt.until, diff)
			}
		})
	}
}

func TestActualIntensitiesAreJudgedBeforeTheyAreObserved(t *testing.T) {
	g := synthetic(5, 58, 0)
	const now = 56 * day
	outage := func(values map[int]float64) *Series {
		slots := g.between(0, now+2).Slots()
		for n, v := range values {
			slots[n].Intensity = v
		}
		return NewSeries(slots)
	}
	for name, tt := range map[string]struct {
		bad     map[int]float64
		doubted int
	}{
		"zeros in the past":            {map[int]float64{1000: 0, 1001: 0}, 2},
		"a zero now":                   {map[int]float64{now: 0}, 1},
		"placeholders":                 {map[int]float64{900: -1, 901: -1, 902: -999}, 3},
		"another unit":                 {map[int]float64{now: 0.3}, 1},
		"a value that is much too big": {map[int]float64{700: 90000}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			atOnce, later := &Model{}, &Model{}
			v := atOnce.ObserveAll(outage(tt.bad), hr(now+2))
			later.ObserveAll(g.between(0, now), hr(now))
			w := later.ObserveAll(outage(tt.bad), hr(now+2))
			for n := range tt.bad {
				if got := atOnce.past.actual.at(h0.plus(n)); !math.IsNaN(got) {
					t.Errorf("hour %d of the past is %v", n, got)
				}
				if got := later.past.actual.at(h0.plus(n)); n >= now && !math.IsNaN(got) {
					t.Errorf("the new hour %d is %v", n, got)
				}
				if n >= now && w.Doubted != 1 {
					t.Errorf("%d new values are doubted: %s", w.Doubted, w.Doubt)
				}
			}
			if v.Doubted != tt.doubted || v.Doubt == "" {
				t.Errorf("%d are doubted: %q", v.Doubted, v.Doubt)
			}
		})
	}
}

func TestTheSameActualIntensitiesAreNotLearnedAgain(t *testing.T) {
	slots := synthetic(5, 58, 0).between(0, 56*day).Slots()
	for n := range 3 * day { // three days that the model does not take for true
		slots[20*day+n].Intensity = 90000
	}
	m, actuals := &Model{}, NewSeries(slots)
	m.ObserveAll(actuals, hr(56*day))
	learned := m.historyLearner
	if m.ObserveAll(actuals, hr(56*day)); m.historyLearner != learned {
		t.Error("the model learns again what it has just learned")
	}
}

// TestHostileActualIntensitiesTakeLittleTime tells a model of two centuries. The test would take
// minutes if the model closed each hour of them.
func TestHostileActualIntensitiesTakeLittleTime(t *testing.T) {
	var slots []Slot
	for year := 1970; year < 2200; year++ {
		start := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		slots = append(slots, Slot{start, start.AddDate(1, 0, 0), 300})
	}
	m := &Model{}
	for range 50 {
		m.ObserveAll(NewSeries(slots), hr(56*day))
	}
	if n := len(m.past.actual.values); n > retentionHours+2 {
		t.Errorf("the model keeps %d hours", n)
	}
}

func TestForecastsGoOnWithoutActualIntensities(t *testing.T) {
	const stops = 30 * day
	g := synthetic(7, 50, 20)
	for name, tt := range map[string]struct {
		after int // hours after the last actual intensity
		// forecastAge is the age of the newest forecast, in hours; below zero if there is none.
		forecastAge   int
		want          Basis
		isFirst       bool // there was no forecast before
		asItWasIssued bool
	}{
		"for some hours, the forecast is corrected by what was": {6, 1, BasisForecast, false, false},
		"the first forecast is used as it comes":                {6, 1, BasisForecast, true, true},
		"after half a day, each forecast is":                    {13, 1, BasisForecast, false, true},
		"for weeks, too":                                        {15 * day, 1, BasisForecast, false, true},
		"if the forecast stops as well, history goes on":        {2 * day, 31, BasisHistory, true, false},
		"after three days, nothing is known":                    {4 * day, 90, BasisNothing, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			m, now := observed(g, stops), stops+tt.after
			if !tt.isFirst {
				m.Receive(g.between(stops-2, now+46), hr(stops-2))
			}
			published := g.between(now-tt.forecastAge, now-tt.forecastAge+48)
			m.Receive(published, hr(now-tt.forecastAge))
			p := m.Predict(hr(now), 24*time.Hour)
			said, _ := published.At(hr(now + 5))
			expected, _ := p.Series.At(hr(now + 5))
			if p.Basis != tt.want || tt.want == BasisForecast && (math.Abs(said-expected) < 1e-3) != tt.asItWasIssued {
				t.Errorf("the basis is %s, the forecast says %.1f, and %.1f is expected", p.Basis, said, expected)
			}
		})
	}
}

func TestRestoringAHistoryKeepsWhatWasObservedSince(t *testing.T) {
	g := synthetic(9, 40, 0)
	const saved, now = 30 * day, 30*day + 5
	history := saveModel(t, observed(g, saved))
	old := &Model{}
	for d := range 30 {
		old.Receive(g.between(d*day, d*day+48), hr(d*day))
	}
	for name, tt := range map[string]struct {
		history []byte
		offered *Series
		want    int // known hours
	}{
		"the newest hours":          {history, g.between(saved, now), now},
		"hours with a hole between": {history, g.between(saved+2, now), now - 2},
		"more than the history has": {saveModel(t, func() *Model {
			m := &Model{}
			m.ObserveAll(g.between(saved-40, saved), hr(saved))
			return m
		}()), g.between(0, now), now},
		"in place of what forecasts stood for": {saveModel(t, old), g.between(saved, now), 5},
	} {
		t.Run(name, func(t *testing.T) {
			m := &Model{}
			m.ObserveAll(tt.offered, hr(now))
			if err := m.Restore(tt.history, hr(now)); err != nil {
				t.Fatal(err)
			}
			known := 0
			for _, v := range m.closedActuals().values {
				if !math.IsNaN(v) {
					known++
				}
			}
			if known != tt.want || !m.actualUntil().Equal(hr(now)) {
				t.Errorf("%d hours are known until %v, want %d", known, m.actualUntil(), tt.want)
			}
		})
	}
}

func BenchmarkWarmStart(b *testing.B) {
	const locations = 64
	g := synthetic(11, 58, 0)
	actuals := map[string]*Series{}
	details := map[string]Details{}
	for i := range locations {
		name := string(rune('A'+i/26)) + string(rune('A'+i%26))
		actuals[name], details[name] = g.between(0, 56*day), Details{Origin: Origin{Provider: "P", Zone: name}}
	}
	document := Document{Actuals: actuals, Details: details}
	b.Run("64 locations", func(b *testing.B) {
		for b.Loop() {
			var store Store
			if err := store.Offer(Source{}, document, hr(56*day)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("64 locations again", func(b *testing.B) {
		var store Store
		_ = store.Offer(Source{}, document, hr(56*day))
		for b.Loop() {
			_ = store.Offer(Source{}, document, hr(56*day))
		}
	})
}
