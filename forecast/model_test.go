package forecast

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// trust is longer than the time between two forecasts of the tests.
const trust = 30 * time.Hour

func TestNoPredictionSeesTheFuture(t *testing.T) {
	grids := map[string]func(t *testing.T) *grid{
		"synthetic": func(*testing.T) *grid { return synthetic(1, 40, 50) },
		"windy":     func(*testing.T) *grid { return windy(1, 40) },
		"windy, with forecasts": func(*testing.T) *grid {
			g := windy(1, 40)
			g.forecasts = synthetic(1, 40, 50).forecasts
			return g
		},
	}
	for _, region := range traceRegions(t) {
		grids[region] = func(t *testing.T) *grid { return readTrace(t, region, 40) }
	}
	for name, grid := range grids {
		for _, cut := range []int{3*day + 7, 21*day + 23} {
			if cut > 7*day && testing.Short() {
				continue
			}
			t.Run(fmt.Sprint(name, ", what comes after hour ", cut), func(t *testing.T) {
				g := grid(t)
				want := predictions(g, cut)
				if got := predictions(g.changed(cut+1), cut); !slices.EqualFunc(want, got, slices.Equal) {
					t.Error("what comes later changes what was predicted")
				}
				if got := predictions(g.changed(cut), cut); slices.Equal(want[cut], got[cut]) {
					t.Error("what comes now is not seen")
				}
			})
		}
	}
}

// predictions returns the predictions of the hours up to the last, bit by bit.
func predictions(g *grid, last int) [][]uint64 {
	var all [][]uint64
	var m Model
	g.tell(&m, 0, last+1, func(now time.Time) { all = append(all, bits(m.Predict(now, trust))) })
	return all
}

func bits(p Prediction) []uint64 {
	all := []uint64{uint64(p.LearnedTime), math.Float64bits(p.SavingShare)}
	for _, s := range p.Series.Slots() {
		all = append(all, uint64(s.Start.UnixNano()), uint64(s.End.UnixNano()), math.Float64bits(s.Intensity))
	}
	return all
}

// changed returns a grid in which everything that becomes known from the nth hour on is different.
func (g *grid) changed(n int) *grid {
	rng := rand.New(rand.NewPCG(9, uint64(n)))
	other := &grid{first: g.first, actual: slices.Clone(g.actual)}
	for i := n; i < len(other.actual); i++ {
		other.actual[i] *= 0.3 + 1.4*rng.Float64()
	}
	for _, a := range g.forecasts {
		if !a.received.Before(startOf(g.first.plus(n))) {
			slots := a.series.Slots()
			for i := range slots {
				slots[i].Intensity *= 0.3 + 1.4*rng.Float64()
			}
			a.series = NewSeries(slots)
		}
		other.forecasts = append(other.forecasts, a)
	}
	for _, w := range g.weather {
		if !w.received.Before(startOf(g.first.plus(n))) {
			w.weather = slices.Clone(w.weather)
			for i := range w.weather {
				w.weather[i].WindSpeed *= 0.3 + 1.4*rng.Float64()
				w.weather[i].Temperature += 5 * rng.NormFloat64()
			}
		}
		other.weather = append(other.weather, w)
	}
	return other
}

func TestTheModelLearns(t *testing.T) {
	t.Run("a forecast that is wrong at certain hours", func(t *testing.T) {
		var m Model
		g := synthetic(2, 40, 80)
		g.mae(&m, 0, 20*day, 1)
		if learned, raw := g.mae(&m, 20*day, 36*day, 24); learned > 0.6*raw {
			t.Errorf("its mean error is %.1f, the forecast's %.1f", learned, raw)
		}
	})
	t.Run("a forecast that is right", func(t *testing.T) {
		var m Model
		g := synthetic(3, 40, 0)
		g.forecasts = nil
		for d := range 40 {
			g.announce(d*day, 96, g.at)
		}
		g.mae(&m, 0, 20*day, 1)
		if learned, _ := g.mae(&m, 20*day, 36*day, 24); learned > 8 {
			t.Errorf("its mean error is %.1f, the forecast's 0", learned)
		}
	})
	t.Run("the course of a day without any forecast", func(t *testing.T) {
		var m Model
		g := synthetic(4, 40, 0)
		g.forecasts = nil
		sum, flat, n := 0.0, 0.0, 0.0
		g.tell(&m, 0, 20*day, nil)
		g.tell(&m, 20*day, 36*day, func(now time.Time) {
			p := m.Predict(now, trust)
			for h := hourOf(now) + 1; h <= hourOf(now)+day; h++ {
				got, _ := p.Series.At(startOf(h))
				sum, flat, n = sum+math.Abs(got-g.at(h)), flat+math.Abs(g.at(hourOf(now))-g.at(h)), n+1
			}
			if p.Basis != BasisHistory {
				t.Fatalf("at %v, the basis is %q", now, p.Basis)
			}
		})
		if sum > 0.5*flat {
			t.Errorf("its mean error is %.1f, that of no change %.1f", sum/n, flat/n)
		}
	})
}

