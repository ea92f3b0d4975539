package exporter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/forecast"
)

// An operator expects the same of each area, and notes for which it was asked.
type operator struct {
	kind  provider.WeatherType
	now   func() time.Time
	err   error
	asked []string
	wait  func() // takes the time of an answer
}

func (o *operator) DescribeWeather() provider.WeatherDescription {
	return provider.WeatherDescription{Type: o.kind, Source: string(o.kind), Attribution: "Wind and sun: " + string(o.kind), Rhythm: 3 * hour}
}

func (o *operator) Weather(_ context.Context, area string, _ []provider.Point) (provider.WeatherReading, error) {
	o.asked = append(o.asked, area)
	if o.wait != nil {
		o.wait()
	}
	if o.err != nil {
		return provider.WeatherReading{}, o.err
	}
	expected := forecast.UnknownWeather(o.now().Add(hour).Truncate(hour))
	expected.WindShare, expected.SolarShare = 0.4, 0.1
	return provider.WeatherReading{Weather: forecast.Weather{expected}}, nil
}

// withOperators returns the asker of the only target, with operators that need no network.
func (w *world) withOperators(operators ...*operator) *asker {
	w.t.Helper()
	a := w.asker(w.Exporter)
	a.weather[ofShares].sources = map[provider.WeatherType]provider.WeatherSource{}
	for _, o := range operators {
		o.now = w.clock.Now
		a.weather[ofShares].sources[o.kind] = o
	}
	return a
}

