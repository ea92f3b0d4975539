package ceiling

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/trigger"
)

// rewritten returns triggers with the carbon trigger rewritten.
func rewritten(t *testing.T, triggers ...any) []any {
	t.Helper()
	after, _, errs := formOfTests.Rewrite(trigger.Scaling{Triggers: triggers}, nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return after
}

// TestCeilingsByTriggers has an object of 2 to 22 replicas.
func TestCeilingsByTriggers(t *testing.T) {
	gradual := map[string]any{"gradual": "true", "gradualUpTo": "400"}
	explicit := map[string]any{"type": "external-push", "metadata": map[string]any{"emissionThreshold": "200", "scalerAddress": formOfTests.Address, "effect": "ceiling"}}
	tests := []struct {
		name      string
		triggers  []any
		spec      map[string]any
		intensity float64
		max       int32
		isPaused  bool
		by        string
	}{
		{"alone, the scaler does it all", []any{carbonTriggerOf(nil)}, nil, 300, 22, false, ""},
		{"beside another, on a dirty grid", []any{otherTrigger(), carbonTriggerOf(nil)}, nil, 300, 2, false, byTrigger},
		{"beside another, on a clean grid", []any{otherTrigger(), carbonTriggerOf(nil)}, nil, 200, 22, false, byTrigger},
		{"beside another, without a minimum", []any{otherTrigger(), carbonTriggerOf(nil)}, map[string]any{"minReplicaCount": int64(0)}, 300, 22, true, byTrigger},
		{"with pause there is no ceiling", []any{otherTrigger(), carbonTriggerOf(map[string]any{"handler": "pause"})}, nil, 100, 22, false, ""},
		{"gradual, half of it", []any{carbonTriggerOf(gradual)}, nil, 300, 12, false, byTrigger},
		{"gradual, and clean", []any{carbonTriggerOf(gradual)}, nil, 150, 22, false, byTrigger},
		{"gradual, and dirty", []any{carbonTriggerOf(gradual)}, nil, 500, 2, false, byTrigger},
		{"gradual and alone, without a minimum", []any{carbonTriggerOf(gradual)}, map[string]any{"minReplicaCount": int64(0)}, 500, 1, false, byTrigger},
		{"gradual beside another, without a minimum", []any{carbonTriggerOf(gradual), otherTrigger()}, map[string]any{"minReplicaCount": int64(0)}, 500, 22, true, byTrigger},
		{"the form that nobody rewrites", []any{otherTrigger(), explicit}, nil, 300, 2, false, byTrigger},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := triggerWorld(t)
			w.level.Intensity = tt.intensity
			d := triggered(nil, rewritten(t, tt.triggers...)...)
			for key, value := range tt.spec {
				d["spec"].(map[string]any)[key] = value
			}
			object := w.set(d)
			w.lookUntilSteady(object.ref())
			got := w.objects["web"]
			if *got.max() != tt.max || got.annotations()[v1alpha1.CeilingByAnnotation] != tt.by || (got.annotations()[pausedReplicas] != "") != tt.isPaused {
				t.Errorf("got the maximum %d, want %d, by %v", *got.max(), tt.max, got.annotations())
			}
		})
	}
}

func TestACeilingByATriggerComesAndGoes(t *testing.T) {
	w := triggerWorld(t)
	object := w.set(triggered(nil, rewritten(t, otherTrigger(), carbonTriggerOf(nil))...))
	if n := w.lookUntilSteady(object.ref()); n != 1 || *w.objects["web"].max() != 2 {
		t.Fatalf("%d writes: %v", n, w.objects["web"])
	}
	w.turnTo(310)
	if n := w.lookUntilSteady(object.ref()); n != 0 {
		t.Errorf("%d writes for a grid that is as dirty as before: %v", n, w.patched)
	}
	w.turnTo(100)
	w.lookUntilSteady(object.ref())
	if got := w.objects["web"]; *got.max() != 22 || got.annotations()[v1alpha1.ReasonAnnotation] != "no ceiling: the grid is clean for the trigger carbon-intensity; the grid is clean: 100 gCO2eq/kWh is at most 200" {
		t.Errorf("on a clean grid: %v", got)
	}
	w.turnTo(300)
	w.lookUntilSteady(object.ref())
	w.put(w.objects["web"].withTriggers(otherTrigger()))
	w.lookUntilSteady(object.ref())
	if got := w.objects["web"]; *got.max() != 22 || len(got.annotations()) > 0 {
		t.Errorf("without the trigger: %v", got)
	}
}

