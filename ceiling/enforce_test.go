package ceiling

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/watching"
)

var errDown = errors.New("the API server is down")

// asksFor returns a ScaledObject with a maxReplicaCount of 40 that asks for a ceiling.
func asksFor(annotations map[string]any) document {
	return scaled(map[string]any{"maxReplicaCount": int64(40)}, annotations)
}

// with returns the document with another maxReplicaCount.
func (d document) with(maxReplicas int64) document {
	spec := map[string]any{}
	for key, value := range d["spec"].(map[string]any) {
		spec[key] = value
	}
	spec["maxReplicaCount"] = maxReplicas
	return document{"apiVersion": d["apiVersion"], "kind": d["kind"], "metadata": d["metadata"], "spec": spec}
}

// contains reports whether all parts are in a text.
func contains(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

func TestATugOfWarIsBackedOutOf(t *testing.T) {
	w := newWorld(t)
	object := w.set(asksFor(map[string]any{v1alpha1.PolicyAnnotation: "default"}))
	w.look(object.ref())
	pauses := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}
	for _, pause := range pauses {
		if got := w.objects["web"].max(); *got != 5 {
			t.Fatalf("the ceiling is not set: %d", *got)
		}
		w.set(w.objects["web"].with(40)) // as a GitOps tool does
		patched := len(w.patched)
		if result := w.look(object.ref()); result.RequeueAfter != pause || len(w.patched) != patched {
			t.Fatalf("looked at again after %v, want %v; %d patches", result.RequeueAfter, pause, len(w.patched)-patched)
		}
		w.look(object.ref()) // which tells nothing twice
		w.clock.SetTime(w.clock.Now().Add(pause))
		w.look(object.ref())
	}
	want := []string{EventChanged, EventReverted, EventChanged, EventReverted, EventChanged, EventReverted, EventChanged}
	if diff := cmp.Diff(want, w.events); diff != "" {
		t.Error("events: ", diff)
	}
	if told := w.told[1]; !contains(told, "back to what it was", "set again at 2026-11-22 12:00 UTC", "ignoreDifferences with managedFieldsManagers [gridlatch]", "[/spec/maxReplicaCount]") {
		t.Errorf("told: %s", told)
	}
	if got := testutil.ToFloat64(w.Metrics.reverts.WithLabelValues("ScaledObject")); got != 3 {
		t.Errorf("counted %v reverts", got)
	}
	if got := w.objects["web"].annotations()[v1alpha1.OriginalMaxReplicaCountAnnotation]; got != "40" {
		t.Errorf("the original is %s", got)
	}
}

func TestAMaximumThatTheOwnerChangesIsTheOneThatComesBack(t *testing.T) {
	w := newWorld(t)
	object := w.set(asksFor(map[string]any{v1alpha1.PolicyAnnotation: "default"}))
	w.look(object.ref())
	w.set(w.objects["web"].with(60))
	result := w.look(object.ref())
	if told := w.told[len(w.told)-1]; !contains(told, "changed maxReplicaCount to 60, which comes back", "take the annotation gridlatch.dev/policy away") {
		t.Errorf("told: %s", told)
	}
	w.clock.SetTime(w.clock.Now().Add(result.RequeueAfter))
	w.look(object.ref())
	if got := w.objects["web"]; *got.max() != 5 || got.annotations()[v1alpha1.OriginalMaxReplicaCountAnnotation] != "60" {
		t.Fatalf("got %v", got)
	}
	annotations := w.objects["web"]["metadata"].(map[string]any)["annotations"].(map[string]any)
	delete(annotations, v1alpha1.PolicyAnnotation)
	w.set(w.objects["web"])
	w.look(object.ref())
	if got := w.objects["web"]; *got.max() != 60 || len(got.annotations()) > 0 {
		t.Errorf("got %v", got)
	}
	if told := w.told[len(w.told)-1]; told != "there is no ceiling any more: maxReplicaCount is 60, as before" {
		t.Errorf("told: %s", told)
	}
}

func TestAPauseComesAndGoesByEvents(t *testing.T) {
	w := newWorld(t)
	object := w.set(asksFor(map[string]any{v1alpha1.CeilingsAnnotation: "200=20,*=0"}))
	w.look(object.ref())
	if got := w.objects["web"].annotations(); got[pausedReplicas] != "0" || *w.objects["web"].max() != 40 {
		t.Fatalf("got %v", w.objects["web"])
	}
	w.level.IsKnown, w.level.UnknownReason = false, "the forecast is over"
	w.levels.Forget(func(string, forecast.Source) bool { return true })
	w.look(object.ref())
	if got := w.objects["web"].annotations(); got[pausedReplicas] != "" || got[v1alpha1.ReasonAnnotation] != "no ceiling: there is no usable forecast; the forecast is over" {
		t.Errorf("got %v", w.objects["web"])
	}
	// the second change neither lowers nor raises a ceiling, and leaves the spec alone
	want := []string{"paused, because the ceiling is 0; the intensity is in the bucket >200 of gridlatch.dev/ceilings; 300 gCO2eq/kWh at 2026-11-22 12:00 UTC"}
	if diff := cmp.Diff(want, w.told); diff != "" {
		t.Error(diff)
	}
}

