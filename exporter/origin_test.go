package exporter

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

func TestTheSeriesOfTheOldProviderStayUntilTheNewOneHasAnAnswer(t *testing.T) {
	for name, zone := range map[string]string{"of the same zone": "", "of another zone": "DE-LU"} {
		t.Run(name, func(t *testing.T) {
			w, g, a := newTry(t, "DE")
			w.runUntil(a, start().Add(9*time.Minute))
			old := w.document()
			answers := newPlan(t, w.clock.Now, "history", "latest")
			var works atomic.Bool
			server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if works.Load() {
					answers.ServeHTTP(rw, r)
					return
				}
				http.Error(rw, "down", http.StatusServiceUnavailable)
			}))
			defer server.Close()
			p := policy(g, "DE")
			p.Spec.Locations[0].Zone = zone
			p.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "ElectricityMaps", BaseURL: server.URL, SecretRef: &v1alpha1.SecretReference{Name: "key"}}
			next := newAsker(w.Exporter, sourceOf(&p.Spec.Forecast))
			next.assign([]target{targetOf(p, nodeRegions{})})

			hasOldSeries := func(when, problem string) {
				t.Helper()
				w.runUntil(next, w.clock.Now().Add(5*time.Minute))
				got := w.document()
				details := got.Details["DE"]
				if !strings.Contains(details.Problem+got.Message, problem) {
					t.Errorf("%s: problem %q, message %q, want …%q…", when, details.Problem, got.Message, problem)
				}
				details.Problem = ""
				if diff := cmp.Diff(old.Details["DE"], details); diff != "" {
					t.Errorf("%s: details (-want +got):\n%s", when, diff)
				}
				if diff := cmp.Diff(old.Series["DE"].Slots(), got.Series["DE"].Slots()); diff != "" {
					t.Errorf("%s: forecast (-want +got):\n%s", when, diff)
				}
				if diff := cmp.Diff(old.Actuals["DE"].Slots(), got.Actuals["DE"].Slots()); diff != "" {
					t.Errorf("%s: actuals (-want +got):\n%s", when, diff)
				}
			}
			hasOldSeries("without a key", "the Secret key does not exist")
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "key"}, Data: map[string][]byte{"key": []byte("k")}}
			if err := w.Client.Create(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
			hasOldSeries("with a key", "503 Service Unavailable")
			works.Store(true)
			w.runUntil(next, w.clock.Now().Add(hour))
			got := w.document()
			want := forecast.Origin{Provider: "Electricity Maps", Zone: targetOf(p, nodeRegions{}).places[0].zone, Signal: forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.LifeCycle}}
			if diff := cmp.Diff(want, got.Details["DE"].Origin); diff != "" {
				t.Errorf("after an answer: origin (-want +got):\n%s", diff)
			}
			if actuals := got.Actuals["DE"]; actuals.IsEmpty() || actuals.Start().Before(start().Add(-25*hour)) || !got.Series["DE"].IsEmpty() {
				t.Errorf("after an answer: actuals since %v, and a forecast of %d slots: want a day, and no forecast; message %q", actuals.Start(), len(got.Series["DE"].Slots()), got.Message)
			}
		})
	}
}