func TestSavingShareTellsAGoodForecastFromABadOne(t *testing.T) {
	share := func(seed uint64, value func(g *grid, h hour) float64) float64 {
		var m Model
		g := synthetic(seed, 32, 0)
		g.forecasts = nil
		for d := range 32 {
			g.announce(d*day, 96, func(h hour) float64 { return value(g, h) })
		}
		g.tell(&m, 0, 30*day, nil)
		return m.Predict(hr(30*day-1), trust).SavingShare
	}
	good := share(5, func(g *grid, h hour) float64 { return g.at(h) })
	bad := share(5, func(g *grid, h hour) float64 { return 600 - g.at(h) })
	if good < 0.9 || good > 1 || bad > good-0.05 || math.IsNaN(bad) {
		t.Errorf("the share of a good forecast is %.3f, that of a bad one %.3f", good, bad)
	}
	if got := new(Model).Predict(t0, trust).SavingShare; !math.IsNaN(got) {
		t.Errorf("the share of nothing is %v", got)
	}
}

// constant returns a grid with the same intensity all the time.
func constant(days int, level float64) *grid {
	g := &grid{first: h0}
	for range days * day {
		g.actual = append(g.actual, level)
	}
	for d := range days {
		g.announce(d*day, 96, func(hour) float64 { return level })
	}
	return g
}

func TestOddGrids(t *testing.T) {
	negative := synthetic(6, 30, 20)
	for i := range negative.actual {
		negative.actual[i] -= 300
	}
	for i, a := range negative.forecasts {
		slots := a.series.Slots()
		for j := range slots {
			slots[j].Intensity -= 300
		}
		negative.forecasts[i].series = NewSeries(slots)
	}
	for name, tt := range map[string]struct {
		g      *grid
		within float64 // of the actual intensity
	}{
		"one that is always the same":       {constant(30, 100), 1e-6},
		"one that is always clean":          {constant(30, 0), 1e-6},
		"one that is always negative":       {constant(30, -50), 1e-6},
		"one of the largest intensity":      {constant(30, MaxIntensity), 1},
		"one that is sometimes negative":    {negative, 200},
		"one that grows tenfold in a day":   {jump(30, 20, 200), 5},
		"one that becomes clean in an hour": {jump(30, 200, 0), 5},
		"one that is no longer clean":       {jump(30, 0, 50), 5},
	} {
		t.Run(name, func(t *testing.T) {
			var m Model
			tt.g.tell(&m, 0, 26*day, func(now time.Time) { checkSane(t, m.Predict(now, trust), now) })
			now := hr(26*day - 1)
			p := m.Predict(now, trust)
			for h := hourOf(now); h < hourOf(now)+3*day; h++ {
				if got, ok := p.Series.At(startOf(h)); !ok || math.Abs(got-tt.g.at(h)) > tt.within {
					t.Fatalf("%d hours ahead, it predicts %v (%v), want about %v", h-hourOf(now), got, ok, tt.g.at(h))
				}
			}
		})
	}
}

// jump returns a grid that is constant until its tenth day, and then constant at another intensity.
func jump(days int, before, after float64) *grid {
	g, later := constant(days, before), constant(days, after)
	copy(g.actual[10*day:], later.actual[10*day:])
	copy(g.forecasts[10:], later.forecasts[10:])
	return g
}

// checkSane checks what holds for every prediction.
func checkSane(t *testing.T, p Prediction, now time.Time) {
	t.Helper()
	slots := p.Series.Slots()
	if (p.Basis == BasisNothing) != (len(slots) == 0) {
		t.Fatalf("at %v, the basis is %q, with %d slots", now, p.Basis, len(slots))
	}
	if len(slots) > 0 && (slots[0].Start.After(now) || slots[0].Start.Before(startOf(hourOf(now)))) {
		t.Fatalf("at %v, the prediction begins at %v", now, slots[0].Start)
	}
	for i, s := range slots {
		if i > 0 && s.Start.Before(slots[i-1].End) || !s.Start.Before(s.End) {
			t.Fatalf("at %v, slot %v follows %v", now, s, slots[max(i-1, 0)])
		}
		if !(math.Abs(s.Intensity) <= 3*MaxIntensity) {
			t.Fatalf("at %v, the intensity is %v", now, s)
		}
	}
	if p.LearnedTime < 0 || math.IsInf(p.SavingShare, 0) || p.SavingShare > 1+1e-9 {
		t.Fatalf("at %v, learned from %v, share %v", now, p.LearnedTime, p.SavingShare)
	}
}

