package nodepool

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
)

type limits = map[string]any

func TestLimitsFollowTheGridAndComeBack(t *testing.T) {
	w := newWorld(t)
	own := limits{"cpu": int64(500), "nodes": "7"}
	w.has(nodePool("batch", asking(nil), map[string]any{"limits": own}))
	for _, step := range []struct {
		intensity float64
		want      any
	}{{300, "200"}, {500, "0"}, {100, int64(500)}} { // a limit is never above the owner's
		w.turnTo("DE", step.intensity)
		w.later(time.Hour)
		w.look("batch")
		if diff := cmp.Diff(limits{"cpu": step.want, "nodes": "7"}, w.spec("batch", "limits")); diff != "" {
			t.Errorf("at %v: %s", step.intensity, diff)
		}
	}
	w.turnTo("DE", 300)
	w.look("batch")
	w.owner("batch", func(o *unstructured.Unstructured) {
		annotations := o.GetAnnotations()
		delete(annotations, v1alpha1.LimitsAnnotation)
		o.SetAnnotations(annotations)
	})
	w.look("batch")
	if diff := cmp.Diff(limits{"cpu": int64(500), "nodes": "7"}, w.spec("batch", "limits")); diff != "" || len(w.get("batch").GetAnnotations()) > 0 {
		t.Errorf("afterwards: %s%v", diff, w.get("batch").GetAnnotations())
	}
}

func TestNoEmptyLimitsStayBehind(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", asking(nil), map[string]any{"weight": int64(5)}))
	w.look("batch")
	if diff := cmp.Diff(limits{"cpu": "200"}, w.spec("batch", "limits")); diff != "" {
		t.Fatal(diff)
	}
	w.change("DE", func(l *plan.Level) { l.IsExempt = true })
	w.look("batch")
	if diff := cmp.Diff(map[string]any{"weight": int64(5)}, w.get("batch").Object["spec"]); diff != "" {
		t.Error(diff)
	}
}

func TestALimitThatTheOwnerAddsBesideOursStays(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", asking(nil), nil))
	w.look("batch")
	w.owner("batch", func(o *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(o.Object, "1Ti", "spec", "limits", "memory")
	})
	w.look("batch")
	w.change("DE", func(l *plan.Level) { l.IsExempt = true })
	w.look("batch")
	if diff := cmp.Diff(limits{"memory": "1Ti"}, w.spec("batch", "limits")); diff != "" {
		t.Error(diff)
	}
}

func TestWhatTheOwnerWritesLastIsTheOriginal(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", asking(nil), map[string]any{"limits": limits{"cpu": "500"}}))
	w.look("batch")
	write := func(cpu string) {
		w.owner("batch", func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(o.Object, cpu, "spec", "limits", "cpu")
		})
	}
	write("800")
	if again := w.look("batch"); again != time.Second {
		t.Errorf("it is looked at again in %v", again)
	}
	w.later(time.Second)
	w.look("batch")
	if got := w.spec("batch", "limits"); !cmp.Equal(got, limits{"cpu": "200"}) {
		t.Errorf("limits %v", got)
	}
	w.turnTo("DE", 100)
	w.look("batch")
	if got := w.spec("batch", "limits"); !cmp.Equal(got, limits{"cpu": "800"}) {
		t.Errorf("limits %v", got)
	}
	write("50") // lower than any bucket
	for range 2 {
		w.look("batch")
		w.later(time.Minute)
	}
	if got := w.spec("batch", "limits"); !cmp.Equal(got, limits{"cpu": "50"}) {
		t.Errorf("limits %v", got)
	}
}

func TestATugOfWarWithGitIsBackedOutOf(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", asking(nil), map[string]any{"limits": limits{"cpu": "500"}}))
	w.look("batch")
	w.events = nil
	for _, pause := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		w.owner("batch", func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(o.Object, "500", "spec", "limits", "cpu")
		})
		if again := w.look("batch"); again != pause {
			t.Fatalf("it is set again in %v, want %v", again, pause)
		}
		w.later(pause)
		w.look("batch")
		if got := w.spec("batch", "limits"); !cmp.Equal(got, limits{"cpu": "200"}) {
			t.Fatalf("limits %v", got)
		}
	}
	if w.events[0] != EventReverted || !strings.Contains(w.told[1], "ignoreDifferences") {
		t.Errorf("events %v: %v", w.events, w.told)
	}
	if got := w.note("batch", v1alpha1.OriginalLimitsAnnotation); got != `{"cpu":"500"}` {
		t.Errorf("the original is %s", got)
	}
}

