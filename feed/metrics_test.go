package feed

import (
	"context"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/policy"
)

// empty is a cache in which there is nothing.
type empty struct{}

func (empty) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func (empty) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

func TestGridIsExportedAsItIsAtTheScrape(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(t0)
	store := &forecast.Store{}
	collector := &GridCollector{Policies: policy.Policies{Reader: empty{}, Clock: clock}, Store: store, Clock: clock}
	series := forecast.NewSeries([]forecast.Slot{
		{Start: t0, End: t0.Add(time.Hour), Intensity: 400}, {Start: t0.Add(time.Hour), End: t0.Add(2 * time.Hour), Intensity: 100},
	})
	if err := store.Offer(policy.New(t.Context(), v1alpha1.Default(), "gridlatch-system", nil, t0).Source, forecast.Document{Series: map[string]*forecast.Series{"X": series}, Issued: t0}, t0); err != nil {
		t.Fatal(err)
	}
	clock.SetTime(t0.Add(90 * time.Minute))
	want := `
# HELP gridlatch_forecast_age_seconds Age of the forecast in use in seconds, by policy and location.
# TYPE gridlatch_forecast_age_seconds gauge
gridlatch_forecast_age_seconds{location="X",policy="default"} 5400
# HELP gridlatch_forecast_max_age_seconds Age in seconds up to which a forecast counts as fresh, as the field forecast.maxAge of the policy says. By policy.
# TYPE gridlatch_forecast_max_age_seconds gauge
gridlatch_forecast_max_age_seconds{policy="default"} 86400
# HELP gridlatch_forecast_usable 1 if work can be held by the forecast or, with a provider that has no forecast, by the history. 0 if work starts at once, or if a forecast that should be there is not usable. By policy and location.
# TYPE gridlatch_forecast_usable gauge
gridlatch_forecast_usable{location="X",policy="default"} 1
# HELP gridlatch_intensity_gco2eq_per_kwh Carbon intensity now in gCO2eq/kWh, by policy and location.
# TYPE gridlatch_intensity_gco2eq_per_kwh gauge
gridlatch_intensity_gco2eq_per_kwh{location="X",policy="default"} 100
`
	if err := testutil.CollectAndCompare(collector, strings.NewReader(want),
		"gridlatch_forecast_age_seconds", "gridlatch_forecast_max_age_seconds", "gridlatch_forecast_usable", "gridlatch_intensity_gco2eq_per_kwh"); err != nil {
		t.Error(err)
	}
	zeros := forecast.NewSeries([]forecast.Slot{{Start: t0, End: t0.Add(2 * time.Hour)}, {Start: t0.Add(2 * time.Hour), End: t0.Add(9 * time.Hour)}})
	if err := store.Offer(policy.New(t.Context(), v1alpha1.Default(), "gridlatch-system", nil, t0).Source, forecast.Document{Series: map[string]*forecast.Series{"X": zeros}, Issued: t0}, t0); err == nil {
		t.Fatal("zeros are believed")
	}
	want = `
# HELP gridlatch_forecast_not_believed Number of values in the newest forecast that cannot be true, such as the zeros of an outage. They count as not known. By policy.
# TYPE gridlatch_forecast_not_believed gauge
gridlatch_forecast_not_believed{policy="default"} 2
# HELP gridlatch_intensity_gco2eq_per_kwh Carbon intensity now in gCO2eq/kWh, by policy and location.
# TYPE gridlatch_intensity_gco2eq_per_kwh gauge
gridlatch_intensity_gco2eq_per_kwh{location="X",policy="default"} 100
`
	if err := testutil.CollectAndCompare(collector, strings.NewReader(want), "gridlatch_forecast_not_believed", "gridlatch_intensity_gco2eq_per_kwh"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(collector); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestTheOriginIsExported(t *testing.T) {
	clock, store := clocktesting.NewFakePassiveClock(t0), &forecast.Store{}
	collector := &GridCollector{Policies: policy.Policies{Reader: empty{}, Clock: clock}, Store: store, Clock: clock}
	hour := func(n int) *forecast.Series {
		start := t0.Add(time.Duration(n) * time.Hour)
		return forecast.NewSeries([]forecast.Slot{{Start: start, End: start.Add(time.Hour), Intensity: 400}})
	}
	document := forecast.Document{
		Series: map[string]*forecast.Series{"X": hour(0)}, Actuals: map[string]*forecast.Series{"X": hour(-3)},
		Details: map[string]forecast.Details{"X": {Issued: t0, Origin: forecast.Origin{Provider: "WattTime", Signal: forecast.Signal{Kind: forecast.Marginal}}}},
	}
	if err := store.Offer(policy.New(t.Context(), v1alpha1.Default(), "gridlatch-system", nil, t0).Source, document, t0); err != nil {
		t.Fatal(err)
	}
	const want = `
# HELP gridlatch_actual_age_seconds Age of the newest intensity that was measured, and not only expected, in seconds. By policy and location.
# TYPE gridlatch_actual_age_seconds gauge
gridlatch_actual_age_seconds{location="X",policy="default"} 7200
# HELP gridlatch_forecast_origin_info Always 1. The labels say which provider knows the grid, and which signal its intensities are: kind is Average or Marginal, and emission_factors is LifeCycle or Direct. A label is empty if the forecast does not say. By policy and location.
# TYPE gridlatch_forecast_origin_info gauge
gridlatch_forecast_origin_info{emission_factors="",kind="Marginal",location="X",policy="default",provider="WattTime"} 1
`
	if err := testutil.CollectAndCompare(collector, strings.NewReader(want), "gridlatch_forecast_origin_info", "gridlatch_actual_age_seconds"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(collector); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