func TestAnOutlierSpoilsNothing(t *testing.T) {
	good, now := synthetic(7, 40, 50), hr(26*day-1)
	var theirs Model
	good.tell(&theirs, 0, 26*day, nil)
	expected := theirs.Predict(now, trust)
	want, _ := good.mae(&theirs, 26*day, 36*day, 24)
	for name, spoil := range map[string]func(g *grid){
		"in an hour":                          func(g *grid) { g.actual[25*day+5] = 1e6 },
		"in the last hour":                    func(g *grid) { g.actual[26*day-1] = 1e6 },
		"of the other sign":                   func(g *grid) { g.actual[25*day+5] = -1e6 },
		"that lasts for half a day":           func(g *grid) { fill(g.actual[25*day:25*day+12], 1e6) },
		"in a forecast of a week ago":         func(g *grid) { g.forecasts[19].series = even(hr(19*day), time.Hour, flat(96, 1e6)...) },
		"in an hour of a forecast, yesterday": func(g *grid) { makeOutlier(g.forecasts[25].series) },
	} {
		t.Run(name, func(t *testing.T) {
			bad := synthetic(7, 40, 50)
			spoil(bad)
			var ours Model
			bad.tell(&ours, 0, 26*day, nil)
			checkUnspoiled(t, ours.Predict(now, trust), expected, 60)
			if got, _ := good.mae(&ours, 26*day, 36*day, 24); got > 1.1*want {
				t.Errorf("the mean error of the days after is %.1f, without the outlier %.1f", got, want)
			}
		})
	}
}

// makeOutlier makes one intensity of a series absurd, in an hour for which a newer forecast comes.
func makeOutlier(s *Series) { s.steps[30].intensity = 1e6 }

func fill(values []float64, v float64) {
	for i := range values {
		values[i] = v
	}
}

func flat(n int, v float64) []float64 {
	values := make([]float64, n)
	fill(values, v)
	return values
}

// checkUnspoiled checks that the day ahead is predicted about as it would be without the outlier.
func checkUnspoiled(t *testing.T, got, want Prediction, within float64) {
	t.Helper()
	for _, s := range want.Series.Slots()[:day] {
		if v, ok := got.Series.At(s.Start); !ok || math.Abs(v-s.Intensity) > within {
			t.Errorf("at %v, it predicts %v (%v), without the outlier %v", s.Start, v, ok, s.Intensity)
		}
	}
}

func TestContributionsAddUp(t *testing.T) {
	for name, tt := range map[string]struct {
		tell func(m *Model) (now time.Time)
		want Basis
	}{
		"of a forecast alone": {func(m *Model) time.Time {
			m.Receive(even(hr(0), time.Hour, 1, 2, 3, 4, 5), hr(0))
			return hr(0).Add(time.Minute)
		}, BasisForecast},
		"of a forecast, while learning":          {afterActuals(5*day, 5*day), BasisForecast},
		"of a forecast, learned":                 {afterActuals(25*day, 25*day), BasisForecast},
		"of a forecast a day late":               {afterActuals(25*day, 24*day), BasisStaleForecast},
		"of a forecast two days late":            {afterActuals(26*day, 24*day), BasisStaleForecast},
		"of the past, while learning":            {afterActuals(5*day, -1), BasisHistory},
		"of the past, learned":                   {afterActuals(25*day, -1), BasisHistory},
		"of forecasts alone, while learning":     {afterForecasts(5*day, 7*time.Minute), BasisForecast},
		"of forecasts alone, at a full hour":     {afterForecasts(5*day, 0), BasisForecast},
		"of forecasts alone, in the last minute": {afterForecasts(25*day, 59*time.Minute), BasisForecast},
		"of the weather, while learning":         {afterWeather(5*day, false), BasisWeather},
		"of the weather, learned":                {afterWeather(25*day, false), BasisWeather},
		"of a forecast and the weather":          {afterWeather(25*day, true), BasisForecast},
		"of nothing":                             {func(*Model) time.Time { return hr(0) }, BasisNothing},
	} {
		t.Run(name, func(t *testing.T) {
			var m Model
			now := tt.tell(&m)
			p := m.Predict(now, trust)
			checkSane(t, p, now)
			if p.Basis != tt.want {
				t.Errorf("the basis is %q, want %q", p.Basis, tt.want)
			}
			for h := hourOf(now) - 2; h < hourOf(now)+9*day; h++ {
				want, covered := p.Series.Mean(startOf(h), startOf(h+1))
				sum, terms := 0.0, m.Contributions(now, startOf(h).Add(time.Minute), trust)
				for _, c := range terms {
					sum += c.Intensity
					if c.Feature == "" {
						t.Errorf("%+v has no name", terms)
					}
				}
				if (covered > 0) != (len(terms) > 0) || math.Abs(sum-want) > 1e-9*math.Abs(want) {
					t.Fatalf("%d hours ahead, %+v add up to %v, want %v over %v", h-hourOf(now), terms, sum, want, covered)
				}
			}
		})
	}
}

