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
# HELP gridlatch_forecast_usable 1 if work can be held by the forecast. 0 if work starts at once, or is planned by history alone. By policy and location.
# TYPE gridlatch_forecast_usable gauge
gridlatch_forecast_usable{location="X",policy="default"} 1
# HELP gridlatch_intensity_gco2eq_per_kwh Carbon intensity now in gCO2eq/kWh, by policy and location.
# TYPE gridlatch_intensity_gco2eq_per_kwh gauge
gridlatch_intensity_gco2eq_per_kwh{location="X",policy="default"} 100
`
	if err := testutil.CollectAndCompare(collector, strings.NewReader(want),
		"gridlatch_forecast_age_seconds", "gridlatch_forecast_usable", "gridlatch_intensity_gco2eq_per_kwh"); err != nil {
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