func TestLimitsAreNotLoweredAgainBeforeTheIntervalIsOver(t *testing.T) {
	w := newWorld(t)
	w.turnTo("DE", 100)
	w.has(nodePool("batch", asking(nil), nil))
	w.look("batch")
	for _, step := range []struct {
		intensity float64
		cpu       string
		after     time.Duration // goes by before
		again     time.Duration
	}{
		{300, "200", 0, 0},
		{500, "200", 10 * time.Minute, 20 * time.Minute}, // lowered ten minutes ago
		{500, "0", 20 * time.Minute, 0},
		{345, "0", 0, 0},   // not clean enough to be sure
		{340, "200", 0, 0}, // raised at once
		{199, "200", 0, 0},
		{195, "1000", 0, 0},
		{300, "1000", 29 * time.Minute, time.Minute},
	} {
		w.later(step.after)
		w.turnTo("DE", step.intensity)
		again := w.look("batch")
		if got := w.spec("batch", "limits"); !cmp.Equal(got, limits{"cpu": step.cpu}) || again != step.again {
			t.Errorf("at %v: limits %v, looked at again in %v", step.intensity, got, again)
		}
	}
}

func TestTheOwnersLimitsComeBackWhileTheIntensityDoesNotCount(t *testing.T) {
	for name, tt := range map[string]struct {
		with   func(*plan.Level)
		reason string
	}{
		"an exemption":  {func(l *plan.Level) { l.IsExempt = true }, "no limits: carbon does not count"},
		"no forecast":   {func(l *plan.Level) { l.IsKnown = false }, "no limits: there is no usable forecast"},
		"the mode":      {func(l *plan.Level) { l.IsAudited = true }, "no limits: the policy has the mode Audit; they would be cpu 200: 300 gCO2eq/kWh"},
		"no location":   {func(l *plan.Level) { l.HasNoLocation, l.UnknownReason = true, "no location moon" }, "no limits: no location moon"},
		"it does count": {func(*plan.Level) {}, "the intensity at DE is in the bucket <=350 of gridlatch.dev/limits; 300 gCO2eq/kWh at 2026-11-27 12:00 UTC"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.has(nodePool("batch", asking(nil), map[string]any{"limits": limits{"cpu": "500"}}))
			w.look("batch")
			w.change("DE", tt.with)
			w.look("batch")
			want := "500"
			if name == "it does count" {
				want = "200"
			}
			if got := w.spec("batch", "limits"); !cmp.Equal(got, limits{"cpu": want}) {
				t.Errorf("limits %v", got)
			}
			if reason := w.note("batch", v1alpha1.ReasonAnnotation); !strings.HasPrefix(reason, tt.reason) {
				t.Errorf("reason %q", reason)
			}
		})
	}
}

func TestAForecastThatNobodyHasLookedForChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", asking(nil), nil))
	w.look("batch")
	w.patched = nil
	w.Store = &forecast.Store{}
	w.change("DE", func(l *plan.Level) { l.IsKnown = false })
	if again := w.look("batch"); again != time.Second || len(w.patched) > 0 {
		t.Errorf("looked at again in %v, patched %v", again, w.patched)
	}
}

func TestALookAtWhatIsAsItShouldBeWritesNothing(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", asking(map[string]string{v1alpha1.WeightsAnnotation: "200=90,350=50,*=10"}), nil))
	w.look("batch")
	w.patched, w.events = nil, nil
	for _, intensity := range []float64{300, 310, 290, 340, 205} {
		w.later(time.Hour)
		w.turnTo("DE", intensity)
		w.look("batch")
	}
	if len(w.patched) > 0 || len(w.events) > 0 {
		t.Errorf("patched %v, told %v", w.patched, w.events)
	}
}

