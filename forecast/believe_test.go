package forecast

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// afterTwoWeeks returns a model that has received two weeks of forecasts of a grid: at each
// midnight a forecast of two days, both with these values. It also returns the end of that time.
func afterTwoWeeks(tb testing.TB, values ...float64) (*Model, time.Time) {
	tb.Helper()
	var m Model
	for d := range 14 {
		var two []float64
		for h := range 48 {
			two = append(two, values[h%len(values)]+float64(d%3))
		}
		if v := m.Receive(even(hr(d*day), time.Hour, two...), hr(d*day)); v.Doubt != "" {
			tb.Fatalf("day %d: %s", d, v.Doubt)
		}
	}
	m.Predict(hr(14*day), trust)
	return &m, hr(14 * day)
}

// The days of some grids, by the hour.
func coal() []float64 {
	return []float64{300, 290, 285, 280, 290, 310, 350, 400, 450, 480, 500, 510, 515, 510, 500, 490, 480, 470, 450, 430, 400, 370, 340, 320}
}

func hydro() []float64 {
	return []float64{8, 6, 4, 3, 3, 2, 4, 8, 12, 14, 15, 14, 12, 10, 9, 8, 9, 12, 18, 22, 20, 16, 12, 9}
}

func nuclear() []float64 {
	return []float64{14, 12, 10, 8, 7, 7, 9, 14, 22, 28, 30, 31, 30, 29, 28, 27, 28, 30, 38, 42, 40, 33, 25, 18}
}

func solar() []float64 {
	return []float64{280, 275, 270, 272, 280, 290, 250, 160, 60, 20, 8, 4, 3, 3, 4, 9, 28, 90, 220, 300, 330, 320, 310, 295}
}

func marginal() []float64 {
	return []float64{420, 400, 390, 380, 400, 430, 410, 300, 120, 20, -8, -35, -42, -38, -12, 10, 80, 240, 420, 480, 490, 470, 450, 430}
}

// with returns a day with some hours replaced.
func with(values []float64, hours map[int]float64) []float64 {
	for h, v := range hours {
		values[h] = v
	}
	return values
}

// hours returns the hours from one to another, with one value.
func hours(from, to int, v float64) map[int]float64 {
	m := map[int]float64{}
	for h := from; h < to; h++ {
		m[h] = v
	}
	return m
}

const nothing = -1 // hours are unknown from 0 to 24

