package exporter

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// energyCharts answers as Energy-Charts does, from midnight for two days.
func energyCharts(w http.ResponseWriter, now time.Time) {
	var seconds, values []string
	for at := now.Truncate(day); at.Before(now.Truncate(day).Add(2 * day)); at = at.Add(15 * time.Minute) {
		seconds = append(seconds, fmt.Sprint(at.Unix()))
		values = append(values, fmt.Sprint(intensity(at)))
	}
	list := strings.Join(values, ",")
	fmt.Fprintf(w, `{"unix_seconds":[%s],"co2eq":[%s],"co2eq_forecast":[%s]}`, strings.Join(seconds, ","), list, list)
}

// TestAShortRefusalSilencesNoProviderForLong refuses for a while, at the start or later, whatever a
// proxy, a gateway or a server that is being changed may refuse with.
func TestAShortRefusalSilencesNoProviderForLong(t *testing.T) {
	for name, tt := range map[string]struct {
		kind   string
		status int
		after  time.Duration // when the refusal begins
	}{
		"a proxy forbids a provider without a key":          {"EnergyCharts", http.StatusForbidden, 0},
		"a proxy forbids it after it has answered":          {"EnergyCharts", http.StatusForbidden, 3 * hour},
		"a gateway forbids a URL of one's own":              {"HTTP", http.StatusForbidden, 3 * hour},
		"a gateway wants money":                             {"HTTP", http.StatusPaymentRequired, 0},
		"a server loses its zones":                          {"HTTP", http.StatusNotFound, 3 * hour},
		"a server has no zones yet":                         {"HTTP", http.StatusNotFound, 0},
		"a path is gone":                                    {"HTTP", http.StatusGone, 3 * hour},
		"a server does not implement this":                  {"HTTP", http.StatusNotImplemented, 3 * hour},
		"a proxy forbids a provider with plans":             {"ElectricityMaps", http.StatusForbidden, 0},
		"a proxy forbids a plan that has answered":          {"ElectricityMaps", http.StatusForbidden, 3 * hour},
		"a plan that has answered is gone for a short time": {"ElectricityMaps", http.StatusGone, 3 * hour},
	} {
		t.Run(name, func(t *testing.T) {
			w, setStatus := newRefused(t, tt.kind)
			a := w.asker(w.Exporter)
			if tt.after == 0 {
				setStatus(tt.status)
			}
			w.runUntil(a, start().Add(tt.after))
			setStatus(tt.status)
			w.runUntil(a, start().Add(tt.after+3*hour))
			if want := fmt.Sprint(tt.status, " ", http.StatusText(tt.status)); !strings.Contains(w.message(), want) {
				t.Errorf("message %q, want …%q…", w.message(), want)
			}
			setStatus(0)
			w.runUntil(a, start().Add(tt.after+3*hour+61*time.Minute))
			d := w.document()
			if d.Message != "" || d.Details["DE"].LacksForecast || !d.Series["DE"].End().After(w.clock.Now()) || d.Actuals["DE"].End().Before(w.clock.Now().Add(-2*hour)) {
				t.Errorf("an hour later: message %q, details %+v, forecast until %v, actuals until %v", d.Message, d.Details["DE"], d.Series["DE"].End(), d.Actuals["DE"].End())
			}
		})
	}
}

// newRefused returns a world whose provider answers, or refuses with a status.
func newRefused(t *testing.T, kind string) (w *world, setStatus func(int)) {
	t.Helper()
	now := func() time.Time { return w.clock.Now() }
	var refusal atomic.Int64
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { energyCharts(w, now()) })
	switch kind {
	case "HTTP":
		answer = newGrid(t, now).answer
	case "ElectricityMaps":
		answer = newPlan(t, now, "forecast", "history", "latest").ServeHTTP
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := int(refusal.Load()); status != 0 {
			http.Error(w, "no", status)
			return
		}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	p := policy(&grid{Server: server}, "DE")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "electricity-maps"}, Data: map[string][]byte{"key": []byte("k")}}
	switch kind {
	case "EnergyCharts":
		p.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "EnergyCharts", BaseURL: server.URL}
	case "ElectricityMaps":
		p.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "ElectricityMaps", BaseURL: server.URL, SecretRef: &v1alpha1.SecretReference{Name: secret.Name}}
	}
	w = newWorld(t, p, secret)
	return w, func(status int) { refusal.Store(int64(status)) }
}

