package ceiling

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/event"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// asking is a scaler that names a forecast of its namespace.
func asking(namespace, name string, created int64, forecast string) *carbonaware.CarbonAwareKedaScaler {
	s := scaler(namespace, name, created)
	s.Spec.CarbonIntensityForecastDataSource = carbonaware.CarbonIntensityForecastDataSource{
		LocalConfigMap: &carbonaware.LocalConfigMap{Namespace: namespace, Name: forecast, Key: "data"},
	}
	return s
}

func TestForecastsThatScalersNameAreBounded(t *testing.T) {
	var greedy, many []*carbonaware.CarbonAwareKedaScaler
	for i := range maxSourcesPerNamespace + 3 {
		greedy = append(greedy, asking("greedy", fmt.Sprintf("s-%02d", i), int64(1000+i), fmt.Sprintf("f-%02d", i)))
	}
	for i := range maxSources + 2 {
		namespace := fmt.Sprintf("n-%03d", i)
		many = append(many, asking(namespace, "s", int64(5000+i), "f"))
	}
	shared := asking("other", "late", 9000, "x")
	shared.Spec.CarbonIntensityForecastDataSource.LocalConfigMap = &carbonaware.LocalConfigMap{Namespace: "greedy", Name: "f-12", Key: "data"}
	tests := []struct {
		name     string
		scalers  []*carbonaware.CarbonAwareKedaScaler
		followed int
		left     []string
		because  string
	}{
		{"of one namespace, the oldest", greedy, maxSourcesPerNamespace, []string{"greedy/f-10/data", "greedy/f-11/data", "greedy/f-12/data"}, "in namespace greedy name 10 other"},
		{"of all, the oldest", many, maxSources, []string{"n-200/f/data", "n-201/f/data"}, "name 200 other"},
		{"one that another namespace may still name", append(slices.Clone(greedy), shared), maxSourcesPerNamespace + 1, []string{"greedy/f-10/data", "greedy/f-11/data"}, "in namespace greedy"},
		{"one that many name", []*carbonaware.CarbonAwareKedaScaler{asking("a", "s", 1, "f"), asking("a", "t", 2, "f"), asking("a", "u", 3, "f")}, 1, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			slices.Reverse(tt.scalers)
			got := newSources(tt.scalers)
			if len(got.followed) != tt.followed {
				t.Errorf("%d are followed, want %d", len(got.followed), tt.followed)
			}
			var left []string
			for source, why := range got.notFollowed {
				left = append(left, source.String())
				if !strings.Contains(why.String(), tt.because) {
					t.Errorf("%s: %s", source, why)
				}
			}
			slices.Sort(left)
			if diff := cmp.Diff(tt.left, left); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAForecastThatIsLeftOutIsToldOf(t *testing.T) {
	w := newWorld(t)
	object := web(scaledObject, nil)
	w.has(t, object)
	for i := range maxSourcesPerNamespace {
		early := asking("shop", fmt.Sprint("early-", i), int64(i), fmt.Sprint("f-", i))
		early.Spec.KedaTargetRef.Name = "elsewhere"
		w.has(t, early)
	}
	w.has(t, asking("shop", "late", 5000, "one-too-many"))
	if _, err := w.Reconcile(t.Context(), object.ref()); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(w.followed, forecast.Source{Namespace: "shop", Name: "one-too-many", Key: "data"}) || len(w.followed) != maxSourcesPerNamespace {
		t.Errorf("followed: %v", w.followed)
	}
	status := w.statuses["shop/late"]
	if len(status.Conditions) == 0 || status.Conditions[0].Reason != carbonaware.ReasonCarbonDataFetchError || !strings.Contains(status.Conditions[0].Message, "a namespace may name no more") {
		t.Errorf("got %+v", status)
	}
	// an older one goes: one more may be named, and the object is looked at again
	if err := w.scalers.Indexer().Delete(w.scalers.Get("shop/early-0")); err != nil {
		t.Fatal(err)
	}
	w.scalersChanged.Store(true)
	if err := w.followSources(t.Context()); err != nil || !slices.Contains(w.followed, forecast.Source{Namespace: "shop", Name: "one-too-many", Key: "data"}) || w.queue.Len() != 1 {
		t.Errorf("followed: %v, %v, and %d are looked at again", w.followed, err, w.queue.Len())
	}
}

// TestASourceThatFailsHasNothingElseComputedAnew tells of changes of one source among two.
func TestASourceThatFailsHasNothingElseComputedAnew(t *testing.T) {
	w := newWorld(t)
	one, other := web(scaledObject, map[string]string{v1alpha1.PolicyAnnotation: "default"}), web(scaledObject, map[string]string{v1alpha1.PolicyAnnotation: "other"})
	other.Name = "api"
	w.has(t, one, other)
	look := func() {
		t.Helper()
		for _, object := range []*target{one, other} {
			if _, err := w.Reconcile(t.Context(), object.ref()); err != nil {
				t.Fatal(err)
			}
		}
	}
	look()
	w.onForecast().Generic(context.Background(), event.TypedGenericEvent[forecast.Source]{Object: forecast.Source{Namespace: "shop", Name: "other", Key: "data"}}, w.queue)
	if first, _ := w.queue.Get(); w.queue.Len() != 0 || first != other.ref() {
		t.Errorf("looked at again: %v, and %d more", first, w.queue.Len())
	}
	look()
	if diff := cmp.Diff([]string{"default", "other", "other"}, w.planned); diff != "" {
		t.Error(diff)
	}
}
