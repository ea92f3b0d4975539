package history

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

const namespace = "gridlatch-system"

var (
	t0     = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	source = forecast.Source{Namespace: "kube-system", Name: "carbon-intensity", Key: "data"}
	other  = forecast.Source{Namespace: "shop", Name: "grid", Key: "data"}
)

// saved returns the ConfigMaps of these locations, whose models have learned for ten days.
func saved(t *testing.T, source forecast.Source, locations ...string) []client.Object {
	t.Helper()
	store := &forecast.Store{}
	for issued := t0.AddDate(0, 0, -10); issued.Before(t0); issued = issued.AddDate(0, 0, 1) {
		series := map[string]*forecast.Series{}
		for _, location := range locations {
			var slots []forecast.Slot
			for h := range 36 {
				start := issued.Add(time.Duration(h) * time.Hour)
				slots = append(slots, forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: 300 + 100*math.Cos(float64(start.Hour())*math.Pi/12)})
			}
			series[location] = forecast.NewSeries(slots)
		}
		if err := store.Offer(source, forecast.Document{Series: series, Issued: issued}, issued); err != nil {
			t.Fatal(err)
		}
	}
	var objects []client.Object
	for _, location := range locations {
		f, ok := store.Snapshot(source).Forecast(location)
		if !ok {
			t.Fatalf("no forecast for %s", location)
		}
		encoded, err := f.Model.Save()
		if err != nil {
			t.Fatal(err)
		}
		object := ConfigMap(source, location, forecast.Origin{}, encoded)
		object.Namespace = namespace
		objects = append(objects, object)
	}
	return objects
}

// learnedOf returns for how long the model of a location has learned.
func learnedOf(store *forecast.Store, location string) time.Duration {
	f, ok := store.Snapshot(source).Forecast(location)
	if !ok {
		return 0
	}
	return f.Model.Predict(t0, 24*time.Hour).LearnedTime
}

func TestWhatWasSavedIsRestored(t *testing.T) {
	objects := append(saved(t, source, "north", "south"), saved(t, other, "north")...)
	elsewhere := saved(t, source, "east")
	elsewhere[0].SetNamespace("shop") // anybody may write ConfigMaps there
	reader := fake.NewClientBuilder().WithObjects(append(objects, elsewhere...)...).Build()
	store := &forecast.Store{}
	restored, err := Restore(t.Context(), reader, namespace, store, source, t0)
	if err != nil || restored != 2 {
		t.Errorf("%d locations are restored, want 2: %v", restored, err)
	}
	for location, want := range map[string]bool{"north": true, "south": true, "east": false} {
		if learned := learnedOf(store, location); (learned >= 8*24*time.Hour) != want {
			t.Errorf("%s has learned for %s", location, learned)
		}
	}
	if len(store.Snapshot(other).Locations()) > 0 {
		t.Error("the history of another source is restored")
	}
}

func TestAHistoryThatCannotBeRestoredCostsOnlyItself(t *testing.T) {
	broken := saved(t, source, "broken")[0].(*corev1.ConfigMap)
	broken.BinaryData[DataKey] = []byte("nonsense")
	empty := saved(t, source, "empty")[0].(*corev1.ConfigMap)
	empty.BinaryData = nil
	forged := saved(t, source, "forged")[0].(*corev1.ConfigMap)
	forged.Annotations[SourceAnnotation] = other.String() // the digest in the label is the source's
	good := saved(t, source, "north")[0].(*corev1.ConfigMap)

	store := &forecast.Store{}
	restored, err := RestoreFrom(store, source, []corev1.ConfigMap{*broken, *empty, *forged, *good}, t0)
	if restored != 1 || learnedOf(store, "north") < 8*24*time.Hour {
		t.Errorf("%d locations are restored, want 1; north has learned for %s", restored, learnedOf(store, "north"))
	}
	if err == nil || !strings.Contains(err.Error(), broken.Name) || !strings.Contains(err.Error(), empty.Name) || strings.Contains(err.Error(), forged.Name) {
		t.Errorf("%v; want an error for %s and %s", err, broken.Name, empty.Name)
	}
	if learnedOf(store, "forged") > 0 {
		t.Error("the history of another source is restored")
	}
}

func TestHistoriesThatCannotBeReadAreAnError(t *testing.T) {
	forbidden := errors.New("forbidden")
	reader := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return forbidden
		},
	}).Build()
	if _, err := Restore(t.Context(), reader, namespace, &forecast.Store{}, source, t0); !errors.Is(err, forbidden) {
		t.Errorf("%v, want %v", err, forbidden)
	}
}

func TestAConfigMapSaysOfWhatItIs(t *testing.T) {
	strange := forecast.Source{Namespace: "kube-system", Name: strings.Repeat("x", 253), Key: strings.Repeat("k", 253)}
	names := map[string]bool{}
	for _, s := range []forecast.Source{source, other, strange} {
		for _, location := range []string{"", "CAISO_NORTH", "Zürich / Süd", strings.Repeat("y", 253)} {
			c := ConfigMap(s, location, forecast.Origin{}, []byte("learned"))
			if problems := validation.IsDNS1123Subdomain(c.Name); len(problems) > 0 || !strings.HasPrefix(c.Name, "gridlatch-history-") {
				t.Errorf("the API server refuses the name %q: %q", c.Name, problems)
			}
			if problems := validation.IsValidLabelValue(c.Labels[SourceLabel]); len(problems) > 0 {
				t.Errorf("the API server refuses the label %q: %q", c.Labels[SourceLabel], problems)
			}
			if forecast.ParseSource(c.Annotations[SourceAnnotation]) != s || c.Annotations[v1alpha1.LocationAnnotation] != location || string(c.BinaryData[DataKey]) != "learned" {
				t.Errorf("%s of %s has %q and %q", location, s, c.Annotations, c.BinaryData)
			}
			if names[c.Name] {
				t.Errorf("two histories are in %s", c.Name)
			}
			names[c.Name] = true
		}
	}
}

func TestWhenAnObjectWasLastWritten(t *testing.T) {
	wrote := func(at time.Time) metav1.ManagedFieldsEntry {
		stamp := metav1.NewTime(at)
		return metav1.ManagedFieldsEntry{Time: &stamp}
	}
	for name, tt := range map[string]struct {
		entries []metav1.ManagedFieldsEntry
		want    time.Time
	}{
		"at its creation":           {nil, t0.Add(-3 * time.Hour)},
		"at its last update":        {[]metav1.ManagedFieldsEntry{wrote(t0.Add(-time.Hour)), {}, wrote(t0.Add(-2 * time.Hour))}, t0.Add(-time.Hour)},
		"by a clock that runs fast": {[]metav1.ManagedFieldsEntry{wrote(t0.Add(time.Hour))}, t0},
	} {
		t.Run(name, func(t *testing.T) {
			object := &metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(t0.Add(-3 * time.Hour)), ManagedFields: tt.entries}
			if got := LastWritten(object, t0); !got.Equal(tt.want) {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
