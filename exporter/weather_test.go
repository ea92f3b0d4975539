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

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/forecast"
)

func TestPointsOfAPolicyComeBeforeThoseOfTheTable(t *testing.T) {
	t.Parallel()
	own := pointsOf([]v1alpha1.WeatherPoint{{Latitude: "54.31", Longitude: "9.66"}, {Latitude: "-1", Longitude: "-0.5"}})
	want := []provider.Point{{Latitude: 54.31, Longitude: 9.66}, {Latitude: -1, Longitude: -0.5}}
	got, err := provider.ParsePoints(own)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	for hostile, isWrong := range map[string]bool{"": false, ";": false, ",": true, "a,b": true, "1": true, "1,2,3": true, "91,0": true, "NaN,0": true} {
		if points, err := provider.ParsePoints(hostile); len(points) != 0 || (err != nil) != isWrong {
			t.Errorf("%q: got %v, %v", hostile, points, err)
		}
	}
	a := &asker{source: source{kind: provider.TypeEnergyCharts}, books: map[string]*book{
		"a": {target: target{places: []place{{zone: "DE"}}}},
		"b": {target: target{places: []place{{zone: "DE", points: own}, {zone: "FR"}}}},
	}}
	if got := a.whereOf(ofSky, &zone{name: "DE"}); got != own {
		t.Errorf("DE: got %q, want those of the policy", got)
	}
	if got, err := provider.ParsePoints(a.whereOf(ofSky, &zone{name: "FR"})); len(got) < 5 || err != nil {
		t.Errorf("FR: got %v, %v, want those of the table", got, err)
	}
}

func TestAFailureOfTheWeatherKeepsTheOldWeather(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, time.November, 27, 12, 0, 0, 0, time.UTC)
	z := &zone{name: "DE", attribution: "Data: somebody"}
	d := provider.WeatherDescription{Rhythm: 2 * time.Hour, Attribution: "Weather: somebody"}
	weather := forecast.Weather{{Start: now.Add(-retention - time.Hour)}, {Start: now, WindSpeed: 7}}
	z.receiveWeather(ofSky, weatherAnswer{source: d, reading: provider.WeatherReading{Weather: weather}, where: "54,9"}, now)
	if q := z.weather[ofSky].question; len(z.weather[ofSky].hours) != 1 || q.isDue(now.Add(d.Rhythm-time.Second)) || !q.isDue(now.Add(d.Rhythm)) {
		t.Errorf("got %+v, want the hour that counts, and the next question after %v", z.weather, d.Rhythm)
	}
	if got, want := z.details().Attribution, "Data: somebody; Weather: somebody"; got != want {
		t.Errorf("attribution %q, want %q", got, want)
	}
	z.receiveWeather(ofSky, weatherAnswer{source: d, err: provider.ErrNoData, where: "54,9"}, now.Add(d.Rhythm))
	if len(z.weather[ofSky].hours) != 1 || !strings.HasPrefix(z.details().Problem, "weather: ") {
		t.Errorf("got %+v and the problem %q, want the old weather and a problem", z.weather, z.details().Problem)
	}
}

// TestWeatherIsPublishedBesideTheGrid asks a server of weather that fails at first.
func TestWeatherIsPublishedBesideTheGrid(t *testing.T) {
	t.Parallel()
	var w *world
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	var asked, failing atomic.Int32
	failing.Store(1)
	weather := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if failing.Load() > 0 {
			http.Error(out, "down", http.StatusBadRequest)
			return
		}
		fmt.Fprintf(out, "timestamp,wind_speed_10m,temperature_2m\n%s,7.04,-3.26\n", w.clock.Now().Add(hour).Format(time.RFC3339))
	}))
	t.Cleanup(weather.Close)
	p := policy(g, "DE")
	p.Spec.Forecast.Weather = &v1alpha1.WeatherSource{Type: "HTTP", URL: weather.URL + "/{zone}"}
	w = newWorld(t, p)
	a := w.asker(w.Exporter)
	w.runUntil(a, start().Add(30*time.Second))
	if d := w.document(); d.Series["DE"].IsEmpty() || len(d.Weather) > 0 || !strings.Contains(d.Message, "weather: ") {
		t.Fatalf("got weather %v and the message %q, want the forecast, and why there is no weather", d.Weather, d.Message)
	}
	failing.Store(0)
	w.runUntil(a, start().Add(10*time.Minute))
	got := w.document().Weather["DE"]
	if len(got) != 1 || got[0].WindSpeed != 7 || got[0].Temperature != -3.3 || !math.IsNaN(got[0].SolarRadiation) {
		t.Fatalf("got %v, want the weather with one decimal", got)
	}
	if problem := w.document().Details["DE"].Problem; problem != "" {
		t.Errorf("the problem %q stays", problem)
	}
	before := asked.Load()
	w.runUntil(a, start().Add(3*hour+10*time.Minute))
	if n := asked.Load() - before; n < 2 || n > 4 {
		t.Errorf("asked %d times in three hours, want once an hour", n)
	}
	again := w.exporter(w.Client, w.APIReader)
	restarted := w.asker(again)
	failing.Store(1)
	w.runUntil(restarted, w.clock.Now().Add(time.Minute))
	if got := w.document().Weather["DE"]; len(got) != 1 {
		t.Errorf("after a restart: got %v, want the weather that was known", got)
	}
}

func TestWeatherNeedsItsSecret(t *testing.T) {
	t.Parallel()
	var w *world
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	p := policy(g, "DE")
	p.Spec.Forecast.Weather = &v1alpha1.WeatherSource{Type: "OpenMeteo", SecretRef: &v1alpha1.SecretReference{Name: "open-meteo"}}
	w = newWorld(t, p)
	w.runUntil(w.asker(w.Exporter), start().Add(5*time.Minute))
	if d := w.document(); d.Series["DE"].IsEmpty() || !strings.Contains(d.Message, "the Secret open-meteo does not exist") {
		t.Errorf("got the message %q, want the forecast all the same, and what to do", d.Message)
	}
}
