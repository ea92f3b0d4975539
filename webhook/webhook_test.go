package webhook

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kjson "sigs.k8s.io/json"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/serving"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// empty is a cache in which there is nothing.
type empty struct{}

func (empty) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func (empty) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

// dirtyNow makes a webhook that knows a forecast of 400 now and 100 from the
// second hour on.
func dirtyNow(t testing.TB) *Webhook {
	t.Helper()
	clock := clocktesting.NewFakePassiveClock(t0)
	store := &forecast.Store{}
	policies := policy.Policies{Reader: empty{}, Clock: clock}
	builtin, err := policies.Get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	series := forecast.NewSeries([]forecast.Slot{
		{Start: t0, End: t0.Add(time.Hour), Intensity: 400}, {Start: t0.Add(time.Hour), End: t0.Add(9 * time.Hour), Intensity: 100},
	})
	if err := store.Offer(builtin.Source, forecast.Document{Series: map[string]*forecast.Series{"X": series}, Issued: t0}, t0); err != nil {
		t.Fatal(err)
	}
	return &Webhook{Reader: empty{}, Records: recordsOf(t), Policies: policies, Store: store, Runs: &gating.Runs{}, Clock: clock, Metrics: NewMetrics(prometheus.NewRegistry())}
}

// recordsOf is a cache of these objects.
func recordsOf(t testing.TB, objects ...runtime.Object) *gating.Records {
	t.Helper()
	records, err := gating.StaticRecords(objects...)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// request asks for the creation of an object by the Job controller, which is
// somebody like others for all but the pods of Jobs.
func request(kind string, object []byte) serving.Review {
	of := metav1.GroupVersionKind{Kind: kind}
	if d := doorNamed(kind); d != nil {
		of = metav1.GroupVersionKind(d.Kind)
	}
	return serving.Review{Operation: admissionv1.Create, Namespace: "default", Kind: of, Object: object, Username: jobController}
}

// admit returns the object as the API server would have it after the webhook.
func admit(t testing.TB, w *Webhook, kind string, object []byte) ([]byte, *admissionv1.AdmissionResponse) {
	t.Helper()
	response := w.Handle(t.Context(), request(kind, object))
	return apply(t, object, response), response
}

// apply returns an object with the patch of an answer.
func apply(t testing.TB, object []byte, response *admissionv1.AdmissionResponse) []byte {
	t.Helper()
	if len(response.Patch) == 0 {
		return object
	}
	patch, err := jsonpatch.DecodePatch(response.Patch)
	if err != nil {
		t.Fatal(err)
	}
	after, err := patch.Apply(object)
	if err != nil {
		t.Fatalf("the patch does not apply: %v\n%s\n%s", err, response.Patch, object)
	}
	return after
}

func TestReinvocationChangesNothing(t *testing.T) {
	annotations := map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DurationAnnotation: "1h"}
	owned := []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: "1", Controller: new(bool)}}
	*owned[0].Controller = true
	promised := map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.LatestStartAnnotation: t0.Add(5 * time.Hour).Format(time.RFC3339)}
	for name, object := range map[string]any{
		"a pod":                          corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}},
		"a pod of a held Job":            corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: promised, OwnerReferences: owned}},
		"a pod with a gate that is lost": corev1.Pod{Spec: corev1.PodSpec{SchedulingGates: []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}, {Name: "other"}}}},
	} {
		t.Run(name, func(t *testing.T) { reinvoke(t, "Pod", object) })
	}
	for name, object := range map[string]any{
		"a Job":                 batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}},
		"a Job by its template": batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}}}},
		"a Job that starts":     batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DeadlineAnnotation: "1m"}}},
	} {
		t.Run(name, func(t *testing.T) { reinvoke(t, "Job", object) })
	}
}

func reinvoke(t *testing.T, kind string, object any) {
	t.Helper()
	w := dirtyNow(t)
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	once, response := admit(t, w, kind, raw)
	if !response.Allowed || len(response.Patch) == 0 {
		t.Fatalf("want a patch: %+v", response)
	}
	twice, _ := admit(t, w, kind, once)
	var a, b map[string]any
	if json.Unmarshal(once, &a) != nil || json.Unmarshal(twice, &b) != nil {
		t.Fatal("not JSON")
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
}

func TestWhatOneOwnerCreatesIsPlannedForTheSameStart(t *testing.T) {
	w := dirtyNow(t) // then clean for hours: many starts are as good
	controls := true
	annotations := map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DurationAnnotation: "1h"}
	owned := func(kind string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Annotations: annotations, OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "example.com/v1", Kind: kind, Name: "o", UID: types.UID(kind), Controller: &controls},
		}}
	}
	for name, tt := range map[string]struct {
		object any
		same   bool
	}{
		"Jobs of a JobSet":     {batchv1.Job{ObjectMeta: owned("JobSet")}, true},
		"pods of a ReplicaSet": {corev1.Pod{ObjectMeta: owned("ReplicaSet")}, true},
		"Jobs of nobody":       {batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}}, false},
		"pods of nobody":       {corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			kind := "Pod"
			if _, ok := tt.object.(batchv1.Job); ok {
				kind = "Job"
			}
			raw, err := json.Marshal(tt.object)
			if err != nil {
				t.Fatal(err)
			}
			starts := map[string]bool{}
			for i := range 10 {
				req := request(kind, raw)
				req.UID = types.UID(strconv.Itoa(i))
				starts[plannedStart(t, w, req)] = true
			}
			if starts[""] || (len(starts) == 1) != tt.same {
				t.Errorf("planned starts %v, want one: %v", starts, tt.same)
			}
		})
	}
}

