package ceiling

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// turnTo sets the intensity, and lets the controller know.
func (w *world) turnTo(intensity float64) {
	w.level.Intensity = intensity
	w.levels.Forget(func(string, forecast.Source) bool { return true })
}

func TestALookAtWhatIsAsItShouldBeWritesNothingAndTellsNothing(t *testing.T) {
	w := newWorld(t)
	s := scaler("shop", "a", 1)
	s.Spec.EcoModeOff.RecurringSchedule = []string{"* * * * *"}
	w.set(asksFor(nil))
	w.has(t, s)
	w.look(targetOf(s))
	want := []string{EventChanged, "CarbonForecastSource", "EcoModeDisabled", "MaxReplicaCountReconciled"}
	if diff := cmp.Diff(want, w.events); diff != "" {
		t.Fatal("events: ", diff)
	}
	told := s.DeepCopy()
	told.Status = w.statuses["shop/a"]
	w.has(t, told)
	w.events, w.patched, w.refusesStatus = nil, nil, errDown // which would be told
	w.clock.SetTime(w.clock.Now().Add(time.Second))
	w.look(targetOf(s))
	if len(w.events) > 0 || len(w.patched) > 0 {
		t.Errorf("told %v, patched %v", w.events, w.patched)
	}
}

func TestACeilingIsNotLoweredAgainBeforeItsIntervalIsOver(t *testing.T) {
	w := newWorld(t)
	w.Options.LowerInterval = 5 * time.Minute
	buckets, err := plan.ParseBuckets("200=20,350=5,*=1")
	if err != nil {
		t.Fatal(err)
	}
	w.level.Buckets = buckets
	object := w.set(asksFor(map[string]any{v1alpha1.PolicyAnnotation: "default"}))
	for _, step := range []struct {
		intensity float64
		max       int32
		again     time.Duration
	}{{100, 20, 0}, {300, 5, 0}, {500, 5, 5 * time.Minute}} {
		w.turnTo(step.intensity)
		if result := w.look(object.ref()); *w.objects["web"].max() != step.max || result.RequeueAfter != step.again {
			t.Fatalf("at %v: the ceiling is %d, and is looked at again in %v", step.intensity, *w.objects["web"].max(), result.RequeueAfter)
		}
	}
	w.clock.SetTime(w.clock.Now().Add(5 * time.Minute))
	w.look(object.ref())
	if got := *w.objects["web"].max(); got != 1 {
		t.Errorf("after the interval: %d", got)
	}
}

// TestAForecastThatNobodyHasLookedForIsNoReasonToChangeAnything has a controller that has run for
// long, and a policy with a new source.
func TestAForecastThatNobodyHasLookedForIsNoReasonToChangeAnything(t *testing.T) {
	w := newWorld(t)
	w.Store, w.level.IsKnown = &forecast.Store{}, false
	object := w.set(asksFor(map[string]any{v1alpha1.PolicyAnnotation: "default"}))
	if result := w.look(object.ref()); result.RequeueAfter != time.Second || len(w.patched) > 0 {
		t.Errorf("got %v, patched %v", result, w.patched)
	}
}

func TestATargetThatNobodyClaimsIsForgotten(t *testing.T) {
	w := newWorld(t)
	mistaken := asksFor(map[string]any{v1alpha1.CeilingsAnnotation: "many"})
	object := w.set(mistaken)
	w.refuses = errDown // so that there is no note to give back
	for range 2 {
		if _, err := w.Reconcile(t.Context(), object.ref()); err == nil {
			t.Fatal("want an error")
		}
	}
	w.set(asksFor(nil))
	w.look(object.ref())
	if _, ok := w.memories.Load(object.ref()); ok {
		t.Error("it is remembered")
	}
	if err := w.targets[scaledObject].Indexer().Delete(object); err != nil {
		t.Fatal(err)
	}
	w.look(object.ref()) // which is gone
}

func TestAGradualScaledJobIsChangedWhileItsJobsRun(t *testing.T) {
	w := newWorld(t)
	w.jobs = []batchv1.Job{{}}
	object := web(scaledJob, map[string]string{v1alpha1.PolicyAnnotation: "default"})
	w.has(t, object)
	w.look(object.ref())
	if len(w.patched) != 1 || !contains(w.patched[0], `"spec":{"maxReplicaCount":5}`) {
		t.Errorf("patched: %v", w.patched)
	}
}

func TestForecastsThatNoScalerNamesAreForgotten(t *testing.T) {
	w := newWorld(t)
	series := forecast.NewSeries([]forecast.Slot{{Start: w.clock.Now(), End: w.clock.Now().Add(time.Hour), Intensity: 1}})
	named := asking("shop", "a", 1, "f")
	w.has(t, named)
	w.remember(seriesKey{forecast.Source{Namespace: "shop", Name: "f", Key: "data"}, "X"}, series, w.clock.Now())
	w.remember(seriesKey{forecast.Source{Namespace: "shop", Name: "g", Key: "data"}, "X"}, series, w.clock.Now())
	w.look(targetOf(named))
	if len(w.seen) != 1 {
		t.Errorf("%d are remembered", len(w.seen))
	}
}

// TestTheOwnersNewMaximumIsNoRevert has a target whose owner has ended our pause and changed the
// maxReplicaCount in one go.
func TestTheOwnersNewMaximumIsNoRevert(t *testing.T) {
	d := scaled(map[string]any{"maxReplicaCount": int64(60)}, map[string]any{
		v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "0", v1alpha1.OriginalMaxReplicaCountAnnotation: "40",
		v1alpha1.AppliedMaxReplicaCountAnnotation: "40", v1alpha1.CeilingPausedWithAnnotation: bothPauses,
	})
	known := d.target(scaledObject)
	if s := known.standing(known.record()); !s.IsUndone || s.IsReverted || s.Original != "60" {
		t.Errorf("got %+v", s)
	}
}

func TestScalersOfOneTargetAreFollowedAsTheyCome(t *testing.T) {
	w, c := watchingWorld(t)
	c.define(t, scalerResource(), true)
	c.define(t, scaledObject.resource(), true)
	if err := w.watch(t.Context(), w.queue); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything is known", w.areKnown)
	w.scalersChanged.Store(false)
	s := asking("shop", "late", 1, "f")
	s.Spec.KedaTarget = carbonaware.TargetScaledObjects
	c.createScaler(t, s)
	eventually(t, "the forecast of the scaler is followed", func() bool {
		w.next()
		return len(w.followed) == 1 && w.followed[0].Name == "f"
	})
	changed := s.DeepCopy()
	changed.Spec.CarbonIntensityForecastDataSource.LocalConfigMap.Name = "g"
	if _, err := c.objects.Resource(scalerResource()).Namespace("shop").Update(t.Context(), &unstructured.Unstructured{Object: unstructuredScaler(t, changed)}, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other forecast is followed", func() bool {
		w.next()
		return len(w.followed) == 1 && w.followed[0].Name == "g"
	})
}

func TestAScaledJobSaysOnceWhatItWaitsFor(t *testing.T) {
	w := newWorld(t)
	w.jobs = []batchv1.Job{{}}
	object := w.set(asksFor(map[string]any{v1alpha1.PolicyAnnotation: "default"}).named(scaledJob, "web"))
	for range 3 {
		w.look(object.ref())
	}
	if len(w.patched) != 1 || len(w.events) != 1 || *w.objects["web"].max() != 40 {
		t.Errorf("patched %v, told %v", w.patched, w.events)
	}
}
