package ceiling

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/trigger"
)

// pauses returns a ScaledObject whose trigger was rewritten, and pauses.
func pauses(t *testing.T, annotations map[string]any) document {
	t.Helper()
	rewritten, _, errs := formOfTests.Rewrite(trigger.Scaling{Triggers: []any{carbonTriggerOf(map[string]any{"handler": "pause"})}}, nil)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return triggered(annotations, rewritten...)
}

func TestATriggerPausesAndResumes(t *testing.T) {
	w := triggerWorld(t)
	object := w.set(pauses(t, nil))
	if n := w.lookUntilSteady(object.ref()); n != 1 {
		t.Fatalf("%d writes", n)
	}
	want := map[string]string{paused: "true", v1alpha1.TriggerPausedAnnotation: paused}
	if diff := cmp.Diff(want, w.objects["web"].annotations()); diff != "" || *w.objects["web"].max() != 22 {
		t.Errorf("on a dirty grid: %s", diff)
	}
	w.turnTo(100)
	w.lookUntilSteady(object.ref())
	if got := w.objects["web"].annotations(); len(got) > 0 {
		t.Errorf("on a clean grid: %v", got)
	}
	want2 := []string{EventTriggerDirty, EventTriggerPaused, EventTriggerClean, EventTriggerResumed}
	if diff := cmp.Diff(want2, w.events); diff != "" {
		t.Error("events: ", diff)
	}
	if !contains(w.told[1], "replicas stay as they are", "300 gCO2eq/kWh is more than 200") {
		t.Errorf("told: %s", w.told[1])
	}
}

// TestThePauseOfATriggerAndTheOwnersWord looks at what is there before on a dirty and on a clean
// grid.
func TestThePauseOfATriggerAndTheOwnersWord(t *testing.T) {
	note := v1alpha1.TriggerPausedAnnotation
	type keda map[string]string
	tests := []struct {
		name    string
		kind    kind
		before  map[string]any
		isDirty bool
		want    keda
		undone  bool
	}{
		{"nothing", scaledObject, nil, true, keda{paused: "true", note: paused}, false},
		{"nothing, and clean", scaledObject, nil, false, keda{}, false},
		{"a ScaledJob", scaledJob, nil, true, keda{paused: "true", note: paused}, false},
		{"the owner's pause", scaledObject, map[string]any{paused: "true"}, true, keda{paused: "true"}, false},
		{"the owner's pause, and clean", scaledObject, map[string]any{paused: "true"}, false, keda{paused: "true"}, false},
		{"the owner's pause at a number", scaledObject, map[string]any{pausedReplicas: "3"}, true, keda{pausedReplicas: "3"}, false},
		{"what keeps it awake", scaledObject, map[string]any{forceActivation: "true"}, true, keda{forceActivation: "true"}, false},
		{"the owner's false is remembered", scaledObject, map[string]any{paused: "False"}, true, keda{paused: "true", note: paused + "=False"}, false},
		{"and comes back", scaledObject, map[string]any{paused: "true", note: paused + "=False"}, false, keda{paused: "False"}, false},
		{"ours stays", scaledObject, map[string]any{paused: "true", note: paused}, true, keda{paused: "true", note: paused}, false},
		{"ours goes", scaledObject, map[string]any{paused: "true", note: paused}, false, keda{}, false},
		{"ours that was taken away comes back", scaledObject, map[string]any{note: paused}, true, keda{paused: "true", note: paused}, true},
		{"ours that was taken away, and clean", scaledObject, map[string]any{note: paused}, false, keda{}, false},
		{"false over ours", scaledObject, map[string]any{paused: "false", note: paused}, true, keda{paused: "false", note: ownersWord}, false},
		{"and later", scaledObject, map[string]any{paused: "false", note: ownersWord}, true, keda{paused: "false", note: ownersWord}, false},
		{"and later without", scaledObject, map[string]any{note: ownersWord}, true, keda{note: ownersWord}, false},
		{"until the grid is clean", scaledObject, map[string]any{paused: "false", note: ownersWord}, false, keda{paused: "false"}, false},
		{"a note of somebody else", scaledObject, map[string]any{paused: "true", note: "x"}, false, keda{paused: "true"}, false},
		{"a note that would pause", scaledObject, map[string]any{paused: "true", note: paused + "=true"}, false, keda{paused: "true"}, false},
		{"a note of another annotation", scaledObject, map[string]any{pausedReplicas: "0", note: pausedReplicas}, false, keda{pausedReplicas: "0"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := pauses(t, tt.before).named(tt.kind, "web")
			target := before.target(tt.kind)
			c := target.Change()
			if undone := target.settleTriggerPause(c, tt.isDirty); undone != tt.undone {
				t.Errorf("undone: %v", undone)
			}
			after := before.after(t, &change{Change: c})
			if diff := cmp.Diff(map[string]string(tt.want), after.annotations()); diff != "" && len(tt.want)+len(after.annotations()) > 0 {
				t.Error(diff)
			}
			again := after.target(tt.kind).Change()
			if after.target(tt.kind).settleTriggerPause(again, tt.isDirty); !again.IsEmpty() {
				t.Error("not settled")
			}
		})
	}
}

