package exporter

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/forecast"
)

// TestWeatherIsAskedForOnceThereArePoints has a zone whose points nobody knows, until a user names some.
func TestWeatherIsAskedForOnceThereArePoints(t *testing.T) {
	t.Parallel()
	var w *world
	var asked atomic.Int32
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	weather := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprintf(out, `{"properties":{"timeseries":[{"time":%q,"data":{"instant":{"details":{"wind_speed":7}}}}]}}`, w.clock.Now().Add(hour).Format(time.RFC3339))
	}))
	t.Cleanup(weather.Close)
	p := policy(g, "XX")
	p.Spec.Forecast.Weather = &v1alpha1.WeatherSource{Type: "METNorway", BaseURL: weather.URL}
	w = newWorld(t, p)
	a := w.asker(w.Exporter)
	w.runUntil(a, start().Add(5*hour))
	if n := asked.Load(); n != 0 || !strings.Contains(w.message(), "no points are known") {
		t.Fatalf("asked %d times, message %q", n, w.message())
	}
	targets, err := w.targets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	targets[0].places[0].points = "54,9"
	a.assign(targets)
	a.step(t.Context())
	if n := asked.Load(); n != 1 || w.message() != "" {
		t.Errorf("asked %d times for points that are new, message %q", n, w.message())
	}
}

// TestASilentSourceDoesNotKeepTheOtherOut has weather that nobody renews for weeks, while the operator goes on.
func TestASilentSourceDoesNotKeepTheOtherOut(t *testing.T) {
	t.Parallel()
	a, z := &asker{}, &zone{name: "DE"}
	a.source.weather[ofSky].kind, a.source.weather[ofShares].kind = provider.WeatherOpenMeteo, anyOperator
	now := start().Truncate(hour)
	for at := now.Add(-28*day - retention); at.Before(now.Add(-20 * day)); at = at.Add(hour) {
		sky := forecast.UnknownWeather(at)
		sky.WindSpeed = 7
		z.weather[ofSky].hours = append(z.weather[ofSky].hours, sky)
	}
	for at := now.Add(-retention); at.Before(now.Add(3 * day)); at = at.Add(hour) {
		shares := forecast.UnknownWeather(at)
		shares.WindShare = 0.4
		z.weather[ofShares].hours = append(z.weather[ofShares].hours, shares)
	}
	d := forecast.Document{
		Details: map[string]forecast.Details{"DE": {Origin: forecast.Origin{Provider: "P"}}}, Series: map[string]*forecast.Series{"DE": forecast.NewSeries([]forecast.Slot{{Start: now, End: now.Add(hour), Intensity: 1}})},
		Weather: map[string]forecast.Weather{"DE": a.weatherOf(z, now)},
	}
	binary, data, err := d.ConfigMap(now)
	if err != nil {
		t.Fatal(err)
	}
	read, err := forecast.FromConfigMap(binary, data, "data", now)
	if err != nil {
		t.Fatal(err)
	}
	hours := read.Weather["DE"]
	if n := len(hours); n == 0 || !hours[n-1].Start.Equal(now.Add(3*day-hour)) || hours[n-1].WindShare != 0.4 {
		t.Errorf("the ConfigMap has %d hours, want them until the last that the operator knows: %v", n, now.Add(3*day-hour))
	}
	if hours[0].Start.Before(now.Add(-retention)) {
		t.Errorf("the first hour is %v, which no model keeps", hours[0].Start)
	}
}

// TestASourceThatHasSaidNothingIsNotCredited restarts an exporter that knows the weather of a country that no
// operator forecasts.
func TestASourceThatHasSaidNothingIsNotCredited(t *testing.T) {
	t.Parallel()
	var w *world
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	weather := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(out, "timestamp,wind_speed_10m\n%s,7\n", w.clock.Now().Add(hour).Format(time.RFC3339))
	}))
	t.Cleanup(weather.Close)
	p := policy(g, "HU")
	p.Spec.Forecast.Weather = &v1alpha1.WeatherSource{Type: "HTTP", URL: weather.URL}
	w = newWorld(t, p)
	w.runUntil(w.asker(w.Exporter), start().Add(time.Minute))
	p.Spec.Forecast.Renewables = &v1alpha1.RenewablesSource{}
	var found v1alpha1.CarbonPolicy
	if err := w.Client.Get(t.Context(), client.ObjectKeyFromObject(p), &found); err != nil {
		t.Fatal(err)
	}
	p.ResourceVersion = found.ResourceVersion
	if err := w.Client.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	charts := &operator{kind: provider.WeatherEnergyCharts, err: fmt.Errorf("zone: %w", provider.ErrNoData)}
	a := w.withOperators(charts)
	a.step(t.Context())
	if diff := cmp.Diff([]string{"HU"}, charts.asked); diff != "" {
		t.Errorf("asked at once (-want +got)\n%s", diff)
	}
	w.runUntil(a, start().Add(hour))
	d := w.document()
	if got := d.Details["HU"]; got.Problem != "" || strings.Contains(got.Attribution, "Wind and sun") || len(d.Weather["HU"]) == 0 {
		t.Errorf("got the problem %q and the credit %q, want neither, and the weather: %v", got.Problem, got.Attribution, d.Weather)
	}
}

