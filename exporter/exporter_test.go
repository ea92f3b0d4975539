package exporter

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 600 {
		if holds() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("after half a minute, not yet: %s", what)
}

func TestAskersComeAndGoWithPolicies(t *testing.T) {
	var w *world
	g := newGrid(t, func() time.Time { return w.clock.Now() })
	p := policy(g, "DE")
	w = newWorld(t)
	defer w.stopAll()
	check := func() {
		t.Helper()
		if err := w.check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check()
	if err := w.Client.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	check()
	eventually(t, "a ConfigMap", func() bool { return w.configMap("carbon-intensity-try") != nil })
	if err := w.Client.Delete(t.Context(), w.configMap("carbon-intensity-try")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the ConfigMap again", func() bool {
		check()
		return w.configMap("carbon-intensity-try") != nil
	})
	p.Spec.Locations = append(p.Spec.Locations, v1alpha1.Location{Name: "FR"})
	if err := w.Client.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another location", func() bool {
		check()
		return !w.document().Series["FR"].IsEmpty()
	})
	p.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "Mock"}
	if err := w.Client.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another provider", func() bool {
		check()
		d := w.document()
		return d.Details["DE"].Origin.IsMadeUp && !d.Series["DE"].IsEmpty()
	})
	p.Spec.Forecast.Provider = nil
	if err := w.Client.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	check()
	if len(w.askers()) > 0 || w.configMap("carbon-intensity-try") != nil {
		t.Errorf("%d askers are left, and %v", len(w.askers()), w.configMap("carbon-intensity-try"))
	}
}

func TestMetricsTellTheAgesAndTheProblems(t *testing.T) {
	w, g, a := newTry(t, "DE")
	w.runUntil(a, start().Add(9*time.Minute))
	w.running = map[source]*runningAsker{a.source: {asker: a}}
	w.advised = []target{{advice: "do"}}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(w.Exporter)
	want := func(metric string, value float64) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if f.GetName() == metric && l.GetName() == "policy" && l.GetValue() == "try" {
						if got := m.GetGauge().GetValue(); got != value {
							t.Errorf("%s is %v, want %v", metric, got, value)
						}
						return
					}
				}
			}
		}
		t.Errorf("there is no %s", metric)
	}
	want("gridlatch_export_forecast_age_seconds", 9*60)
	want("gridlatch_export_actual_age_seconds", 29*60)
	want("gridlatch_export_problem", 0)
	if got := testutil.ToFloat64(w.Metrics.requests.WithLabelValues("HTTP", "ok")); got != 2 {
		t.Errorf("%v requests, want 2", got)
	}
	g.setFail(status(500, "down"))
	w.runUntil(a, start().Add(30*time.Minute))
	want("gridlatch_export_problem", 1)
	if got := testutil.ToFloat64(w.Metrics.writes.WithLabelValues(outcomeCreated)); got != 1 {
		t.Errorf("%v ConfigMaps created, want 1", got)
	}
}