func TestWhatIsBelieved(t *testing.T) {
	for name, tt := range map[string]struct {
		past    []float64 // nil is none
		day     []float64
		unknown []int // hours; nil is none
	}{
		"the usual":          {coal(), coal(), nil},
		"the usual at first": {nil, coal(), nil},

		"a zero at night":                         {coal(), with(coal(), hours(3, 4, 0)), []int{3}},
		"a zero at first":                         {nil, with(coal(), hours(3, 4, 0)), []int{3}},
		"zeros of an outage":                      {coal(), with(coal(), hours(9, 19, 0)), []int{9, 10, 11, 12, 13, 14, 15, 16, 17, 18}},
		"zeros to the end":                        {coal(), with(coal(), hours(20, 24, 0)), []int{20, 21, 22, 23}},
		"zeros to the end at first":               {nil, with(coal(), hours(20, 24, 0)), []int{20, 21, 22, 23}},
		"zeros at the beginning":                  {nil, with(coal(), hours(0, 3, 0)), []int{0, 1, 2}},
		"nothing but zeros":                       {coal(), flat(24, 0), []int{nothing}},
		"nothing but zeros at first":              {nil, flat(24, 0), []int{nothing}},
		"nothing but zeros where it is near zero": {hydro(), flat(24, 0), []int{nothing}},
		"kilograms":                               {coal(), []float64{.3, .29, .28, .27, .3, .31, .35, .4, .45, .48, .5, .5, .5, .5, .5, .49, .48, .47, .45, .43, .4, .37, .34, .32}, []int{nothing}},
		"kilograms in some hours":                 {nil, with(coal(), hours(4, 6, .3)), []int{4, 5}},
		"next to nothing":                         {coal(), with(coal(), hours(4, 6, 3)), []int{4, 5}},

		"zeros in a grid of water":                 {hydro(), with(hydro(), hours(3, 6, 0)), nil},
		"zeros in a grid of water at first":        {nil, with(hydro(), hours(3, 6, 0)), nil},
		"zeros in a nuclear grid":                  {nuclear(), with(nuclear(), hours(3, 6, 0)), nil},
		"three in a nuclear grid":                  {nuclear(), with(nuclear(), hours(3, 6, 3)), nil},
		"zeros in the evening of a nuclear grid":   {nuclear(), with(nuclear(), hours(18, 21, 0)), []int{18, 19, 20}},
		"zeros at a sunny noon":                    {solar(), with(solar(), hours(10, 15, 0)), nil},
		"zeros at a sunny noon at first":           {nil, with(solar(), hours(10, 15, 0)), nil},
		"zeros at a first sunny noon of a month":   {with(solar(), hours(9, 17, 25)), with(solar(), hours(11, 14, 0)), nil},
		"zeros at night where it is sunny at noon": {solar(), with(solar(), hours(1, 4, 0)), []int{1, 2, 3}},
		"zeros in the night's end of a sunny day":  {solar(), with(solar(), hours(19, 24, 0)), []int{19, 20, 21, 22, 23}},
		"zeros all day where it is sunny at noon":  {solar(), with(solar(), hours(1, 24, 0)), []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}},

		"below zero where it comes to that":   {marginal(), marginal(), nil},
		"below zero at first":                 {nil, marginal(), nil},
		"below zero where it was not before":  {coal(), with(coal(), map[int]float64{11: -12, 12: -30, 13: -8}), nil},
		"one below zero where that is usual":  {marginal(), with(marginal(), hours(10, 11, -1)), nil},
		"ninety-nine below where others are":  {nil, with(marginal(), map[int]float64{11: -80, 12: -99, 13: -120}), nil},
		"one below zero":                      {coal(), with(coal(), hours(5, 6, -1)), []int{5}},
		"one below zero at first":             {nil, with(coal(), hours(5, 6, -1)), []int{5}},
		"one below zero in a grid of water":   {hydro(), with(hydro(), hours(5, 6, -1)), []int{5}},
		"ninety-nine below":                   {nil, with(coal(), hours(5, 6, -99)), []int{5}},
		"nine hundred and ninety-nine below":  {nil, with(marginal(), hours(5, 6, -999)), []int{5}},
		"9999 below":                          {nil, with(marginal(), hours(5, 6, -9999)), []int{5}},
		"99 below for hours, though it comes": {nil, with(with(marginal(), hours(2, 6, -99)), map[int]float64{11: -80}), []int{2, 3, 4, 5}},
		"one below zero for hours":            {marginal(), with(marginal(), hours(2, 6, -1)), []int{2, 3, 4, 5}},
		"nothing but placeholders":            {coal(), flat(24, -1), []int{nothing}},
		"nothing but placeholders at first":   {nil, flat(24, -999), []int{nothing}},
		"placeholders and zeros to the end":   {nil, with(with(coal(), hours(18, 21, 0)), hours(21, 24, -1)), []int{18, 19, 20, 21, 22, 23}},

		"five thousand":           {coal(), with(coal(), hours(5, 6, 5000)), []int{5}},
		"five thousand at first":  {nil, with(coal(), hours(5, 6, 5000)), []int{5}},
		"a hundred thousand":      {nil, with(coal(), hours(5, 9, 1e5)), []int{5, 6, 7, 8}},
		"a dirty day":             {coal(), with(coal(), hours(5, 9, 1400)), nil},
		"a dirty day of a clean":  {hydro(), with(hydro(), hours(5, 9, 700)), nil},
		"a value that stays":      {coal(), flat(24, 410), nil},
		"a much cleaner day":      {coal(), with(coal(), hours(10, 15, 25)), nil},
		"a day of all that fails": {nil, with(with(with(coal(), hours(2, 3, 0)), hours(7, 8, -999)), hours(12, 13, 9e4)), []int{2, 7, 12}},
	} {
		t.Run(name, func(t *testing.T) {
			m, now := &Model{}, hr(14*day)
			if tt.past != nil {
				m, now = afterTwoWeeks(t, tt.past...)
			}
			v := m.Receive(even(now, time.Hour, tt.day...), now)
			var unknown []int
			for h := range 24 {
				at := now.Add(time.Duration(h) * time.Hour)
				if got, ok := v.Believed.At(at); !ok {
					unknown = append(unknown, h)
				} else if got != tt.day[h] {
					t.Errorf("hour %d is %v, want %v", h, got, tt.day[h])
				}
			}
			if len(tt.unknown) == 1 && tt.unknown[0] == nothing {
				tt.unknown = nil
				for h := range 24 {
					tt.unknown = append(tt.unknown, h)
				}
			}
			if diff := cmp.Diff(tt.unknown, unknown); diff != "" {
				t.Errorf("hours not known: %s\n%s", diff, v.Doubt)
			}
			if (v.Doubt == "") != (tt.unknown == nil) || v.Doubted != len(tt.unknown) || v.Slots != 24 {
				t.Errorf("%d of %d doubted: %q", v.Doubted, v.Slots, v.Doubt)
			}
		})
	}
}

