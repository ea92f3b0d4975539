package forecast

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// unknownWeather is an hour of which nothing is known.
func unknownWeather(start time.Time) WeatherHour {
	return WeatherHour{start, math.NaN(), math.NaN(), math.NaN()}
}

func TestTheWeatherMakesPredictionsBetter(t *testing.T) {
	errorOf := func(g *grid) (mean float64, basis Basis) {
		var m Model
		sum, n := 0.0, 0.0
		g.tell(&m, 0, 20*day, nil)
		g.tell(&m, 20*day, 36*day, func(now time.Time) {
			p := m.Predict(now, trust)
			for h := hourOf(now) + 1; h <= hourOf(now)+18; h++ {
				got, _ := p.Series.At(startOf(h))
				sum, n = sum+math.Abs(got-g.at(h)), n+1
			}
			basis = p.Basis
		})
		return sum / n, basis
	}
	g := windy(4, 40)
	with, basis := errorOf(g)
	g.weather = nil
	without, basisWithout := errorOf(g)
	if with > 0.8*without || basis != BasisWeather || basisWithout != BasisHistory {
		t.Errorf("the mean error is %.1f by %s, and without weather %.1f by %s", with, basis, without, basisWithout)
	}
}

// TestAWeatherOfTheWrongDayExplainsLess would find a series that is shifted by a day.
func TestAWeatherOfTheWrongDayExplainsLess(t *testing.T) {
	explained := func(shift int) float64 {
		g, r := windy(5, 40), newResponse()
		var w weather
		for _, issue := range g.weather {
			for i := range issue.weather {
				issue.weather[i].Start = issue.weather[i].Start.Add(time.Duration(shift) * time.Hour)
			}
			w, _ = w.revisedBy(issue.weather.hours(hourOf(issue.received)), hourOf(issue.received))
		}
		missed, all, mean := 0.0, 0.0, average(g.at, g.first+36*day, 30*day, 1, every)
		for h := g.first + 3*day; h < g.first+36*day; h++ {
			r.learn(h, w.at(h), g.at(h))
		}
		effects := r.effects()
		for h := g.first + 3*day; h < g.first+36*day; h++ {
			sum := 0.0
			for _, t := range terms(h, w.at(h)) {
				sum += t.value * effects[t.index]
			}
			missed, all = missed+(g.at(h)-sum)*(g.at(h)-sum), all+(g.at(h)-mean)*(g.at(h)-mean)
		}
		return 1 - missed/all
	}
	right, wrong := explained(0), explained(day)
	if right < 0.8 || wrong > right-0.2 {
		t.Errorf("the weather explains %.2f of the intensity, and that of the wrong day %.2f", right, wrong)
	}
}

func TestMissingWeatherCountsNothing(t *testing.T) {
	for name, change := range map[string]func(w receivedWeather) receivedWeather{
		"no value": func(w receivedWeather) receivedWeather {
			for i := range w.weather {
				w.weather[i] = unknownWeather(w.weather[i].Start)
			}
			return w
		},
		"no hour": func(w receivedWeather) receivedWeather { return receivedWeather{received: w.received} },
		"values that no weather has": func(w receivedWeather) receivedWeather {
			for i := range w.weather {
				w.weather[i] = WeatherHour{w.weather[i].Start, math.Inf(1), -1e308, math.MaxFloat64}
			}
			return w
		},
		"hours that do not count": func(w receivedWeather) receivedWeather {
			for i := range w.weather {
				w.weather[i].Start = w.weather[i].Start.AddDate(50, 0, 0)
			}
			return w
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := windy(6, 30)
			var with, without Model
			for i, w := range g.weather {
				g.weather[i] = change(w)
			}
			g.tell(&with, 0, 10*day, nil)
			g.weather = nil
			g.tell(&without, 0, 10*day, nil)
			now := hr(10*day - 1)
			if !slices.Equal(bits(with.Predict(now, trust)), bits(without.Predict(now, trust))) || !slices.Equal(saveModel(t, &with), saveModel(t, &without)) {
				t.Error("weather of which nothing is known changes what is predicted or saved")
			}
		})
	}
}

func TestThereIsNoOutlookBeforeTwoDaysOfHistory(t *testing.T) {
	var m Model
	g := windy(7, 30)
	g.tell(&m, 0, 4*day, func(now time.Time) {
		if want := hourOf(now) >= h0+2*day+6; (len(m.sky.outlooks) > 0) != want {
			t.Fatalf("at %v, there are %d outlooks", now, len(m.sky.outlooks))
		}
	})
	o := m.sky.outlooks[len(m.sky.outlooks)-1]
	if o.values.first != h0+3*day || o.values.end() != h0+8*day || o.knownAt != h0+3*day+5 {
		t.Errorf("the outlook of hour %d is for the hours from %d to %d", o.knownAt-h0, o.values.first-h0, o.values.end()-h0)
	}
	if !math.IsNaN(o.values.at(h0+5*day)) || math.IsNaN(o.values.at(h0+5*day-1)) {
		t.Error("the outlook does not end where the weather does")
	}
}

func TestThePastWeatherTrainsAtOnce(t *testing.T) {
	g := windy(9, 40)
	var m Model
	m.ObserveAll(even(hr(0), time.Hour, g.actual[:30*day]...), hr(30*day))
	var all Weather
	for _, w := range g.weather[:31] {
		all = append(all, w.weather...)
	}
	m.HearWeather(all, hr(30*day))
	m.Observe(Slot{hr(30 * day), hr(30*day + 1), g.at(h0 + 30*day)})
	if n := m.outlookLearner(0).learnedHours; len(m.sky.outlooks) != 29 || n < 27*day {
		t.Errorf("%d outlooks are known, and %d hours of them are learned", len(m.sky.outlooks), n)
	}
	if p := m.Predict(hr(30*day), trust); p.Basis != BasisWeather || m.response.learnedHours < 29*day || p.LearnedTime < 29*day*time.Hour {
		t.Errorf("the basis is %s, the response has learned from %d hours, and all from %s", p.Basis, m.response.learnedHours, p.LearnedTime)
	}
	sum := 0.0
	for h := h0 + 30*day; h < h0+32*day; h++ {
		sum += math.Abs(m.sky.outlooks[len(m.sky.outlooks)-1].values.at(h)-g.at(h)) / (2 * day)
	}
	if sum > 20 {
		t.Errorf("the mean error of the outlook is %.1f", sum)
	}
}

