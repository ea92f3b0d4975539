package feed

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// byRegion is what Gridlatch's own exporter writes for the region of the nodes.
func byRegion(t *testing.T, document forecast.Document) *corev1.ConfigMap {
	t.Helper()
	binaryData, data, err := document.ConfigMap(t0)
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "gridlatch-system", Name: v1alpha1.ForecastConfigMap(""), CreationTimestamp: metav1.NewTime(t0)},
		BinaryData: binaryData, Data: data,
	}
}

// ofProvider is a document of location X.
func ofProvider(intensity float64) forecast.Document {
	return forecast.Document{
		Series:  map[string]*forecast.Series{"X": forecast.NewSeries([]forecast.Slot{{Start: t0, End: t0.Add(time.Hour), Intensity: intensity}})},
		Details: map[string]forecast.Details{"X": {Origin: forecast.Origin{Provider: "Energy-Charts"}, Issued: t0}},
	}
}

func TestWithoutAConfigMapTheForecastByRegionIsUsed(t *testing.T) {
	api := fake.NewClientset()
	feed := startFeed(t, api, make(chan event.TypedGenericEvent[forecast.Source], 100))
	ours, theirs := api.CoreV1().ConfigMaps("gridlatch-system"), api.CoreV1().ConfigMaps(origin.Namespace)
	const noProvider = "ConfigMap kube-system/carbon-intensity does not exist, and no provider is named: name a provider"
	steps := []struct {
		name     string
		change   func() error
		problem  string
		want     float64
		provider string
	}{
		{"there is neither", func() error { return nil }, noProvider, 0, ""},
		{"no provider covers the region", func() error {
			_, err := ours.Create(t.Context(), byRegion(t, forecast.Document{Message: "no provider without a key covers the region moon-1"}), metav1.CreateOptions{})
			return err
		}, "no provider without a key covers the region moon-1", 0, ""},
		{"a provider covers the region", func() error {
			_, err := ours.Update(t.Context(), byRegion(t, ofProvider(430)), metav1.UpdateOptions{})
			return err
		}, "", 430, "Energy-Charts"},
		{"an exporter is installed", func() error {
			_, err := theirs.Create(t.Context(), forecastMap("200"), metav1.CreateOptions{})
			return err
		}, "", 200, ""},
		{"the forecast by region goes on, and is not read", func() error {
			if _, err := ours.Update(t.Context(), byRegion(t, ofProvider(440)), metav1.UpdateOptions{}); err != nil {
				return err
			}
			_, err := theirs.Update(t.Context(), forecastMap("210"), metav1.UpdateOptions{})
			return err
		}, "", 210, ""},
		{"the exporter recreates its ConfigMap", func() error { return theirs.Delete(t.Context(), origin.Name, metav1.DeleteOptions{}) }, "ConfigMap kube-system/carbon-intensity has been deleted", 210, ""},
	}
	var model *forecast.Model
	for _, step := range steps {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(20 * time.Second)
		for {
			snapshot := feed.Store.Snapshot(origin)
			f, _ := snapshot.Forecast("X")
			got, _ := f.Series.At(t0)
			if snapshot.IsKnown() && strings.HasPrefix(snapshot.Problem(), step.problem) && (step.problem == "") == (snapshot.Problem() == "") && got == step.want && f.Details.Origin.Provider == step.provider {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %q, %v of %q; want %q, %v of %q", step.name, snapshot.Problem(), got, f.Details.Origin.Provider, step.problem, step.want, step.provider)
			}
			time.Sleep(10 * time.Millisecond)
		}
		f, _ := feed.Store.Snapshot(origin).Forecast("X")
		if step.name == "the forecast by region goes on, and is not read" && f.Model != model {
			t.Errorf("%s: the model has begun anew", step.name)
		}
		model = f.Model
	}
}

func TestWhatAnExporterTaughtIsNotThrownAwayAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		offered *forecast.Document
		want    time.Duration
	}{
		"nothing is known":                   {nil, 0},
		"the forecast is ours":               {new(ofProvider(430)), 0},
		"the forecast is that of somebody's": {&forecast.Document{Series: ofProvider(430).Series, Issued: t0}, substitutePause},
	} {
		t.Run(name, func(t *testing.T) {
			var store forecast.Store
			if tt.offered != nil {
				if err := store.Offer(origin, *tt.offered, t0); err != nil {
					t.Fatal(err)
				}
			}
			if got := pauseBeforeSubstitute(store.Snapshot(origin)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestActualIntensitiesOfAnybodysSourceAreNotLearned(t *testing.T) {
	past := forecast.NewSeries([]forecast.Slot{{Start: t0.Add(-time.Hour), End: t0, Intensity: 400}})
	for name, learns := range map[string]bool{"a policy names the source": true, "only a scaler does": false} {
		t.Run(name, func(t *testing.T) {
			document := ofProvider(430)
			document.Actuals = map[string]*forecast.Series{"X": past}
			store := &forecast.Store{}
			w := &follower{feed: &Feed{Store: store, Clock: fixed{}}, source: origin, wanted: wanted{learns: learns}}
			w.offer(t.Context(), origin, byRegion(t, document))
			f, ok := store.Snapshot(origin).Forecast("X")
			if !ok || f.Series.IsEmpty() || f.ActualUntil().IsZero() == learns {
				t.Errorf("forecast: %v, actual until %v; the problem: %s", ok, f.ActualUntil(), store.Snapshot(origin).Problem())
			}
		})
	}
}
