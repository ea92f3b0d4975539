package exporter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// newTry returns a world with the policy try, which asks a grid, and its asker.
func newTry(t *testing.T, zones ...string) (*world, *grid, *asker) {
	t.Helper()
	var w *world
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	w = newWorld(t, policy(g, zones...))
	return w, g, w.asker(w.Exporter)
}

func count(all []string, prefix string) int {
	n := 0
	for _, s := range all {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

func TestTheFirstRunWritesForecastsBeforeThePast(t *testing.T) {
	w, g, a := newTry(t, "DE", "FR")
	var seen []string
	g.setFail(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/past" && seen == nil {
			seen = slices.Clone(w.writes)
		}
		return false
	})
	w.runUntil(a, start().Add(9*time.Minute))
	if diff := cmp.Diff([]string{"create carbon-intensity-try", "update carbon-intensity-try"}, seen); diff != "" {
		t.Errorf("written before the past is asked for (-want +got):\n%s", diff)
	}
	d := w.document()
	for _, location := range []string{"DE", "FR"} {
		if got := d.Actuals[location]; got.Start() != start().Add(-retention).Truncate(hour) || got.End() != start().Truncate(hour) {
			t.Errorf("%s: the past is from %v to %v", location, got.Start(), got.End())
		}
		if got, _ := d.Actuals[location].At(start().Add(-30 * day)); got != intensity(start().Add(-30*day)) {
			t.Errorf("%s: the intensity 30 days ago is %v", location, got)
		}
		if got, _ := d.Series[location].At(start()); got != intensity(start()) {
			t.Errorf("%s: the intensity now is %v", location, got)
		}
		want := forecast.Details{Origin: forecast.Origin{Provider: "HTTP", Zone: location}, Issued: start()}
		if diff := cmp.Diff(want, d.Details[location]); diff != "" {
			t.Errorf("%s: details (-want +got):\n%s", location, diff)
		}
	}
	if d.Message != "" {
		t.Errorf("message %q", d.Message)
	}
	if asked := g.asked(); count(asked, "forecast") != 2 || count(asked, "past") != 2 {
		t.Errorf("asked for %v: want the forecast and 8 weeks for 2 zones", asked)
	}
	if len(w.writes) != 3 { // the first forecast, both, and the past
		t.Errorf("written: %v", w.writes)
	}
}

func TestNothingIsWrittenWhileNothingChanges(t *testing.T) {
	w, g, a := newTry(t, "DE")
	g.past = 0
	frozen := start()
	g.now = func() time.Time { return frozen } // the provider says the same for hours
	w.runUntil(a, start().Add(time.Hour))
	before := len(w.writes)
	g.asked()
	w.runUntil(a, start().Add(6*time.Hour))
	if asked := count(g.asked(), "forecast"); len(w.writes) != before || asked < 15 {
		t.Errorf("%d forecasts lead to the writes %v", asked, w.writes[before:])
	}
}

func TestARoundOfManyZonesIsOneWrite(t *testing.T) {
	zones := manyZones(64)
	w, g, a := newTry(t, zones...)
	g.past = day
	g.setFail(func(http.ResponseWriter, *http.Request) bool {
		w.clock.Step(time.Second) // an answer takes time
		return false
	})
	numbers := rand.New(rand.NewPCG(1, 2))
	w.Options.Jitter = numbers.Float64
	a.phase = 0.5
	a.step(t.Context())
	w.runUntil(a, start().Add(20*time.Minute))
	before := len(w.writes)
	g.setFail(status(503, "down"))
	w.runUntil(a, start().Add(45*time.Minute))
	g.setFail(func(http.ResponseWriter, *http.Request) bool {
		w.clock.Step(time.Second)
		return false
	})
	w.runUntil(a, start().Add(4*hour))
	// One for the failure, one after it, and one for each hour that has ended.
	if got := len(w.writes) - before; got > 6 || count(g.asked(), "forecast") < 10*len(zones) {
		t.Errorf("%d writes in 4 hours, want at most 6", got)
	}
}