// TestSharesThatNobodyRenewsAreNotWritten has an earlier run that asked an operator, and a policy that names
// none any more.
func TestSharesThatNobodyRenewsAreNotWritten(t *testing.T) {
	t.Parallel()
	both := forecast.WeatherHour{Start: start(), WindSpeed: 7, Temperature: math.NaN(), SolarRadiation: math.NaN(), WindShare: 0.3, SolarShare: 0.1}
	for kind, want := range map[provider.WeatherType]bool{provider.WeatherOpenMeteo: false, provider.WeatherMETNorway: false, provider.WeatherHTTP: true} {
		a, z := &asker{}, &zone{}
		a.source.weather[ofSky].kind = kind
		a.restoreWeather(z, forecast.Weather{both}, time.Time{}, start())
		got := a.weatherOf(z, start())
		if len(got) != 1 || got[0].WindSpeed != 7 || math.IsNaN(got[0].WindShare) == want || math.IsNaN(got[0].SolarShare) == want {
			t.Errorf("%s: got %v, want the shares: %t", kind, got, want)
		}
	}
}

// TestAPolicyThatComesLaterBringsNoOldWeather has a zone whose provider is silent, and a second ConfigMap with the
// weather of an earlier run.
func TestAPolicyThatComesLaterBringsNoOldWeather(t *testing.T) {
	t.Parallel()
	a, z := &asker{}, &zone{}
	a.source.weather[ofSky].kind, a.source.weather[ofShares].kind = provider.WeatherOpenMeteo, anyOperator
	hourWith := func(wind, share float64) forecast.Weather {
		h := forecast.UnknownWeather(start())
		h.WindSpeed, h.WindShare = wind, share
		return forecast.Weather{h}
	}
	z.receiveWeather(ofSky, weatherAnswer{source: provider.WeatherDescription{Rhythm: 6 * hour}, reading: provider.WeatherReading{Weather: hourWith(7, math.NaN())}}, start())
	a.restoreWeather(z, hourWith(3, 0.3), start().Add(-day), start())
	got := a.weatherOf(z, start())
	if len(got) != 1 || got[0].WindSpeed != 7 || got[0].WindShare != 0.3 {
		t.Errorf("got %v, want the wind of this run and the share of the earlier one", got)
	}
	if w := z.weather[ofSky]; !w.received.Equal(start()) || !w.question.due.Equal(start().Add(6*hour)) {
		t.Errorf("received at %v, due at %v", w.received, w.question.due)
	}
}

// TestPartsOfACountryAreAskedForOnce has zones of which Energy-Charts knows the whole country only, and allows
// two requests a minute.
func TestPartsOfACountryAreAskedForOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"Auto", "EnergyCharts"} {
		var w *world
		g := newGrid(t, func() time.Time { return w.clock.Now() })
		p := policy(g, "SE-SE1", "SE-SE2", "SE-SE3", "SE-SE4", "DK-DK1")
		p.Spec.Forecast.Renewables = &v1alpha1.RenewablesSource{Type: kind}
		w = newWorld(t, p)
		charts, energinet := &operator{kind: provider.WeatherEnergyCharts}, &operator{kind: provider.WeatherEnerginet}
		a := w.withOperators(charts, energinet)
		if kind != "Auto" {
			delete(a.weather[ofShares].sources, energinet.kind)
		}
		w.runUntil(a, start().Add(hour))
		want := []string{"SE"}
		if kind != "Auto" {
			want = []string{"DK", "SE"}
		}
		if diff := cmp.Diff(want, charts.asked); diff != "" {
			t.Errorf("%s: asked (-want +got)\n%s", kind, diff)
		}
		if d := w.document(); len(d.Weather) != 5 {
			t.Errorf("%s: %d zones have shares, want all", kind, len(d.Weather))
		}
	}
}
