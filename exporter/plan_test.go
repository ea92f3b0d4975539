package exporter

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// plan is the server of Electricity Maps for a customer whose plan has a part only.
type plan struct {
	*httptest.Server

	now func() time.Time
	has map[string]bool // forecast, past-range, history, latest
	// asked counts the requests.
	asked map[string]int
}

func newPlan(t *testing.T, now func() time.Time, has ...string) *plan {
	t.Helper()
	p := &plan{now: now, has: map[string]bool{}, asked: map[string]int{}}
	for _, what := range has {
		p.has[what] = true
	}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

// ServeHTTP answers as the documentation of version 4 has it.
func (p *plan) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, what, _ := strings.Cut(r.URL.Path, "/carbon-intensity/")
	p.asked[what]++
	if !p.has[what] {
		http.Error(w, `{"error":"Request unauthorized for zoneKey=DE","message":"You do not have access to this specific endpoint for this specific zone."}`, http.StatusUnauthorized)
		return
	}
	type element struct {
		Datetime        time.Time `json:"datetime"`
		CarbonIntensity float64   `json:"carbonIntensity"`
	}
	now := p.now().Truncate(hour)
	answer := map[string]any{"zone": r.URL.Query().Get("zone")}
	list := func(key string, from, to time.Time) {
		var elements []element
		for at := from; at.Before(to); at = at.Add(hour) {
			elements = append(elements, element{at, intensity(at)})
		}
		answer[key] = elements
	}
	switch what {
	case "forecast":
		list("forecast", now, now.Add(day))
	case "history":
		list("history", now.Add(-day), now)
	case "latest":
		answer["datetime"], answer["carbonIntensity"] = now, intensity(now)
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func TestWhatAPlanHasIsEnough(t *testing.T) {
	for name, tt := range map[string]struct {
		has           []string
		lacksForecast bool
		known         time.Duration // of the past, after a day and a half
		asked         map[string]int
	}{
		"a forecast and a day of history": {[]string{"forecast", "history"}, false, 60 * hour, map[string]int{"forecast": 37, "past-range": 2, "history": 38}},
		"a day of history":                {[]string{"history", "latest"}, true, 60 * hour, map[string]int{"forecast": 3, "past-range": 2, "history": 38, "latest": 3}},
		"the latest value":                {[]string{"latest"}, true, 36 * hour, map[string]int{"forecast": 3, "past-range": 2, "history": 38, "latest": 41}},
	} {
		t.Run(name, func(t *testing.T) {
			var w *world
			server := newPlan(t, func() time.Time { return w.clock.Now() }, tt.has...)
			p := &v1alpha1.CarbonPolicy{ObjectMeta: metav1.ObjectMeta{Name: "try"}}
			p.Spec.Locations = []v1alpha1.Location{{Name: "Berlin", Zone: "DE"}}
			p.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "ElectricityMaps", BaseURL: server.URL, SecretRef: &v1alpha1.SecretReference{Name: "electricity-maps"}}
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "electricity-maps"}, Data: map[string][]byte{"key": []byte("k")}}
			w = newWorld(t, p, secret)
			w.runUntil(w.asker(w.Exporter), start().Add(36*hour))
			d := w.document()
			want := forecast.Details{
				Origin:      forecast.Origin{Provider: "Electricity Maps", Zone: "DE", Signal: forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.LifeCycle}},
				Attribution: "Data: Electricity Maps (electricitymaps.com)", LacksForecast: tt.lacksForecast, Issued: d.Details["Berlin"].Issued,
			}
			if diff := cmp.Diff(want, d.Details["Berlin"]); diff != "" || d.Message != "" {
				t.Errorf("message %q, details (-want +got):\n%s", d.Message, diff)
			}
			if got := d.Series["Berlin"].IsEmpty(); got != tt.lacksForecast {
				t.Errorf("there is no forecast: %v", got)
			}
			actuals := d.Actuals["Berlin"]
			if _, known := actuals.Mean(actuals.Start(), actuals.End()); known != tt.known {
				t.Errorf("%v of the past are known, want %v: from %v to %v", known, tt.known, actuals.Start(), actuals.End())
			}
			if got, _ := actuals.At(start().Add(20 * hour)); got != intensity(start().Add(20*hour)) {
				t.Errorf("the intensity was %v, want %v", got, intensity(start().Add(20*hour)))
			}
			if diff := cmp.Diff(tt.asked, server.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}