func TestAFailureIsWrittenOnceBesideTheLastGoodValues(t *testing.T) {
	for name, tt := range map[string]struct {
		fail func(http.ResponseWriter, *http.Request) bool
		want string
	}{
		"a server that is down":         {status(503, "request"), `zone "DE": GET URL/forecast: 503 Service Unavailable: the server says "request`},
		"a server without the zone":     {status(404, "request"), `zone "DE": GET URL/forecast: 404 Not Found: the provider does not know this: the server says "request`},
		"a server that wants a pause":   {status(429, "request"), `zone "DE": GET URL/forecast: 429 Too Many Requests: asked too often: the server says "request`},
		"a server that refuses the key": {status(401, "request"), `zone "DE": GET URL/forecast: 401 Unauthorized: the key is missing, wrong or expired: the server says "request`},
		"a page of HTML": {func(w http.ResponseWriter, _ *http.Request) bool {
			_, err := w.Write([]byte("<html>log in</html>"))
			return err == nil
		}, `zone "DE": unreadable response: a page of HTML, want JSON`},
		"a body that is cut off": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", "1000")
			_, err := w.Write([]byte("["))
			return err == nil
		}, `zone "DE": GET URL/forecast: the response is cut off after 1 bytes`},
	} {
		t.Run(name, func(t *testing.T) {
			w, g, a := newTry(t, "DE", "FR", "GB")
			g.past = day
			w.runUntil(a, start().Add(9*time.Minute))
			before, good := len(w.writes), w.document()
			g.setFail(tt.fail)
			w.runUntil(a, start().Add(8*time.Hour))
			if len(w.writes) != before+1 {
				t.Errorf("8 hours of failures lead to %d writes, want 1", len(w.writes)-before)
			}
			d := w.document()
			if want := strings.ReplaceAll(tt.want, "URL", g.URL); !strings.HasPrefix(d.Message, want) || !strings.HasPrefix(d.Details["DE"].Problem, want) {
				t.Errorf("message %q\nproblem %q\nwant    %q", d.Message, d.Details["DE"].Problem, want)
			}
			if got, want := d.Series["DE"].Slots(), good.Series["DE"].Slots(); !slices.Equal(got, want) {
				t.Errorf("the forecast is not the last good one")
			}
			g.setFail(nil)
			const after = 10 * hour
			w.runUntil(a, start().Add(after))
			if got := w.document(); got.Message != "" || got.Actuals["FR"].End().Before(start().Add(after-2*hour)) {
				t.Errorf("after the failure: message %q, actuals of FR until %v", got.Message, got.Actuals["FR"].End())
			}
		})
	}
}

func TestZonesThatAlwaysFailKeepNoOthersFromBeingAskedFor(t *testing.T) {
	w, g, a := newTry(t, "A", "B", "C", "D", "E")
	g.setFail(func(w http.ResponseWriter, r *http.Request) bool {
		isBroken := r.URL.Query().Get("zone") < "D"
		if isBroken {
			http.Error(w, "broken", http.StatusBadRequest)
		}
		return isBroken
	})
	w.runUntil(a, start().Add(30*time.Minute))
	d := w.document()
	for zone, want := range map[string]bool{"A": false, "B": false, "C": false, "D": true, "E": true} {
		if got := !d.Series[zone].IsEmpty() && !d.Actuals[zone].IsEmpty() && d.Details[zone].Problem == ""; got != want {
			t.Errorf("%s is known: %v, want %v (%q)", zone, got, want, d.Details[zone].Problem)
		}
	}
	if want := "(2 more locations have a problem)"; !strings.HasSuffix(d.Message, want) {
		t.Errorf("message %q, want …%q", d.Message, want)
	}
}