func TestADoubtSaysWhatAndWhy(t *testing.T) {
	m, now := afterTwoWeeks(t, coal()...)
	v := m.Receive(even(now, time.Hour, with(coal(), hours(20, 24, 0))...), now)
	want := fmt.Sprintf("4 of 24 values are not believed, and count as not known: 0 from %s to %s, where 285 to 512 is usual",
		now.Add(20*time.Hour).Format(time.RFC3339), now.Add(24*time.Hour).Format(time.RFC3339))
	if diff := cmp.Diff(want, v.Doubt); diff != "" {
		t.Error(diff)
	}
}

// Nothing is learned from an outage: once it is over, predictions are what they would be if nothing
// had been published.
func TestNothingIsLearnedOfAnOutage(t *testing.T) {
	const outage = 10
	for name, published := range map[string][]float64{
		"zeros": flat(24, 0), "placeholders": flat(24, -1), "a hundred thousand": flat(24, 1e5),
	} {
		t.Run(name, func(t *testing.T) {
			m, now := afterTwoWeeks(t, coal()...)
			quiet, _ := afterTwoWeeks(t, coal()...)
			for h := range outage {
				at := now.Add(time.Duration(h) * time.Hour)
				if v := m.Receive(even(at, time.Hour, published...), at); !v.Believed.IsEmpty() || v.Doubted != 24 {
					t.Fatalf("hour %d: %d doubted", h, v.Doubted)
				}
				during, silent := m.Predict(at, trust), quiet.Predict(at, trust)
				if diff := cmp.Diff(bits(silent), bits(during)); diff != "" || during.Basis == BasisNothing {
					t.Fatalf("hour %d: %q %s", h, during.Basis, diff)
				}
				for _, slot := range during.Series.Slots() {
					if slot.Intensity < 200 || slot.Intensity > 600 {
						t.Fatalf("hour %d: %v is expected", h, slot)
					}
				}
			}
			over := now.Add(outage * time.Hour)
			for _, heard := range []*Model{m, quiet} {
				heard.Receive(even(over, time.Hour, append(coal()[outage:], coal()...)...), over)
			}
			if diff := cmp.Diff(bits(quiet.Predict(over, trust)), bits(m.Predict(over, trust))); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(saveModel(t, quiet), saveModel(t, m)); diff != "" {
				t.Error("what is saved is not the same")
			}
		})
	}
}

