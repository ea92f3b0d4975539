package forecast

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hourly returns hours from the nth hour of a grid on. NaN makes a gap.
func hourly(n int, values ...float64) *Series { return even(hr(n), time.Hour, values...) }

// repeated returns a value a number of times.
func repeated(value float64, times int) []float64 {
	values := make([]float64, times)
	for i := range values {
		values[i] = value
	}
	return values
}

func TestASecondSourceIsLevelled(t *testing.T) {
	nan := math.NaN()
	own := append(repeated(200, 30), nan, 210)
	for name, tt := range map[string]struct {
		own, second *Series
		now         time.Time
		want        []Slot
		ratio       float64
		problem     string
	}{
		"newer hours and gaps are filled": {
			own: hourly(0, own...), second: hourly(0, append(repeated(100, 30), 120, 105, 90)...), now: hr(33),
			want: []Slot{{hr(30), hr(31), 240}, {hr(32), hr(33), 180}}, ratio: 2,
		},
		"older hours are filled": {
			own: hourly(2, repeated(100, 24)...), second: hourly(0, repeated(50, 26)...), now: hr(26),
			want: []Slot{{hr(0), hr(1), 100}, {hr(1), hr(2), 100}}, ratio: 2,
		},
		"an hour that is not over counts nothing": {own: hourly(0, repeated(100, 24)...), second: hourly(0, repeated(50, 25)...), now: hr(24).Add(time.Minute), want: []Slot{}, ratio: 2},
		"too few common hours":                    {own: hourly(0, repeated(100, 23)...), second: hourly(0, repeated(50, 30)...), now: hr(30), want: []Slot{}, problem: "both know 23 of the hours"},
		"common hours of long ago":                {own: hourly(0, repeated(100, 48)...), second: hourly(0, repeated(50, 400)...), now: hr(400), want: []Slot{}, problem: "both know 0 of the hours"},
		"a level beyond the bounds":               {own: hourly(0, repeated(1000, 24)...), second: hourly(0, repeated(100, 30)...), now: hr(30), want: []Slot{}, problem: "its level is too different: 100 gCO2eq/kWh, where the provider has 1000"},
		"a level of the other sign":               {own: hourly(0, repeated(100, 24)...), second: hourly(0, repeated(-100, 30)...), now: hr(30), want: []Slot{}, problem: "too different"},
		"zeros":                                   {own: hourly(0, repeated(0, 24)...), second: hourly(0, repeated(0, 30)...), now: hr(30), want: []Slot{}, problem: "too different"},
		"nothing of the provider":                 {own: nil, second: hourly(0, 1), now: hr(30), want: []Slot{}, problem: "knows nothing"},
		"nothing of the second source":            {own: hourly(0, 1), second: nil, now: hr(30), want: []Slot{}, problem: "knows nothing"},
		"another age": {
			own: NewSeries([]Slot{{time.Unix(0, 0), time.Unix(1, 0), 1}}), second: NewSeries([]Slot{{time.Unix(0, 0), hr(90_000), 1}}), now: hr(30), want: []Slot{}, problem: "both know 0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, ratio, err := Level(tt.own, tt.second, tt.now)
			if diff := cmp.Diff(tt.want, got.Slots()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if ratio != tt.ratio || (err == nil) != (tt.problem == "") || err != nil && !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("ratio %v, %v; want %v and %q", ratio, err, tt.ratio, tt.problem)
			}
		})
	}
}

func TestASecondSourceThatTellsLittleIsNotUsed(t *testing.T) {
	rng, own, second := rand.New(rand.NewPCG(1, 1)), []float64{}, []float64{}
	for i := range 5 * day {
		own = append(own, 300+20*math.Sin(float64(i)/9))
		second = append(second, own[i]+60*rng.NormFloat64())
	}
	if got, _, err := Level(hourly(0, own[:4*day]...), hourly(0, second...), hr(5*day)); !got.IsEmpty() || err == nil || !strings.Contains(err.Error(), "it is wrong about the provider's intensities by") {
		t.Errorf("got %d hours, %v", len(got.Slots()), err)
	}
}

// A lateGrid is a grid whose provider tells how the intensity was some hours late, and a second source
// an hour late. The second source counts otherwise, and is wrong by noise.
type lateGrid struct {
	late      int
	hasSecond bool
	noise     float64
}

