package ceiling

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/watching"
)

func TestOneTargetHasOneCeiling(t *testing.T) {
	native := map[string]string{v1alpha1.PolicyAnnotation: "default"}
	tests := []struct {
		name    string
		target  *target
		scalers []*carbonaware.CarbonAwareKedaScaler
		cross   []string
		by      string
		reasons map[string]string
		events  []string
	}{
		{
			name: "the older scaler", target: web(scaledObject, nil),
			scalers: []*carbonaware.CarbonAwareKedaScaler{scaler("shop", "b", 3000), scaler("shop", "a", 4000)},
			by:      "CarbonAwareKedaScaler/shop/b",
			reasons: map[string]string{"shop/b": carbonaware.ReasonSucceeded, "shop/a": carbonaware.ReasonTargetClaimed},
			events:  []string{EventChanged, "CarbonForecastSource", "MaxReplicaCountReconciled"},
		},
		{
			name: "the one in force before an older one", target: web(scaledObject, map[string]string{v1alpha1.CeilingByAnnotation: "CarbonAwareKedaScaler/shop/a"}),
			scalers: []*carbonaware.CarbonAwareKedaScaler{scaler("shop", "b", 3000), scaler("shop", "a", 4000)},
			by:      "CarbonAwareKedaScaler/shop/a",
			reasons: map[string]string{"shop/a": carbonaware.ReasonSucceeded, "shop/b": carbonaware.ReasonTargetClaimed},
			events:  []string{EventChanged, "CarbonForecastSource", "MaxReplicaCountReconciled"},
		},
		{
			name: "the annotations, which are as old as the object", target: web(scaledObject, native),
			scalers: []*carbonaware.CarbonAwareKedaScaler{scaler("shop", "b", 3000)},
			by:      byPolicy, reasons: map[string]string{"shop/b": carbonaware.ReasonTargetClaimed}, events: []string{EventChanged},
		},
		{
			name: "but not before a scaler in force", target: web(scaledObject, map[string]string{v1alpha1.PolicyAnnotation: "default", v1alpha1.CeilingByAnnotation: "CarbonAwareKedaScaler/shop/b"}),
			scalers: []*carbonaware.CarbonAwareKedaScaler{scaler("shop", "b", 3000)},
			by:      "CarbonAwareKedaScaler/shop/b", reasons: map[string]string{"shop/b": carbonaware.ReasonSucceeded},
			events: []string{EventRefused, EventChanged, "CarbonForecastSource", "MaxReplicaCountReconciled"},
		},
		{
			name: "none from another namespace", target: web(scaledObject, nil),
			scalers: []*carbonaware.CarbonAwareKedaScaler{scaler("other", "b", 3000)},
			reasons: map[string]string{"other/b": carbonaware.ReasonTargetForbidden},
		},
		{
			name: "unless that is allowed", target: web(scaledObject, nil), cross: []string{"other"},
			scalers: []*carbonaware.CarbonAwareKedaScaler{scaler("other", "b", 3000)},
			by:      "CarbonAwareKedaScaler/other/b", reasons: map[string]string{"other/b": carbonaware.ReasonSucceeded},
			events: []string{EventChanged, "CarbonForecastSource", "MaxReplicaCountReconciled"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.Options.CrossNamespace = tt.cross
			w.has(t, tt.target)
			for _, s := range tt.scalers {
				w.has(t, s)
			}
			if _, err := w.Reconcile(t.Context(), tt.target.ref()); err != nil {
				t.Fatal(err)
			}
			reasons := map[string]string{}
			for name := range w.statuses {
				reasons[name] = w.reason(name)
			}
			if diff := cmp.Diff(tt.reasons, reasons); diff != "" {
				t.Error("conditions: ", diff)
			}
			if diff := cmp.Diff(tt.events, w.events); diff != "" {
				t.Error("events: ", diff)
			}
			if tt.by == "" && len(w.patched) > 0 || tt.by != "" && (len(w.patched) != 1 || !strings.Contains(w.patched[0], `"spec":{"maxReplicaCount"`)) {
				t.Errorf("patched: %v", w.patched)
			}
		})
	}
}