func TestATriggerIsAClaimLikeOthers(t *testing.T) {
	triggers := rewritten(t, otherTrigger(), carbonTriggerOf(nil))
	t.Run("the annotations come first", func(t *testing.T) {
		w := triggerWorld(t)
		object := w.set(triggered(map[string]any{v1alpha1.PolicyAnnotation: "default"}, triggers...))
		w.lookUntilSteady(object.ref())
		if got := w.objects["web"].annotations()[v1alpha1.CeilingByAnnotation]; got != byPolicy || *w.objects["web"].max() != 5 {
			t.Errorf("by %s: %v", got, w.objects["web"])
		}
		if diff := cmp.Diff([]string{EventTriggerDirty, EventRefused, EventChanged}, w.events); diff != "" || !contains(w.told[1], "the trigger carbon-intensity has no effect on the ceiling", byPolicy) {
			t.Errorf("events: %s told: %v", diff, w.told)
		}
	})
	t.Run("unless the trigger holds the ceiling", func(t *testing.T) {
		w := triggerWorld(t)
		object := w.set(triggered(map[string]any{v1alpha1.PolicyAnnotation: "default", v1alpha1.CeilingByAnnotation: byTrigger}, triggers...))
		w.lookUntilSteady(object.ref())
		if got := w.objects["web"].annotations()[v1alpha1.CeilingByAnnotation]; got != byTrigger || *w.objects["web"].max() != 2 {
			t.Errorf("by %s: %v", got, w.objects["web"])
		}
	})
	t.Run("it comes before a scaler", func(t *testing.T) {
		w := triggerWorld(t)
		object := w.set(triggered(nil, triggers...))
		w.has(t, scaler("shop", "a", 1))
		w.lookUntilSteady(object.ref())
		if got := w.objects["web"].annotations()[v1alpha1.CeilingByAnnotation]; got != byTrigger {
			t.Errorf("by %s", got)
		}
	})
}

func TestNoShareIsTooHostile(t *testing.T) {
	target := triggered(nil).target(scaledObject)
	target.carbon = &carbonTrigger{wish: trigger.Wish{IsCeiling: true}}
	for _, share := range []float64{math.NaN(), math.Inf(-1), -1, 0, 1e-300, 0.1, 0.3, 0.999999} {
		v := target.ceilingOf(&judgement{Verdict: trigger.Verdict{IsKnown: true, Share: share}})
		if v.ceiling == nil || *v.ceiling < 2 || *v.ceiling > 22 {
			t.Errorf("share %v: got %v", share, v.ceiling)
		}
	}
	if v := target.ceilingOf(&judgement{Verdict: trigger.Verdict{IsKnown: true, Share: 0.3}}); *v.ceiling != 8 {
		t.Errorf("0.3 of 2 to 22 is %d, want 8", *v.ceiling)
	}
	if v := target.ceilingOf(nil); v.ceiling != nil {
		t.Errorf("without a judgement: %d", *v.ceiling)
	}
}

