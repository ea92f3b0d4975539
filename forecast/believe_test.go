package forecast

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// lived is a model that has heard of a grid for two weeks: an issue of two days each day at midnight, whose day is this.
// It is asked at the end of that time.
func lived(tb testing.TB, values ...float64) (*Model, time.Time) {
	tb.Helper()
	var m Model
	for d := range 14 {
		var two []float64
		for h := range 48 {
			two = append(two, values[h%len(values)]+float64(d%3))
		}
		if v := m.Hear(even(hr(d*day), time.Hour, two...), hr(d*day)); v.Doubt != "" {
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

// hours are those from one to another, of one value.
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
				m, now = lived(t, tt.past...)
			}
			v := m.Hear(even(now, time.Hour, tt.day...), now)
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
	m, now := lived(t, coal()...)
	v := m.Hear(even(now, time.Hour, with(coal(), hours(20, 24, 0))...), now)
	want := fmt.Sprintf("4 of 24 values are not believed, and count as not known: 0 from %s to %s, where 285 to 512 is usual",
		now.Add(20*time.Hour).Format(time.RFC3339), now.Add(24*time.Hour).Format(time.RFC3339))
	if diff := cmp.Diff(want, v.Doubt); diff != "" {
		t.Error(diff)
	}
}

// What an outage publishes is not learned: once it is over, predictions are what they would be had nothing been published.
func TestNothingIsLearnedOfAnOutage(t *testing.T) {
	const outage = 10
	for name, published := range map[string][]float64{
		"zeros": flat(24, 0), "placeholders": flat(24, -1), "a hundred thousand": flat(24, 1e5),
	} {
		t.Run(name, func(t *testing.T) {
			m, now := lived(t, coal()...)
			quiet, _ := lived(t, coal()...)
			for h := range outage {
				at := now.Add(time.Duration(h) * time.Hour)
				if v := m.Hear(even(at, time.Hour, published...), at); !v.Believed.Empty() || v.Doubted != 24 {
					t.Fatalf("hour %d: %d doubted", h, v.Doubted)
				}
				during, silent := m.Predict(at, trust), quiet.Predict(at, trust)
				if diff := cmp.Diff(bits(silent), bits(during)); diff != "" || during.Basis == Nothing {
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
				heard.Hear(even(over, time.Hour, append(coal()[outage:], coal()...)...), over)
			}
			if diff := cmp.Diff(bits(quiet.Predict(over, trust)), bits(m.Predict(over, trust))); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(saved(t, quiet), saved(t, m)); diff != "" {
				t.Error("what is saved is not the same")
			}
		})
	}
}

// The store says what is not believed, and holds what was known before.
func TestTheStoreHoldsWhatIsBelieved(t *testing.T) {
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
		issue := even(noon, quarter, append(rising(43), flat(53+48, 0)...)...) // from 12:00 to 22:45, and to the end of the next day
		if err := store.Offer(Source{Name: "s"}, Document{Series: map[string]*Series{"A": issue}, Issued: noon}, noon); err != nil {
			t.Fatal(err)
		}
		f := held(&store)
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
			t.Errorf("when the issue is over it is taken for %v", got)
		}
	})
	t.Run("an issue of zeros changes nothing", func(t *testing.T) {
		var store Store
		offerAll(t, &store, issued(0, "A", even(at(0), time.Hour, coal()...)), at(0))
		before := held(&store)
		err := store.Offer(Source{Name: "s"}, issued(60, "A", even(at(60), time.Hour, flat(48, 0)...)), at(60))
		if err == nil || !strings.HasPrefix(err.Error(), `location "A": 48 of 48 values are not believed`) {
			t.Errorf("got error %v", err)
		}
		f := held(&store)
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
		offerAll(t, &store, issued(120, "A", even(at(120), time.Hour, coal()...)), at(120))
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

// A restart may hear of the forecast before it knows the past.
func TestWhatWasHeardIsJudgedOnceThePastIsKnown(t *testing.T) {
	m, now := lived(t, coal()...)
	history := saved(t, m)
	kilos := coal()
	for i := range kilos {
		kilos[i] /= 1000
	}
	var store Store
	offerAll(t, &store, Document{Series: map[string]*Series{"A": even(now, time.Hour, kilos...)}, Issued: now}, now)
	if err := store.Restore(Source{Name: "s"}, "A", history, now); err != nil {
		t.Fatal(err)
	}
	if b := store.Snapshot(Source{Name: "s"}); b.CountDoubted() != 24 || !strings.Contains(b.Doubt(), "24 of 24 values are not believed") || b.Problem() != b.Doubt() {
		t.Errorf("%d doubted: %q, %q", b.CountDoubted(), b.Doubt(), b.Problem())
	}
	f := held(&store)
	if !f.Series.Empty() {
		t.Errorf("it still holds %v", f.Series.Slots())
	}
	if diff := cmp.Diff(bits(m.Predict(now.Add(time.Hour), trust)), bits(f.Model.Predict(now.Add(time.Hour), trust))); diff != "" {
		t.Error(diff)
	}
}

func hourAt(h int) time.Time { return at(60 * h) }

// Between slots, the intensity is not taken to be lower than on either side.
func TestNear(t *testing.T) {
	f := Forecast{Series: NewSeries([]Slot{slot(0, 60, 600), slot(120, 180, 500), slot(240, 300, 700)}), from: at(-60), until: at(360)}
	for minute, want := range map[int]float64{-1: 600, 0: 600, 60: 600, 119: 600, 120: 500, 180: 700, 239: 700, 299: 700, 300: 700, 359: 700} {
		if got, ok := f.Near(at(minute)); !ok || got != want {
			t.Errorf("at %d it is taken for %v (%v), want %v", minute, got, ok, want)
		}
	}
	for _, minute := range []int{-61, 360} {
		if got, ok := f.Near(at(minute)); ok {
			t.Errorf("at %d, of which nothing is said, it is taken for %v", minute, got)
		}
	}
	if _, ok := (Forecast{from: at(0), until: at(9)}).Near(at(5)); ok {
		t.Error("something is known of nothing")
	}
}

// What an older issue says of the time after a newer one is used while it is fresh, and no longer.
func TestATailIsKeptWhileItIsFresh(t *testing.T) {
	var store Store
	offerAll(t, &store, issued(0, "A", even(at(0), time.Hour, flat(72, 300)...)), at(0))
	for h := 1; h < 72; h++ {
		now := hourAt(h)
		offerAll(t, &store, Document{Series: map[string]*Series{"A": even(now, time.Hour, 400, 401)}, Issued: now}, now)
		want := hourAt(72)
		if h > 24 {
			want = now.Add(2 * time.Hour)
		}
		if got := held(&store).Series.End(); got != later(want, now.Add(2*time.Hour)) {
			t.Fatalf("after %d hours it ends at %v, want %v", h, got, want)
		}
		expected := held(&store).Model.Predict(now, trust).Series
		if got, ok := expected.At(now.Add(5 * time.Hour)); h <= 24 && (!ok || got < 250 || got > 450) {
			t.Fatalf("after %d hours, five hours ahead is %v (%v)", h, got, ok)
		}
	}
}

// A shorter one that corrects another wins wherever it says something, and the rest of that is gone after a day. What a third
// one said in between is fresh for longer.
func TestWhatIsLeftOfOlderIssues(t *testing.T) {
	type offer struct {
		hour   int
		values []float64
	}
	long, mid := offer{0, flat(60, 300)}, offer{6, flat(52, 200)} // until hours 60 and 58
	for name, tt := range map[string]struct {
		offers []offer
		want   map[int]float64 // by the hour; what is after the last of them is not known
	}{
		"a shorter one wins where it says something": {[]offer{long, {1, []float64{500, 501}}}, map[int]float64{0: 300, 1: 500, 2: 501, 3: 300, 59: 300}},
		"so does a third one":                        {[]offer{long, mid, {7, []float64{500}}}, map[int]float64{6: 200, 7: 500, 8: 200, 57: 200, 58: 300, 59: 300}},
		"what a second one said is fresh for longer": {[]offer{long, mid, {25, []float64{500}}}, map[int]float64{24: 200, 25: 500, 26: 200, 57: 200}},
		"after another day, that has gone":           {[]offer{long, mid, {25, []float64{500}}, {31, []float64{500}}}, map[int]float64{31: 500}},
		"after a day, the shorter one is all":        {[]offer{long, {1, []float64{500, 501}}, {25, []float64{501}}}, map[int]float64{25: 501}},
		"one that ends as late leaves nothing":       {[]offer{long, {1, flat(59, 100)}}, map[int]float64{0: 300, 1: 100, 59: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			var store Store
			last := 0
			for _, o := range tt.offers {
				last = o.hour
				offerAll(t, &store, Document{Series: map[string]*Series{"A": even(hourAt(o.hour), time.Hour, o.values...)}, Issued: hourAt(o.hour)}, hourAt(o.hour))
			}
			f := held(&store)
			for h, want := range tt.want {
				if got, ok := f.Series.At(hourAt(h)); !ok || got != want {
					t.Errorf("hour %d is %v (%v), want %v", h, got, ok, want)
				}
			}
			end := 0
			for h := range tt.want {
				end = max(end, h+1)
			}
			if f.Series.End() != hourAt(end) {
				t.Errorf("it ends at %v, want %v", f.Series.End(), hourAt(end))
			}
			if got, ok := f.Model.Predict(hourAt(last), trust).Series.At(hourAt(end - 1)); !ok || math.Abs(got-tt.want[end-1]) > 10 {
				t.Errorf("in the last hour %v is expected (%v), want %v", got, ok, tt.want[end-1])
			}
		})
	}
}

// A gap is not known, whatever older issues said of it: there may be a reason for it.
func TestAGapIsNotFilledByOlderIssues(t *testing.T) {
	var store Store
	offerAll(t, &store, issued(0, "A", even(at(0), time.Hour, flat(24, 100)...)), at(0))
	for name, value := range map[string]float64{"zero": 0, "a placeholder": -1} {
		offerAll(t, &store, issued(5, "A", even(at(0), time.Hour, 600, value, 600)), at(5))
		f := held(&store)
		if got, ok := f.Series.At(at(90)); ok {
			t.Errorf("%s: it is %v", name, got)
		}
		if got, ok := f.Near(at(90)); !ok || got != 600 {
			t.Errorf("%s: it is taken for %v (%v), want that of the neighbours", name, got, ok)
		}
		if got, ok := f.Near(at(190)); !ok || got != 100 {
			t.Errorf("%s: after its end, it is taken for %v (%v), want what was known before", name, got, ok)
		}
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
	if v := Believe(nil); !v.Believed.Empty() || v.Doubt != "" {
		t.Errorf("of nothing: %+v", v)
	}
}

// FuzzBelieve judges random issues of half hours: what is believed is part of the issue, what is judged again is believed
// again, and values above zero that are alike are never doubted.
func FuzzBelieve(f *testing.F) {
	f.Add([]byte{50, 60, 0, 0, 70, 127, 129, 157, 255}, true)
	f.Add([]byte{0, 0, 1, 2, 3}, false)
	f.Fuzz(func(t *testing.T, data []byte, past bool) {
		var m Model
		if past {
			m.Hear(even(hr(-48), time.Hour, flat(72, 80)...), hr(-48))
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
		issue := even(hr(0), 30*time.Minute, values...)
		v := m.past.judge(issue, m.running.Series)
		if v.Slots != len(issue.Slots()) || (v.Doubt == "") != (v.Doubted == 0) || alike && v.Doubted > 0 || len(v.Believed.Slots())+v.Doubted != v.Slots {
			t.Fatalf("%+v", v)
		}
		for _, slot := range v.Believed.Slots() {
			if got, ok := issue.At(slot.Start); !ok || got != slot.Intensity || math.IsNaN(got) {
				t.Fatalf("%v is believed", slot)
			}
		}
	})
}