func TestEachZoneAsksTheOperatorOfItsArea(t *testing.T) {
	t.Parallel()
	var w *world
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	p := policy(g, "DE", "DK-DK1", "GB", "XX", "FR")
	p.Spec.Forecast.Renewables = &v1alpha1.RenewablesSource{}
	w = newWorld(t, p)
	charts := &operator{kind: provider.WeatherEnergyCharts}
	energinet, elexon := &operator{kind: provider.WeatherEnerginet}, &operator{kind: provider.WeatherElexon, err: errors.New("no route")}
	a := w.withOperators(charts, energinet, elexon)
	w.runUntil(a, start().Add(30*time.Second))
	got := map[provider.WeatherType][]string{charts.kind: charts.asked, energinet.kind: energinet.asked, elexon.kind: elexon.asked}
	want := map[provider.WeatherType][]string{charts.kind: {"DE", "FR"}, energinet.kind: {"DK-DK1"}, elexon.kind: {"GB"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("asked (-want +got)\n%s", diff)
	}
	d := w.document()
	for zone, want := range map[string]int{"DE": 1, "FR": 1, "DK-DK1": 1, "GB": 0, "XX": 0} {
		if len(d.Weather[zone]) != want {
			t.Errorf("%s: got %v, want %d hours", zone, d.Weather[zone], want)
		}
	}
	if d.Details["XX"].Problem != "" || d.Details["GB"].Problem != "renewables: no route" || d.Message != "renewables: no route" {
		t.Errorf("got the message %q and the problem %q of XX, want the failure of GB only", d.Message, d.Details["XX"].Problem)
	}
	if got := d.Details["DE"].Attribution; got != "Wind and sun: EnergyCharts" {
		t.Errorf("attribution %q", got)
	}
	w.runUntil(a, start().Add(3*hour-time.Second))
	if len(charts.asked) != 2 || len(elexon.asked) < 5 {
		t.Errorf("asked Energy-Charts %d times and Elexon %d times in three hours, want 2, and again after each failure", len(charts.asked), len(elexon.asked))
	}
	elexon.err = nil
	w.runUntil(a, start().Add(5*hour))
	if d := w.document(); len(d.Weather["GB"]) != 1 || d.Message != "" {
		t.Errorf("got %v and the message %q after the operator answers", d.Weather["GB"], d.Message)
	}
}

func TestOnlyANamedOperatorMustKnowTheZone(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{
		"Auto": "", "EnergyCharts": `renewables: nobody is known who forecasts wind and sun for the zone "XX": `,
	} {
		var w *world
		g := newGrid(t, func() time.Time { return w.clock.Now() })
		p := policy(g, "XX", "HU")
		p.Spec.Forecast.Renewables = &v1alpha1.RenewablesSource{Type: kind}
		w = newWorld(t, p)
		charts := &operator{kind: provider.WeatherEnergyCharts, err: fmt.Errorf("zone: %w", provider.ErrNoData)}
		a := w.withOperators(charts)
		w.runUntil(a, start().Add(day))
		d := w.document()
		if got := d.Details["XX"].Problem; !strings.HasPrefix(got, want) || (got == "") != (want == "") {
			t.Errorf("%s: got %q, want %q", kind, got, want)
		}
		if isWrong := d.Details["HU"].Problem != ""; isWrong != (kind != "Auto") {
			t.Errorf("%s: got the problem %q of a country without forecasts", kind, d.Details["HU"].Problem)
		}
		if kind == "Auto" && len(charts.asked) > 6 {
			t.Errorf("asked %d times in a day for what nobody forecasts", len(charts.asked))
		}
	}
}

func TestZonesInOneAreaShareAnAnswer(t *testing.T) {
	t.Parallel()
	var w *world
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	p := policy(g, "DE", "DE-NORTH", "de")
	p.Spec.Forecast.Renewables = &v1alpha1.RenewablesSource{Type: "EnergyCharts"}
	w = newWorld(t, p)
	charts := &operator{kind: provider.WeatherEnergyCharts}
	w.runUntil(w.withOperators(charts), start().Add(hour))
	if diff := cmp.Diff([]string{"DE"}, charts.asked); diff != "" {
		t.Errorf("asked (-want +got)\n%s", diff)
	}
	if d := w.document(); len(d.Weather) != 3 {
		t.Errorf("got %v, want the shares at each location", d.Weather)
	}
}

func TestASilentOperatorIsNotAskedForEveryZone(t *testing.T) {
	t.Parallel()
	var w *world
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	p := policy(g, "AT", "BE", "CH", "CZ", "DE", "ES", "FI", "FR")
	p.Spec.Forecast.Renewables = &v1alpha1.RenewablesSource{Type: "EnergyCharts"}
	w = newWorld(t, p)
	charts := &operator{kind: provider.WeatherEnergyCharts, err: errors.New("zone AT: no route")}
	a := w.withOperators(charts)
	w.runUntil(a, start().Add(30*time.Second))
	if diff := cmp.Diff([]string{"AT", "BE", "CH"}, charts.asked); diff != "" {
		t.Errorf("asked (-want +got)\n%s", diff)
	}
	if got, want := w.document().Details["FR"].Problem, "renewables: the source does not answer: no complete response"; got != want {
		t.Errorf("FR: got %q, want %q", got, want)
	}
	w.runUntil(a, start().Add(90*time.Second))
	if diff := cmp.Diff([]string{"CZ", "DE", "ES"}, charts.asked[3:]); diff != "" {
		t.Errorf("asked in the next round (-want +got)\n%s", diff)
	}
	charts.err = nil
	w.runUntil(a, start().Add(10*time.Minute))
	if d := w.document(); len(d.Weather) != 8 || d.Message != "" {
		t.Errorf("got the shares of %d zones and the message %q, want all", len(d.Weather), d.Message)
	}
}

func TestASlowOperatorKeepsNoForecastBack(t *testing.T) {
	t.Parallel()
	var w *world
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	p := policy(g, "AT", "BE", "CH", "CZ", "DE", "ES", "FI", "FR")
	p.Spec.Forecast.Renewables = &v1alpha1.RenewablesSource{}
	w = newWorld(t, p)
	charts := &operator{kind: provider.WeatherEnergyCharts, wait: func() { w.clock.Step(2 * time.Minute) }}
	a := w.withOperators(charts)
	a.step(t.Context())
	if diff := cmp.Diff([]string{"AT", "BE"}, charts.asked); diff != "" {
		t.Errorf("asked in the first round (-want +got)\n%s", diff)
	}
	w.runUntil(a, start().Add(40*time.Minute))
	if d := w.document(); len(d.Weather) != 8 || len(charts.asked) != 8 {
		t.Errorf("got the shares of %d zones by %d questions, want 8 by 8", len(d.Weather), len(charts.asked))
	}
}

func TestAClockThatWasAheadKeepsNoOperatorFromBeingAsked(t *testing.T) {
	t.Parallel()
	var w *world
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	p := policy(g, "DE")
	p.Spec.Forecast.Renewables = &v1alpha1.RenewablesSource{}
	w = newWorld(t, p)
	w.clock.SetTime(start().Add(365 * day))
	charts := &operator{kind: provider.WeatherEnergyCharts}
	a := w.withOperators(charts)
	a.step(t.Context())
	w.clock.SetTime(start())
	a.step(t.Context())
	if len(charts.asked) != 2 {
		t.Errorf("asked %d times, want again once the clock is right", len(charts.asked))
	}
}

// TestTheOperatorAndTheWeatherAreBothHeard has a server of weather that fails after a while, which does not
// touch what the operator says, also after a restart.
func TestTheOperatorAndTheWeatherAreBothHeard(t *testing.T) {
	t.Parallel()
	var w *world
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	var failing atomic.Bool
	weather := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		if failing.Load() {
			http.Error(out, "down", http.StatusBadRequest)
			return
		}
		fmt.Fprintf(out, "timestamp,wind_speed_10m,wind_share\n%s,7,0.2\n", w.clock.Now().Add(hour).Format(time.RFC3339))
	}))
	t.Cleanup(weather.Close)
	p := policy(g, "DE")
	p.Spec.Forecast.Weather = &v1alpha1.WeatherSource{Type: "HTTP", URL: weather.URL}
	p.Spec.Forecast.Renewables = &v1alpha1.RenewablesSource{}
	w = newWorld(t, p)
	charts := &operator{kind: provider.WeatherEnergyCharts}
	w.runUntil(w.withOperators(charts), start().Add(10*time.Minute))
	check := func(when string, wind, share float64) {
		t.Helper()
		got := w.document().Weather["DE"]
		if len(got) == 0 || got[0].WindSpeed != wind || got[0].WindShare != share || got[0].SolarShare != 0.1 || !math.IsNaN(got[0].Temperature) {
			t.Errorf("%s: got %v, want the wind %v and the share %v", when, got, wind, share)
		}
	}
	check("at first", 7, 0.4)
	failing.Store(true)
	charts.err = errors.New("no route")
	a := w.withOperators(charts)
	w.runUntil(a, start().Add(20*time.Minute))
	check("after a restart", 7, 0.4)
	if message := w.document().Message; !strings.Contains(message, "weather: ") {
		t.Errorf("message %q", message)
	}
	charts.err = nil
	w.runUntil(a, start().Add(2*hour))
	check("the operator answers", 7, 0.4)
}

