package exporter

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/forecast"
)

// other is a server of Energy-Charts that knows all but the last hour. Its intensities are twice those of
// the grid.
type other struct {
	*httptest.Server

	asked  atomic.Int32
	isDown atomic.Bool
}

func newOther(t *testing.T, now func() time.Time) *other {
	t.Helper()
	o := &other{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.asked.Add(1)
		if o.isDown.Load() {
			http.Error(w, "down", http.StatusBadRequest)
			return
		}
		from, err := time.Parse("2006-01-02T15:04Z", r.URL.Query().Get("start"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var answer struct {
			Seconds  []int64   `json:"unix_seconds"`
			Actual   []float64 `json:"co2eq"`
			Forecast []float64 `json:"co2eq_forecast"`
		}
		for at := from.Truncate(hour); at.Before(now().Truncate(hour)); at = at.Add(15 * time.Minute) {
			answer.Seconds = append(answer.Seconds, at.Unix())
			answer.Actual = append(answer.Actual, 2*intensity(at))
		}
		answer.Forecast = answer.Actual
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(o.Close)
	return o
}

// newSecondTry returns a world whose policy asks a grid of DE, which is a day late, and a second source.
func newSecondTry(t *testing.T, change func(*v1alpha1.CarbonPolicy)) (*world, *grid, *other) {
	t.Helper()
	var w *world
	now := func() time.Time { return w.clock.Now() }
	g, o := newGrid(t, now), newOther(t, now)
	g.late = day
	p := policy(g, "DE")
	p.Spec.Forecast.Actuals = &v1alpha1.ActualsSource{Type: "EnergyCharts", BaseURL: o.URL}
	if change != nil {
		change(p)
	}
	w = newWorld(t, p)
	return w, g, o
}

func TestASecondSourceCompletesLateActuals(t *testing.T) {
	t.Parallel()
	w, _, o := newSecondTry(t, nil)
	a := w.asker(w.Exporter)
	check := func(when string) {
		t.Helper()
		d, now := w.document(), w.clock.Now().Truncate(hour)
		own, levelled, second := d.Actuals["DE"], d.Levelled["DE"], d.Details["DE"].Second
		if second == nil || second.Provider != "Energy-Charts" || second.Zone != "DE" || second.Ratio != 0.5 || second.Problem != "" {
			t.Fatalf("%s: second source %+v, message %q", when, second, d.Message)
		}
		for at := own.End(); at.Before(second.Until); at = at.Add(hour) {
			if got, ok := levelled.At(at); !ok || got != intensity(at) {
				t.Errorf("%s: %v of %v, %t, want %v", when, got, at, ok, intensity(at))
			}
		}
		if own.End().After(now.Add(-day)) || second.Until.Before(now.Add(-2*hour)) || levelled.Start().Before(own.End()) {
			t.Errorf("%s: the provider's until %v, and the second source's from %v until %v", when, own.End(), levelled.Start(), second.Until)
		}
		if !strings.Contains(d.Details["DE"].Attribution, "Fraunhofer") || d.Details["DE"].Origin.Past != "" || d.Message != "" {
			t.Errorf("%s: details %+v, message %q", when, d.Details["DE"], d.Message)
		}
	}
	w.runUntil(a, start().Add(9*time.Minute))
	check("at first")
	before := o.asked.Load()
	w.runUntil(a, start().Add(5*hour))
	check("after hours")
	if n := o.asked.Load() - before; n < 4 || n > 7 {
		t.Errorf("asked %d times in five hours, want once an hour", n)
	}
	o.isDown.Store(true)
	w.runUntil(w.asker(w.exporter(w.Client, w.APIReader)), w.clock.Now().Add(time.Minute))
	check("after a restart without an answer")
	w.runUntil(a, w.clock.Now().Add(3*hour))
	if d := w.document(); d.Message != "" || d.Levelled["DE"].IsEmpty() {
		t.Errorf("without answers: message %q and %d hours, want those that are known", d.Message, len(d.Levelled["DE"].Slots()))
	}
}

func TestThePastOfASecondSourceCountsAsItIsWhereThereIsNoOther(t *testing.T) {
	t.Parallel()
	w, _, o := newSecondTry(t, func(p *v1alpha1.CarbonPolicy) { p.Spec.Forecast.Provider.HTTP.PastURL = "" })
	check := func(when string) {
		t.Helper()
		d := w.document()
		if got, ok := d.Actuals["DE"].At(start().Add(-2 * hour)); !ok || got != 2*intensity(start().Add(-2*hour)) {
			t.Errorf("%s: %v, %t, want what the second source says; details %+v", when, got, ok, d.Details["DE"])
		}
		want := forecast.Origin{Provider: "HTTP", Zone: "DE", Past: "Energy-Charts"}
		if got := d.Details["DE"].Origin; got.Past != want.Past || got.Provider != want.Provider || got.Zone != want.Zone || len(d.Levelled) > 0 || d.Series["DE"].IsEmpty() {
			t.Errorf("%s: origin %+v, want %+v", when, got, want)
		}
	}
	w.runUntil(w.asker(w.Exporter), start().Add(9*time.Minute))
	check("at first")
	o.isDown.Store(true)
	w.runUntil(w.asker(w.exporter(w.Client, w.APIReader)), start().Add(3*hour))
	check("after a restart without an answer")
	for i, written := range w.written() {
		if i > 20 {
			t.Fatalf("%d writes, the last: %s", len(w.written()), written)
		}
	}
}

func TestWhyASecondSourceDoesNotCount(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*v1alpha1.CarbonPolicy)
		isDown bool
		want   string // "" for silence
	}{
		"marginal intensities": {change: func(p *v1alpha1.CarbonPolicy) {
			p.Spec.Forecast.Provider.Signal = &v1alpha1.Signal{Kind: "Marginal"}
		}, want: "EnergyCharts, not used: the intensities of the provider are marginal, and its own are average"},
		"marginal intensities and Auto": {change: func(p *v1alpha1.CarbonPolicy) {
			p.Spec.Forecast.Provider.Signal = &v1alpha1.Signal{Kind: "Marginal"}
			p.Spec.Forecast.Actuals = &v1alpha1.ActualsSource{}
		}},
		"nobody covers the zone": {change: func(p *v1alpha1.CarbonPolicy) {
			p.Spec.Forecast.Actuals = &v1alpha1.ActualsSource{Type: "Auto"}
			p.Spec.Locations[0].Zone = "my-zone"
		}},
		"no answer": {isDown: true, want: "Energy-Charts (zone DE), not used: zone \"DE\": "},
		"an address that cannot be one": {change: func(p *v1alpha1.CarbonPolicy) {
			p.Spec.Forecast.Actuals.BaseURL = "http://user@host"
		}, want: "EnergyCharts, not used: it cannot be asked: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _, o := newSecondTry(t, tt.change)
			o.isDown.Store(tt.isDown)
			w.runUntil(w.asker(w.Exporter), start().Add(30*time.Minute))
			d, got := w.document(), ""
			if s := d.Details["DE"].Second; s != nil {
				got = s.String()
			}
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" || len(d.Levelled) > 0 || d.Message != "" || d.Actuals["DE"].IsEmpty() {
				t.Errorf("got %q, want %q; message %q", got, tt.want, d.Message)
			}
			if asked := o.asked.Load() > 0; asked != tt.isDown {
				t.Errorf("the second source was asked: %t", asked)
			}
		})
	}
}

