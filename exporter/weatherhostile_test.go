package exporter

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// weatherWorld returns a world with a policy of some zones, whose weather a handler has.
func weatherWorld(t *testing.T, zones int, answer func(w *world, out http.ResponseWriter, zone string)) *world {
	t.Helper()
	var w *world
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	weather := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) { answer(w, out, r.URL.Path[1:]) }))
	t.Cleanup(weather.Close)
	p := policy(g, manyZones(zones)...)
	p.Spec.Forecast.Weather = &v1alpha1.WeatherSource{Type: "HTTP", URL: weather.URL + "/{zone}"}
	w = newWorld(t, p)
	return w
}

func TestASourceOfWeatherThatIsBusyIsLeftAlone(t *testing.T) {
	t.Parallel()
	// at once, after 1, 2, 4, 8 minutes and so on: some zones, each up to four times
	for status, most := range map[int]int32{http.StatusTooManyRequests: 50, http.StatusForbidden: 15, http.StatusBadGateway: 150} {
		var asked atomic.Int32
		w := weatherWorld(t, 40, func(_ *world, out http.ResponseWriter, _ string) {
			asked.Add(1)
			http.Error(out, "enhance your calm", status)
		})
		w.runUntil(w.asker(w.Exporter), start().Add(3*hour))
		if n := asked.Load(); n < 5 || n > most {
			t.Errorf("%d: %d requests in three hours to a source that is busy, want at most %d", status, n, most)
		}
		if !strings.Contains(w.message(), "weather: ") {
			t.Errorf("%d: the message %q does not say so", status, w.message())
		}
	}
}

