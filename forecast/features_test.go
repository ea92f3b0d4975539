package forecast

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// irregular returns a value without any pattern, for an hour and a purpose.
func irregular(h hour, purpose int) float64 {
	return 100 + math.Mod(math.Abs(math.Sin(float64(int(h)*7+purpose*1013)))*1e5, 300)
}

func actualValue(h hour) float64 { return irregular(h, 0) }

// forecastValue returns what the forecast of the nth day said of an hour.
func forecastValue(n int, h hour) float64 { return irregular(h, 1+n) }

// average returns the mean of f over those of n hours that are wanted, the newest first, step hours
// apart.
func average(f func(hour) float64, newest hour, n, step int, wanted func(hour) bool) float64 {
	sum, count := 0.0, 0.0
	for i := range n {
		if h := newest.plus(-i * step); wanted(h) {
			sum, count = sum+f(h), count+1
		}
	}
	return sum / count
}

func every(hour) bool { return true }

// before returns the newest hour before v with the hour of the day of u.
func before(v, u hour) hour {
	b := v - 1
	for (u-b)%day != 0 {
		b--
	}
	return b
}

func TestFeaturesAreThoseOfTheMethod(t *testing.T) {
	g := &grid{first: h0}
	for n := range 60 * day {
		g.actual = append(g.actual, actualValue(h0.plus(n)))
	}
	for d := range 60 {
		g.announce(d*day, 72, func(h hour) float64 { return forecastValue(d, h) })
	}
	var m Model
	toldOf := 0
	for _, v := range []int{50 * day, 50*day + 1, 51*day + 13, 57*day + 23} {
		g.tell(&m, toldOf, v+1, nil)
		toldOf = v + 1
		for _, lead := range []int{1, 2, 11, 23, 24, 25, 47, 48} {
			from, to := h0.plus(v), h0.plus(v+lead)
			checkFeatures(t, "of the forecast", m.forecastLearner(0).features, from, to, wantForecastFeatures(from, to))
			checkFeatures(t, "of the past", m.historyLearner.features, from, to, wantPastFeatures(from, to))
		}
	}
}

func checkFeatures(t *testing.T, what string, features featureSet, v, u hour, want vector) {
	t.Helper()
	got, ok := features.at(v, u)
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-6, 1e-3)); diff != "" || !ok { // forecasts have the precision of singles
		t.Errorf("features %s, at %d, %d ahead (%v): %s", what, v-h0, u-v, ok, diff)
	}
}

// wantForecastFeatures returns x of section 2 of the reference.
func wantForecastFeatures(v, u hour) vector {
	n, b, here, level := v.since(h0)/day, before(v, u), before(v, v), actualValue(v)
	missed := func(h hour) float64 { return actualValue(h) - forecastValue(h.since(h0)/day, h) }
	slow := func(h hour) float64 {
		inForce := func(h hour) float64 { return forecastValue(min(n, h.since(h0)/day), h) }
		return average(inForce, h+12, 25, 1, func(h hour) bool { return h < h0.plus(n*day+72) })
	}
	return vector{
		forecastValue(n, u) - forecastValue(n, v), forecastValue(n, v) - level, forecastValue(n-1, v) - level, slow(u) - slow(v),
		average(actualValue, b, 7, day, every) - average(actualValue, here, 7, day, every),
		actualValue(b) - actualValue(here),
		average(actualValue, u-week, 4, week, every) - average(actualValue, v-week, 4, week, every),
		missed(b) - missed(here), level - actualValue(v-1), deviation(v),
	}
}

// wantPastFeatures returns NF9 of the reference.
func wantPastFeatures(v, u hour) vector {
	b, here, level := before(v, u), before(v, v), actualValue(v)
	kind := func(of hour) func(hour) bool {
		return func(h hour) bool { return workday(h) == workday(of) }
	}
	next := 0.0
	if b < v {
		next = actualValue(b+1) - actualValue(b)
	}
	return vector{
		average(actualValue, b, 7, day, every) - average(actualValue, here, 7, day, every),
		average(actualValue, b, 28, day, every) - average(actualValue, here, 28, day, every),
		average(actualValue, b, 28, day, kind(u)) - average(actualValue, here, 28, day, kind(v)),
		level - actualValue(v-1), level - actualValue(v-3), level - actualValue(v-6),
		next, actualValue(b-1) - actualValue(b), average(actualValue, v-1, month, 1, every) - level,
	}
}