func TestCeilingOfAScalerThatHasGoneGoes(t *testing.T) {
	w := newWorld(t)
	gone := web(scaledObject, map[string]string{v1alpha1.CeilingByAnnotation: "CarbonAwareKedaScaler/shop/a", v1alpha1.CeilingAnnotation: "40", v1alpha1.OriginalMaxReplicaCountAnnotation: v1alpha1.MaxReplicaCountUnset, v1alpha1.ReasonAnnotation: "x"})
	w.has(t, gone)
	known := w.scalers
	w.scalers = &watching.Resource{}
	if _, err := w.Reconcile(t.Context(), gone.ref()); err != nil || len(w.patched) > 0 {
		t.Fatalf("before the scalers are known: %v, %v", w.patched, err)
	}
	w.scalers = known
	if _, err := w.Reconcile(t.Context(), gone.ref()); err != nil {
		t.Fatal(err)
	}
	if len(w.patched) != 1 || !strings.Contains(w.patched[0], `"spec":{"maxReplicaCount":null}`) || !strings.Contains(w.patched[0], `"resourceVersion":"7"`) {
		t.Errorf("patched: %v", w.patched)
	}
}

func TestPatchesThatFail(t *testing.T) {
	resource := schema.GroupResource{Group: "keda.sh", Resource: "scaledobjects"}
	tests := []struct {
		name   string
		answer error
		fails  bool
		reason string
	}{
		{"refused by KEDA's webhook", apierrors.NewForbidden(resource, "web", context.Canceled), true, carbonaware.ReasonTargetUpdateFailed},
		{"deleted meanwhile", apierrors.NewNotFound(resource, "web"), false, ""},
		{"changed meanwhile", apierrors.NewConflict(resource, "web", context.Canceled), false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.refuses = tt.answer
			object := web(scaledObject, nil)
			w.has(t, object, scaler("shop", "a", 3000))
			for range 3 {
				if _, err := w.Reconcile(t.Context(), object.ref()); (err != nil) != tt.fails {
					t.Fatalf("got error %v", err)
				}
			}
			if got := w.reason("shop/a"); got != tt.reason {
				t.Errorf("got the reason %q, want %q", got, tt.reason)
			}
			told := 0
			for _, reason := range w.events {
				if reason == EventFailed {
					told++
				}
			}
			if told != map[bool]int{true: 1}[tt.fails] {
				t.Errorf("told %d times: %v", told, w.events)
			}
		})
	}
}

func TestRunningJobsAreNotKilled(t *testing.T) {
	w := newWorld(t)
	object := web(scaledJob, map[string]string{v1alpha1.PolicyAnnotation: "default"})
	object.killsJobs = true
	w.has(t, object)
	w.jobs = []batchv1.Job{{}, {Status: batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: "True"}}}}}
	result, err := w.Reconcile(t.Context(), object.ref())
	if err != nil || result.RequeueAfter != jobsInterval {
		t.Fatalf("got %v, %v", result, err)
	}
	if len(w.patched) != 1 || strings.Contains(w.patched[0], `"spec":`) || !strings.Contains(w.patched[0], "rollout.strategy") {
		t.Errorf("while a Job runs: %v", w.patched)
	}
	w.jobs = w.jobs[1:]
	if _, err := w.Reconcile(t.Context(), object.ref()); err != nil || len(w.patched) != 2 || !strings.Contains(w.patched[1], `"spec":{"maxReplicaCount":5}`) {
		t.Errorf("when none runs: %v, %v", w.patched, err)
	}
	if diff := cmp.Diff([]string{EventWaits, EventChanged}, w.events); diff != "" {
		t.Error("events: ", diff)
	}
}

func TestCeilingTakenOffByHandStaysOffForAWhile(t *testing.T) {
	w := newWorld(t)
	object := web(scaledObject, map[string]string{v1alpha1.PolicyAnnotation: "default", v1alpha1.CeilingReleasedAnnotation: "2026-11-22T12:30:00Z"})
	w.has(t, object)
	result, err := w.Reconcile(t.Context(), object.ref())
	if err != nil || len(w.patched) > 0 || result.RequeueAfter != 30*time.Minute {
		t.Fatalf("until then: %v, %v, %v", w.patched, result, err)
	}
	w.clock.SetTime(w.clock.Now().Add(result.RequeueAfter))
	if _, err := w.Reconcile(t.Context(), object.ref()); err != nil || len(w.patched) != 1 || !strings.Contains(w.patched[0], `"gridlatch.dev/ceiling-released":null`) {
		t.Errorf("from then on: %v, %v", w.patched, err)
	}
}