func TestTheOwnerMayPauseAsTheTriggerDoes(t *testing.T) {
	object := pauses(t, map[string]any{paused: "true", v1alpha1.TriggerPausedAnnotation: paused})
	const owns = `{"f:metadata": {"f:annotations": {"f:autoscaling.keda.sh/paused": {}}}}`
	object = object.managedBy(managed("argocd-controller", "Apply", 11, owns), managed(override.Manager, "Update", 10, owns))
	known := object.target(scaledObject)
	c := known.Change()
	known.settleTriggerPause(c, false)
	if got := object.after(t, &change{Change: c}).annotations(); got[paused] != "true" || got[v1alpha1.TriggerPausedAnnotation] != "" {
		t.Errorf("got %v", got)
	}
}

func TestAPauseThatIsTakenAwayIsSetLessOftenEachTime(t *testing.T) {
	w := triggerWorld(t)
	object := w.set(pauses(t, nil))
	w.lookUntilSteady(object.ref())
	for _, pause := range []time.Duration{time.Second, 2 * time.Second} {
		w.put(pauses(t, map[string]any{v1alpha1.TriggerPausedAnnotation: paused}))
		patched := len(w.patched)
		if result := w.look(object.ref()); result.RequeueAfter != pause || len(w.patched) != patched {
			t.Fatalf("looked at again after %v, want %v", result.RequeueAfter, pause)
		}
		w.clock.SetTime(w.clock.Now().Add(pause))
		w.lookUntilSteady(object.ref())
		if w.objects["web"].annotations()[paused] != "true" {
			t.Fatal("not paused")
		}
	}
	if n := strings.Count(strings.Join(w.events, " "), EventTriggerReverted); n != 2 {
		t.Errorf("told %d times: %v", n, w.events)
	}
}