func TestForecastsDoNotWaitForSecondSources(t *testing.T) {
	t.Parallel()
	zones := []string{"AT", "BE", "CH", "CZ", "DE", "ES", "FI", "FR"}
	w, g, o := newSecondTry(t, func(p *v1alpha1.CarbonPolicy) {
		p.Spec.Locations = nil
		for _, zone := range zones {
			p.Spec.Locations = append(p.Spec.Locations, v1alpha1.Location{Name: zone})
		}
	})
	a := w.asker(w.Exporter)
	a.step(t.Context())
	if n := o.asked.Load(); n != maxSecondZones {
		t.Errorf("%d zones in one step, want %d", n, maxSecondZones)
	}
	w.runUntil(a, start().Add(30*time.Minute))
	for _, zone := range zones {
		if s := w.document().Details[zone].Second; s == nil || s.Ratio != 0.5 {
			t.Errorf("%s: %+v", zone, s)
		}
	}
	if n := count(g.asked(), "forecast"); n < 2*len(zones) {
		t.Errorf("%d forecasts in half an hour", n)
	}
}

// TestASecondSourceThatIsDownIsLeftAlone has 40 zones and a server that does not answer, which allows two
// requests a minute.
func TestASecondSourceThatIsDownIsLeftAlone(t *testing.T) {
	t.Parallel()
	for status, most := range map[int]int32{http.StatusTooManyRequests: 60, http.StatusBadGateway: 150} {
		var asked atomic.Int32
		var isUp atomic.Bool
		var w *world
		up := newOther(t, func() time.Time { return w.clock.Now() })
		down := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			if isUp.Load() {
				up.Config.Handler.ServeHTTP(out, r)
				return
			}
			http.Error(out, "enhance your calm", status)
		}))
		t.Cleanup(down.Close)
		w, _, _ = newSecondTry(t, func(p *v1alpha1.CarbonPolicy) {
			p.Spec.Forecast.Actuals = &v1alpha1.ActualsSource{Type: "EnergyCharts", BaseURL: down.URL, Zone: "DE"}
			p.Spec.Locations = nil
			for _, zone := range manyZones(40) {
				p.Spec.Locations = append(p.Spec.Locations, v1alpha1.Location{Name: zone})
			}
		})
		a := w.asker(w.Exporter)
		w.runUntil(a, start().Add(3*hour))
		if n := asked.Load(); n < 5 || n > most {
			t.Errorf("%d: %d requests in three hours to a source that is down, want at most %d", status, n, most)
		}
		for zone, details := range w.document().Details {
			if details.Second == nil || details.Second.Problem == "" || details.Problem != "" {
				t.Errorf("%d: zone %s: %+v", status, zone, details)
			}
		}
		isUp.Store(true)
		w.runUntil(a, start().Add(7*hour))
		for zone, details := range w.document().Details {
			if details.Second == nil || details.Second.Ratio != 0.5 {
				t.Errorf("%d: once it answers again: zone %s: %+v", status, zone, details.Second)
			}
		}
	}
}