// plannedStart returns the start that an object is given; empty if it is not
// held.
func plannedStart(t *testing.T, w *Webhook, req serving.Review) string {
	t.Helper()
	var after metav1.PartialObjectMetadata
	if err := json.Unmarshal(apply(t, req.Object, w.Handle(t.Context(), req)), &after); err != nil {
		t.Fatal(err)
	}
	return after.Annotations[v1alpha1.PlannedStartAnnotation]
}

func TestAPodWhoseJobWasNotDecidedOnIsNotHeld(t *testing.T) {
	controls := true
	meta := metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DurationAnnotation: "1h"}}
	for owner, want := range map[metav1.OwnerReference]bool{
		{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: "1", Controller: &controls}:             false,
		{APIVersion: "batch.example.com/v1", Kind: "Job", Name: "j", UID: "1", Controller: &controls}: true,
		{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "r", UID: "1", Controller: &controls}:       true,
		{APIVersion: "batch/v1", Kind: "Job", Name: "not in control", UID: "1"}:                       true,
	} {
		meta.OwnerReferences = []metav1.OwnerReference{owner}
		raw, err := json.Marshal(corev1.Pod{ObjectMeta: meta})
		if err != nil {
			t.Fatal(err)
		}
		patched, _ := admit(t, dirtyNow(t), "Pod", raw)
		var after corev1.Pod
		if err := json.Unmarshal(patched, &after); err != nil {
			t.Fatal(err)
		}
		if hold.HasGate(after.Spec.SchedulingGates) != want || after.Annotations[v1alpha1.ReasonAnnotation] == "" {
			t.Errorf("%v: gates %v, want one: %v; reason %q", owner, after.Spec.SchedulingGates, want, after.Annotations[v1alpha1.ReasonAnnotation])
		}
	}
}

func TestWhatIsWrongIsRefusedOfUsersAndLetPassOfControllers(t *testing.T) {
	controls := true
	owner := []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "Owner", Name: "o", UID: "1", Controller: &controls}}
	for key, wrong := range map[string]string{v1alpha1.PolicyAnnotation: "gone", v1alpha1.LocationAnnotation: "gone", v1alpha1.DeadlineAnnotation: "tomorrow", v1alpha1.DelayTolerantAnnotation: "perhaps"} {
		for _, owners := range [][]metav1.OwnerReference{nil, owner} {
			meta := metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.DelayTolerantAnnotation: "true"}, OwnerReferences: owners}
			meta.Annotations[key] = wrong
			for kind, object := range map[string]any{"Pod": corev1.Pod{ObjectMeta: meta}, "Job": batchv1.Job{ObjectMeta: meta}} {
				raw, err := json.Marshal(object)
				if err != nil {
					t.Fatal(err)
				}
				patched, response := admit(t, dirtyNow(t), kind, raw)
				var after metav1.PartialObjectMetadata
				if err := json.Unmarshal(patched, &after); err != nil {
					t.Fatal(err)
				}
				said := strings.HasPrefix(after.Annotations[v1alpha1.ReasonAnnotation], "not held: metadata.annotations["+key+"]: ") && len(response.Warnings) == 1 &&
					after.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased
				if owned := owners != nil; response.Allowed != owned || said != owned {
					t.Errorf("%s with %s, owned: %v: allowed %v, %v, %v", kind, key, owned, response.Allowed, response.Warnings, after.Annotations)
				}
			}
		}
	}
}