// second returns what the second source says.
func (l lateGrid) second(actual []float64) []float64 {
	rng, said, drift := rand.New(rand.NewPCG(7, 7)), make([]float64, len(actual)), 0.0
	for i, v := range actual {
		drift = 0.95*drift + l.noise*rng.NormFloat64()
		said[i] = 0.7*v + drift
	}
	return said
}

// play gives a store a document an hour, and returns the share of the possible saving that work gets
// which comes from an hour on. The provider has no forecast.
func (l lateGrid) play(t *testing.T, g *grid, from int) float64 {
	t.Helper()
	var store Store
	said, source, trials := l.second(g.actual), Source{Name: "s"}, hindsight{}
	known := func(values []float64, n int) *Series { return even(startOf(g.first), time.Hour, values[:max(n, 0)]...) }
	for n := 1; n < len(g.actual); n++ {
		now := startOf(g.first.plus(n))
		d := Document{Actuals: map[string]*Series{"A": known(g.actual, n-l.late)}, Details: map[string]Details{"A": {}}}
		if l.hasSecond {
			levelled, _, _ := Level(d.Actuals["A"], known(said, n-1), now)
			d.Levelled = map[string]*Series{"A": levelled}
		}
		if err := store.Offer(source, d, now); err != nil {
			t.Fatal(err)
		}
		if f, _ := store.Snapshot(source).Forecast("A"); n >= from {
			predicted, actual := f.Model.Predict(now, 60*time.Hour).Series, record{g.first, g.actual[:n+1]}
			trials.step(hourOf(now), &actual, func(u hour) float64 { v, _ := predicted.At(startOf(u)); return v })
		}
	}
	return trials.share()
}

func TestASecondSourceMakesUpForLateActuals(t *testing.T) {
	grids := map[string]*grid{"synthetic": synthetic(3, 40, 0)}
	for _, region := range traceRegions(t) {
		grids[region] = readTrace(t, region, 40)
	}
	for name, g := range grids {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onTime, late := lateGrid{late: 1}.play(t, g, 14*day), lateGrid{late: day}.play(t, g, 14*day)
			exact, noisy := lateGrid{late: day, hasSecond: true}.play(t, g, 14*day), lateGrid{late: day, hasSecond: true, noise: 2}.play(t, g, 14*day)
			useless := lateGrid{late: day, hasSecond: true, noise: 100}.play(t, g, 14*day)
			t.Logf("an hour late %.3f, a day late %.3f, with a second source %.3f, with a noisy one %.3f, with a useless one %.3f", onTime, late, exact, noisy, useless)
			if exact < onTime-0.01 || useless != late {
				t.Error("want about as much with a second source as on time, and with a useless one what there is without")
			}
			if name == "synthetic" && (late > onTime-0.03 || noisy < late+0.03) {
				t.Error("want much more with a noisy second source than a day late")
			}
		})
	}
}

func TestTheProviderCorrectsASecondSource(t *testing.T) {
	var store Store
	source, own, second := Source{Name: "s"}, append(repeated(200, 47), 220), append(repeated(200, 47), 210, 260)
	actuals := func() *Series {
		f, _ := store.Snapshot(source).Forecast("A")
		return f.Before(hr(47), hr(49))
	}
	offer := func(hours, levelledFrom int, now time.Time) Forecast {
		t.Helper()
		d := Document{Details: map[string]Details{"A": {Second: &SecondSource{Provider: "Q", Ratio: 1}}}, Actuals: map[string]*Series{"A": hourly(0, own[:hours]...)}}
		d.Levelled = map[string]*Series{"A": hourly(levelledFrom, second[levelledFrom:]...)}
		if err := store.Offer(source, d, now); err != nil {
			t.Fatal(err)
		}
		f, _ := store.Snapshot(source).Forecast("A")
		return f
	}
	f := offer(47, 47, hr(49))
	if diff := cmp.Diff([]Slot{{hr(47), hr(48), 210}, {hr(48), hr(49), 260}}, actuals().Slots()); diff != "" {
		t.Errorf("the model has, of the second source, -want +got\n%s", diff)
	}
	if !f.Actuals.End().Equal(hr(47)) || !f.ActualUntil().Equal(hr(47)) {
		t.Errorf("what the second source says counts as measured: until %v and %v, want %v", f.Actuals.End(), f.ActualUntil(), hr(47))
	}
	f = offer(48, 48, hr(49).Add(time.Minute))
	for h, want := range map[int]float64{46: 200, 47: 220, 48: 260} {
		if got := f.Model.past.actual.at(h0.plus(h)); math.Abs(got-want) > 0.01 {
			t.Errorf("hour %d: the model has %v, want %v", h, got, want)
		}
	}
}