func TestASecretWithTheSameKeyMakesNothingDue(t *testing.T) {
	w, g, a, secret := newTryWithKey(t)
	w.runUntil(a, start().Add(5*time.Minute))
	g.asked()
	for i := range 60 {
		secret.Annotations = map[string]string{"touched": strconv.Itoa(i)}
		secret.Data["other"] = []byte(strconv.Itoa(i))
		if err := w.Client.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		w.runUntil(a, w.clock.Now().Add(30*time.Second))
	}
	if asked := g.asked(); len(asked) > 6 {
		t.Errorf("30 minutes of changes of the Secret lead to %d requests, want 6 at most: %v", len(asked), asked)
	}
}

func TestAnotherKeyIsTriedAtOnceButKeepsThePauseThatAProviderWants(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		want   bool
	}{
		"after a refused key":         {http.StatusUnauthorized, true},
		"after too many requests":     {http.StatusTooManyRequests, false},
		"while nothing is the matter": {0, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, g, a, secret := newTryWithKey(t)
			w.runUntil(a, start().Add(5*time.Minute))
			if tt.status != 0 {
				g.setFail(func(w http.ResponseWriter, _ *http.Request) bool {
					w.Header().Set("Retry-After", "1800")
					w.WriteHeader(tt.status)
					return true
				})
				w.runUntil(a, start().Add(20*time.Minute))
			}
			g.setFail(nil)
			g.asked()
			secret.Data["key"] = []byte("new")
			if err := w.Client.Update(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
			w.runUntil(a, w.clock.Now().Add(time.Minute))
			if asked := g.asked(); count(asked, "forecast") > 0 != tt.want {
				t.Errorf("asked for %v: want requests: %v", asked, tt.want)
			}
			w.runUntil(a, w.clock.Now().Add(time.Hour))
			if message := w.message(); message != "" {
				t.Errorf("an hour later: message %q", message)
			}
		})
	}
}

// newTryWithKey returns a world with the policy try, which asks a grid with a key.
func newTryWithKey(t *testing.T) (*world, *grid, *asker, *corev1.Secret) {
	t.Helper()
	var w *world
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	p := policy(g, "DE")
	p.Spec.Forecast.Provider.SecretRef = &v1alpha1.SecretReference{Name: "forecast-http"}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "forecast-http"}, Data: map[string][]byte{"key": []byte("k")}}
	w = newWorld(t, p, secret)
	if err := w.APIReader.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
		t.Fatal(err)
	}
	return w, g, w.asker(w.Exporter), secret
}

func TestAClockThatWasAheadStopsNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		ahead        time.Duration
		status       int
		hasRestarted bool
	}{
		"by two days":                               {48 * hour, 0, false},
		"by three hours":                            {3 * hour, 0, false},
		"by months":                                 {100 * day, 0, false},
		"while the provider wanted a pause":         {48 * hour, http.StatusTooManyRequests, false},
		"while the key was refused":                 {48 * hour, http.StatusUnauthorized, false},
		"while the provider was down":               {48 * hour, http.StatusServiceUnavailable, false},
		"and the exporter has restarted since then": {48 * hour, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, g, a, _ := newTryWithKey(t)
			w.runUntil(a, start().Add(5*time.Minute))
			w.clock.Step(tt.ahead)
			if tt.status != 0 {
				g.setFail(func(w http.ResponseWriter, _ *http.Request) bool {
					w.Header().Set("Retry-After", "3000")
					w.WriteHeader(tt.status)
					return true
				})
			}
			w.runUntil(a, w.clock.Now().Add(5*time.Minute))
			g.setFail(nil)
			w.clock.SetTime(start().Add(20 * time.Minute))
			if tt.hasRestarted {
				a = w.asker(w.exporter(w.Client, w.APIReader))
			}
			g.asked()
			w.runUntil(a, start().Add(50*time.Minute))
			asked := g.asked()
			if count(asked, "forecast") < 2 || count(asked, "past") < 1 || len(asked) > 12 {
				t.Errorf("30 minutes lead to the requests %v", asked)
			}
			if d := w.document(); d.Message != "" || !d.Series["DE"].End().After(w.clock.Now()) {
				t.Errorf("message %q, forecast until %v", d.Message, d.Series["DE"].End())
			}
		})
	}
}