func TestAnAnnotationThatNobodyReadsIsWarnedOf(t *testing.T) {
	asked := map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DurationAnnotation: "1h", "gridlatch.dev/deadlin": "2h", "example.com/deadline": "2h"}
	meta := metav1.ObjectMeta{Annotations: asked}
	want := "[gridlatch.dev/deadlin]: has no effect, because Gridlatch does not know this annotation; want gridlatch.dev/ and one of delay-tolerant, deadline, duration, threshold, location, policy, hold, placement, interruptible, restart-cost, min-run, remaining, power-watts, functional-units, parallelism, speedup"
	for path, object := range map[string]any{
		"metadata.annotations":               batchv1.Job{ObjectMeta: meta},
		"spec.template.metadata.annotations": batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: meta}}},
	} {
		raw, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time with all that we have written
			var response *admissionv1.AdmissionResponse
			raw, response = admit(t, dirtyNow(t), "Job", raw)
			if diff := cmp.Diff([]string{path + want}, response.Warnings); diff != "" || !response.Allowed {
				t.Error(diff, response.Result)
			}
		}
	}
	pod, err := json.Marshal(corev1.Pod{ObjectMeta: meta})
	if err != nil {
		t.Fatal(err)
	}
	if _, response := admit(t, dirtyNow(t), "Pod", pod); len(response.Warnings) != 1 {
		t.Error(response.Warnings)
	}
}

func TestOnlyCreationIsDecidedOn(t *testing.T) {
	w := dirtyNow(t)
	req := request("Pod", []byte(`{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":"true"}}}`))
	req.Operation = admissionv1.Update
	if response := w.Handle(t.Context(), req); !response.Allowed || len(response.Patch) > 0 {
		t.Errorf("an update gave %+v", response)
	}
}

// FuzzHandle checks that no object, however hostile, makes the webhook panic,
// that what cannot be decoded passes as it is, and that each patch applies and
// never leaves a gate on a pod without the label and the promise by which it
// is released.
func FuzzHandle(f *testing.F) {
	f.Add("Pod", []byte(`{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":"true"}},"spec":{"schedulingGates":[{"name":"x"}]}}`))
	f.Add("Job", []byte(`{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":"true","gridlatch.dev/deadline":"06:00 Europe/Berlin"}},"spec":{"template":{}}}`))
	f.Add("Pod", []byte(`{"metadata":{"ownerReferences":[{"kind":"Job","controller":true}],"annotations":{"gridlatch.dev/latest-start":"x"}}}`))
	f.Add("MPIJob", []byte(`{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":"true"}},"spec":{"runPolicy":{"suspend":null}}}`))
	f.Add("Job", []byte(`{"spec":{"template":{"metadata":null,"spec":{"schedulingGates":[{"name":"gridlatch.dev/carbon"}]}}}}`))
	f.Add("Pod", []byte(`{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":"true"}},"spec":{"nodeSelector":{"grid":"north"},"affinity":{"nodeAffinity":{
		"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"grid","operator":"Gt","values":["x"]}]}]},
		"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":1,"preference":{}}]}}}}`))
	f.Add("Pod", []byte(`{"metadata":{"labels":{"gridlatch.dev/state":"released"},"ownerReferences":[{"kind":"Job","controller":true}],
		"annotations":{"gridlatch.dev/planned-location":"west","gridlatch.dev/candidate-locations":",,"}},"spec":{"affinity":{"nodeAffinity":null}}}`))
	f.Add("CronJob", []byte(`{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":"true"}},"spec":{"schedule":"*/5 * * * *","timeZone":"Europe/Berlin","concurrencyPolicy":"Forbid","jobTemplate":{"spec":{"template":{}}}}}`))
	f.Add("CronJob", []byte(`{"metadata":{"labels":{"gridlatch.dev/delay-tolerant":"true"}},"spec":{"schedule":"TZ=","concurrencyPolicy":"Replace","startingDeadlineSeconds":-1}}`))
	f.Fuzz(func(t *testing.T, kind string, object []byte) {
		for _, w := range []*Webhook{
			dirtyNow(t), twoGrids(t, []float64{300, 400}, []float64{100, 400}, nil), twoGrids(t, []float64{300, 100}, []float64{200, 400}, limited),
		} {
			tryHandle(t, w, kind, object)
		}
	})
}

// tryHandle fails if an answer cannot be used, or a pod is gated for nobody to see.
func tryHandle(t *testing.T, w *Webhook, kind string, object []byte) {
	t.Helper()
	var well struct {
		Metadata map[string]any `json:"metadata"`
		Spec     map[string]any `json:"spec"`
	}
	// the API server sends objects of its own making
	if kjson.UnmarshalCaseSensitivePreserveInts(object, &well) != nil || well.Metadata == nil || well.Spec == nil {
		w.Handle(t.Context(), request(kind, object))
		return
	}
	var pod corev1.Pod
	if kind != "Pod" || kjson.UnmarshalCaseSensitivePreserveInts(object, &pod) != nil {
		w.Handle(t.Context(), request(kind, object))
		return
	}
	patched, response := admit(t, w, kind, object)
	if !response.Allowed {
		return
	}
	var after corev1.Pod
	if err := json.Unmarshal(patched, &after); err != nil {
		t.Fatal(err)
	}
	if !hold.HasGate(after.Spec.SchedulingGates) {
		return
	}
	if after.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld || after.Annotations[v1alpha1.LatestStartAnnotation] == "" {
		t.Fatalf("gated, but not to be found: %s", patched)
	}
}
