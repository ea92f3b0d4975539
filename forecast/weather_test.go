package forecast

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// weatherAt is an hour whose shares nobody knows.
func weatherAt(start time.Time, wind, temperature, sun float64) WeatherHour {
	w := UnknownWeather(start)
	w.WindSpeed, w.Temperature, w.SolarRadiation = wind, temperature, sun
	return w
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
		effects := r.weather.effects()
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
				w.weather[i] = UnknownWeather(w.weather[i].Start)
			}
			return w
		},
		"no hour": func(w receivedWeather) receivedWeather { return receivedWeather{received: w.received} },
		"values that no weather has": func(w receivedWeather) receivedWeather {
			for i := range w.weather {
				w.weather[i] = weatherAt(w.weather[i].Start, math.Inf(1), -1e308, math.MaxFloat64)
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
	if p := m.Predict(hr(30*day), trust); p.Basis != BasisWeather || m.response.weather.learnedHours < 29*day || p.LearnedTime < 29*day*time.Hour {
		t.Errorf("the basis is %s, the response has learned from %d hours, and all from %s", p.Basis, m.response.weather.learnedHours, p.LearnedTime)
	}
	var first Model // hears the weather first
	first.HearWeather(all, hr(30*day))
	first.ObserveAll(even(hr(0), time.Hour, g.actual[:30*day]...), hr(30*day))
	if n := first.outlookLearner(0).learnedHours; len(first.sky.outlooks) != 29 || n < 27*day {
		t.Errorf("weather that came first: %d outlooks are known, and %d hours of them are learned", len(first.sky.outlooks), n)
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
			w = append(w, weatherAt(hr(first+i), wind, math.NaN(), math.NaN()))
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
	nan := math.NaN()
	w := Weather{weatherAt(hr(0), 3, 0, nan), weatherAt(hr(3), 6, 3, nan), weatherAt(hr(9), 12, nan, nan), {hr(16), 1, 1, 1, 1, 1}}
	got := w.hours(h0)
	for n, want := range map[int]conditions{
		1: {4, 1, nan, nan, nan}, 2: {5, 2, nan, nan, nan}, 6: {9, nan, nan, nan, nan}, 12: {nan, nan, nan, nan, nan}, 16: {1, 1, 1, 1, 1},
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
				w = append(w, weatherAt(start, v, values[(i+j)%len(values)], values[(i+2*j)%len(values)]))
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
	w := Weather{weatherAt(now.AddDate(0, 0, 9), 5, 5, 5)}
	m.HearWeather(w, now.AddDate(0, 0, 9))
	m.rewind(now)
	if m.sky.received.After(now) || m.sky.weather.isKnownAt(hourOf(w[0].Start)) {
		t.Errorf("weather was received at %v", m.sky.received)
	}
	if !m.sky.weather.isKnownAt(hourOf(now) - 5*day) {
		t.Error("the weather of the past is forgotten")
	}
}

// withShares adds the shares of the wind and sun of a windy grid to its weather, for today and tomorrow, as an operator
// expects them: with a tenth of the noise that weather has.
func withShares(g *grid) {
	rng := rand.New(rand.NewPCG(1, 3))
	for _, w := range g.weather {
		for i := range w.weather {
			power := (380 - g.at(hourOf(w.weather[i].Start))) / 380
			w.weather[i].WindShare, w.weather[i].SolarShare = max(0, power+0.002*rng.NormFloat64()), 0
		}
	}
}

func TestWhatOperatorsExpectOfWindAndSunCountsWhereItIsKnown(t *testing.T) {
	errors := func(g *grid) (today, later float64) {
		var m Model
		g.tell(&m, 0, 20*day, nil)
		g.tell(&m, 20*day, 36*day, func(now time.Time) {
			newest := m.sky.outlooks[len(m.sky.outlooks)-1].values
			for h := hourOf(now) + 1; h <= hourOf(now)+48; h++ {
				if missed := math.Abs(newest.at(h) - g.at(h)); math.IsNaN(missed) {
					continue
				} else if m.sky.weather.at(h).hasShares() {
					today += missed
				} else {
					later += missed
				}
			}
		})
		return today, later
	}
	g := windy(4, 40)
	without, _ := errors(g) // nobody knows a share: all is later
	_, all := errors(g)
	withShares(g)
	with, none := errors(g)
	if with > 0.5*all || without != 0 || none != 0 {
		t.Errorf("the error is %.0f with shares and %.0f without, want less than half", with, all)
	}
	for _, w := range g.weather { // tomorrow's are not published
		for i := range w.weather[day:] {
			w.weather[day+i].WindShare, w.weather[day+i].SolarShare = math.NaN(), math.NaN()
		}
	}
	if today, later := errors(g); today == 0 || today+later > all || later == 0 {
		t.Errorf("the error is %.0f today and %.0f later, and %.0f without shares", today, later, all)
	}
}

func TestASurplusOfTheLastHoursWithSharesFadesInTheHoursAfterThem(t *testing.T) {
	const last = 10
	r := newResponse()
	r.weather.learn([]term{{0, 1}}, 100)
	r.shares.learn([]term{{0, 1}}, 100)
	outlook := func(shares float64, hasSky bool) record {
		var w weather
		for i := range w {
			w[i] = unknown(0, day)
		}
		for h := hour(0); h < day; h++ {
			if hasSky || h > last {
				w[1].set(h, 0) // degrees
			}
			if h <= last {
				w[skyValues].set(h, shares)
			}
		}
		return r.outlook(0, &w)
	}
	wind := 2*day + weatherTerms
	r.shares.sums.xx[wind*(wind+3)/2], r.shares.sums.xy[wind] = 1e6, -1e6
	plain, windy := outlook(0, true), outlook(1, true)
	before := windy.at(last) - plain.at(last)
	if before > -10 {
		t.Fatalf("a share of 1 changes the intensity by %.1f", before)
	}
	for h, want := range map[hour]float64{last + 1: before * math.Exp(-1.0/12), last + 12: before * math.Exp(-1)} {
		if got := windy.at(h) - plain.at(h); math.Abs(got-want) > 0.01 {
			t.Errorf("%d hours after the last share it changes the intensity by %.2f, want %.2f", h-last, got, want)
		}
	}
	plain, windy = outlook(0, false), outlook(1, false)
	if got := windy.at(last+1) - plain.at(last+1); got != 0 {
		t.Errorf("shares without weather beside them change the intensity after them by %.2f", got)
	}
}

func TestSharesThatComeForThePastAreLearnedAtOnce(t *testing.T) {
	g := windy(4, 40)
	var m Model
	g.tell(&m, 0, 30*day, nil)
	if m.response.sharesCount() {
		t.Fatal("shares count that nobody has told")
	}
	withShares(g)
	var all Weather
	for _, w := range g.weather[:30] {
		all = append(all, w.weather...)
	}
	m.HearWeather(all, hr(30*day))
	if n := m.response.shares.learnedHours; !m.response.sharesCount() || n < 29*day {
		t.Errorf("the shares of %d hours are learned", n)
	}
	var again Model
	if err := again.Restore(saveModel(t, &m), hr(30*day)); err != nil {
		t.Fatal(err)
	}
	if got, want := again.response.shares.learnedHours, m.response.shares.learnedHours; got != want {
		t.Errorf("the shares of %d hours are learned after a restart, want %d", got, want)
	}
}

func TestWeatherOfAnOlderProgramIsRestored(t *testing.T) {
	var m Model
	now := afterWeather(10*day, false)(&m)
	_, plain := m.encode()
	shares := m.sky
	for i := skyValues; i < weatherValues; i++ {
		shares.weather[i] = record{}
	}
	m.sky = shares
	_, empty := m.encode()
	if len(empty) >= len(plain) {
		t.Fatalf("%d bytes without shares, and %d with unknown ones", len(empty), len(plain))
	}
	before := (1 + 8) + 6 + 4*len(m.past.actual.part(m.past.closedUntil()-retentionHours-month, m.past.closedUntil()).values) + 8
	for i := range skyValues {
		before += 6 + 4*len(m.sky.weather[i].values)
	}
	old := slices.Concat(empty[:before], empty[before+2*6:]) // two empty records
	var again Model
	if err := again.Restore(compressedAs(2, old), now); err != nil {
		t.Fatal(err)
	}
	if got, want := again.sky.weather.at(hourOf(now)-1), m.sky.weather.at(hourOf(now)-1); fmt.Sprint(got) != fmt.Sprint(want) || len(again.sky.outlooks) != len(m.sky.outlooks) {
		t.Errorf("the weather is %v and there are %d outlooks, want %v and %d", got, len(again.sky.outlooks), want, len(m.sky.outlooks))
	}
}

func TestAnUnknownValueNeverReplacesAKnownOne(t *testing.T) {
	t.Parallel()
	at, nan := time.Date(2026, time.November, 27, 12, 0, 0, 0, time.UTC), math.NaN()
	sky := Weather{{at.Add(time.Hour), 8, nan, nan, nan, nan}, {at, 7, 3, nan, 0.1, nan}}
	shares := Weather{{at.Add(59 * time.Minute), nan, math.Inf(1), nan, 0.4, 0.2}, {at.Add(-time.Hour), nan, nan, nan, 0.3, nan}}
	want := Weather{{at.Add(-time.Hour), nan, nan, nan, 0.3, nan}, {at, 7, 3, nan, 0.4, 0.2}, {at.Add(time.Hour), 8, nan, nan, nan, nan}}
	if diff := cmp.Diff(want, JoinWeather(sky, shares), cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	encoded, err := encodeWeather(map[string]Weather{"DE": append(sky, shares...)})
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := decodeWeather(encoded)
	if diff := cmp.Diff(want, decoded["DE"], cmpopts.EquateNaNs()); diff != "" || err != nil {
		t.Errorf("as published: %v (-want +got)\n%s", err, diff)
	}
	if joined := JoinWeather(nil, Weather{}); len(joined) != 0 {
		t.Errorf("of nothing: got %v", joined)
	}
}