func TestARestartAsksOnlyForWhatIsMissing(t *testing.T) {
	for name, tt := range map[string]struct {
		away time.Duration
		want map[string]int // by what is asked for
	}{
		"in the same round":       {0, map[string]int{"past": 1}}, // the hour that has ended
		"after an outage of days": {5 * day, map[string]int{"forecast": 1, "past": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			w, g, a := newTry(t, "DE")
			w.runUntil(a, start().Add(9*time.Minute))
			g.asked()
			w.clock.Step(tt.away)
			before := len(w.writes)
			again := w.asker(w.exporter(w.Client, w.APIReader))
			w.runUntil(again, w.clock.Now())
			asked := g.asked()
			got := map[string]int{}
			for _, what := range []string{"forecast", "past"} {
				if n := count(asked, what); n > 0 {
					got[what] = n
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("asked for (-want +got):\n%s", diff)
			}
			if tt.away == 0 && len(w.writes) != before {
				t.Errorf("written: %v", w.writes[before:])
			}
			s := w.document().Actuals["DE"]
			if _, known := s.Mean(s.Start(), s.End()); known != s.End().Sub(s.Start()) {
				t.Errorf("of the past, %v are known of %v", known, s.End().Sub(s.Start()))
			}
		})
	}
}

func TestAnExporterThatIsKilledBetweenTwoWritesLosesNothingThatWasWritten(t *testing.T) {
	w, g, a := newTry(t, "DE")
	setPage(t, a, 14*day)
	for range 3 { // forecasts, and two parts of the past
		a.step(t.Context())
		w.clock.Step(time.Second)
	}
	g.asked()
	again := w.asker(w.exporter(w.Client, w.APIReader))
	setPage(t, again, 14*day)
	w.runUntil(again, start().Add(5*time.Minute))
	if asked := g.asked(); count(asked, "past") != 2 || count(asked, "forecast") != 0 {
		t.Errorf("asked for %v: want the newest hour and the oldest part of the past only", asked)
	}
	if got := w.document().Actuals["DE"].Start(); got != start().Add(hour-retention).Truncate(hour) {
		t.Errorf("the past begins at %v", got)
	}
}

func TestAConfigMapThatSomebodySpoilsIsWrittenAgain(t *testing.T) {
	w, g, a := newTry(t, "DE")
	w.runUntil(a, start().Add(9*time.Minute))
	g.asked()
	good := w.document()
	for name, spoil := range map[string]func(c *corev1.ConfigMap) error{
		"deleted": func(c *corev1.ConfigMap) error { return w.Client.Delete(t.Context(), c) },
		"changed": func(c *corev1.ConfigMap) error {
			c.BinaryData, c.Labels = nil, nil
			return w.Client.Update(t.Context(), c)
		},
		"made immutable": func(c *corev1.ConfigMap) error {
			c.BinaryData, c.Immutable = nil, new(bool)
			*c.Immutable = true
			return w.Client.Update(t.Context(), c)
		},
	} {
		if err := spoil(w.configMap("carbon-intensity-try")); err != nil {
			t.Fatal(err)
		}
		a.repair(t.Context(), map[string]string{})
		got := w.configMap("carbon-intensity-try")
		if got == nil || got.Immutable != nil || got.Labels[managedByLabel] != managedBy {
			t.Fatalf("%s: %v", name, got)
		}
		if d := w.document(); !slices.Equal(d.Series["DE"].Slots(), good.Series["DE"].Slots()) {
			t.Errorf("%s: another forecast", name)
		}
	}
	if asked := g.asked(); len(asked) > 0 {
		t.Errorf("asked for %v", asked)
	}
}

func TestPoliciesWithTheSameProviderShareWhatIsAsked(t *testing.T) {
	w, g, a := newTry(t, "DE")
	other := policy(g, "FR", "DE")
	other.Name = "other"
	t.Run("as two targets of one asker", func(t *testing.T) {
		a.assign([]target{targetOf(policy(g, "DE"), nodeRegions{}), targetOf(other, nodeRegions{})})
		w.runUntil(a, start().Add(9*time.Minute))
		if asked := g.asked(); count(asked, "forecast DE") != 1 || count(asked, "forecast FR") != 1 {
			t.Errorf("asked for %v", asked)
		}
		if w.configMap("carbon-intensity-other") == nil || w.configMap("carbon-intensity-try") == nil {
			t.Error("a ConfigMap is missing")
		}
	})
}

func TestManyZonesInSlotsOfMinutesFitIntoAConfigMap(t *testing.T) {
	zones := make([]string, 64)
	for i := range zones {
		zones[i] = fmt.Sprintf("ZONE-%02d", i)
	}
	w, g, a := newTry(t, zones...)
	g.slot, g.past = 5*time.Minute, 2*day
	w.runUntil(a, start().Add(9*time.Minute))
	c := w.configMap("carbon-intensity-try")
	if size := sizeOf(c.BinaryData, c.Data); size > maxSize {
		t.Errorf("the ConfigMap has %d bytes", size)
	}
	d := w.document()
	if want := "a ConfigMap has no room for more than forecasts in slots of 1 h"; d.Note != want || d.Problem() != "" {
		t.Errorf("note %q, want %q; problem %q", d.Note, want, d.Problem())
	}
	for _, zone := range zones {
		got, ok := d.Series[zone].At(start().Add(20 * hour))
		if want := intensity(start().Add(20 * hour)); !ok || got != want {
			t.Fatalf("%s: in 20 hours %v, want %v", zone, got, want)
		}
	}
}

func TestASecretIsAskedForWhenItIsMissing(t *testing.T) {
	w, g, _ := newTry(t, "DE")
	p := policy(g, "DE")
	p.Spec.Forecast.Provider.SecretRef = &v1alpha1.SecretReference{Name: "forecast-http"}
	var keys []string
	g.setFail(func(w http.ResponseWriter, r *http.Request) bool {
		key := r.Header.Get("Authorization")
		if keys = append(keys, key); key == "Bearer good" {
			return false
		}
		http.Error(w, "no: "+key, http.StatusUnauthorized)
		return true
	})
	a := newAsker(w.Exporter, sourceOf(&p.Spec.Forecast))
	a.assign([]target{targetOf(p, nodeRegions{})})
	w.runUntil(a, start().Add(5*time.Minute))
	if want := "the Secret forecast-http does not exist: create it with: kubectl -n gridlatch-system create secret generic forecast-http --from-file=key=FILE"; w.message() != want {
		t.Errorf("message %q, want %q", w.message(), want)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "forecast-http"}, Data: map[string][]byte{"other": []byte("x")}}
	if err := w.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	w.runUntil(a, w.clock.Now().Add(time.Minute))
	if want := "the Secret forecast-http has nothing under key: "; !strings.HasPrefix(w.message(), want) {
		t.Errorf("message %q, want %q", w.message(), want)
	}
	secret.Data = map[string][]byte{"key": []byte("expired\n")}
	if err := w.Client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	w.runUntil(a, w.clock.Now().Add(10*time.Minute))
	if len(keys) != 1 {
		t.Errorf("a key that was refused is used again: %q", keys)
	}
	c := w.configMap("carbon-intensity-try")
	if message := c.Data["message"]; !strings.Contains(message, "401 Unauthorized: the key is missing, wrong or expired") || strings.Contains(fmt.Sprint(c), "expired\\n") || strings.Contains(message, "Bearer expired") {
		t.Errorf("message %q", message)
	}
	secret.Data = map[string][]byte{"key": []byte("good")}
	if err := w.Client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	w.runUntil(a, w.clock.Now().Add(time.Minute))
	if d := w.document(); d.Message != "" || d.Series["DE"].IsEmpty() {
		t.Errorf("with a good key, %v, message %q", d.Series, d.Message)
	}
}

