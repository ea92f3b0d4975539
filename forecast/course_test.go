package forecast

import (
	"math"
	"testing"
	"time"
)

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
			t.Errorf("at %d, where the forecast says nothing, the intensity is %v", minute, got)
		}
	}
	if _, ok := (Forecast{from: at(0), until: at(9)}).Near(at(5)); ok {
		t.Error("something is known of nothing")
	}
}

// What an older forecast says of the time after a newer one is used while the older one is fresh,
// and no longer.
func TestATailIsKeptWhileItIsFresh(t *testing.T) {
	var store Store
	offerAll(t, &store, newDocument(0, "A", even(at(0), time.Hour, flat(72, 300)...)), at(0))
	for h := 1; h < 72; h++ {
		now := hourAt(h)
		offerAll(t, &store, Document{Series: map[string]*Series{"A": even(now, time.Hour, 400, 401)}, Issued: now}, now)
		want := hourAt(72)
		if h > 24 {
			want = now.Add(2 * time.Hour)
		}
		if got := keptForecastOf(&store).Series.End(); got != later(want, now.Add(2*time.Hour)) {
			t.Fatalf("after %d hours it ends at %v, want %v", h, got, want)
		}
		expected := keptForecastOf(&store).Model.Predict(now, trust).Series
		if got, ok := expected.At(now.Add(5 * time.Hour)); h <= 24 && (!ok || got < 250 || got > 450) {
			t.Fatalf("after %d hours, five hours ahead is %v (%v)", h, got, ok)
		}
	}
}

// A shorter forecast that corrects another wins wherever it says something, and the rest of the
// other is gone after a day. A third forecast in between is fresh for longer.
func TestWhatIsLeftOfOlderForecasts(t *testing.T) {
	type offer struct {
		hour   int
		values []float64
	}
	long, mid := offer{0, flat(60, 300)}, offer{6, flat(52, 200)} // until hours 60 and 58
	for name, tt := range map[string]struct {
		offers []offer
		want   map[int]float64 // by the hour; what is after the last of them is unknown
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
			f := keptForecastOf(&store)
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

// A gap is unknown, whatever older forecasts said of it: there may be a reason for the gap.
func TestAGapIsNotFilledByOlderForecasts(t *testing.T) {
	var store Store
	offerAll(t, &store, newDocument(0, "A", even(at(0), time.Hour, flat(24, 100)...)), at(0))
	for name, value := range map[string]float64{"zero": 0, "a placeholder": -1} {
		offerAll(t, &store, newDocument(5, "A", even(at(0), time.Hour, 600, value, 600)), at(5))
		f := keptForecastOf(&store)
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