// The store says what is not believed, and keeps what was known before.
func TestTheStoreKeepsWhatIsBelieved(t *testing.T) {
	const quarter = 15 * time.Minute
	rising := func(n int) []float64 { // from 185 to 258
		values := make([]float64, n)
		for i := range values {
			values[i] = 185 + 73*float64(i)/float64(n-1)
		}
		return values
	}
	t.Run("the forecast ends where its zeros begin", func(t *testing.T) {
		var store Store
		noon := hr(12)
		forecast := even(noon, quarter, append(rising(43), flat(53+48, 0)...)...) // from 12:00 to 22:45, and to the end of the next day
		if err := store.Offer(Source{Name: "s"}, Document{Series: map[string]*Series{"A": forecast}, Issued: noon}, noon); err != nil {
			t.Fatal(err)
		}
		f := keptForecastOf(&store)
		if want := noon.Add(43 * quarter); f.Series.End() != want {
			t.Errorf("it ends at %v, want %v", f.Series.End(), want)
		}
		if b := store.Snapshot(Source{Name: "s"}); b.CountDoubted() != 101 || !strings.HasPrefix(b.Doubt(), `location "A": 101 of 144 values are not believed`) || b.Problem() != b.Doubt() {
			t.Errorf("%d doubted: %q, %q", b.CountDoubted(), b.Doubt(), b.Problem())
		}
		for after, want := range map[time.Duration]float64{0: 185, 42 * quarter: 258, 43 * quarter: 258, 100 * quarter: 258} {
			if got, ok := f.Near(noon.Add(after)); !ok || got != want {
				t.Errorf("%v later it is taken for %v (%v), want %v", after, got, ok, want)
			}
		}
		if got, ok := f.Near(noon.Add(144 * quarter)); ok {
			t.Errorf("when the forecast is over it is taken for %v", got)
		}
	})
	t.Run("a forecast of zeros changes nothing", func(t *testing.T) {
		var store Store
		offerAll(t, &store, newDocument(0, "A", even(at(0), time.Hour, coal()...)), at(0))
		before := keptForecastOf(&store)
		err := store.Offer(Source{Name: "s"}, newDocument(60, "A", even(at(60), time.Hour, flat(48, 0)...)), at(60))
		if err == nil || !strings.HasPrefix(err.Error(), `location "A": 48 of 48 values are not believed`) {
			t.Errorf("got error %v", err)
		}
		f := keptForecastOf(&store)
		if diff := cmp.Diff(before.Series.Slots(), f.Series.Slots()); diff != "" || f.Issued != at(0) {
			t.Error(f.Issued, diff)
		}
		if b := store.Snapshot(Source{Name: "s"}); b.CountDoubted() != 48 || b.Doubt() != err.Error() || b.Problem() != err.Error() {
			t.Errorf("%d doubted: %q, %q", b.CountDoubted(), b.Doubt(), b.Problem())
		}
		if got, ok := f.Near(hourAt(30)); !ok || got != coal()[23] {
			t.Errorf("when the last good one is over, it is taken for %v (%v), want what was known last", got, ok)
		}
		store.Fail(Source{Name: "s"}, fmt.Errorf("it is gone"))
		if b := store.Snapshot(Source{Name: "s"}); b.CountDoubted() != 48 || b.Problem() != "it is gone" {
			t.Errorf("once it is gone: %d doubted, %q", b.CountDoubted(), b.Problem())
		}
		offerAll(t, &store, newDocument(120, "A", even(at(120), time.Hour, coal()...)), at(120))
		if b := store.Snapshot(Source{Name: "s"}); b.CountDoubted() != 0 || b.Doubt() != "" || b.Problem() != "" {
			t.Errorf("once it is over: %d doubted, %q, %q", b.CountDoubted(), b.Doubt(), b.Problem())
		}
	})
	t.Run("zeros are not believed of one location, and another goes on", func(t *testing.T) {
		var store Store
		err := store.Offer(Source{Name: "s"}, Document{Series: map[string]*Series{"A": even(at(0), time.Hour, flat(24, 0)...), "B": even(at(0), time.Hour, coal()...)}}, at(0))
		if err == nil || !cmp.Equal(store.Snapshot(Source{Name: "s"}).Locations(), []string{"B"}) {
			t.Errorf("error %v, locations %q", err, store.Snapshot(Source{Name: "s"}).Locations())
		}
	})
}