// large returns a document of many zones with eight weeks behind them and two days ahead.
func large(zones int) forecast.Document {
	d := forecast.Document{Series: map[string]*forecast.Series{}, Actuals: map[string]*forecast.Series{}, Details: map[string]forecast.Details{}, Message: "one is slow"}
	hours := func(from, to time.Time, i int) *forecast.Series {
		var slots []forecast.Slot
		for at := from; at.Before(to); at = at.Add(hour) {
			x := uint64(at.Unix()/3600)*2654435761 + uint64(i)*40503*7919
			slots = append(slots, forecast.Slot{Start: at, End: at.Add(hour), Intensity: float64((x^x>>13)%50_000) / 100}) // compresses badly
		}
		return forecast.NewSeries(slots)
	}
	now := start().Truncate(hour)
	for i := range zones {
		name := fmt.Sprintf("ZONE-%03d", i)
		d.Actuals[name], d.Series[name], d.Details[name] = hours(now.Add(-retention), now, i), hours(now, now.Add(2*day), i), forecast.Details{Issued: now}
	}
	return d
}

func TestTheOldestIntensitiesMakeRoomForTheNewest(t *testing.T) {
	for name, tt := range map[string]struct {
		limit int
		known time.Duration // of the past; 0 if there is nothing but the message
		note  string
	}{
		"all fits":                    {maxSize, retention, ""},
		"the past is halved":          {96 << 10, 28 * day, "a ConfigMap has no room for more than forecasts in slots of 6 h, and only the actual intensities of the last 28 days"},
		"nothing fits but the reason": {4 << 10, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			binary, data, err := fit(large(32), start(), tt.limit)
			if err != nil || sizeOf(binary, data) > tt.limit {
				t.Fatalf("%d bytes, %v", sizeOf(binary, data), err)
			}
			d, err := forecast.FromConfigMap(binary, data, dataKey, start())
			if tt.known == 0 {
				if want := "the forecasts do not fit into a ConfigMap: name fewer locations in the policy; one is slow"; err == nil || err.Error() != want {
					t.Errorf("got %v, want %s", err, want)
				}
				return
			}
			if s := d.Actuals["ZONE-007"]; err != nil || s.End().Sub(s.Start()) != tt.known || !s.End().Equal(start().Truncate(hour)) || d.Series["ZONE-007"].IsEmpty() {
				t.Errorf("%v; the past is known from %v to %v", err, s.Start(), s.End())
			}
			if d.Note != tt.note || d.Message != "one is slow" {
				t.Errorf("note %q, want %q; message %q", d.Note, tt.note, d.Message)
			}
		})
	}
}