// TestASecondSourceTellsNothingOfTheFuture has a server that calls its forecast actual.
func TestASecondSourceTellsNothingOfTheFuture(t *testing.T) {
	t.Parallel()
	var w *world
	ahead := newOther(t, func() time.Time { return w.clock.Now().Add(50 * hour) })
	w, _, _ = newSecondTry(t, func(p *v1alpha1.CarbonPolicy) { p.Spec.Forecast.Actuals.BaseURL = ahead.URL })
	w.runUntil(w.asker(w.Exporter), start().Add(2*hour))
	d, now := w.document(), w.clock.Now()
	if levelled, second := d.Levelled["DE"], d.Details["DE"].Second; levelled.IsEmpty() || levelled.End().After(now) || second.Until.After(now) {
		t.Errorf("at %v, levelled hours until %v, told until %v", now, levelled.End(), second.Until)
	}
}

// TestAConfigMapThatIsFullKeepsTheNewestOfASecondSource has locations whose past the second source alone knows,
// and no room for all of it.
func TestAConfigMapThatIsFullKeepsTheNewestOfASecondSource(t *testing.T) {
	t.Parallel()
	rng, now := rand.New(rand.NewPCG(1, 2)), start().Truncate(hour)
	d := forecast.Document{
		Series: map[string]*forecast.Series{}, Actuals: map[string]*forecast.Series{}, Levelled: map[string]*forecast.Series{},
		Details: map[string]forecast.Details{}, Weather: map[string]forecast.Weather{},
	}
	noise := func(from, to time.Time) *forecast.Series {
		var slots []forecast.Slot
		for at := from; at.Before(to); at = at.Add(hour) {
			slots = append(slots, forecast.Slot{Start: at, End: at.Add(hour), Intensity: 500 * rng.Float64()})
		}
		return forecast.NewSeries(slots)
	}
	for _, zone := range manyZones(64) {
		d.Series[zone], d.Actuals[zone], d.Levelled[zone] = noise(now, now.Add(48*hour)), noise(now.Add(-retention), now.Add(-40*day)), noise(now.Add(-40*day), now)
		d.Details[zone] = forecast.Details{Origin: forecast.Origin{Provider: "P"}, Second: &forecast.SecondSource{Provider: "Q", Ratio: 2}}
	}
	for _, limit := range []int{maxSize, 400 << 10, 200 << 10} {
		binary, data, err := fit(d, now, limit)
		if err != nil || sizeOf(binary, data) > limit {
			t.Fatalf("%d bytes of %d, %v", sizeOf(binary, data), limit, err)
		}
		read, err := forecast.FromConfigMap(binary, data, "data", now)
		if err != nil {
			t.Fatal(err)
		}
		for _, zone := range manyZones(64) {
			s := read.Levelled[zone]
			if isAll := len(s.Slots()) == 40*24; !s.End().Equal(now) || read.Series[zone].IsEmpty() || isAll != (limit > 200<<10) {
				t.Fatalf("limit %d: %s: %d hours until %v, and %d slots of the forecast", limit, zone, len(s.Slots()), s.End(), len(read.Series[zone].Slots()))
			}
		}
	}
}