// TestWeatherCountsAtOnceHoweverLateTheIntensitiesAre asks a model right after it has heard the weather.
func TestWeatherCountsAtOnceHoweverLateTheIntensitiesAre(t *testing.T) {
	for _, late := range []int{1, 3, 24} {
		g := windy(9, 40)
		var m Model
		m.ObserveAll(even(hr(0), time.Hour, g.actual[:30*day-late]...), hr(30*day))
		var all Weather
		for _, w := range g.weather[:31] {
			all = append(all, w.weather...)
		}
		m.HearWeather(all, hr(30*day))
		p := m.Predict(hr(30*day), trust)
		if p.Basis != BasisWeather {
			t.Errorf("%d hours late: the basis is %s", late, p.Basis)
		}
		m.HearWeather(all[:len(all)-day], hr(30*day+1))
		if n := len(m.sky.outlooks); n > 1 && m.sky.outlooks[n-1].knownAt < m.sky.outlooks[n-2].knownAt {
			t.Errorf("%d hours late: the outlooks are not in order of time", late)
		}
	}
}

func TestTheNewestWeatherOfAnHourThatIsNotOverCounts(t *testing.T) {
	issue := func(first int, winds ...float64) Weather {
		var w Weather
		for i, wind := range winds {
			w = append(w, WeatherHour{hr(first + i), wind, math.NaN(), math.NaN()})
		}
		return w
	}
	var m Model
	m.HearWeather(issue(0, 1, 1, 1, 1, 1, 1, 1, 1), hr(2))
	m.HearWeather(issue(0, 2, 2, 2, 2, 2, 2), hr(4))
	m.HearWeather(issue(-2, 3, 3, 3, 3, 3, 3, 3), hr(5).Add(time.Minute))
	m.HearWeather(issue(0, 4, 4, 4, 4, 4, 4, 4, 4), hr(4)) // comes late
	var got []float64
	for h := h0 - 2; h < h0+8; h++ {
		got = append(got, m.sky.weather.at(h)[0])
	}
	if want := []float64{3, 3, 1, 1, 1, 1, 2, 2, 1, 1}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestHoursBetweenTwoForecastsOfTheWeatherAreInterpolated(t *testing.T) {
	w := Weather{{hr(0), 3, 0, math.NaN()}, {hr(3), 6, 3, math.NaN()}, {hr(9), 12, math.NaN(), math.NaN()}, {hr(16), 1, 1, 1}}
	got := w.hours(h0)
	for n, want := range map[int]conditions{
		1: {4, 1, math.NaN()}, 2: {5, 2, math.NaN()}, 6: {9, math.NaN(), math.NaN()}, 12: {math.NaN(), math.NaN(), math.NaN()}, 16: {1, 1, 1},
	} {
		if c := got.at(h0.plus(n)); fmt.Sprint(c) != fmt.Sprint(want) {
			t.Errorf("hour %d: %v, want %v", n, c, want)
		}
	}
}

func TestNoWeatherBreaksAModel(t *testing.T) {
	far := []time.Time{{}, hr(0), hr(500), time.Unix(0, 0), time.Date(2199, 12, 31, 23, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(math.MinInt64, 0), time.Unix(math.MaxInt64, 0)}
	values := []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), 1e308, -1e308, 5e-324, 150, -50, 70}
	var m Model
	for i, received := range far {
		var w Weather
		for _, start := range far {
			for j, v := range values {
				w = append(w, WeatherHour{start, v, values[(i+j)%len(values)], values[(i+2*j)%len(values)]})
			}
		}
		m.HearWeather(w, received)
		m.HearWeather(nil, received)
		var fresh Model
		now := afterWeather(3*day, false)(&fresh)
		fresh.HearWeather(w, received)
		checkSane(t, fresh.Predict(now, trust), now)
		saved := saveModel(t, &fresh)
		_ = new(Model).Restore(saved, now)
	}
	checkSane(t, m.Predict(hr(0), trust), hr(0))
}

func TestAModelForgetsOldWeather(t *testing.T) {
	var m Model
	g := windy(3, 100)
	g.tell(&m, 0, 95*day, nil)
	for i, r := range m.sky.weather {
		if n := len(r.values); n > retentionHours+horizonHours {
			t.Errorf("value %d is kept for %d hours", i, n)
		}
	}
	if n := len(m.sky.outlooks); n > retentionHours/outlookSpacingHours+2 {
		t.Errorf("%d outlooks are kept", n)
	}
}

func TestAClockThatWasAheadDoesNotStopTheWeather(t *testing.T) {
	var m Model
	now := afterWeather(10*day, false)(&m)
	w := Weather{{now.AddDate(0, 0, 9), 5, 5, 5}}
	m.HearWeather(w, now.AddDate(0, 0, 9))
	m.rewind(now)
	if m.sky.received.After(now) || m.sky.weather.isKnownAt(hourOf(w[0].Start)) {
		t.Errorf("weather was received at %v", m.sky.received)
	}
	if !m.sky.weather.isKnownAt(hourOf(now) - 5*day) {
		t.Error("the weather of the past is forgotten")
	}
}