// TestWeatherMakesRoomFirst has a past of the weather that cannot be compressed, and so no room for it.
func TestWeatherMakesRoomFirst(t *testing.T) {
	d := large(32)
	d.Weather = map[string]forecast.Weather{}
	now := start().Truncate(hour)
	for location := range d.Series {
		for h := now.Add(-retention); h.Before(now.Add(2 * day)); h = h.Add(hour) {
			wind := float64(h.Unix()/3600*2654435761%1490) / 10
			d.Weather[location] = append(d.Weather[location], forecast.WeatherHour{Start: h, WindSpeed: wind, Temperature: wind / 3, SolarRadiation: wind * 7, WindShare: math.NaN(), SolarShare: math.NaN()})
		}
	}
	binary, data, err := d.ConfigMap(start())
	if err != nil {
		t.Fatal(err)
	}
	whole := sizeOf(binary, data)
	for name, tt := range map[string]struct {
		limit, hours int
		pastKnown    time.Duration
	}{
		"all fits":                   {whole, int((retention + 2*day) / hour), retention},
		"what is over is left out":   {whole - 1, int(2 * day / hour), retention},
		"all of the weather is gone": {96 << 10, 0, 28 * day},
	} {
		binary, data, err := fit(d, start(), tt.limit)
		if err != nil || sizeOf(binary, data) > tt.limit {
			t.Fatalf("%s: %d bytes, %v", name, sizeOf(binary, data), err)
		}
		got, err := forecast.FromConfigMap(binary, data, dataKey, start())
		if s := got.Actuals["ZONE-007"]; err != nil || len(got.Weather["ZONE-007"]) != tt.hours || s.End().Sub(s.Start()) != tt.pastKnown {
			t.Errorf("%s: %d hours of weather, the past from %v to %v, %v", name, len(got.Weather["ZONE-007"]), s.Start(), s.End(), err)
		}
	}
}

func TestTheAttemptsToWriteGrowRarer(t *testing.T) {
	w, g, a := newTry(t, "DE")
	w.runUntil(a, start().Add(9*time.Minute))
	w.forbid, w.attempts = "update carbon-intensity-try", 0
	g.setFail(status(500, "down"))
	w.runUntil(a, start().Add(69*time.Minute))
	if w.attempts < 3 || w.attempts > 30 {
		t.Errorf("%d attempts in an hour", w.attempts)
	}
	w.forbid = ""
	w.runUntil(a, start().Add(80*time.Minute))
	if w.message() == "" {
		t.Error("the failure is not in the ConfigMap")
	}
}
