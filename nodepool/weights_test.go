package nodepool

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// auto has annotations that ask for a weight by rank, and more pairs.
func auto(more ...string) map[string]string {
	all := map[string]string{v1alpha1.WeightsAnnotation: v1alpha1.WeightsAuto}
	for i := 0; i+1 < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// weights returns the weights of pools.
func (w *world) weights(names ...string) (all []any) {
	for _, name := range names {
		all = append(all, w.spec(name, "weight"))
	}
	return all
}

func TestWeightsFollowTheirBuckets(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", map[string]string{v1alpha1.WeightsAnnotation: "200=90,350=50,*=10"}, map[string]any{"weight": int64(7)}))
	for _, step := range []struct {
		intensity float64
		after     time.Duration
		want      int64
		again     time.Duration
	}{
		{300, 0, 50, 0},
		{500, 10 * time.Minute, 50, 20 * time.Minute},
		{500, 20 * time.Minute, 10, 0},
		{100, time.Minute, 10, 29 * time.Minute},
		{199, time.Hour, 50, 0}, // not clean enough to be sure
		{195, time.Hour, 90, 0},
	} {
		w.later(step.after)
		w.turnTo("DE", step.intensity)
		if again := w.look("batch"); again != step.again || w.spec("batch", "weight") != step.want {
			t.Errorf("at %v: weight %v, looked at again in %v", step.intensity, w.spec("batch", "weight"), again)
		}
	}
	w.change("DE", func(l *plan.Level) { l.IsKnown = false })
	w.look("batch")
	if got := w.spec("batch", "weight"); got != int64(7) || w.note("batch", v1alpha1.OriginalWeightAnnotation) != "" {
		t.Errorf("without a forecast: %v", got)
	}
}

func TestTwoPoolsSwapWhenTheirGridsDo(t *testing.T) {
	w := newWorld(t)
	w.turnTo("SE", 100)
	w.has(nodePool("north", auto(), in("SE")), nodePool("south", auto(), in("DE")))
	steps := []struct {
		north, south float64
		after        time.Duration
		want         []any
	}{
		{100, 300, 0, []any{int64(100), int64(1)}},
		{305, 300, time.Hour, []any{int64(100), int64(1)}}, // as clean as the other one
		{400, 300, time.Hour, []any{int64(1), int64(100)}},
		{100, 300, time.Minute, []any{int64(1), int64(100)}}, // changed a minute ago
		{100, 300, 29 * time.Minute, []any{int64(100), int64(1)}},
	}
	for _, step := range steps {
		w.later(step.after)
		w.turnTo("SE", step.north)
		w.turnTo("DE", step.south)
		w.look("north", "south", "north", "south")
		if diff := cmp.Diff(step.want, w.weights("north", "south")); diff != "" {
			t.Errorf("at %v and %v: %s", step.north, step.south, diff)
		}
	}
	if reason := w.note("south", v1alpha1.ReasonAnnotation); !strings.HasPrefix(reason, "it is number 2 of 2 pools, the cleanest first; 300 gCO2eq/kWh at ") {
		t.Errorf("reason %q", reason)
	}
}

func TestEfficientNodesComeFirstAtTheSameIntensity(t *testing.T) {
	w := newWorld(t)
	template := func(kind, factor string) map[string]any {
		return map[string]any{"template": map[string]any{"metadata": map[string]any{kind: map[string]any{v1alpha1.PowerFactorKey: factor}}}}
	}
	w.has(
		nodePool("amd64", auto(), nil),
		nodePool("arm64", auto(v1alpha1.PowerFactorKey, "0.6"), template("labels", "3")), // the pool's own counts
		nodePool("old", auto(), template("annotations", "2")),
		nodePool("new", auto(), template("labels", "0.8")),
	)
	names := []string{"amd64", "arm64", "old", "new"}
	w.look(names...)
	if diff := cmp.Diff([]any{int64(34), int64(100), int64(1), int64(67)}, w.weights(names...)); diff != "" {
		t.Error(diff)
	}
}

func TestAPoolOfUnknownIntensityKeepsItsOwnWeight(t *testing.T) {
	w := newWorld(t)
	w.turnTo("SE", 100)
	unknown := in("moon")
	unknown["weight"] = int64(42)
	w.has(nodePool("a", auto(), in("SE")), nodePool("b", auto(), in("DE")), nodePool("c", auto(), unknown))
	w.look("a", "b", "c")
	if diff := cmp.Diff([]any{int64(100), int64(1), int64(42)}, w.weights("a", "b", "c")); diff != "" {
		t.Error(diff)
	}
	w.change("SE", func(l *plan.Level) { l.IsKnown = false })
	w.look("a", "b", "c")
	if diff := cmp.Diff([]any{nil, nil, int64(42)}, w.weights("a", "b", "c")); diff != "" {
		t.Error("alone: ", diff)
	}
}

func TestAPoolThatComesWakesThoseThatItIsRankedWith(t *testing.T) {
	w := newWorld(t)
	handler := w.onPool()
	wakes := func(before, after *pool) bool {
		if before == nil {
			handler.OnAdd(after, false)
		} else {
			handler.OnUpdate(before, after)
		}
		woken := map[string]bool{}
		for w.queue.Len() > 0 {
			name, _ := w.queue.Get()
			woken[name] = true
			w.queue.Done(name)
		}
		return woken["north"]
	}
	w.has(nodePool("north", auto(), in("SE")))
	plain := newPool(nodePool("south", nil, in("DE")))
	ranked, moved := newPool(nodePool("south", auto(), in("DE"))), newPool(nodePool("south", auto(), in("FR")))
	stronger := newPool(nodePool("south", auto(v1alpha1.PowerFactorKey, "2"), in("DE")))
	if !wakes(nil, ranked) || !wakes(ranked, moved) || !wakes(ranked, stronger) || !wakes(plain, ranked) || !wakes(ranked, plain) {
		t.Error("a pool that is ranked is not looked at")
	}
	if wakes(ranked, ranked) || wakes(nil, plain) {
		t.Error("a pool is looked at for nothing")
	}
}

func TestRestoreGivesAllBackForAnHour(t *testing.T) {
	w := newWorld(t)
	spec := map[string]any{"limits": limits{"cpu": "500"}, "weight": int64(9)}
	annotations := asking(map[string]string{v1alpha1.WeightsAnnotation: "200=90,*=50"})
	w.has(nodePool("batch", annotations, spec), nodePool("plain", nil, in("DE")))
	w.look("batch", "plain")
	restored, err := Restore(t.Context(), w.api, w.clock.Now())
	if err != nil || restored != 1 {
		t.Fatalf("restored %d, %v", restored, err)
	}
	w.know("batch")
	annotations[v1alpha1.NodePoolReleasedAnnotation] = "2026-11-27T13:00:00Z"
	if diff := cmp.Diff(annotations, w.get("batch").GetAnnotations()); diff != "" {
		t.Error(diff)
	}
	if again := w.look("batch"); again != time.Hour || !cmp.Equal(w.get("batch").Object["spec"], any(map[string]any{"limits": limits{"cpu": "500"}, "weight": int64(9)})) {
		t.Errorf("looked at again in %v: %v", again, w.get("batch").Object["spec"])
	}
	w.later(time.Hour)
	w.look("batch")
	if got := w.spec("batch", "weight"); got != int64(50) || w.note("batch", v1alpha1.NodePoolReleasedAnnotation) != "" {
		t.Errorf("after the hour: weight %v", got)
	}
}

func TestRestoreIsSilentWithoutKarpenter(t *testing.T) {
	restored, err := Restore(t.Context(), server(t, interceptor.Funcs{}), time.Now())
	if restored != 0 || err != nil {
		t.Errorf("got %d, %v", restored, err)
	}
}

// TestAKilledControllerLosesNothing has a controller that ends after each of its patches, and one that
// has never seen the pool afterwards.
func TestAKilledControllerLosesNothing(t *testing.T) {
	w := newWorld(t)
	spec := map[string]any{"limits": limits{"cpu": "500"}, "weight": int64(9)}
	w.has(nodePool("batch", asking(map[string]string{v1alpha1.WeightsAnnotation: "200=90,*=50"}), spec))
	for _, intensity := range []float64{300, 500, 100} {
		w.memories.Clear()
		w.later(time.Hour)
		w.turnTo("DE", intensity)
		w.look("batch")
	}
	w.owner("batch", func(o *unstructured.Unstructured) { o.SetAnnotations(withoutAsking(o.GetAnnotations())) })
	w.look("batch")
	if diff := cmp.Diff(any(map[string]any{"limits": limits{"cpu": "500"}, "weight": int64(9)}), w.get("batch").Object["spec"]); diff != "" {
		t.Error(diff)
	}
}

func withoutAsking(annotations map[string]string) map[string]string {
	delete(annotations, v1alpha1.LimitsAnnotation)
	delete(annotations, v1alpha1.WeightsAnnotation)
	return annotations
}

// TestNothingButLimitsAndWeightIsEverPatched bounds what a patch can change.
func TestNothingButLimitsAndWeightIsEverPatched(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", asking(map[string]string{v1alpha1.WeightsAnnotation: "200=90,*=50"}), in("DE")))
	for _, intensity := range []float64{300, 500, 100} {
		w.later(time.Hour)
		w.turnTo("DE", intensity)
		w.look("batch")
	}
	for _, patch := range w.patched {
		for _, never := range []string{"template", "disruption", "replicas", "karpenter.sh/", "deletionTimestamp"} {
			if strings.Contains(patch, never) {
				t.Errorf("patched %s", patch)
			}
		}
	}
	if len(w.patched) != 3 {
		t.Errorf("%d patches", len(w.patched))
	}
}