func TestWhatATargetAsksFor(t *testing.T) {
	notThere := apierrors.NewNotFound(schema.GroupResource{Resource: "carbonpolicies"}, "default")
	lent := map[string]any{v1alpha1.PolicyAnnotation: "default", v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "10", v1alpha1.OriginalMaxReplicaCountAnnotation: "70"}
	with := func(notes map[string]any, key, value string) map[string]any {
		all := map[string]any{key: value}
		for k, v := range notes {
			all[k] = v
		}
		return all
	}
	tests := []struct {
		name         string
		annotations  map[string]any
		refusesLevel error
		max          int32
		reason       string
		events       []string
	}{
		{"buckets of its own", map[string]any{v1alpha1.CeilingsAnnotation: "250=20,*=7"}, nil, 7, "in the bucket >250 of gridlatch.dev/ceilings", []string{EventChanged}},
		{"a policy of some name", map[string]any{v1alpha1.PolicyAnnotation: "other"}, nil, 5, "in the bucket >200 of CarbonPolicy other", []string{EventChanged}},
		{"buckets that cannot be read", with(lent, v1alpha1.CeilingsAnnotation, "many"), nil, 70, `no ceiling: gridlatch.dev/ceilings: "many"`, []string{EventInvalid, EventChanged}},
		{"a policy that does not exist", lent, notThere, 70, "no ceiling: CarbonPolicy default does not exist", []string{EventInvalid, EventChanged}},
		{"a policy with a name that cannot be one", with(map[string]any{}, v1alpha1.PolicyAnnotation, strings.Repeat("x", 400)), notThere, 40, strings.Repeat("x", maxNameBytes) + "… does not exist", []string{EventInvalid}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.refusesLevel = tt.refusesLevel
			object := w.set(asksFor(tt.annotations))
			if object.record() != nil {
				object = w.set(w.objects["web"].with(10))
			}
			w.look(object.ref())
			if got := w.objects["web"]; *got.max() != tt.max || !contains(got.annotations()[v1alpha1.ReasonAnnotation], tt.reason) {
				t.Errorf("got %v", got)
			}
			if diff := cmp.Diff(tt.events, w.events); diff != "" {
				t.Error("events: ", diff)
			}
			patched := len(w.patched)
			w.look(object.ref())
			if len(w.patched) != patched {
				t.Errorf("a second look changes it again: %v", w.patched[patched:])
			}
		})
	}
}

// TestAForecastIsWaitedForAfterAStart has a target with a ceiling, and a forecast that is not
// there, as during a refresh of the exporter.
func TestAForecastIsWaitedForAfterAStart(t *testing.T) {
	w := newWorld(t)
	w.started, w.level.IsKnown = w.clock.Now(), false
	object := w.set(asksFor(map[string]any{v1alpha1.PolicyAnnotation: "default", v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "40", v1alpha1.OriginalMaxReplicaCountAnnotation: "70"}))
	w.Store = &forecast.Store{} // nobody has looked for the forecast
	if result := w.look(object.ref()); result.RequeueAfter != startGrace || len(w.patched) > 0 {
		t.Fatalf("before the forecast was looked for: %v, %v", result, w.patched)
	}
	w.Store.Fail(carbonIntensity, errDown)
	if result := w.look(object.ref()); result.RequeueAfter != startGrace || len(w.patched) > 0 {
		t.Fatalf("when there is none: %v, %v", result, w.patched)
	}
	w.clock.SetTime(w.clock.Now().Add(startGrace))
	w.look(object.ref())
	if got := w.objects["web"]; *got.max() != 70 {
		t.Errorf("after a while: %v", got)
	}
}