func TestOnlyForecastsThatAScalerNamesAreFollowed(t *testing.T) {
	w := newWorld(t)
	one, other, bad := scaler("shop", "a", 1), scaler("shop", "b", 2), scaler("shop", "c", 3)
	one.Spec.CarbonIntensityForecastDataSource = carbonaware.CarbonIntensityForecastDataSource{
		LocalConfigMap: &carbonaware.LocalConfigMap{Namespace: "kube-system", Name: "carbon-intensity", Key: "data"},
	}
	bad.Spec.CarbonIntensityForecastDataSource = carbonaware.CarbonIntensityForecastDataSource{
		LocalConfigMap: &carbonaware.LocalConfigMap{Namespace: "kube-system/secrets", Name: "../x", Key: "data"},
	}
	w.has(t, one, other, bad)
	if _, err := w.Reconcile(t.Context(), targetOf(one)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]forecast.Source{carbonIntensity}, w.followed); diff != "" {
		t.Error(diff)
	}
	// the forecast has been looked for, and there is none
	if got := w.statuses["shop/a"]; w.reason("shop/a") != carbonaware.ReasonTargetNotFound || got.MaxReplicas != nil {
		t.Errorf("got %+v", got)
	}
}

func TestWhatWasGivenBackIsGivenUp(t *testing.T) {
	ours := metav1.ManagedFieldsEntry{Manager: override.Manager, FieldsV1: metav1.NewFieldsV1(ownsMax)}
	others := metav1.ManagedFieldsEntry{Manager: "kubectl-create", FieldsV1: metav1.NewFieldsV1(ownsOther)}
	tests := []struct {
		name        string
		annotations map[string]string
		live        string // its resourceVersion
		answer      error
		patches     int
	}{
		{"nobody claims it", nil, "7", nil, 1},
		{"the ceiling is what the owner has", map[string]string{v1alpha1.PolicyAnnotation: "default", v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "40", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.ReasonAnnotation: "the intensity is in the bucket <=200 of CarbonPolicy default"}, "7", nil, 1},
		{"it is not as it was known", nil, "8", nil, 0},
		{"it changes just now", nil, "7", apierrors.NewConflict(schema.GroupResource{}, "web", nil), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			buckets, err := plan.ParseBuckets("200=60,*=5")
			if err != nil {
				t.Fatal(err)
			}
			w.level.Buckets, w.level.Intensity = buckets, 100
			d := scaled(map[string]any{"maxReplicaCount": int64(40)}, nil).managedBy(managed("kubectl-create", "Update", 0, ownsOther), managed(override.Manager, "Update", 10, ownsMax))
			(&unstructured.Unstructured{Object: d}).SetAnnotations(tt.annotations)
			object := d.target(scaledObject)
			w.has(t, object)
			w.live, w.refuses = metav1.ObjectMeta{ResourceVersion: tt.live, ManagedFields: []metav1.ManagedFieldsEntry{others, ours}}, tt.answer
			if _, err := w.Reconcile(t.Context(), object.ref()); err != nil {
				t.Fatal(err)
			}
			if len(w.patched) != tt.patches {
				t.Fatalf("patched: %v", w.patched)
			}
			for _, body := range w.patched {
				if strings.Contains(body, `"gridlatch"`) || !strings.Contains(body, "kubectl-create") || strings.Contains(body, `"spec"`) || !strings.Contains(body, `"resourceVersion":"7"`) {
					t.Errorf("patched: %s", body)
				}
			}
			if len(w.events) > 0 {
				t.Errorf("told: %v", w.events)
			}
		})
	}
}

func TestAStepThatCannotBeReadIsToldOf(t *testing.T) {
	for text, want := range map[string]struct {
		max    string
		events []string
	}{
		"many": {`"spec":{"maxReplicaCount":5}`, []string{EventInvalid, EventChanged}},
		"3":    {`"spec":{"maxReplicaCount":37}`, []string{EventChanged}},
		"":     {`"spec":{"maxReplicaCount":5}`, []string{EventChanged}}, // the flag does not count
	} {
		w := newWorld(t)
		w.Options.LowerInterval, w.Options.LowerBy = time.Minute, "2"
		object := web(scaledObject, map[string]string{v1alpha1.PolicyAnnotation: "default", v1alpha1.LowerByAnnotation: text})
		w.has(t, object)
		if _, err := w.Reconcile(t.Context(), object.ref()); err != nil {
			t.Fatal(err)
		}
		if len(w.patched) != 1 || !strings.Contains(w.patched[0], want.max) {
			t.Errorf("%q: patched: %v", text, w.patched)
		}
		if diff := cmp.Diff(want.events, w.events); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}