func TestThePauseEndsWithItsTrigger(t *testing.T) {
	for name, triggers := range map[string][]any{
		"the trigger goes":            {otherTrigger()},
		"the trigger becomes useless": {carbonTriggerOf(map[string]any{"handler": "x"})},
		"the trigger scales down":     {carbonTriggerOf(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			w := triggerWorld(t)
			object := w.set(pauses(t, nil))
			w.lookUntilSteady(object.ref())
			w.put(w.objects["web"].withTriggers(triggers...))
			w.lookUntilSteady(object.ref())
			w.clock.SetTime(w.clock.Now().Add(time.Second))
			w.lookUntilSteady(object.ref())
			if got := w.objects["web"].annotations(); len(got) > 0 {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestAPauseBesideACeilingOfZero has a trigger that pauses, and annotations whose ceiling is 0 on a
// dirty grid.
func TestAPauseBesideACeilingOfZero(t *testing.T) {
	w := triggerWorld(t)
	d := pauses(t, map[string]any{v1alpha1.CeilingsAnnotation: "200=20,*=0"})
	delete(d["spec"].(map[string]any), "minReplicaCount")
	object := w.set(d)
	w.lookUntilSteady(object.ref())
	got := w.objects["web"].annotations()
	if got[paused] != "true" || got[pausedReplicas] != "" || got[v1alpha1.CeilingPausedWithAnnotation] != "" || got[v1alpha1.TriggerPausedAnnotation] != paused {
		t.Errorf("both are dirty: %v", got)
	}
	if !contains(got[v1alpha1.ReasonAnnotation], "has paused the object already") || contains(got[v1alpha1.ReasonAnnotation], "owner") {
		t.Errorf("the reason is %q", got[v1alpha1.ReasonAnnotation])
	}
	w.put(w.objects["web"].withTriggers(otherTrigger()))
	w.lookUntilSteady(object.ref())
	got = w.objects["web"].annotations()
	if got[v1alpha1.CeilingPausedWithAnnotation] != bothPauses || got[pausedReplicas] != "0" || got[v1alpha1.TriggerPausedAnnotation] != "" {
		t.Errorf("the ceiling alone is at 0: %v", got)
	}
	w.put(w.objects["web"].withTriggers(pauses(t, nil).triggers()...))
	w.lookUntilSteady(object.ref())
	if got = w.objects["web"].annotations(); got[v1alpha1.CeilingPausedWithAnnotation] != bothPauses || got[v1alpha1.TriggerPausedAnnotation] != "" {
		t.Errorf("the ceiling came first: %v", got)
	}
	w.turnTo(100)
	w.lookUntilSteady(object.ref())
	if got = w.objects["web"].annotations(); got[paused] != "" || got[pausedReplicas] != "" || got[v1alpha1.TriggerPausedAnnotation] != "" {
		t.Errorf("both are clean: %v", got)
	}
}

func TestAPauseOutlivesAStartUntilThereIsAForecast(t *testing.T) {
	w := triggerWorld(t)
	w.started, w.level.IsKnown = w.clock.Now(), false
	object := w.set(pauses(t, map[string]any{paused: "true", v1alpha1.TriggerPausedAnnotation: paused}))
	w.Store = &forecast.Store{} // nobody has looked for the forecast
	if result := w.look(object.ref()); result.RequeueAfter != startGrace || len(w.patched)+len(w.events) > 0 {
		t.Fatalf("before: %v, %v, %v", result, w.patched, w.events)
	}
	w.Store.Fail(carbonIntensity, errDown)
	w.clock.SetTime(w.clock.Now().Add(startGrace))
	w.lookUntilSteady(object.ref())
	if got := w.objects["web"].annotations(); len(got) > 0 {
		t.Errorf("after a while: %v", got)
	}
}

func TestTurnsAreToldOnce(t *testing.T) {
	w := triggerWorld(t)
	w.level.Intensity = 100
	rewritten, _, _ := formOfTests.Rewrite(trigger.Scaling{Triggers: []any{carbonTriggerOf(nil)}}, nil)
	object := w.set(triggered(nil, rewritten...))
	object.CreationTimestamp.Time = w.clock.Now().Add(-time.Hour)
	w.started = w.clock.Now() // what was so before is no news
	w.look(object.ref())
	if len(w.events) > 0 {
		t.Fatalf("told at the start: %v", w.events)
	}
	for _, intensity := range []float64{120, 300, 310, 100} {
		w.turnTo(intensity)
		w.look(object.ref())
		w.look(object.ref())
	}
	w.level.IsKnown, w.level.UnknownReason = false, "the forecast is over"
	w.turnTo(0)
	w.look(object.ref())
	w.look(object.ref())
	if diff := cmp.Diff([]string{EventTriggerDirty, EventTriggerClean, EventTriggerUnknown}, w.events); diff != "" {
		t.Error("events: ", diff)
	}
	if len(w.patched) > 0 {
		t.Errorf("patched: %v", w.patched)
	}
	if !contains(w.told[2], "no usable forecast", "the forecast is over") {
		t.Errorf("told: %s", w.told[2])
	}
	if unknown, clean := testutil.ToFloat64(w.Metrics.triggers.WithLabelValues("unknown")), testutil.ToFloat64(w.Metrics.triggers.WithLabelValues("clean")); unknown != 1 || clean != 0 {
		t.Errorf("counted %v unknown and %v clean", unknown, clean)
	}
	if err := w.targets[scaledObject].Indexer().Delete(object); err != nil {
		t.Fatal(err)
	}
	w.look(object.ref())
	if got := testutil.ToFloat64(w.Metrics.triggers.WithLabelValues("unknown")); got != 0 {
		t.Errorf("counted %v of an object that has gone", got)
	}
}

func TestANewTriggerIsToldOf(t *testing.T) {
	w := triggerWorld(t)
	w.started = w.clock.Now()
	d := pauses(t, nil)
	d["metadata"].(map[string]any)["creationTimestamp"] = w.clock.Now().Add(time.Second).Format(time.RFC3339)
	object := w.set(d)
	w.look(object.ref())
	if diff := cmp.Diff([]string{EventTriggerDirty, EventTriggerPaused}, w.events); diff != "" {
		t.Error("events: ", diff)
	}
}

func TestManyTurnsAtTheSameTimeAreBounded(t *testing.T) {
	w := triggerWorld(t)
	for i := range 50 {
		object := w.set(pauses(t, nil).named(scaledObject, "web-"+strings.Repeat("x", i)))
		w.look(object.ref())
	}
	if len(w.events) > eventsBurst+2 || len(w.patched) != 50 {
		t.Errorf("%d Events, %d patches", len(w.events), len(w.patched))
	}
}