func TestSharesNeedNoWeather(t *testing.T) {
	t.Parallel()
	before := forecast.Weather{{Start: start(), WindSpeed: 7, WindShare: 0.3}}
	var z zone
	withoutOperator, withoutWeather := &asker{}, &asker{}
	withoutOperator.source.weather[ofSky].kind = provider.WeatherHTTP
	withoutWeather.source.weather[ofShares].kind = anyOperator
	withoutOperator.restoreWeather(&z, before, time.Time{}, time.Time{})
	if got := withoutOperator.weatherOf(&z, start()); len(got) != 1 || got[0].WindSpeed != 7 || got[0].WindShare != 0.3 {
		t.Errorf("without an operator: got %v", got)
	}
	z = zone{}
	withoutWeather.restoreWeather(&z, before, time.Time{}, time.Time{})
	if got := withoutWeather.weatherOf(&z, start()); len(got) != 1 || !math.IsNaN(got[0].WindSpeed) || got[0].WindShare != 0.3 {
		t.Errorf("without weather: got %v, want the share and no wind that nobody renews", got)
	}
}

func TestAForecastOfASilentSourceIsNotTakenForNew(t *testing.T) {
	t.Parallel()
	var a asker
	a.source.weather[ofSky].kind, a.source.weather[ofShares].kind = provider.WeatherHTTP, anyOperator
	now := start()
	hourAt := func(at time.Time) forecast.WeatherHour { return forecast.WeatherHour{Start: at, WindSpeed: 7} }
	for silence, want := range map[time.Duration]int{day: 2, 3 * day: 1} {
		z := &zone{}
		before := now.Add(-silence)
		z.weather[ofSky] = zoneWeather{received: before, hours: forecast.Weather{hourAt(before.Add(-hour)), hourAt(now.Add(hour))}}
		z.weather[ofShares] = zoneWeather{received: now, hours: forecast.Weather{forecast.UnknownWeather(now)}}
		windy := 0
		for _, h := range a.weatherOf(z, now) {
			if h.WindSpeed == 7 {
				windy++
			}
		}
		if windy != want {
			t.Errorf("silent for %s: %d hours have wind, want %d", silence, windy, want)
		}
	}
}