// afterActuals lets a model observe a synthetic grid for some hours and ten more, and receive its
// forecasts up to an hour.
func afterActuals(hours, lastForecast int) func(m *Model) time.Time {
	return func(m *Model) time.Time {
		g := synthetic(8, 40, 30)
		g.forecasts = slices.DeleteFunc(g.forecasts, func(a receivedForecast) bool { return a.received.After(hr(lastForecast)) })
		g.tell(m, 0, hours+10, nil)
		return hr(hours + 9)
	}
}

// afterWeather lets a model observe a windy grid for some hours and ten more, with its weather and with
// forecasts or without.
func afterWeather(hours int, withForecasts bool) func(m *Model) time.Time {
	return func(m *Model) time.Time {
		g := windy(8, 40)
		if withForecasts {
			g.forecasts = synthetic(8, 40, 30).forecasts
		}
		g.tell(m, 0, hours+10, nil)
		return hr(hours + 9)
	}
}

// afterForecasts lets a model receive forecasts of a synthetic grid every hour, 5 minutes before
// their first slot of 5 minutes, and asks some time into an hour.
func afterForecasts(hours int, into time.Duration) func(m *Model) time.Time {
	return func(m *Model) time.Time {
		g := synthetic(8, 40, 0)
		for n := range hours + 1 {
			for _, minute := range []int{2, 27, 52} {
				if received := hr(n).Add(time.Duration(minute) * time.Minute); n < hours || received.Before(hr(hours).Add(into)) {
					m.Receive(g.fine(received.Add(3*time.Minute), 5*time.Minute, 36), received)
					m.Predict(received, trust)
				}
			}
		}
		return hr(hours).Add(into)
	}
}

// fine returns a correct forecast of some hours in slots of one width, with a course within the
// hour.
func (g *grid) fine(start time.Time, width time.Duration, hours int) *Series {
	var values []float64
	for at := start; at.Before(start.Add(time.Duration(hours) * time.Hour)); at = at.Add(width) {
		values = append(values, g.at(hourOf(at))+float64(at.Minute()))
	}
	return even(start, width, values...)
}

// A model that has learned nothing has nothing to correct: the prediction is the forecast, whenever
// in the hour a forecast with short slots came, and whenever in the hour it is asked.
func TestWithoutHistoryTheNewestForecastIsPredictedAsItComes(t *testing.T) {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, minute := range []int{0, 7, 31, 56, 59} {
		received := start.Add(time.Duration(minute)*time.Minute + 36*time.Second)
		clean := received.Add(12 * time.Second)
		before := NewSeries([]Slot{{received.Add(-time.Hour), received.Add(3 * time.Hour), 77}})
		forecast := NewSeries([]Slot{
			{received.Add(-time.Minute), clean, 430},
			{clean, clean.Add(time.Hour), 120}, {clean.Add(time.Hour), clean.Add(2 * time.Hour), 400},
		})
		m := &Model{}
		m.Receive(before, received.Add(-20*time.Minute))
		m.Receive(forecast, received)
		for _, later := range []time.Duration{0, time.Minute, 5 * time.Minute, 40 * time.Minute, 90 * time.Minute} {
			now := received.Add(later)
			expected := m.Predict(now, 24*time.Hour).Series
			for at := now; at.Before(forecast.End()); at = at.Add(17 * time.Second) {
				said, _ := forecast.At(at)
				if got, ok := expected.At(at); !ok || math.Abs(got-said) > 1e-3 {
					t.Fatalf("received at :%02d, %s later, for %s: %v, %v, want %v", minute, later, at.Format(time.TimeOnly), got, ok, said)
				}
			}
		}
	}
}

func TestTheEndOfAnHourIsNoBoundary(t *testing.T) {
	start := time.Date(2026, 11, 21, 12, 20, 0, 0, time.UTC)
	m := &Model{}
	m.Receive(NewSeries([]Slot{{start, start.Add(3 * time.Hour), 100.3}, {start.Add(3 * time.Hour), start.Add(6 * time.Hour), 77}}), start)
	want := []Slot{{start, start.Add(3 * time.Hour), 100.3}, {start.Add(3 * time.Hour), start.Add(6 * time.Hour), 77}}
	got := m.Predict(start, 24*time.Hour).Series.Slots()
	if len(got) != len(want) || !got[0].End.Equal(want[0].End) || !got[1].End.Equal(want[1].End) {
		t.Errorf("%v, want %v", got, want)
	}
}
