package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// TestTheLastGoodForecastHolds breaks the ConfigMap in every way seen in the
// wild, under work that waits by it.
func TestTheLastGoodForecastHolds(t *testing.T) {
	start := time.Now().Truncate(time.Minute)
	carbonPolicy(t, "default", "")
	breakages := map[string]struct {
		damage func(ctx context.Context) error
		says   string
	}{
		"deleted":         {cluster.DeleteForecast, "has been deleted"},
		"garbled":         {func(ctx context.Context) error { return cluster.ForecastData(ctx, []byte(`[{"location":"CAI`)) }, "broken at byte"},
		"emptied":         {func(ctx context.Context) error { return cluster.ForecastData(ctx, []byte(`[]`)) }, "empty"},
		"without its key": {func(ctx context.Context) error { return cluster.ForecastData(ctx, nil) }, `key "data"`},
		"replaced by an older one": {func(ctx context.Context) error {
			return cluster.Forecast(ctx, env.Elements(location, start.Add(-26*time.Hour), time.Hour, make([]float64, 25)...)...)
		}, "older"},
	}
	for name, tt := range breakages {
		t.Run(name, func(t *testing.T) {
			dirtyThenClean(t, cluster, 5*time.Minute)
			awaitPolicy(t, "default", wantCondition(v1alpha1.ConditionForecastUsable, v1alpha1.ReasonCurrent, ""))
			ns := namespace(t, cluster)
			create(t, cluster, job(ns, "early", tolerant(), 1))
			awaitGated(t, cluster, ns, 1)
			if err := tt.damage(t.Context()); err != nil {
				t.Fatal(err)
			}
			awaitPolicy(t, "default", wantCondition(v1alpha1.ConditionForecastUsable, v1alpha1.ReasonLastGood, tt.says))
			awaitMetric(t, "gridlatch_forecast_problem", 1, `policy="default"`)
			create(t, cluster, job(ns, "later", tolerant(), 1))
			awaitGated(t, cluster, ns, 2)
			// a good one again is taken
			cleanNow(t, cluster)
			awaitScheduled(t, cluster, ns, 2, patience)
			awaitMetric(t, "gridlatch_forecast_problem", 0, `policy="default"`)
		})
	}
}

func TestOneBadElementCostsThatElementAndIsReported(t *testing.T) {
	carbonPolicy(t, "default", "")
	start := time.Now().Add(-time.Minute).UTC()
	data := fmt.Sprintf(`[{"location":%q,"timestamp":%q,"duration":60,"value":333},{"location":%q,"timestamp":"noon","duration":60,"value":100}]`,
		location, start.Format(time.RFC3339), location)
	if err := cluster.ForecastData(t.Context(), []byte(data)); err != nil {
		t.Fatal(err)
	}
	awaitPolicy(t, "default", wantCondition(v1alpha1.ConditionForecastUsable, v1alpha1.ReasonLastGood, `1 of 2 elements is bad: element 1: timestamp: "noon"`))
	awaitMetric(t, "gridlatch_intensity_gco2eq_per_kwh", 333, `policy="default"`)
}

func TestAForecastThatEndsBeforeTheDeadlineDoesNotHoldBeyondIt(t *testing.T) {
	const grid = "SHORT" // no older forecast goes on after its end
	carbonPolicy(t, "default", "spec: {locations: [{name: "+grid+"}]}")
	start := time.Now().Truncate(time.Second)
	if err := cluster.Forecast(t.Context(), env.Elements(grid, start, 5*time.Second, 400, 399, 398)...); err != nil {
		t.Fatal(err)
	}
	ns := namespace(t, cluster)
	// by then the forecast has ended; what is known of it holds nothing
	create(t, cluster, pod(ns, "short-sighted", tolerant(v1alpha1.DeadlineAnnotation, "1h")))
	awaitScheduled(t, cluster, ns, 1, 2*patience)
}

func TestTheLatestStartHoldsWhateverTheForecastSays(t *testing.T) {
	dirtyThenClean(t, cluster, 30*time.Second)
	ns := namespace(t, cluster)
	create(t, cluster, pod(ns, "in-time", tolerant(v1alpha1.DeadlineAnnotation, "40s", v1alpha1.DurationAnnotation, "4s")))
	awaitGated(t, cluster, ns, 1)
	// the clean hour moves out of reach: ever later, as forecasts do
	dirtyThenClean(t, cluster, time.Hour)
	p := awaitScheduled(t, cluster, ns, 1, time.Minute)[0]
	latest, err := time.Parse(time.RFC3339, p.Annotations[v1alpha1.LatestStartAnnotation])
	if err != nil {
		t.Fatal(err)
	}
	if late := bound(t, p).Sub(latest); late > 3*time.Second {
		t.Errorf("started %s after its latest start", late)
	}
}

func TestAWordOnTheForecastThatIsTooOld(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	carbonPolicy(t, "default", "spec: {forecast: {maxAge: 10s}}")
	awaitPolicy(t, "default", wantCondition(v1alpha1.ConditionForecastUsable, v1alpha1.ReasonStale, "is older than 10s"))
	ns := namespace(t, cluster)
	create(t, cluster, pod(ns, "unheld", tolerant()))
	p := awaitScheduled(t, cluster, ns, 1, patience)[0]
	if !strings.Contains(p.Annotations[v1alpha1.ReasonAnnotation], "no usable forecast: the forecast of") {
		t.Errorf("reason %q", p.Annotations[v1alpha1.ReasonAnnotation])
	}
	awaitMetric(t, "gridlatch_forecast_usable", 0, `policy="default"`)
}

func awaitMetric(t *testing.T, name string, want float64, parts ...string) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		got, err := controller.Metric(ctx, name, parts...)
		if err == nil && got != want {
			err = fmt.Errorf("%s is %v, want %v", name, got, want)
		}
		return err
	})
}