func TestZonesWithoutWeatherDoNotKeepItFromOthers(t *testing.T) {
	t.Parallel()
	w := weatherWorld(t, 40, func(w *world, out http.ResponseWriter, zone string) {
		if zone < "Z05" {
			http.Error(out, "down", http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(out, "timestamp,wind_speed_10m\n%s,7\n", w.clock.Now().Add(hour).Format(time.RFC3339))
	})
	w.runUntil(w.asker(w.Exporter), start().Add(30*time.Minute))
	if n := len(w.document().Weather); n != 35 {
		t.Errorf("%d of 35 zones have weather", n)
	}
}

// TestASlowSourceOfWeatherKeepsForecastsBackForMinutesOnly has a source that takes half a minute for a zone.
func TestASlowSourceOfWeatherKeepsForecastsBackForMinutesOnly(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	w := weatherWorld(t, 40, func(w *world, out http.ResponseWriter, _ string) {
		asked.Add(1)
		w.clock.Step(30 * time.Second)
		fmt.Fprintf(out, "timestamp,wind_speed_10m\n%s,7\n", w.clock.Now().Add(hour).Format(time.RFC3339))
	})
	a := w.asker(w.Exporter)
	a.step(t.Context())
	if n := asked.Load(); n == 0 || n > 6 {
		t.Errorf("%d zones are asked for before forecasts are looked at again", n)
	}
	w.runUntil(a, start().Add(30*time.Minute))
	if n := len(w.document().Weather); n != 40 {
		t.Errorf("%d of 40 zones have weather in the end", n)
	}
}

func TestWeatherIsNotAlwaysAskedAtTheSameMinute(t *testing.T) {
	t.Parallel()
	var minutes []int
	w := weatherWorld(t, 1, func(w *world, out http.ResponseWriter, _ string) {
		minutes = append(minutes, w.clock.Now().Minute())
		fmt.Fprintf(out, "timestamp,wind_speed_10m\n%s,7\n", w.clock.Now().Add(hour).Format(time.RFC3339))
	})
	w.Options.Jitter = func() float64 { return 0.5 }
	w.runUntil(w.asker(w.Exporter), start().Add(10*hour))
	seen := map[int]bool{}
	for _, m := range minutes {
		seen[m] = true
	}
	if len(minutes) < 8 || len(seen) < 4 {
		t.Errorf("asked in the minutes %v", minutes)
	}
}

// TestAProgramThatStartsOftenAsksSeldom starts the exporter each minute.
func TestAProgramThatStartsOftenAsksSeldom(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	w := weatherWorld(t, 1, func(w *world, out http.ResponseWriter, _ string) {
		asked.Add(1)
		fmt.Fprintf(out, "timestamp,wind_speed_10m\n%s,7\n", w.clock.Now().Add(hour).Format(time.RFC3339))
	})
	for range 30 {
		w.runUntil(w.asker(w.exporter(w.Client, w.APIReader)), w.clock.Now().Add(time.Minute))
	}
	if n := asked.Load(); n < 3 || n > 4 {
		t.Errorf("asked %d times in half an hour of starts", n)
	}
	if received := w.document().Details["Z00"].WeatherReceived; w.clock.Now().Sub(received) > minWeatherAge+2*time.Minute {
		t.Errorf("the weather was received at %v, and now it is %v", received, w.clock.Now())
	}
}

// TestAClockThatWasAheadDoesNotSilenceTheWeather asks for weather while the clock is a year ahead.
func TestAClockThatWasAheadDoesNotSilenceTheWeather(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	w := weatherWorld(t, 2, func(w *world, out http.ResponseWriter, _ string) {
		asked.Add(1)
		fmt.Fprintf(out, "timestamp,wind_speed_10m\n%s,7\n", w.clock.Now().Add(hour).Format(time.RFC3339))
	})
	a := w.asker(w.Exporter)
	w.clock.SetTime(start().AddDate(1, 0, 0))
	w.runUntil(a, start().AddDate(1, 0, 0).Add(time.Minute))
	before := asked.Load()
	w.clock.SetTime(start())
	w.runUntil(a, start().Add(5*time.Minute))
	if n := asked.Load() - before; n < 2 || n > 4 {
		t.Errorf("asked %d times in five minutes after the clock was set right, want once for each zone", n)
	}
	if n := len(w.document().Weather["Z00"]); n == 0 {
		t.Error("there is no weather of now")
	}
}

// TestAnotherKeyIsTriedAtOnce has a source of weather that refuses the first key.
func TestAnotherKeyIsTriedAtOnce(t *testing.T) {
	t.Parallel()
	var w *world
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	weather := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer good-key" {
			http.Error(out, "bad key "+r.Header.Get("Authorization"), http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(out, "timestamp,wind_speed_10m\n%s,7\n", w.clock.Now().Add(hour).Format(time.RFC3339))
	}))
	t.Cleanup(weather.Close)
	p := policy(g, "DE")
	p.Spec.Forecast.Weather = &v1alpha1.WeatherSource{Type: "HTTP", URL: weather.URL, SecretRef: &v1alpha1.SecretReference{Name: "weather-http"}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "weather-http"}, Data: map[string][]byte{"key": []byte("bad-key-1234")}}
	w = newWorld(t, p, secret)
	a := w.asker(w.Exporter)
	w.runUntil(a, start().Add(2*hour))
	if message := w.message(); !strings.Contains(message, "weather: ") || strings.Contains(message, "bad-key") {
		t.Errorf("the message is %q, want what is wrong, without the key", message)
	}
	secret.Data["key"] = []byte("good-key")
	secret.ResourceVersion = ""
	if err := w.Client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	w.runUntil(a, start().Add(2*hour+2*time.Minute))
	if len(w.document().Weather["DE"]) != 1 {
		t.Errorf("two minutes after the key has changed, there is no weather: %q", w.message())
	}
}

func TestTheWeatherOfAnEarlierRunHasItsCredit(t *testing.T) {
	t.Parallel()
	var w *world
	var isDown atomic.Bool
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	weather := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		if isDown.Load() {
			http.Error(out, "down", http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(out, `{"properties":{"timeseries":[{"time":%q,"data":{"instant":{"details":{"wind_speed":7}}}}]}}`, w.clock.Now().Add(hour).Format(time.RFC3339))
	}))
	t.Cleanup(weather.Close)
	p := policy(g, "DE")
	p.Spec.Forecast.Weather = &v1alpha1.WeatherSource{Type: "METNorway", BaseURL: weather.URL}
	p.Spec.Locations[0].WeatherPoints = []v1alpha1.WeatherPoint{{Latitude: "54", Longitude: "9"}}
	w = newWorld(t, p)
	w.runUntil(w.asker(w.Exporter), start().Add(time.Minute))
	isDown.Store(true)
	w.runUntil(w.asker(w.exporter(w.Client, w.APIReader)), start().Add(3*time.Minute))
	d := w.document()
	if len(d.Weather["DE"]) != 1 || !strings.Contains(d.Details["DE"].Attribution, "MET Norway") {
		t.Errorf("got %v, credited %q", d.Weather, d.Details["DE"].Attribution)
	}
}
