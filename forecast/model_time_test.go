package forecast

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// notedActuals returns the actual intensities that a model has of n hours.
func notedActuals(m *Model, n int) []float64 {
	var values []float64
	for h := h0; h < h0.plus(n); h++ {
		values = append(values, m.past.actual.at(h))
	}
	return values
}

// minute returns an instant some minutes after h0.
func minute(n int) time.Time { return hr(0).Add(time.Duration(n) * time.Minute) }

func TestObservedHoursAreMeans(t *testing.T) {
	nan := math.NaN()
	span := func(from, to int, v float64) Slot { return Slot{minute(from), minute(to), v} }
	for name, tt := range map[string]struct {
		slots []Slot
		want  []float64
	}{
		"of slots of an hour":             {[]Slot{span(0, 60, 1), span(60, 120, 2)}, []float64{1, 2}},
		"of slots of half an hour":        {[]Slot{span(0, 30, 1), span(30, 60, 2), span(60, 90, 3), span(90, 120, 5)}, []float64{1.5, 4}},
		"of slots of a quarter":           {[]Slot{span(0, 15, 1), span(15, 30, 2), span(30, 45, 3), span(45, 60, 6), span(60, 120, 1)}, []float64{3, 1}},
		"of unaligned slots":              {[]Slot{span(-53, 7, 60), span(7, 67, 120), span(67, 127, 0)}, []float64{113, 14}},
		"of changing widths":              {[]Slot{span(0, 5, 12), span(5, 60, 0), span(60, 90, 1), span(90, 180, 3)}, []float64{1, 2, 3}},
		"of a day in one slot":            {[]Slot{span(0, 240, 7)}, []float64{7, 7, 7, 7}},
		"of half an hour at least":        {[]Slot{span(0, 30, 1), span(60, 89, 2), span(120, 180, 3)}, []float64{1, nan, 3}},
		"with gaps":                       {[]Slot{span(0, 60, 1), span(180, 240, 4)}, []float64{1, nan, nan, 4}},
		"of overlapping slots, the first": {[]Slot{span(0, 60, 1), span(30, 120, 3)}, []float64{1, 3}},
		"of slots in order of time":       {[]Slot{span(60, 120, 2), span(0, 60, 1), span(120, 180, 3)}, []float64{nan, 2, 3}},
		"of slots that count once":        {[]Slot{span(0, 60, 1), span(0, 60, 5), span(60, 120, 2)}, []float64{1, 2}},
		"not of what is no slot": {
			[]Slot{span(0, 60, 1), span(60, 120, nan), span(60, 120, math.Inf(1)), span(120, 60, 3), span(600, 60, 3), span(60, 120, 2)},
			[]float64{1, 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var m Model
			for _, s := range tt.slots {
				m.Observe(s)
			}
			if diff := cmp.Diff(tt.want, notedActuals(&m, len(tt.want)), cmpopts.EquateNaNs(), cmpopts.EquateApprox(1e-12, 0)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestVeryLongSlotsAreCutToTheUsefulPart(t *testing.T) {
	var m Model
	m.Observe(Slot{time.Time{}, hr(0), 7})
	m.Observe(Slot{hr(0), hr(1), 7})
	if n := len(m.past.actual.values); n > 2*(retentionHours+month) || m.past.closedUntil() != h0+1 {
		t.Errorf("%d hours are known, until hour %d", n, m.past.closedUntil()-h0)
	}
	m.Observe(Slot{hr(1), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 7})
	checkSane(t, m.Predict(hr(2), trust), hr(2))
	if n := len(m.past.actual.values); n > 2*(retentionHours+month) {
		t.Errorf("%d hours are known", n)
	}
}

func TestAGapOfWeeksIsNotLearnedFrom(t *testing.T) {
	for name, weeks := range map[string]int{"of four weeks": 4, "of a year": 52} {
		t.Run(name, func(t *testing.T) {
			var m Model
			g := synthetic(10, 30, 0)
			g.tell(&m, 0, 20*day, nil)
			later := *g
			later.first = later.first.plus(weeks * week)
			later.forecasts = nil
			later.tell(&m, 0, 5*day, nil)
			now := startOf(later.first + 5*day - 1)
			if p := m.Predict(now, trust); p.Basis != BasisHistory || p.LearnedTime > 25*day*time.Hour {
				t.Errorf("the basis is %q, of %v", p.Basis, p.LearnedTime)
			}
			if _, ok := m.Predict(now.Add(100*time.Hour), trust).Series.At(now); ok {
				t.Error("what was is predicted")
			}
		})
	}
}

// hourlyMeans returns the means of a series in n hours from the first on.
func hourlyMeans(s *Series, first time.Time, n int) []float64 {
	var means []float64
	for i := range n {
		from := first.Add(time.Duration(i) * time.Hour)
		mean, _ := s.Mean(from, from.Add(time.Hour))
		means = append(means, mean)
	}
	return means
}

func TestTheCourseWithinAnHourIsThatOfTheForecast(t *testing.T) {
	for _, width := range []time.Duration{5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour} {
		for _, offset := range []time.Duration{0, 7 * time.Minute} {
			t.Run(fmt.Sprintf("in slots of %v, %v after the hour", width, offset), func(t *testing.T) {
				var m Model
				g := synthetic(11, 30, 40)
				g.tell(&m, 0, 10*day, nil)
				received := hr(10*day - 1).Add(offset)
				forecast := g.fine(received, width, 48)
				m.Receive(forecast, received)
				p := m.Predict(received, trust)
				checkSane(t, p, received)
				o := m.lastAnswer.evidence
				for i, mean := range hourlyMeans(p.Series, hr(10*day), 46) {
					want := o.at(h0.plus(10*day + i))
					if math.Abs(mean-want) > 1e-6 {
						t.Fatalf("hour %d has the mean %v, predicted was %v", i, mean, want)
					}
					from := hr(10*day + i)
					said, _ := forecast.Mean(from, from.Add(time.Hour))
					for _, at := range []time.Time{from, from.Add(20 * time.Minute), from.Add(59 * time.Minute)} {
						got, _ := p.Series.At(at)
						course, _ := forecast.At(at)
						if math.Abs((got-mean)-(course-said)) > 1e-6 {
							t.Fatalf("at %v, it predicts %v from the mean, the forecast has %v", at, got-mean, course-said)
						}
					}
				}
			})
		}
	}
}

func TestForecastsAloneStandInForActuals(t *testing.T) {
	ramp := func(from, slots int) *Series { // of 5 minutes; the intensity is the minute of the start
		var values []float64
		for i := range slots {
			values = append(values, float64(from+5*i))
		}
		return even(minute(from), 5*time.Minute, values...)
	}
	for name, tt := range map[string]struct {
		forecasts map[int]*Series // by the minute at which they were received
		until     int
		want      []float64
	}{
		"of one forecast": {map[int]*Series{0: ramp(0, 36)}, 180, []float64{27.5, 87.5, 147.5}},
		"of forecasts that start later than they came": {map[int]*Series{0: ramp(0, 24), 55: ramp(60, 24), 118: ramp(120, 24)}, 240, []float64{27.5, 87.5, 147.5, 207.5}},
		"of one replaced within the hour":              {map[int]*Series{0: even(minute(0), time.Hour, 10, 10), 30: even(minute(30), time.Hour, 20, 20)}, 120, []float64{15, 20}},
		"with a gap between forecasts":                 {map[int]*Series{0: ramp(0, 12), 180: ramp(180, 12)}, 240, []float64{27.5, math.NaN(), math.NaN(), 207.5}},
		"not of a forecast that comes out of order":    {map[int]*Series{0: ramp(0, 24), 60: even(minute(60), time.Hour, 1), 61: nil}, 120, []float64{27.5, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var m Model
			for n := range tt.until {
				if forecast := tt.forecasts[n]; forecast != nil {
					m.Receive(forecast, minute(n))
				}
				m.Receive(even(minute(n), time.Hour, 999), minute(n-1000)) // is too old
				if n%7 == 0 {
					checkSane(t, m.Predict(minute(n), trust), minute(n))
				}
			}
			m.Predict(minute(tt.until), trust)
			if diff := cmp.Diff(tt.want, notedActuals(&m, len(tt.want)), cmpopts.EquateNaNs(), cmpopts.EquateApprox(1e-9, 0)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNothingIsLostInTheCurrentHour(t *testing.T) {
	g, m := synthetic(12, 30, 0), &Model{}
	for n := range 5 * day * 12 { // a forecast every 5 minutes, whose first slot starts 3 minutes later
		received := minute(5*n + 2)
		m.Receive(g.fine(received.Add(3*time.Minute), 5*time.Minute, 24), received)
		for _, now := range []time.Time{received, received.Add(3 * time.Minute)} {
			p := m.Predict(now, trust)
			if p.Basis != BasisForecast {
				t.Fatalf("at %v, the basis is %q", now, p.Basis)
			}
			if m.course.Start().After(now) {
				continue // the first forecast has not begun yet
			}
			checkSane(t, p, now)
			want, _ := m.course.At(now)
			got, ok := p.Series.At(now)
			if !ok || math.Abs(got-want) > 1e-6 {
				t.Fatalf("at %v, it says that now is %v (%v), want %v", now, got, ok, want)
			}
			if n < day*12 { // and the hours ahead are, for now, about those of the forecast
				continue
			}
			ahead := now.Add(5 * time.Hour)
			want, _ = m.course.At(ahead)
			if got, _ := p.Series.At(ahead); math.Abs(got-want) > 60 {
				t.Fatalf("at %v, it predicts %v in 5 hours, the forecast %v", now, got, want)
			}
		}
	}
}

func TestADayAheadForecastIsUsedAllDay(t *testing.T) {
	g, m := synthetic(13, 30, 30), &Model{}
	g.forecasts = nil
	for d := range 29 { // at noon, of the day after
		g.announce((d+1)*day, day, func(h hour) float64 { return g.at(h) + 30*noon(h) })
		g.forecasts[d].received = hr(d*day + 12)
	}
	g.tell(m, 0, 22*day, nil)
	g.tell(m, 22*day, 28*day, func(now time.Time) {
		if p := m.Predict(now, trust); p.Basis != BasisForecast && now.Hour() != 23 {
			t.Errorf("at %v, the basis is %q", now, p.Basis)
		}
	})
}

func TestAForecastThatDiesAndComesBack(t *testing.T) {
	g, m := synthetic(14, 60, 30), &Model{}
	for i := range g.forecasts {
		g.forecasts[i].received = g.forecasts[i].received.Add(time.Hour)
	}
	lived := g.forecasts[:25]
	back := g.forecasts[40:]
	g.forecasts = append(lived[:len(lived):len(lived)], back...)
	g.tell(m, 0, 25*day, nil)
	want := map[int]Basis{
		25*day + 5: BasisForecast, 25*day + 8: BasisStaleForecast, 26*day + 6: BasisStaleForecast, 26*day + 8: BasisStaleForecast, 27*day + 6: BasisStaleForecast, 27*day + 8: BasisHistory,
		35 * day: BasisHistory, 40*day + 3: BasisForecast, 50 * day: BasisForecast,
	}
	g.tell(m, 25*day, 51*day, func(now time.Time) {
		p := m.Predict(now, trust)
		checkSane(t, p, now)
		n := hourOf(now).since(h0)
		if basis, ok := want[n]; ok && p.Basis != basis {
			t.Errorf("at day %.2f the basis is %q, want %q", float64(n)/day, p.Basis, basis)
		}
	})
}

func TestBasis(t *testing.T) {
	for name, tt := range map[string]struct {
		tell   func(m *Model) time.Time
		maxAge time.Duration
		want   Basis
	}{
		"nothing is known":                          {func(*Model) time.Time { return hr(0) }, trust, BasisNothing},
		"a first forecast":                          {afterOneForecast(0, 4), trust, BasisForecast},
		"a forecast as old as may be":               {afterOneForecast(4, 48), 4 * time.Hour, BasisForecast},
		"a forecast that is older":                  {afterOneForecast(5, 48), 4 * time.Hour, BasisNothing},
		"a forecast that is over":                   {afterOneForecast(5, 4), trust, BasisNothing},
		"an old forecast that may be old":           {afterOneForecast(40, 96), 100 * time.Hour, BasisStaleForecast},
		"less than two days of the past":            {afterActuals(36, -1), trust, BasisNothing},
		"two days of the past":                      {afterActuals(3*day, -1), trust, BasisHistory},
		"two days, and a forecast not trusted":      {afterActuals(3*day, 3*day), time.Hour, BasisHistory},
		"20 days, and a forecast not trusted":       {afterActuals(25*day, 25*day), time.Hour, BasisStaleForecast},
		"20 days, and a forecast of three days ago": {afterActuals(25*day, 22*day), time.Hour, BasisHistory},
		"20 days, and a forecast that is over":      {afterActuals(25*day, 20*day), 30 * day * time.Hour, BasisHistory},
		"a past that was a week ago":                {then(afterActuals(25*day, 25*day), 8*day), trust, BasisNothing},
		"a past of a week ago, and a new forecast":  {renewed, trust, BasisForecast},
		"a clock that goes back by a day":           {then(afterActuals(25*day, 25*day), -day), trust, BasisForecast},
		"a clock that goes back by a year":          {then(afterActuals(25*day, 25*day), -365*day), trust, BasisNothing},
		"a clock that is far ahead":                 {then(afterActuals(25*day, 25*day), 1e6), trust, BasisNothing},
	} {
		t.Run(name, func(t *testing.T) {
			var m Model
			now := tt.tell(&m)
			p := m.Predict(now, tt.maxAge)
			checkSane(t, p, now)
			if p.Basis != tt.want {
				t.Errorf("the basis is %q, want %q", p.Basis, tt.want)
			}
		})
	}
}

// afterOneForecast lets a model receive one forecast of some hours, some hours ago.
func afterOneForecast(age, hours int) func(m *Model) time.Time {
	return func(m *Model) time.Time {
		m.Receive(even(hr(0), time.Hour, flat(hours, 5)...), hr(0))
		return hr(age)
	}
}

func then(tell func(m *Model) time.Time, hours int) func(m *Model) time.Time {
	return func(m *Model) time.Time { return tell(m).Add(time.Duration(hours) * time.Hour) }
}

func renewed(m *Model) time.Time {
	now := then(afterActuals(25*day, 25*day), 8*day)(m)
	m.Receive(even(now, time.Hour, 401, 402, 403), now)
	return now
}

func TestPredictionsCoverTheForecast(t *testing.T) {
	for name, days := range map[string]int{"at first": 0, "after a day": 1, "with a past": 10} {
		t.Run(name, func(t *testing.T) {
			var m Model
			now := afterActuals(days*day, -1)(&m).Add(10 * time.Minute)
			forecast := NewSeries([]Slot{
				{now, now.Add(5 * time.Minute), 3}, {now.Add(20 * time.Minute), now.Add(100 * time.Minute), 4},
				{now.Add(50 * time.Hour), now.Add(51 * time.Hour), 5}, {now.Add(180 * time.Hour), now.Add(181 * time.Hour), 6},
			})
			m.Receive(forecast, now)
			p := m.Predict(now, trust)
			checkSane(t, p, now)
			for _, s := range forecast.Slots() {
				if _, covered := p.Series.Mean(s.Start, s.End); covered != s.End.Sub(s.Start) {
					t.Errorf("of %v, %v are predicted", s, covered)
				}
			}
		})
	}
}

func TestAPredictionChangesWithTheNewsOnly(t *testing.T) {
	var m Model
	now := afterActuals(5*day, 5*day)(&m)
	first := m.Predict(now, trust)
	if again := m.Predict(now.Add(50*time.Minute), trust); again.Series != first.Series {
		t.Error("the same hour has another prediction")
	}
	m.Observe(Slot{hr(0), hr(1), 1e5})
	if again := m.Predict(now, trust); !cmp.Equal(bits(first)[2:], bits(again)[2:]) {
		t.Error("what was observed before changes the prediction")
	}
	m.Observe(Slot{now.Add(time.Hour), now.Add(2 * time.Hour), 400})
	observed := m.Predict(now.Add(time.Hour), trust)
	m.Receive(even(now, time.Hour, flat(72, 111)...), now.Add(time.Hour))
	heard := m.Predict(now.Add(time.Hour), trust)
	m.Receive(nil, now.Add(time.Hour))
	m.Receive(even(now, time.Hour, 5), now)
	if again := m.Predict(now.Add(time.Hour), trust); again.Series != heard.Series {
		t.Error("a forecast that is empty, or older, changes the prediction")
	}
	if cmp.Equal(bits(first), bits(observed)) || cmp.Equal(bits(observed), bits(heard)) {
		t.Error("news does not change the prediction")
	}
	if old := m.Predict(now.Add(time.Hour), 0); old.Basis != BasisForecast {
		t.Errorf("what was received just now has the basis %q", old.Basis)
	}
	if old := m.Predict(now.Add(time.Hour+time.Minute), 0); old.Basis == BasisForecast {
		t.Error("a forecast is trusted that is older than it may be, since it was not at the hour's start")
	}
}

func TestARepeatedForecastIsAsOldAsBefore(t *testing.T) {
	g, m := synthetic(15, 30, 0), &Model{}
	g.forecasts = nil
	forecast := g.fine(minute(3), 5*time.Minute, 120)
	for n := range 4 * day * 4 { // an exporter that repeats itself
		m.Receive(forecast, minute(15*n))
	}
	if m.archive[len(m.archive)-1].knownAt != h0 || m.Predict(hr(4*day), trust).Basis == BasisForecast {
		t.Errorf("it was received at %v hours", len(m.archive))
	}
}

func TestAnotherSourceOfActualsStartsAnew(t *testing.T) {
	var m Model
	now := afterForecasts(5*day, 0)(&m)
	m.Predict(now, trust)
	for n := range 4 * day {
		m.Observe(Slot{hr(n), hr(n + 1), 1000})
	}
	if diff := cmp.Diff(flat(4*day, 1000), notedActuals(&m, 4*day)); diff != "" {
		t.Error(diff)
	}
}

func TestManyMayUseAModelAtOnce(t *testing.T) {
	g, m := synthetic(16, 6, 0), &Model{}
	var users sync.WaitGroup
	for _, use := range []func(n int){
		func(n int) { m.Observe(Slot{hr(n), hr(n + 1), g.at(h0.plus(n))}) },
		func(n int) { m.Receive(g.fine(hr(n), time.Hour, 48), hr(n)) },
		func(n int) { checkAnything(t, m.Predict(hr(n), trust)) }, // its clock may be slow
		func(n int) { m.Contributions(hr(n), hr(n+5), trust) },
		func(n int) {
			if saved, err := m.Save(); err != nil {
				t.Error(err)
			} else if n%20 == 0 {
				_ = m.Restore(saved, hr(n)) // may be from the future
			}
		},
	} {
		users.Go(func() {
			for n := range 5 * day {
				use(n)
			}
		})
	}
	users.Wait()
}
