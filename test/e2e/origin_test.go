package e2e

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/test/env"
)

// TestAPlanWithoutForecastsIsByHistory reads what Gridlatch's own exporter writes where a customer's
// plan has no forecast: the past alone, and whose past it is.
func TestAPlanWithoutForecastsIsByHistory(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Hour)
	var slots []forecast.Slot
	for hour := -10 * 24; hour < 0; hour++ {
		start := now.Add(time.Duration(hour) * time.Hour)
		slots = append(slots, forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: 300 + 100*math.Sin(2*math.Pi*float64(start.Hour())/24)})
	}
	const licence = "Data: a provider of the tests"
	document := forecast.Document{
		Actuals: map[string]*forecast.Series{"DE": forecast.NewSeries(slots)},
		Details: map[string]forecast.Details{"DE": {
			Origin:        forecast.Origin{Provider: "Tests", Zone: "DE", Signal: forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.LifeCycle}, IsMadeUp: true},
			LacksForecast: true, Attribution: licence,
		}},
	}
	binaryData, data, err := document.ConfigMap(now)
	if err != nil {
		t.Fatal(err)
	}
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: "carbon-intensity-by-hand"}, BinaryData: binaryData, Data: data}
	create(t, cluster, configMap)
	t.Cleanup(func() { _ = cluster.Client.Delete(context.WithoutCancel(t.Context()), configMap) })
	carbonPolicy(t, "by-hand", "spec: {forecast: {configMap: {namespace: "+env.Namespace+", name: carbon-intensity-by-hand}}, locations: [{name: DE}]}")
	awaitPolicy(t, "by-hand", func(p *v1alpha1.CarbonPolicy) error {
		if err := wantCondition(v1alpha1.ConditionForecastUsable, v1alpha1.ReasonByHistory, "no forecast in this plan: work is planned by history, 9 of 28 days are known")(p); err != nil {
			return err
		}
		until := metav1.NewTime(now)
		want := v1alpha1.LocationStatus{
			Name: "DE", Provider: "Tests (made up)", Signal: &v1alpha1.Signal{Kind: "Average", EmissionFactors: "LifeCycle"}, Attribution: licence, ActualUntil: &until, LearnedDays: 9,
		}
		if len(p.Status.Locations) != 1 {
			return fmt.Errorf("locations %+v", p.Status.Locations)
		}
		got := p.Status.Locations[0]
		if got.UsualError == nil { // how large the error is does not matter here
			return errors.New("the usual error is not known")
		}
		got.Intensity, got.UsualError = nil, nil
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("the location: %s", diff)
		}
		return nil
	})
	ns := namespace(t, cluster)
	create(t, cluster, pod(ns, "by-history", tolerant(v1alpha1.PolicyAnnotation, "by-hand")))
	var held corev1.Pod
	if err := cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "by-history"}, &held); err != nil {
		t.Fatal(err)
	}
	if reason := held.Annotations[v1alpha1.ReasonAnnotation]; !strings.Contains(reason, "gCO2eq/kWh (made up) in DE by history") {
		t.Errorf("the reason is %q", reason)
	}
}