func TestWhatFailsIsTriedAgain(t *testing.T) {
	job := web(scaledJob, map[string]string{v1alpha1.PolicyAnnotation: "default"})
	job.killsJobs = true
	tests := []struct {
		name   string
		target *target
		scaler *carbonaware.CarbonAwareKedaScaler
		fails  func(*world)
		want   string
	}{
		{"the forecasts cannot be followed", web(scaledObject, nil), nil, func(w *world) { w.refusesToFollow = errDown }, ""},
		{"the policy cannot be read", web(scaledObject, map[string]string{v1alpha1.PolicyAnnotation: "default"}), nil, func(w *world) { w.refusesLevel = errDown }, ""},
		{"the Jobs cannot be read", job, nil, func(w *world) { w.refusesJobs = errDown }, "list the Jobs of ScaledJob shop/web"},
		{"the status cannot be written", web(scaledObject, nil), scaler("shop", "a", 1), func(w *world) { w.refusesStatus = errDown }, "patch status of CarbonAwareKedaScaler/shop/a"},
		{"the target cannot be written", web(scaledObject, nil), scaler("shop", "a", 1), func(w *world) { w.refuses = errDown }, "patch ScaledObject shop/web"},
		{"a scaler that is not allowed cannot be told", web(scaledObject, nil), scaler("other", "a", 1), func(w *world) { w.refusesStatus = errDown }, "patch status"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.has(t, tt.target)
			if tt.scaler != nil {
				w.has(t, tt.scaler)
			}
			tt.fails(w)
			for range 2 { // nothing is forgotten by the first attempt
				if _, err := w.Reconcile(t.Context(), tt.target.ref()); !errors.Is(err, errDown) || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("got %v", err)
				}
			}
			w.refuses, w.refusesStatus, w.refusesJobs, w.refusesToFollow, w.refusesLevel = nil, nil, nil, nil, nil
			w.look(tt.target.ref())
		})
	}
}

func TestAScalerThatHasGoneNeedsNoStatus(t *testing.T) {
	w := newWorld(t)
	w.refusesStatus = apierrors.NewNotFound(schema.GroupResource{Resource: "carbonawarekedascalers"}, "a")
	w.has(t, web(scaledObject, nil), scaler("shop", "a", 1))
	w.look(web(scaledObject, nil).ref())
	if len(w.patched) != 1 {
		t.Errorf("patched: %v", w.patched)
	}
}

