package nodepool

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// wholeWish asks for all that Gridlatch can do for a pool.
func wholeWish() map[string]string {
	return priced(v1alpha1.LimitsAnnotation, "200=cpu:1000,350=cpu:200,*=cpu:0", v1alpha1.WeightsAnnotation, "200=90,350=50,*=10")
}

// settled has the controller look at a pool until nothing is left to do, and returns what is in force.
func (w *world) settled(pool string) string {
	w.t.Helper()
	price := ""
	for range 3 {
		price, _ = w.price(pool)
		w.later(2 * time.Second)
	}
	return fmt.Sprint(w.spec(pool, "limits"), " ", w.spec(pool, "weight"), " ", price)
}

func TestForgedNotesLoseNeitherTheOwnersValuesNorTheGrid(t *testing.T) {
	const future = "2999-01-01T00:00:00Z"
	for name, notes := range map[string]map[string]string{
		"times in the future": {v1alpha1.LimitsLoweredAnnotation: future, v1alpha1.WeightChangedAnnotation: future},
		"an unknown bucket":   {v1alpha1.LimitsBucketAnnotation: "\x00"},
		"another policy":      {v1alpha1.NodePoolByAnnotation: "CarbonPolicy/other"},
		"nothing applied":     {v1alpha1.AppliedLimitsAnnotation: "", v1alpha1.AppliedWeightAnnotation: ""},
		"junk applied":        {v1alpha1.AppliedLimitsAnnotation: "[]", v1alpha1.AppliedWeightAnnotation: "1e9"},
		"a long reason":       {v1alpha1.ReasonAnnotation: strings.Repeat("x", 100000)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			own := map[string]any{"limits": limits{"cpu": "500"}, "weight": int64(9)}
			w.has(nodePool("batch", wholeWish(), own))
			w.settled("batch")
			w.owner("batch", func(o *unstructured.Unstructured) {
				annotations := o.GetAnnotations()
				maps.Copy(annotations, notes)
				o.SetAnnotations(annotations)
			})
			for _, step := range []struct {
				intensity float64
				want      string
			}{{300, "map[cpu:200] 50 +10%"}, {500, "map[cpu:0] 10 +25%"}, {100, "map[cpu:500] 90 "}, {500, "map[cpu:0] 10 +25%"}} {
				w.later(time.Hour)
				w.turnTo("DE", step.intensity)
				if got := w.settled("batch"); got != step.want {
					t.Errorf("at %v: %s, want %s", step.intensity, got, step.want)
				}
			}
			w.owner("batch", func(o *unstructured.Unstructured) { o.SetAnnotations(withoutAsking(o.GetAnnotations())) })
			w.settled("batch")
			if diff := cmp.Diff(any(map[string]any{"limits": limits{"cpu": "500"}, "weight": int64(9)}), w.get("batch").Object["spec"]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A clock that was ahead has noted times that are far in the future.
func TestAClockThatGoesBackStopsNothing(t *testing.T) {
	w := newWorld(t)
	w.later(1000 * time.Hour)
	w.has(nodePool("batch", wholeWish(), nil))
	w.settled("batch")
	w.turnTo("DE", 500)
	w.later(time.Hour)
	w.settled("batch")
	w.later(-1001 * time.Hour)
	for _, step := range []struct {
		intensity float64
		want      string
	}{{300, "map[cpu:200] 50 +10%"}, {500, "map[cpu:0] 10 +25%"}} {
		w.turnTo("DE", step.intensity)
		if got := w.settled("batch"); got != step.want {
			t.Errorf("at %v: %s, want %s", step.intensity, got, step.want)
		}
		w.later(time.Hour)
	}
}

// The controller gives a write of its own a moment to be seen.
func TestAClockThatGoesBackLeavesNoPriceOfSomebodyElse(t *testing.T) {
	w := newWorld(t)
	w.later(1000 * time.Hour)
	w.has(nodePool("batch", priced(), nil))
	w.settled("batch")
	w.later(-1000 * time.Hour)
	if err := w.api.Delete(t.Context(), w.overlayNow("batch")); err != nil {
		t.Fatal(err)
	}
	w.overlayNow("batch")
	w.settled("batch")
	w.expectPrice("batch", "+10%")
}

// A note could not remember such a value, and the owner would never get it back.
func TestWhatCannotBeRememberedIsNotLent(t *testing.T) {
	w := newWorld(t)
	for name, own := range map[string]map[string]any{
		"digits":   {"limits": limits{"cpu": strings.Repeat("9", 60)}},
		"exponent": {"limits": limits{"cpu": "1e999999999"}},
		"junk":     {"limits": limits{"cpu": []any{"\x00"}}},
		"weight":   {"weight": int64(1 << 40)},
		"zero":     {"weight": int64(0)},
	} {
		w.events = nil
		w.has(nodePool(name, asking(map[string]string{v1alpha1.WeightsAnnotation: "200=90,350=50,*=10"}), own))
		for _, intensity := range []float64{300, 500, 100} {
			w.turnTo("DE", intensity)
			w.look(name, name)
			for field, value := range own {
				if diff := cmp.Diff(value, w.spec(name, field)); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
			w.later(time.Hour)
		}
		if _, isLimit := own["limits"]; isLimit && len(w.only(EventInvalid)) != 1 {
			t.Errorf("%s: told %v", name, w.events)
		}
	}
}

// Without the right to watch, what is known of a pool stays as it was, and every change loses.
func TestChangesThatAlwaysLoseAreTriedLessAndLessOften(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", asking(nil), nil))
	stale := newPool(w.get("batch"))
	w.owner("batch", func(o *unstructured.Unstructured) { o.SetLabels(map[string]string{"a": "b"}) })
	if err := w.pools.Fill(stale); err != nil {
		t.Fatal(err)
	}
	var again time.Duration
	for range 15 {
		result, err := w.Reconcile(t.Context(), "batch")
		if err != nil {
			t.Fatal(err)
		}
		again = result.RequeueAfter
	}
	if again != longestConflictRetry {
		t.Errorf("it is tried again in %v", again)
	}
	w.know("batch")
	if w.look("batch"); w.spec("batch", "limits") == nil || w.memory("batch").lost != 0 {
		t.Errorf("limits %v, lost %d races", w.spec("batch", "limits"), w.memory("batch").lost)
	}
}

func TestAnExpectedChangeThatDoesNotComeIsExpectedAnew(t *testing.T) {
	w := newWorld(t)
	expect := func(after time.Duration) {
		now := w.clock.Now()
		w.change("DE", func(l *plan.Level) {
			l.Expected = forecast.NewSeries([]forecast.Slot{
				{Start: now, End: now.Add(after), Intensity: 300}, {Start: now.Add(after), End: now.Add(after + time.Hour), Intensity: 500},
			})
		})
	}
	expect(2 * time.Hour)
	w.has(nodePool("batch", asking(nil), nil))
	for _, step := range []struct {
		after  time.Duration // goes by before
		writes int
		want   string // is expected
	}{
		{0, 1, "14:00"},
		{time.Hour, 1, "14:00"}, // a new forecast expects it an hour later, which is not worth a write
		{time.Hour, 2, "16:00"}, // but now it has not come
		{0, 2, "16:00"},
	} {
		if w.later(step.after); step.after > 0 {
			expect(2 * time.Hour)
		}
		w.look("batch")
		reason := w.note("batch", v1alpha1.ReasonAnnotation)
		if got := plan.NextTold(reason, w.clock.Now()); got.Format("15:04") != step.want || len(w.patched) != step.writes {
			t.Errorf("after %v: %d writes, %s", step.after, len(w.patched), reason)
		}
	}
}

// TestAThousandRankedPoolsAreRankedOnce bounds how often the level at a pool is looked up.
func TestAThousandRankedPoolsAreRankedOnce(t *testing.T) {
	w, names := newWorld(t), []string(nil)
	const pools = 1000
	for i := range pools {
		p := newPool(nodePool(fmt.Sprint("pool-", i), auto(v1alpha1.PowerFactorKey, fmt.Sprint(1+float64(i)/pools)), in("DE")))
		if err := w.pools.Fill(p); err != nil {
			t.Fatal(err)
		}
		names = append(names, p.Name)
	}
	ranked := 0
	for range 3 {
		for _, name := range names {
			s, err := w.orders.get(w.clock.Now(), func() (*order, error) { ranked++; return w.rank(t.Context(), w.clock.Now()) })
			if err != nil || len(s.places) != pools {
				t.Fatal(err)
			}
			if v, _, err := w.judge(t.Context(), w.pool(name), w.clock.Now()); err != nil || v.weight.weight < leastWeight || v.weight.weight > mostWeight {
				t.Fatalf("%v, %v", v, err)
			}
		}
		w.turnTo("DE", 400)
	}
	if ranked != 3 {
		t.Errorf("ranked %d times for 3 forecasts", ranked)
	}
}

func TestPoolsThatComeMoveAndGoAreRankedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.Options.Interval = 0
	w.turnTo("SE", 100)
	w.turnTo("FR", 50)
	w.has(nodePool("a", auto(), in("SE")), nodePool("b", auto(), in("DE")))
	w.look("a", "b")
	w.has(nodePool("c", auto(), in("FR")))
	w.look("a", "b", "c")
	if diff := cmp.Diff([]any{int64(51), int64(1), int64(100)}, w.weights("a", "b", "c")); diff != "" {
		t.Error("it has come: ", diff)
	}
	w.owner("c", func(o *unstructured.Unstructured) {
		annotations := o.GetAnnotations()
		annotations[v1alpha1.PowerFactorKey] = "10"
		o.SetAnnotations(annotations)
	})
	w.look("a", "b", "c")
	if diff := cmp.Diff([]any{int64(100), int64(51), int64(1)}, w.weights("a", "b", "c")); diff != "" {
		t.Error("it takes more power: ", diff)
	}
	w.owner("c", func(o *unstructured.Unstructured) { o.SetAnnotations(withoutAsking(o.GetAnnotations())) })
	w.look("a", "b", "c")
	if diff := cmp.Diff([]any{int64(100), int64(1), nil}, w.weights("a", "b", "c")); diff != "" {
		t.Error("it does not ask any more: ", diff)
	}
}

func TestTwoWarningsThatLastAreNotToldOfInTurn(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", asking(map[string]string{v1alpha1.WeightsAnnotation: "?"}), nil))
	w.refuses = errDown
	for range 5 {
		if _, err := w.Reconcile(t.Context(), "batch"); err == nil {
			t.Fatal("want an error")
		}
	}
	w.refuses = nil
	for _, intensity := range []float64{500, 300} {
		w.turnTo("DE", intensity)
		w.look("batch")
		w.later(time.Hour)
	}
	if diff := cmp.Diff([]string{EventInvalid, EventFailed, EventLimitsChanged, EventLimitsChanged}, w.events); diff != "" {
		t.Error(diff)
	}
}

func TestTwoWarningsOfAPriceThatLastAreNotToldOfInTurn(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", priced(), nil))
	w.settled("batch")
	w.owner("batch", func(o *unstructured.Unstructured) {
		o.SetAnnotations(map[string]string{v1alpha1.CarbonPriceAnnotation: "?"})
	})
	w.events, w.refuses = nil, errDown
	w.know("batch")
	for range 5 {
		if _, err := w.Reconcile(t.Context(), "batch"); err == nil {
			t.Fatal("want an error")
		}
	}
	if diff := cmp.Diff([]string{EventInvalid, EventFailed}, w.events); diff != "" {
		t.Error(diff)
	}
}