func TestSignalsThatContradictAreNotComparable(t *testing.T) {
	t.Parallel()
	direct, lifeCycle := forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.Direct}, forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.LifeCycle}
	average := forecast.Signal{Kind: forecast.Average}
	for _, tt := range []struct {
		a, b forecast.Signal
		want bool
	}{{direct, lifeCycle, false}, {direct, average, true}, {forecast.Signal{}, lifeCycle, true}, {average, forecast.Signal{Kind: forecast.Marginal}, false}} {
		if areComparable(tt.a, tt.b) != tt.want || areComparable(tt.b, tt.a) != tt.want {
			t.Errorf("%q and %q: want %t", tt.a, tt.b, tt.want)
		}
	}
	z := &zone{name: "GB", saidNoPast: true, origin: forecast.Origin{Provider: "P", Signal: lifeCycle}}
	z.second.told = &zone{name: "GB", origin: forecast.Origin{Provider: "Q", Signal: direct}, actuals: forecast.NewSeries([]forecast.Slot{{Start: start(), End: start().Add(hour), Intensity: 1}})}
	var d forecast.Details
	if actuals, levelled := z.wholePast(&d, start()); !actuals.IsEmpty() || !levelled.IsEmpty() || d.Second == nil || !strings.Contains(d.Second.Problem, "of another kind (average, direct)") || d.Origin.Past != "" {
		t.Errorf("got %d and %d hours, %+v", len(actuals.Slots()), len(levelled.Slots()), d)
	}
}

func TestWhoIsTheSecondSource(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		of     provider.Type
		second secondSource
		zone   string
		want   string
	}{
		{provider.TypeHTTP, secondSourceOf(nil), "DE", " "},
		{provider.TypeHTTP, secondSourceOf(&v1alpha1.ActualsSource{}), "DE", "EnergyCharts DE"},
		{provider.TypeElectricityMaps, secondSource{kind: "Auto"}, "GB", "UKCarbonIntensity GB"},
		{provider.TypeElectricityMaps, secondSource{kind: "Auto"}, "DK-DK1", "Energinet DK-DK1"},
		{provider.TypeEnergyCharts, secondSource{kind: "Auto"}, "DE", " "},
		{provider.TypeElectricityMaps, secondSource{kind: "EnergyCharts"}, "SE-SE3", "EnergyCharts SE"},
		{provider.TypeHTTP, secondSource{kind: "GridCarbon", zone: "DE"}, "my-zone", "GridCarbon DE"},
		{provider.TypeHTTP, secondSource{kind: "GridCarbon"}, "my-zone", "GridCarbon my-zone"},
	} {
		of, name := source{kind: tt.of, second: tt.second}.secondOf(tt.zone)
		if got := fmt.Sprint(string(of), " ", name); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt, got, tt.want)
		}
	}
	if !slices.Equal([]string{secondAuto}, []string{secondSourceOf(&v1alpha1.ActualsSource{}).kind}) {
		t.Error("nothing stands for another type than Auto")
	}
}