// TestTheStatusOfAScaler tells why there is no ceiling, or which.
func TestTheStatusOfAScaler(t *testing.T) {
	reverted := asksFor(map[string]any{v1alpha1.CeilingByAnnotation: "CarbonAwareKedaScaler/shop/a", v1alpha1.CeilingAnnotation: "10", v1alpha1.OriginalMaxReplicaCountAnnotation: "40"})
	off := asksFor(map[string]any{v1alpha1.CeilingReleasedAnnotation: "2026-11-22T12:30:00Z"})
	lowered := asksFor(map[string]any{v1alpha1.CeilingByAnnotation: "CarbonAwareKedaScaler/shop/a", v1alpha1.CeilingAnnotation: "40", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.CeilingLoweredAnnotation: "2026-11-22T11:59:00Z"})
	job := scaled(map[string]any{"maxReplicaCount": int64(40)}, nil)
	job["kind"] = "ScaledJob"
	jobs := func(s *carbonaware.CarbonAwareKedaScaler) { s.Spec.KedaTarget = carbonaware.TargetScaledJobs }
	tests := []struct {
		name    string
		object  document // nil if the target does not exist
		scaler  func(*carbonaware.CarbonAwareKedaScaler)
		world   func(*world)
		reason  string
		message string
		rule    string // the reason in full
		max     *int32
	}{
		{"a ceiling", asksFor(nil), nil, nil, carbonaware.ReasonSucceeded, "eco mode is enabled", "in the bucket >504 of CarbonAwareKedaScaler/shop/a", ptr.To[int32](10)},
		{"one bucket for all", asksFor(nil), func(s *carbonaware.CarbonAwareKedaScaler) {
			s.Spec.MaxReplicasByCarbonIntensity = []carbonaware.CarbonIntensityConfig{{CarbonIntensityThreshold: 1, MaxReplicas: 10}}
		}, nil, carbonaware.ReasonSucceeded, "eco mode is enabled", "the only bucket of CarbonAwareKedaScaler/shop/a", ptr.To[int32](10)},
		{"somebody undoes the ceiling", reverted, nil, nil, carbonaware.ReasonTargetReverted, "ignoreDifferences", "ignoreDifferences", nil},
		{"the ceiling is off by hand", off, nil, nil, carbonaware.ReasonTargetReleased, "taken off by hand, and is set again at 2026-11-22 12:30 UTC", "by hand", nil},
		{"the ceiling was lowered a short time ago", lowered, nil, func(w *world) {
			w.Options.LowerInterval = 5 * time.Minute
			w.memory(ref{scaledObject, "shop", "web"}).followsIntensity = true
		}, carbonaware.ReasonSucceeded, "", "lowered again at 2026-11-22 12:04 UTC: the intensity is in", ptr.To[int32](40)},
		{"Jobs run", job, jobs, func(w *world) { w.jobs = []batchv1.Job{{}} }, carbonaware.ReasonWaitingForJobs, "maxReplicaCount stays 40: KEDA would delete the running Jobs", "maxReplicaCount stays 40", nil},
		{"no Job runs", job, jobs, nil, carbonaware.ReasonSucceeded, "operator successfully reconciling", ">504", ptr.To[int32](10)},
		{"a schedule", asksFor(nil), func(s *carbonaware.CarbonAwareKedaScaler) {
			s.Spec.EcoModeOff.RecurringSchedule = []string{"* * * * *"}
		}, nil, carbonaware.ReasonEcoModeDisabled, "eco mode is disabled", `eco mode is off: recurring schedule "* * * * *"`, ptr.To[int32](100)},
		{"a schedule that cannot be read", asksFor(nil), func(s *carbonaware.CarbonAwareKedaScaler) { s.Spec.EcoModeOff.RecurringSchedule = []string{"* *"} },
			nil, carbonaware.ReasonEcoModeDisabledError, "unable to parse eco mode off configs: spec.ecoModeOff.recurringSchedule[0]", "cannot be read", ptr.To[int32](100)},
		{"no source", asksFor(nil), func(s *carbonaware.CarbonAwareKedaScaler) {
			s.Spec.CarbonIntensityForecastDataSource = carbonaware.CarbonIntensityForecastDataSource{}
		}, nil, carbonaware.ReasonCarbonDataFetchError, "want mockCarbonForecast or localConfigMap", "unable to find current carbon forecast", ptr.To[int32](100)},
		{"a source whose name cannot be one", asksFor(nil), func(s *carbonaware.CarbonAwareKedaScaler) {
			s.Spec.CarbonIntensityForecastDataSource = carbonaware.CarbonIntensityForecastDataSource{LocalConfigMap: &carbonaware.LocalConfigMap{Namespace: "shop", Name: "../x", Key: "data"}}
		}, nil, carbonaware.ReasonCarbonDataFetchError, "localConfigMap.name", "unable to find", ptr.To[int32](100)},
		{"a source whose key cannot be one", asksFor(nil), func(s *carbonaware.CarbonAwareKedaScaler) {
			s.Spec.CarbonIntensityForecastDataSource = carbonaware.CarbonIntensityForecastDataSource{LocalConfigMap: &carbonaware.LocalConfigMap{Namespace: "shop", Name: "x", Key: "a/b"}}
		}, nil, carbonaware.ReasonCarbonDataFetchError, "localConfigMap.key", "unable to find", ptr.To[int32](100)},
		{"no target", nil, nil, nil, carbonaware.ReasonTargetNotFound, "unable to find scaledobject: ScaledObject shop/web does not exist", "does not exist", nil},
		{"no target of the other kind", nil, jobs, nil, carbonaware.ReasonTargetNotFound, "unable to get scaledjob: ScaledJob shop/web does not exist", "does not exist", nil},
		{"no KEDA", nil, nil, func(w *world) { w.targets[scaledObject] = watching.Absent() }, carbonaware.ReasonTargetNotFound, "unable to find scaledobject: KEDA is not installed", "KEDA is not installed", nil},
		{"a target of no kind", nil, func(s *carbonaware.CarbonAwareKedaScaler) { s.Spec.KedaTarget = "deployments.apps" }, nil, carbonaware.ReasonTargetNotFound, "the spec names no target", "names no target", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			s := scaler("shop", "a", 1)
			if tt.scaler != nil {
				tt.scaler(s)
			}
			w.has(t, s)
			if tt.object != nil {
				w.set(tt.object)
			}
			if tt.world != nil {
				tt.world(w)
			}
			w.look(targetOf(s))
			got := w.statuses["shop/a"]
			if w.reason("shop/a") != tt.reason || !contains(got.Conditions[0].Message, tt.message) {
				t.Errorf("condition: %+v", got.Conditions)
			}
			if !contains(got.Reason, tt.rule) {
				t.Errorf("reason: %s, want %s", got.Reason, tt.rule)
			}
			if isSuccess := tt.reason == carbonaware.ReasonSucceeded; (got.Conditions[0].Status == "False") != isSuccess {
				t.Errorf("degraded: %s", got.Conditions[0].Status)
			}
			if diff := cmp.Diff(tt.max, got.MaxReplicas); diff != "" {
				t.Error("maxReplicas: ", diff)
			}
		})
	}
}
