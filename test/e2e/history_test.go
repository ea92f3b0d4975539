package e2e

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/test/env"
)

// theForecast is how Gridlatch names its source.
func theForecast() forecast.Source {
	return forecast.Source{Namespace: "kube-system", Name: "carbon-intensity", Key: "data"}
}

// remember puts a history into the cluster, as a controller would have left it:
// five weeks of a grid that is dirtiest at this time of the day and cleanest
// twelve hours later, with an issue each day, of which the last is so old.
func remember(t *testing.T, c *env.Cluster, last time.Duration) {
	t.Helper()
	now := time.Now()
	model := &forecast.Model{}
	for issued := now.Add(-last - 35*24*time.Hour); !issued.After(now.Add(-last)); issued = issued.AddDate(0, 0, 1) {
		var slots []forecast.Slot
		for h := range 30 {
			start := issued.Truncate(time.Hour).Add(time.Duration(h) * time.Hour)
			phase := 2 * math.Pi * start.Sub(now.Truncate(time.Hour)).Hours() / 24
			slots = append(slots, forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: 300 + 100*math.Cos(phase)})
		}
		model.Receive(forecast.NewSeries(slots), issued)
	}
	model.Predict(now, 24*time.Hour) // lets time pass
	encoded, err := model.Save()
	if err != nil {
		t.Fatal(err)
	}
	configMap := history.ConfigMap(theForecast(), location, forecast.Origin{}, encoded)
	configMap.Namespace = "gridlatch-system"
	create(t, c, configMap)
}

// remembering restarts a controller with a history, without a forecast.
func remembering(t *testing.T, last time.Duration) (*env.Cluster, *env.Controller) {
	t.Helper()
	c, g := ownCluster(t)
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	remember(t, c, last)
	p := v1alpha1.Default()
	p.Spec.Locations = []v1alpha1.Location{{Name: location}}
	create(t, c, p)
	return c, c.Gridlatch(t)
}

func TestHistoryOutlivesARestartAndHoldsWorkWithoutAForecast(t *testing.T) {
	c, g := remembering(t, 60*time.Hour)
	ns := namespace(t, c)
	env.Eventually(t, patience, func(ctx context.Context) error {
		p := &v1alpha1.CarbonPolicy{}
		if err := c.Client.Get(ctx, client.ObjectKey{Name: "default"}, p); err != nil {
			return err
		}
		if len(p.Status.Locations) == 0 || p.Status.Locations[0].SavingSharePercent == nil {
			return fmt.Errorf("status: %+v", p.Status)
		}
		return wantCondition(v1alpha1.ConditionForecastUsable, v1alpha1.ReasonMissing, "work is planned by the history of the last weeks")(p)
	})
	if share, err := g.Metric(t.Context(), "gridlatch_oracle_share_ratio", `location="`+location+`"`); err != nil || share < 0.9 {
		t.Errorf("on a grid without surprises, the share of the oracle is %v (%v)", share, err)
	}
	create(t, c, job(ns, "by-heart", tolerant(v1alpha1.DeadlineAnnotation, "20h", v1alpha1.DurationAnnotation, "1h"), 1))
	p := awaitGated(t, c, ns, 1)[0]
	planned, err := time.Parse(time.RFC3339, p.Annotations[v1alpha1.PlannedStartAnnotation])
	if err != nil {
		t.Fatal(err)
	}
	if wait := time.Until(planned); wait < 8*time.Hour || wait > 14*time.Hour {
		t.Errorf("it waits %s, and it is cleanest in twelve hours: %s", wait, p.Annotations[v1alpha1.ReasonAnnotation])
	}
	if !strings.Contains(p.Annotations[v1alpha1.ReasonAnnotation], "history") {
		t.Errorf("reason: %s", p.Annotations[v1alpha1.ReasonAnnotation])
	}
}

func TestTheLastGoodForecastOutlivesARestart(t *testing.T) {
	c, _ := remembering(t, 3*time.Hour)
	ns := namespace(t, c)
	env.Eventually(t, patience, func(ctx context.Context) error {
		p := &v1alpha1.CarbonPolicy{}
		if err := c.Client.Get(ctx, client.ObjectKey{Name: "default"}, p); err != nil {
			return err
		}
		return wantCondition(v1alpha1.ConditionForecastUsable, v1alpha1.ReasonLastGood, "does not exist")(p)
	})
	create(t, c, job(ns, "as-before", tolerant(v1alpha1.DeadlineAnnotation, "20h", v1alpha1.DurationAnnotation, "1h"), 1))
	awaitGated(t, c, ns, 1)
}

func TestWhatWasLearnedIsSavedWhenTheControllerStops(t *testing.T) {
	c, g := ownCluster(t)
	if err := c.Forecast(t.Context(), env.Elements(location, time.Now().Add(-time.Minute), time.Hour, 321, 321, 321)...); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, patience, func(ctx context.Context) error {
		known, err := g.Metric(ctx, "gridlatch_intensity_gco2eq_per_kwh", `location="`+location+`"`)
		if err == nil && known != 321 {
			err = fmt.Errorf("intensity %v", known)
		}
		return err
	})
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	saved := history.ConfigMap(theForecast(), location, forecast.Origin{}, nil)
	saved.Namespace = "gridlatch-system"
	held := &corev1.ConfigMap{}
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(saved), held); err != nil {
		t.Fatal(err)
	}
	model := &forecast.Model{}
	if err := model.Restore(held.BinaryData["history"], time.Now()); err != nil {
		t.Fatal(err)
	}
	series := model.Predict(time.Now(), 24*time.Hour).Series
	if later, ok := series.At(time.Now().Add(time.Hour)); !ok || math.Abs(later-321) > 1 {
		t.Errorf("the next hour is taken for %v, want 321", later)
	}
}