// After a restart the model may receive the forecast before it knows the past.
func TestAForecastIsJudgedAgainOnceThePastIsKnown(t *testing.T) {
	m, now := afterTwoWeeks(t, coal()...)
	history := saveModel(t, m)
	kilos := coal()
	for i := range kilos {
		kilos[i] /= 1000
	}
	var store Store
	offerAll(t, &store, Document{Series: map[string]*Series{"A": even(now, time.Hour, kilos...)}, Issued: now}, now)
	if err := store.Restore(Source{Name: "s"}, "A", Origin{}, history, now); err != nil {
		t.Fatal(err)
	}
	if b := store.Snapshot(Source{Name: "s"}); b.CountDoubted() != 24 || !strings.Contains(b.Doubt(), "24 of 24 values are not believed") || b.Problem() != b.Doubt() {
		t.Errorf("%d doubted: %q, %q", b.CountDoubted(), b.Doubt(), b.Problem())
	}
	f := keptForecastOf(&store)
	if !f.Series.IsEmpty() {
		t.Errorf("it still holds %v", f.Series.Slots())
	}
	if diff := cmp.Diff(bits(m.Predict(now.Add(time.Hour), trust)), bits(f.Model.Predict(now.Add(time.Hour), trust))); diff != "" {
		t.Error(diff)
	}
}

func TestBelieve(t *testing.T) {
	var past []float64
	for range 30 {
		past = append(past, solar()...)
	}
	for i := 10 * day; i < 11*day; i++ {
		past[i] = 0 // an outage
	}
	for i := 12; i < len(past); i += day {
		past[i] = 0 // noon
	}
	v := Believe(even(hr(0), time.Hour, past...))
	for i := range past {
		_, ok := v.Believed.At(hr(i))
		if outage := i >= 10*day && i < 11*day; ok == outage {
			t.Errorf("hour %d of day %d is known: %v", i%day, i/day, ok)
		}
	}
	if v.Doubted != day {
		t.Errorf("%d doubted: %s", v.Doubted, v.Doubt)
	}
	if v := Believe(nil); !v.Believed.IsEmpty() || v.Doubt != "" {
		t.Errorf("of nothing: %+v", v)
	}
}

// FuzzBelieve judges random forecasts of half hours. What is believed is a part of the forecast and
// is believed again when judged again. Values above zero that are alike are never doubted.
func FuzzBelieve(f *testing.F) {
	f.Add([]byte{50, 60, 0, 0, 70, 127, 129, 157, 255}, true)
	f.Add([]byte{0, 0, 1, 2, 3}, false)
	f.Fuzz(func(t *testing.T, data []byte, past bool) {
		var m Model
		if past {
			m.Receive(even(hr(-48), time.Hour, flat(72, 80)...), hr(-48))
			m.Predict(hr(0), trust)
		}
		values := make([]float64, min(len(data), 200))
		alike := len(values) > 0
		for i := range values {
			values[i] = float64(int8(data[i]))
			if values[i] == 127 {
				values[i] = 1e5
			}
			alike = alike && values[i] >= 50 && values[i] <= 100
		}
		forecast := even(hr(0), 30*time.Minute, values...)
		m.lock()()
		v := m.past.judge(forecast, m.course.Series)
		if v.Slots != len(forecast.Slots()) || (v.Doubt == "") != (v.Doubted == 0) || alike && v.Doubted > 0 || len(v.Believed.Slots())+v.Doubted != v.Slots {
			t.Fatalf("%+v", v)
		}
		for _, slot := range v.Believed.Slots() {
			if got, ok := forecast.At(slot.Start); !ok || got != slot.Intensity || math.IsNaN(got) {
				t.Fatalf("%v is believed", slot)
			}
		}
	})
}