func deviation(v hour) float64 {
	mean := average(actualValue, v, week, 1, every)
	return math.Sqrt(average(func(h hour) float64 { return (actualValue(h) - mean) * (actualValue(h) - mean) }, v, week, 1, every))
}

func TestUnknownFeaturesAreZero(t *testing.T) {
	var p past
	p.closeHour(h0, 100)
	s := &forecastFeatures{past: &p}
	values := record{h0, []float64{90, 120}}
	if _, ok := s.at(h0, h0+1); ok {
		t.Error("the feature set reaches an hour without any forecast")
	}
	s.receive(h0, &values)
	if _, ok := s.at(h0, h0+2); ok {
		t.Error("the feature set reaches beyond the forecast")
	}
	if _, ok := s.at(h0-1, h0+1); ok {
		t.Error("the feature set reaches from before the forecast")
	}
	got, _ := s.at(h0, h0+1)
	if diff := cmp.Diff(vector{0: 30, 1: -10, 9: 0.1}, got, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Error(diff)
	}
	got, _ = (&pastFeatures{&p}).at(h0, h0+1)
	if diff := cmp.Diff(vector{}, got); diff != "" {
		t.Error("of the past: ", diff)
	}
	for name, v := range map[string]featureSet{"forecast": s, "past": &pastFeatures{&p}} {
		if n := len(v.names()); n == 0 || n > featureCount {
			t.Errorf("the feature set of the %s has %d names", name, n)
		}
		if plain := v.ruleOfThumb(h0, h0+1); math.IsNaN(plain) {
			t.Errorf("the plain rule of the %s knows nothing", name)
		}
	}
}

func TestTheEarlierForecastIsThatOfTheDayBefore(t *testing.T) {
	for name, tt := range map[string]struct {
		known []int
		want  int // index; -1 for none
	}{
		"the only one has none":            {[]int{0}, -1},
		"yesterday's":                      {[]int{0, 24}, 0},
		"yesterday's that came late":       {[]int{0, 6, 24}, 1},
		"not that of the same day":         {[]int{0, 20, 24}, 0},
		"one that replaces the one before": {[]int{0, 24, 24}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := &forecastFeatures{past: &past{}}
			for i, known := range tt.known {
				s.receive(h0.plus(known), &record{h0.plus(known), []float64{float64(i), 1}})
			}
			got := s.forecasts.newest(h0 + 1000).earlier
			if (got == nil) != (tt.want < 0) || got != nil && got.values.values[0] != float64(tt.want) {
				t.Errorf("got %+v, want number %d", got, tt.want)
			}
		})
	}
}

func TestRidgeFindsTheWeights(t *testing.T) {
	m := newMoments(featureCount)
	want := vector{0: 0.5, 3: -2, 9: 1}
	for i := range 500 {
		var x vector
		y := 0.0
		for j := range x {
			x[j] = irregular(hour(i), j)/100 - 2
			y += want[j] * x[j]
		}
		m.add(&x, y, 1)
	}
	if diff := cmp.Diff(want, m.ridge(1e-6, vector{}), cmpopts.EquateApprox(0, 1e-6)); diff != "" {
		t.Error("unpulled: ", diff)
	}
	if diff := cmp.Diff(vector{4: 7}, m.ridge(1e12, vector{4: 7}), cmpopts.EquateApprox(0, 1e-3)); diff != "" {
		t.Error("pulled as strongly as can be: ", diff)
	}
}

func TestLeadsFallIntoTheBucketsOfTheMethod(t *testing.T) {
	first := map[int]int{1: 0, 2: 1, 3: 2, 4: 3, 5: 3, 6: 4, 8: 4, 9: 5, 12: 5, 13: 6, 18: 6, 19: 7, 24: 7, 25: 8, 36: 8, 37: 9, 48: 9, 49: 10, 60: 10, 61: 10, 191: 10}
	for lead, want := range first {
		if got := leadBucket(lead); got != want {
			t.Errorf("%d hours ahead are in bucket %d, want %d", lead, got, want)
		}
	}
}