func TestMistakesAreTold(t *testing.T) {
	for name, tt := range map[string]struct {
		annotations map[string]string
		spec        map[string]any
		want        string
	}{
		"limits":                {map[string]string{v1alpha1.LimitsAnnotation: "many"}, nil, `gridlatch.dev/limits: "many": buckets[0]`},
		"no policy":             {asking(map[string]string{v1alpha1.PolicyAnnotation: "gone"}), nil, "CarbonPolicy gone does not exist"},
		"no location":           {asking(map[string]string{v1alpha1.LocationAnnotation: "moon"}), nil, "no location moon"},
		"several locations":     {asking(nil), in("DE", "SE"), "its nodes are not all at one location of the policy: want the annotation gridlatch.dev/location"},
		"a static pool's limit": {asking(nil), map[string]any{"replicas": int64(3)}, "a pool with replicas can limit its nodes only"},
		"a static pool's weight": {map[string]string{v1alpha1.WeightsAnnotation: "auto"}, map[string]any{"replicas": int64(3)},
			"a pool with replicas has no weight"},
		"weights":      {map[string]string{v1alpha1.WeightsAnnotation: "200=101,*=1"}, nil, "want auto, or a weight from 1 to 100"},
		"power factor": {asking(map[string]string{v1alpha1.PowerFactorKey: "cold"}), nil, `gridlatch.dev/power-factor: "cold"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.has(nodePool("batch", tt.annotations, tt.spec))
			w.look("batch", "batch")
			if len(w.told) == 0 || w.events[0] != EventInvalid || !strings.Contains(w.told[0], tt.want) {
				t.Errorf("told %v %q", w.events, w.told)
			}
			if name != "power factor" && (w.spec("batch", "limits") != nil || w.spec("batch", "weight") != nil) {
				t.Error("the pool was changed")
			}
		})
	}
}

func TestAPatchThatFailsIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", asking(nil), nil))
	w.refuses = errDown
	for range 2 {
		if _, err := w.Reconcile(t.Context(), "batch"); err == nil {
			t.Fatal("want an error")
		}
	}
	if diff := cmp.Diff([]string{EventFailed}, w.events); diff != "" {
		t.Error(diff)
	}
	w.refuses, w.refusesLevel = nil, errDown
	w.turnTo("DE", 100)
	if _, err := w.Reconcile(t.Context(), "batch"); err == nil {
		t.Error("want an error")
	}
}

func TestAPoolThatHasChangedMeanwhileIsDecidedOnAgain(t *testing.T) {
	w := newWorld(t)
	w.has(nodePool("batch", asking(nil), nil))
	stale := w.get("batch")
	w.owner("batch", func(o *unstructured.Unstructured) { o.SetLabels(map[string]string{"a": "b"}) })
	if err := w.pools.Fill(newPool(stale)); err != nil {
		t.Fatal(err)
	}
	result, err := w.Reconcile(t.Context(), "batch")
	if err != nil || result.RequeueAfter != conflictRetry || w.spec("batch", "limits") != nil {
		t.Errorf("got %v, %v", result, err)
	}
}

func TestBucketsOfLimitsAreRead(t *testing.T) {
	for text, want := range map[string][]amounts{ // by rank; nil is a mistake
		"200=cpu:1000,*=cpu:0":                               {{"cpu": "0"}, {"cpu": "1000"}},
		" 200 = cpu : 1 ; memory:1Ti , 350=memory:2Gi;cpu:0": {{"cpu": "0", "memory": "2Gi"}, {"cpu": "1", "memory": "1Ti"}},
		"*=nvidia.com/gpu:4":                                 {{"nvidia.com/gpu": "4"}},
		"":                                                   nil,
		"cpu:1000":                                           nil,
		"200=cpu:1000,100=cpu:1":                             nil,
		"*=cpu:1,200=cpu:0":                                  nil,
		"200=cpu:1,*=memory:1":                               nil,
		"200=cpu:1;cpu:2":                                    nil,
		"200=cpu:-1":                                         nil,
		"200=cpu:many":                                       nil,
		"200=:1":                                             nil,
		"NaN=cpu:1":                                          nil,
		"200=cpu:1e999999999":                                nil,
		"200=\x00:1":                                         nil,
		strings.Repeat("1=cpu:1,", 200):                      nil,
		"200=" + strings.Repeat("a:1;", 30) + "b:1": nil,
	} {
		s, err := parseLimits(text)
		if want == nil {
			if err == nil {
				t.Errorf("%.80q: want an error", text)
			}
			continue
		}
		if diff := cmp.Diff(want, s.values); diff != "" || err != nil {
			t.Errorf("%q: %s%v", text, diff, err)
		}
	}
}

func FuzzLimits(f *testing.F) {
	for _, text := range []string{"200=cpu:1000,350=cpu:200;memory:1Ti,*=cpu:0", `{"cpu":"1","memory":null}`, "1e9", `"5"`} {
		f.Add(text, 300.0)
	}
	f.Fuzz(func(t *testing.T, text string, intensity float64) {
		if s, err := parseLimits(text); err == nil {
			for name, amount := range s.values[s.rank(intensity)] {
				if got := lower(override.Unset, amount); got == override.Unset {
					t.Errorf("%s: nothing of %q", name, amount)
				}
			}
		}
		notes := readLimits(text)
		if diff := cmp.Diff(notes, readLimits(printLimits(notes))); notes != nil && diff != "" {
			t.Error(diff)
		}
		if lower(override.Value(text), "5") == override.Unset {
			t.Error("no limit")
		}
	})
}

func FuzzPool(f *testing.F) {
	f.Add(`{"metadata":{"name":"a","annotations":{"gridlatch.dev/limits":"200=cpu:1,*=cpu:0","gridlatch.dev/original-limits":"{\"cpu\":5}"}},"spec":{"limits":{"cpu":"5"},"weight":3}}`, 300.0)
	f.Add(`{"metadata":{"annotations":{"gridlatch.dev/weights":"auto"}},"spec":{"limits":3,"weight":"x","template":{"spec":{"requirements":[{"key":1},7]}}}}`, -1.0)
	f.Add(`{"metadata":{"managedFields":[{"manager":"gridlatch","fieldsV1":{}}],"annotations":{"gridlatch.dev/original-weight":"unset"}},"spec":{"replicas":1}}`, 1e300)
	f.Fuzz(func(_ *testing.T, text string, intensity float64) {
		o := &unstructured.Unstructured{}
		if json.Unmarshal([]byte(text), &o.Object) != nil || o.Object == nil {
			return
		}
		p := newPool(o)
		v := verdict{weight: weightVerdict{weight: 5, cautious: 4}}
		if !p.limits.isEmpty() {
			v.limits = limitsVerdict{isOn: true, rank: p.limits.rank(intensity), cautious: p.limits.rank(intensity * 2)}
		}
		p.settle(v, time.Minute, time.Unix(0, 0))
		p.restore()
		p.lent()
	})
}