// TestTheProviderCorrectsASecondSourceThatIsGone has a second source that a document leaves out before the
// provider knows the hours: its level is too different for a while, or the ConfigMap has no room.
func TestTheProviderCorrectsASecondSourceThatIsGone(t *testing.T) {
	var store Store
	own := append(repeated(200, 47), 220, 230)
	for i, d := range []Document{
		{Actuals: map[string]*Series{"A": hourly(0, own[:47]...)}, Levelled: map[string]*Series{"A": hourly(47, 210, 260)}},
		{Actuals: map[string]*Series{"A": hourly(0, own[:47]...)}},
		{Actuals: map[string]*Series{"A": hourly(0, own[:48]...)}, Levelled: map[string]*Series{"A": hourly(48, 261)}},
		{Actuals: map[string]*Series{"A": hourly(0, own...)}},
		{Actuals: map[string]*Series{"A": hourly(0, append(own[:48:48], 999)...)}}, // a revision
	} {
		d.Details = map[string]Details{"A": {}}
		if err := store.Offer(Source{}, d, hr(49).Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	f, _ := store.Snapshot(Source{}).Forecast("A")
	for h, want := range map[int]float64{46: 200, 47: 220, 48: 230} {
		if got := f.Model.past.actual.at(h0.plus(h)); math.Abs(got-want) > 0.01 {
			t.Errorf("hour %d: the model has %v, want %v", h, got, want)
		}
	}
}

func TestLevelledIntensitiesAreWrittenAndRead(t *testing.T) {
	details := Details{Origin: Origin{Provider: "P", Past: "Q"}, Second: &SecondSource{Provider: "Q", Zone: "DE", Until: hr(3), Ratio: 1.5, Problem: strings.Repeat("x", 2*maxTextSize)}}
	d := Document{Actuals: map[string]*Series{"A": hourly(0, 1, 2)}, Levelled: map[string]*Series{"A": hourly(2, 3)}, Details: map[string]Details{"A": details}}
	binary, data, err := d.ConfigMap(hr(3))
	if err != nil {
		t.Fatal(err)
	}
	got, err := FromConfigMap(binary, data, "data", hr(3))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(hourly(2, 3).Slots(), got.Levelled["A"].Slots()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if s := got.Details["A"].Second; s.Ratio != 1.5 || !s.Until.Equal(hr(3)) || len(s.Problem) > maxTextSize {
		t.Errorf("got %+v", s)
	}
	long := Details{Second: &SecondSource{Provider: strings.Repeat("x", maxNameLength+1)}}
	if err := (Document{Details: map[string]Details{"A": long}}).checkLocation("A"); err == nil {
		t.Error("a name that is too long is taken")
	}
	binary[levelledKey] = []byte("no gzip")
	if _, err := FromConfigMap(binary, data, "data", hr(3)); err == nil || !strings.Contains(err.Error(), levelledKey) {
		t.Errorf("got %v, want the key", err)
	}
}

func TestASecondSourceIsNamed(t *testing.T) {
	for want, s := range map[string]SecondSource{
		"Q": {Provider: "Q"},
		"Q (zone DE) until Jan 1 03:00, times 1.12":         {Provider: "Q", Zone: "DE", Until: hr(3), Ratio: 1.1234},
		"Q until Jan 1 03:00":                               {Provider: "Q", Until: hr(3), Ratio: 1},
		"Q (zone DE), not used: its level is too different": {Provider: "Q", Zone: "DE", Problem: "its level is too different"},
	} {
		if got := s.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got, want := (Origin{Provider: "P", Zone: "Z", Past: "Q"}).String(), "zone Z of P, the past of Q"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzLevel(f *testing.F) {
	f.Add(int64(0), int64(400), 1.0, 2.0, int64(30))
	f.Fuzz(func(t *testing.T, start, hours int64, own, second float64, now int64) {
		of := func(value float64) *Series {
			return NewSeries([]Slot{{hr(0).Add(time.Duration(start)), hr(0).Add(time.Duration(hours)), value}})
		}
		levelled, ratio, err := Level(of(own), of(second), hr(0).Add(time.Duration(now)))
		if err == nil != (ratio > 0) || err != nil && !levelled.IsEmpty() {
			t.Errorf("ratio %v, %v, %d hours", ratio, err, len(levelled.Slots()))
		}
	})
}
