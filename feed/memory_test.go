package feed

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

var origin = forecast.ParseSource("kube-system/carbon-intensity/data")

// learned returns a store whose location X has seen days of a grid that is
// cleanest at noon, up to t0.
func learned(t *testing.T, days int) *forecast.Store {
	t.Helper()
	store := &forecast.Store{}
	for issued := t0.AddDate(0, 0, -days); issued.Before(t0); issued = issued.AddDate(0, 0, 1) {
		var slots []forecast.Slot
		for h := range 36 {
			start := issued.Add(time.Duration(h) * time.Hour)
			slots = append(slots, forecast.Slot{
				Start: start, End: start.Add(time.Hour), Intensity: 300 + 100*math.Cos(float64(start.Hour())*math.Pi/12),
			})
		}
		issue := forecast.Document{Series: map[string]*forecast.Series{"X": forecast.NewSeries(slots)}, Issued: issued}
		if err := store.Offer(origin, issue, issued); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

func predict(store *forecast.Store) forecast.Prediction {
	f, ok := store.Snapshot(origin).Forecast("X")
	if !ok {
		return forecast.Prediction{Basis: forecast.BasisNothing}
	}
	return f.Model.Predict(t0, 24*time.Hour)
}

func TestMemorySurvivesARestart(t *testing.T) {
	ctx, api, store := t.Context(), fake.NewClientset(), learned(t, 30)
	memory := &Memory{Clientset: api, Namespace: "gridlatch-system", Store: store}
	memory.Recall(ctx, origin, t0) // nothing yet
	predict(store)
	memory.save(ctx)
	writes := len(api.Actions())
	memory.save(ctx)
	for _, action := range api.Actions()[writes:] {
		if verb := action.GetVerb(); verb != "get" {
			t.Errorf("%s, though nothing has changed", verb)
		}
	}

	restarted := &forecast.Store{}
	(&Memory{Clientset: api, Namespace: "gridlatch-system", Store: restarted}).Recall(ctx, origin, t0)
	was, is := predict(store), predict(restarted)
	if diff := cmp.Diff(was.LearnedTime, is.LearnedTime); diff != "" || is.Basis == forecast.BasisNothing {
		t.Errorf("basis %s, learned: %s", is.Basis, diff)
	}
	for h := range 24 {
		at := t0.Add(time.Duration(h) * time.Hour)
		before, _ := was.Series.At(at)
		after, ok := is.Series.At(at)
		if !ok || math.Abs(before-after) > 0.1 {
			t.Errorf("hour %d: predicts %.2f, did %.2f before the restart", h, after, before)
		}
	}
}

func TestAHistoryThatCannotBeUsedIsLearnedAnew(t *testing.T) {
	good, err := forecastOf(learned(t, 5)).Save()
	if err != nil {
		t.Fatal(err)
	}
	other := history.ConfigMap(origin, "X", forecast.Origin{}, good)
	other.Annotations[history.SourceAnnotation] = "another/source/data" // of the same digest
	tests := map[string]*corev1.ConfigMap{
		"garbled":           history.ConfigMap(origin, "X", forecast.Origin{}, []byte("?")),
		"cut off":           history.ConfigMap(origin, "X", forecast.Origin{}, good[:len(good)/2]),
		"without its key":   history.ConfigMap(origin, "X", forecast.Origin{}, nil),
		"of another source": other,
	}
	for name, configMap := range tests {
		t.Run(name, func(t *testing.T) {
			configMap.Namespace = "gridlatch-system"
			api, store := fake.NewClientset(configMap), &forecast.Store{}
			memory := &Memory{Clientset: api, Namespace: "gridlatch-system", Store: store}
			memory.Recall(t.Context(), origin, t0)
			if basis := predict(store).Basis; basis != forecast.BasisNothing {
				t.Errorf("predicts by %s", basis)
			}
			memory.Store = learned(t, 3)
			memory.save(t.Context())
			held, err := api.CoreV1().ConfigMaps("gridlatch-system").Get(t.Context(), configMap.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := new(forecast.Model).Restore(held.BinaryData["history"], t0); err != nil {
				t.Errorf("it was not replaced by a good one: %v", err)
			}
		})
	}
}

// Weeks that were learned must not be written over by what was learned since a
// start with a clock that is behind, or of a version that was rolled back to.
func TestAHistoryThatCanBeUsedLaterIsLeftUntilThen(t *testing.T) {
	good, err := forecastOf(learned(t, 30)).Save()
	if err != nil {
		t.Fatal(err)
	}
	newer := append([]byte{good[0] + 3}, good[1:]...) // up to two more are versions with weather
	for name, tt := range map[string]struct {
		history []byte
		at      time.Time // the clock, at first
		rescue  func(held *corev1.ConfigMap)
	}{
		"from the future":      {good, t0.Add(-3 * 24 * time.Hour), func(*corev1.ConfigMap) {}},
		"of a version to come": {newer, t0, func(held *corev1.ConfigMap) { held.BinaryData[history.DataKey] = good }},
	} {
		t.Run(name, func(t *testing.T) {
			held := history.ConfigMap(origin, "X", forecast.Origin{}, tt.history)
			held.Namespace = "gridlatch-system"
			api := fake.NewClientset(held)
			memory := &Memory{Clientset: api, Namespace: held.Namespace, Store: learned(t, 3)}
			for range 2 {
				if memory.Recall(t.Context(), origin, tt.at) {
					t.Fatal("it is taken for read")
				}
			}
			memory.save(t.Context())
			for _, action := range api.Actions() {
				if action.GetVerb() != "list" {
					t.Errorf("%s of %s", action.GetVerb(), action.GetResource().Resource)
				}
			}
			if tt.rescue(held); api.Tracker().Update(corev1.SchemeGroupVersion.WithResource("configmaps"), held, held.Namespace) != nil {
				t.Fatal("not rescued")
			}
			if !memory.Recall(t.Context(), origin, t0) || predict(memory.Store).LearnedTime < 25*24*time.Hour {
				t.Errorf("it is not used, but what was learned in %s", predict(memory.Store).LearnedTime)
			}
			memory.Store = learned(t, 3)
			memory.Recall(t.Context(), origin, t0)
			if got := predict(memory.Store).LearnedTime; got > 4*24*time.Hour {
				t.Errorf("it is read again, %s, though what was learned since is lost by that", got)
			}
			if memory.save(t.Context()); api.Actions()[len(api.Actions())-1].GetVerb() != "update" {
				t.Error("it is not written any more")
			}
		})
	}
}

func TestWhatTheStoreHasForgottenIsNotWrittenUntilItIsRecalled(t *testing.T) {
	api := fake.NewClientset()
	memory := &Memory{Clientset: api, Namespace: "gridlatch-system", Store: learned(t, 3)}
	memory.Recall(t.Context(), origin, t0)
	memory.Forget(origin)
	if memory.save(t.Context()); len(api.Actions()) != 1 {
		t.Errorf("%d requests, want only that of the recall", len(api.Actions()))
	}
}

func TestTheHistoryOfOneLocationIsNotWrittenForAnother(t *testing.T) {
	api, store := fake.NewClientset(), learned(t, 3)
	memory := &Memory{Clientset: api, Namespace: "gridlatch-system", Store: store}
	memory.Recall(t.Context(), origin, t0)
	f, _ := store.Snapshot(origin).Forecast("X")
	unnamed := forecast.Document{Series: map[string]*forecast.Series{"": f.Series}, Issued: t0} // it answers to X, too
	if err := store.Offer(origin, unnamed, t0); err != nil {
		t.Fatal(err)
	}
	memory.save(t.Context())
	saved, err := api.CoreV1().ConfigMaps("gridlatch-system").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(saved.Items) != 1 || saved.Items[0].Annotations[v1alpha1.LocationAnnotation] != "" {
		t.Errorf("%+v (%v)", saved.Items, err)
	}
	named := forecast.Document{Series: map[string]*forecast.Series{"Y": f.Series, "Z": f.Series}, Issued: t0} // nobody answers to "" now
	if err := store.Offer(origin, named, t0); err != nil {
		t.Fatal(err)
	}
	memory.save(t.Context())
	if saved, err = api.CoreV1().ConfigMaps("gridlatch-system").List(t.Context(), metav1.ListOptions{}); err != nil || len(saved.Items) != 4 {
		t.Errorf("%+v (%v)", saved.Items, err)
	}
}

// A history must not be overwritten by a short one because the API server could
// not be reached at the start.
func TestWhatHasNotBeenReadIsNotWritten(t *testing.T) {
	api := fake.NewClientset()
	api.PrependReactor("list", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, context.DeadlineExceeded
	})
	memory := &Memory{Clientset: api, Namespace: "gridlatch-system", Store: learned(t, 3)}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	memory.Recall(ctx, origin, t0)
	memory.save(t.Context())
	for _, action := range api.Actions() {
		if action.GetVerb() != "list" {
			t.Errorf("%s of %s", action.GetVerb(), action.GetResource().Resource)
		}
	}
}

// hookedContext calls a function whenever somebody asks whether it has ended.
type hookedContext struct {
	context.Context

	err func() error
}

func (c hookedContext) Err() error { return c.err() }

// twoHistories returns a memory with histories of the locations X and Y, and tells whether the store
// knows a location.
func twoHistories(t *testing.T) (memory *Memory, isRestored func(location string) bool) {
	t.Helper()
	good, err := forecastOf(learned(t, 5)).Save()
	if err != nil {
		t.Fatal(err)
	}
	x, y := history.ConfigMap(origin, "X", forecast.Origin{}, good), history.ConfigMap(origin, "Y", forecast.Origin{}, good)
	x.Namespace, y.Namespace = "gridlatch-system", "gridlatch-system"
	memory = &Memory{Clientset: fake.NewClientset(x, y), Namespace: "gridlatch-system", Store: &forecast.Store{}}
	return memory, func(location string) bool {
		return slices.Contains(memory.Store.Snapshot(origin).Locations(), location)
	}
}

func TestNobodyWaitsForARecallThatRestores(t *testing.T) {
	memory, isRestored := twoHistories(t)
	between := false
	ctx := hookedContext{t.Context(), func() error {
		if isRestored("X") != isRestored("Y") && memory.mu.TryLock() {
			between = true
			memory.mu.Unlock()
		}
		return nil
	}}
	if !memory.Recall(ctx, origin, t0) || !between {
		t.Errorf("the lock was free between two histories: %t", between)
	}
}

func TestARecallWhoseTimeIsOverGoesOnLater(t *testing.T) {
	memory, isRestored := twoHistories(t)
	ended := error(nil)
	ctx := hookedContext{t.Context(), func() error {
		if isRestored("X") || isRestored("Y") {
			ended = context.DeadlineExceeded
		}
		return ended
	}}
	if memory.Recall(ctx, origin, t0) || isRestored("X") == isRestored("Y") {
		t.Errorf("restored: X %t, Y %t; want one of them, and the other later", isRestored("X"), isRestored("Y"))
	}
	waits := memory.writable()[origin]
	for _, location := range []string{"X", "Y"} {
		if got := waits[history.ConfigMapName(origin, location)]; got == isRestored(location) {
			t.Errorf("%s is restored: %t, and waits: %t", location, isRestored(location), got)
		}
	}
	if !memory.Recall(t.Context(), origin, t0) || !isRestored("X") || !isRestored("Y") {
		t.Errorf("restored later: X %t, Y %t", isRestored("X"), isRestored("Y"))
	}
}

func TestARecallOfAForgottenSourceIsNone(t *testing.T) {
	memory, isRestored := twoHistories(t)
	ended := error(nil)
	ctx := hookedContext{t.Context(), func() error {
		if ended == nil && (isRestored("X") || isRestored("Y")) {
			memory.Forget(origin)
			ended = context.Canceled
		}
		return ended
	}}
	memory.Recall(ctx, origin, t0)
	if _, ok := memory.writable()[origin]; ok {
		t.Error("the source counts as recalled, and is not read again")
	}
}

func forecastOf(store *forecast.Store) *forecast.Model {
	f, _ := store.Snapshot(origin).Forecast("X")
	return f.Model
}

func TestAHistoryIsSavedWithItsOriginAndServesThatOriginOnly(t *testing.T) {
	provider := forecast.Origin{Provider: "Energy-Charts", Zone: "de", Signal: forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.LifeCycle}}
	var slots []forecast.Slot
	for hour := -30 * 24; hour < 0; hour++ {
		start := t0.Add(time.Duration(hour) * time.Hour)
		slots = append(slots, forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: 300 + 50*math.Sin(float64(hour)/4)})
	}
	document := forecast.Document{
		Actuals: map[string]*forecast.Series{"X": forecast.NewSeries(slots)},
		Details: map[string]forecast.Details{"X": {Origin: provider, LacksForecast: true}},
	}
	store := &forecast.Store{}
	if err := store.Offer(origin, document, t0); err != nil {
		t.Fatal(err)
	}
	api := fake.NewClientset()
	memory := &Memory{Clientset: api, Namespace: "gridlatch-system", Store: store}
	memory.Recall(t.Context(), origin, t0)
	memory.save(t.Context())
	held, err := api.CoreV1().ConfigMaps("gridlatch-system").Get(t.Context(), history.ConfigMapName(origin, "X"), metav1.GetOptions{})
	if want := `{"provider":"Energy-Charts","zone":"de","signal":{"kind":"Average","emissionFactors":"LifeCycle"}}`; err != nil || held.Annotations[history.OriginAnnotation] != want {
		t.Fatalf("the annotation is %q (%v)", held.Annotations[history.OriginAnnotation], err)
	}

	marginal := provider
	marginal.Signal.Kind = forecast.Marginal
	newest := forecast.NewSeries(slots[len(slots)-2:])
	for name, tt := range map[string]struct {
		offered forecast.Origin
		learned bool
	}{"the same": {provider, true}, "another signal": {marginal, false}, "none": {forecast.Origin{}, false}} {
		t.Run(name, func(t *testing.T) {
			restarted := &forecast.Store{}
			(&Memory{Clientset: api, Namespace: "gridlatch-system", Store: restarted}).Recall(t.Context(), origin, t0)
			next := forecast.Document{Actuals: map[string]*forecast.Series{"X": newest}, Details: map[string]forecast.Details{"X": {Origin: tt.offered}}}
			if err := restarted.Offer(origin, next, t0); err != nil {
				t.Fatal(err)
			}
			if got := predict(restarted).LearnedTime; (got > 25*24*time.Hour) != tt.learned {
				t.Errorf("the model has learned from %s", got)
			}
		})
	}

	t.Run("the history of another origin is written in its place", func(t *testing.T) {
		document.Details = map[string]forecast.Details{"X": {Origin: marginal}}
		if err := store.Offer(origin, document, t0); err != nil {
			t.Fatal(err)
		}
		memory.save(t.Context())
		held, err := api.CoreV1().ConfigMaps("gridlatch-system").Get(t.Context(), history.ConfigMapName(origin, "X"), metav1.GetOptions{})
		if err != nil || !strings.Contains(held.Annotations[history.OriginAnnotation], `"Marginal"`) {
			t.Errorf("the annotation is %q (%v)", held.Annotations[history.OriginAnnotation], err)
		}
	})
}