func TestRestoreWritesVerbatimTriggersBack(t *testing.T) {
	now := clock(t, "2026-11-22T12:00:00Z")
	verbatim := carbonTriggerOf(map[string]any{"region": "us-west-2", "handler": "pause"})
	notes := lentNotes(map[string]any{paused: "true", v1alpha1.TriggerPausedAnnotation: paused + "=false"})
	lowered := triggered(notes, rewritten(t, otherTrigger(), verbatim)...)
	lowered["spec"].(map[string]any)["maxReplicaCount"] = int64(5)
	api := kedaServer(t, interceptor.Funcs{},
		&unstructured.Unstructured{Object: lowered.named(scaledObject, "all")},
		&unstructured.Unstructured{Object: triggered(nil, rewritten(t, verbatim)...).named(scaledJob, "alone")},
		&unstructured.Unstructured{Object: triggered(nil, verbatim).named(scaledObject, "missed")},
		&unstructured.Unstructured{Object: triggered(nil, otherTrigger()).named(scaledObject, "stranger")})
	n, err := Restore(t.Context(), api, now)
	if err != nil || n != 2 {
		t.Errorf("restored %d, %v", n, err)
	}
	for name, want := range map[string]struct {
		kind        kind
		max         int32
		triggers    []any
		annotations map[string]string
	}{
		"all":      {scaledObject, 40, []any{otherTrigger(), verbatim}, map[string]string{paused: "false", v1alpha1.CeilingReleasedAnnotation: "2026-11-22T13:00:00Z"}},
		"alone":    {scaledJob, 22, []any{verbatim}, map[string]string{v1alpha1.CeilingReleasedAnnotation: "2026-11-22T13:00:00Z"}},
		"missed":   {scaledObject, 22, []any{verbatim}, map[string]string{v1alpha1.CeilingReleasedAnnotation: "2026-11-22T13:00:00Z"}},
		"stranger": {scaledObject, 22, []any{otherTrigger()}, nil},
	} {
		got := &unstructured.Unstructured{}
		got.SetGroupVersionKind(want.kind.gvk())
		if err := api.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, got); err != nil {
			t.Fatal(err)
		}
		if most := count(got, "maxReplicaCount"); most == nil || *most != want.max {
			t.Errorf("%s: maxReplicaCount %s", name, printReplicas(most))
		}
		if diff := cmp.Diff(want.triggers, triggersOf(got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(want.annotations, got.GetAnnotations()); diff != "" && len(want.annotations)+len(got.GetAnnotations()) > 0 {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestATriggerIsLookedAtWhenItsVerdictMayChange(t *testing.T) {
	w := triggerWorld(t)
	w.level.ValidUntil = w.clock.Now().Add(15 * time.Minute)
	object := w.set(triggered(nil, rewritten(t, carbonTriggerOf(nil))...))
	if result := w.look(object.ref()); result.RequeueAfter != 15*time.Minute {
		t.Errorf("looked at again after %v", result.RequeueAfter)
	}
}

// TestAReleaseByHandIsNoRevert has a trigger that Restore has written back, and the hour after that.
func TestAReleaseByHandIsNoRevert(t *testing.T) {
	w := triggerWorld(t)
	w.level.Intensity = 100
	object := w.set(triggered(nil, carbonTriggerOf(nil)))
	w.lookUntilSteady(object.ref())
	released := w.objects["web"].withTriggers(carbonTriggerOf(nil))
	released["metadata"].(map[string]any)["annotations"] = map[string]any{v1alpha1.CeilingReleasedAnnotation: "2026-11-22T13:00:00Z"}
	w.put(released)
	if result := w.look(object.ref()); result.RequeueAfter != time.Hour {
		t.Fatalf("looked at again after %v", result.RequeueAfter)
	}
	w.clock.SetTime(w.clock.Now().Add(time.Hour))
	w.lookUntilSteady(object.ref())
	if diff := cmp.Diff([]string{EventTriggerRewritten, EventTriggerClean, EventTriggerRewritten}, w.events); diff != "" || len(w.objects["web"].annotations()) > 0 {
		t.Errorf("events: %s object: %v", diff, w.objects["web"])
	}
}

// TestARewritingThatIsNotKnownYetIsNoRevert looks at an object as it was before its trigger was
// rewritten, because the watch lags behind.
func TestARewritingThatIsNotKnownYetIsNoRevert(t *testing.T) {
	w := triggerWorld(t)
	before := triggered(nil, carbonTriggerOf(nil))
	object := w.set(before)
	w.look(object.ref())
	w.set(before)
	for range 2 {
		w.look(object.ref())
	}
	if len(w.patched) != 1 || len(w.events) != 1 {
		t.Errorf("patched %v, told %v", w.patched, w.events)
	}
}
