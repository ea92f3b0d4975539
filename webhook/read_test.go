package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kjson "sigs.k8s.io/json"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/serving"
)

// list repeats an item up to a length.
func list(item string, length int) string {
	return strings.Repeat(item+",", length/(len(item)+1)) + item
}

const wish = `"annotations":{"gridlatch.dev/delay-tolerant":"true","gridlatch.dev/duration":"1h"}`

func TestWhatIsTooLargeStartsWithAWarning(t *testing.T) {
	gated := `"schedulingGates":[{"name":"gridlatch.dev/carbon"},{"name":"other"}]`
	for name, tt := range map[string]struct{ kind, object, want string }{
		"owners of a pod": {
			"Pod", `{"metadata":{` + wish + `,"ownerReferences":[` + list(`{}`, maxOwnerBytes) + `]},"spec":{` + gated + `}}`, "metadata.ownerReferences: want at most 64 KiB",
		},
		"gates of a pod": {
			"Pod", `{"metadata":{` + wish + `},"spec":{"schedulingGates":[` + list(`{}`, maxGateBytes) + `]}}`, "spec.schedulingGates: want at most 64 KiB",
		},
		"the affinity of a pod": {
			"Pod", `{"metadata":{` + wish + `},"spec":{` + gated + `,"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[` + list(`{}`, maxAffinityBytes) + `]}}}}`,
			"spec.affinity.nodeAffinity: want at most 128 KiB",
		},
		"our annotations of a pod": {
			"Pod", `{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":"true","gridlatch.dev/reason":"` + strings.Repeat("x", maxOwnBytes) + `","gridlatch.dev/other":""}},"spec":{` + gated + `}}`,
			"metadata.annotations: want at most 64 KiB",
		},
		"padding of a pod in front of what is forged": {
			"Pod", `{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":"true","gridlatch.dev/junk":"` + strings.Repeat("x", maxOwnBytes) + `","gridlatch.dev/started":"forged"},` +
				`"labels":{"gridlatch.dev/junk":"` + strings.Repeat("x", maxOwnBytes) + `","gridlatch.dev/state":"forged"}},"spec":{` + gated + `}}`,
			"metadata.annotations: want at most 64 KiB",
		},
		"padding of a Job in front of what is forged": {
			"Job", `{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":"true","gridlatch.dev/junk":"` + strings.Repeat("x", maxOwnBytes) + `","gridlatch.dev/started":"forged"},"labels":{"gridlatch.dev/state":"forged"}},` +
				`"spec":{"template":{"metadata":{"labels":{"gridlatch.dev/state":"forged"},"annotations":{"gridlatch.dev/latest-start":"forged"}},"spec":{` + gated + `}}}}`,
			"metadata.annotations: want at most 64 KiB",
		},
		"owners of a Job": {
			"Job", `{"metadata":{` + wish + `,"ownerReferences":[` + list(`{}`, maxOwnerBytes) + `]},"spec":{"template":{}}}`, "metadata.ownerReferences: want at most 64 KiB",
		},
		"the node selector of a Job": {
			"Job", `{"metadata":{` + wish + `},"spec":{"template":{"spec":{"nodeSelector":{` + list(`"":""`, maxAffinityBytes) + `}}}}}`, "spec.template.spec.nodeSelector: want at most 128 KiB",
		},
	} {
		t.Run(name, func(t *testing.T) {
			after, response := admit(t, dirtyNow(t), tt.kind, []byte(tt.object))
			if diff := cmp.Diff([]string{"not held: " + tt.want}, response.Warnings); diff != "" || !response.Allowed {
				t.Error(diff, response.Result)
			}
			if bytes.Contains(after, []byte("gridlatch.dev/carbon")) {
				t.Errorf("our gate is left: %.300s", after)
			}
			if bytes.Contains(after, []byte("forged")) {
				t.Error("what is forged is left")
			}
		})
	}
}

// TestWhatIsOthersIsNotReadAndStays has annotations almost as long as Kubernetes allows,
// each byte of which is an escape.
func TestWhatIsOthersIsNotReadAndStays(t *testing.T) {
	others := map[string]string{"example.com/script": strings.Repeat("<", 253<<10), "example.com/more": "x"}
	annotations := tolerant(others)
	labels := map[string]string{"example.com/a": "b"}
	controls := []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "r", UID: "1", Controller: new(bool)}}
	meta := metav1.ObjectMeta{Name: "x", GenerateName: "y", Finalizers: []string{"example.com/f"}, Labels: labels, Annotations: annotations, OwnerReferences: controls}
	for kind, object := range map[string]any{
		"Pod": corev1.Pod{ObjectMeta: meta},
		"Job": batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: meta}}},
	} {
		raw, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		after, response := admit(t, dirtyNow(t), kind, raw)
		var got batchv1.Job
		if err := json.Unmarshal(after, &got); err != nil {
			t.Fatal(err)
		}
		if got.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld || len(response.Warnings) > 0 {
			t.Errorf("%s: not held: %v, %v", kind, got.Labels, response.Warnings)
		}
		if len(response.Patch) > 4<<10 {
			t.Errorf("%s: a patch of %d bytes", kind, len(response.Patch))
		}
		all := []metav1.ObjectMeta{got.ObjectMeta}
		if kind == "Job" {
			all = append(all, got.Spec.Template.ObjectMeta)
		}
		for _, m := range all {
			for _, table := range []map[string]string{m.Labels, m.Annotations} {
				maps.DeleteFunc(table, func(key, _ string) bool { return hold.IsKnownKey(key) })
			}
			want := meta
			want.Annotations = others
			if diff := cmp.Diff(want, m); diff != "" {
				t.Errorf("%s: %.1000s", kind, diff)
			}
		}
	}
}

func TestAPatchMakesWhatIsNotThere(t *testing.T) {
	for name, object := range map[string]string{
		"a template without metadata":       `{"metadata":{` + wish + `},"spec":{"template":{"spec":{}}}}`,
		"a template with none":              `{"metadata":{` + wish + `},"spec":{"template":{"metadata":null,"spec":{}}}}`,
		"a template with empty annotations": `{"metadata":{` + wish + `,"labels":null},"spec":{"template":{"metadata":{"annotations":{},"labels":{}},"spec":{}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			after, response := admit(t, dirtyNow(t), "Job", []byte(object))
			var got batchv1.Job
			if err := json.Unmarshal(after, &got); err != nil {
				t.Fatal(err)
			}
			if got.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld || got.Spec.Template.Annotations[v1alpha1.LatestStartAnnotation] == "" {
				t.Errorf("%s: %+v", after, response)
			}
		})
	}
}

// kindOf is a kind as a review names it.
func kindOf(kind string) string {
	raw, _ := json.Marshal(request(kind, nil).Kind) // of strings: no error is possible
	return string(raw)
}

// reviewOf is what the API server, or a stranger, sends about an object.
func reviewOf(kind, object string) string {
	return `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":` + kindOf(kind) + `,"operation":"CREATE","namespace":"default","object":` + object + `}}`
}

// TestMemoryIsBounded sends what takes many times its length once it is decoded.
func TestMemoryIsBounded(t *testing.T) {
	const length = 2 << 20
	spec := func(of string) string { return `{"metadata":{` + wish + `},"spec":{` + of + `}}` }
	unique := &strings.Builder{}
	for i := 0; unique.Len() < length; i++ {
		fmt.Fprintf(unique, `"gridlatch.dev/%x":"",`, i)
	}
	for name, object := range map[string]string{
		"containers":      spec(`"containers":[` + list(`{}`, length) + `]`),
		"gates":           spec(`"schedulingGates":[` + list(`{}`, length) + `]`),
		"owners":          `{"metadata":{` + wish + `,"ownerReferences":[` + list(`{}`, length) + `]}}`,
		"managed fields":  `{"metadata":{` + wish + `,"managedFields":[` + list(`{}`, length) + `]}}`,
		"our annotations": `{"metadata":{"annotations":{` + unique.String() + `"x":""}}}`,
		"our labels":      `{"metadata":{` + wish + `,"labels":{` + unique.String() + `"x":""}}}`,
		"affinities":      spec(`"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[` + list(`{}`, length) + `]}}`),
		"pod affinities":  spec(`"affinity":{"podAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[` + list(`{}`, length) + `]}}`),
		"selectors":       spec(`"nodeSelector":{` + list(`"":""`, length) + `}`),
		"resources":       spec(`"containers":[{"resources":{"limits":{` + unique.String() + `"x":"1"},"claims":[` + list(`{}`, length) + `]}}]`),
		"nested":          spec(`"containers":` + strings.Repeat("[", length)),
		"nested names":    spec(`"x":` + strings.Repeat(`{"a":`, length/5)),
	} {
		for _, kind := range []string{"Pod", "Job", "JobSet"} {
			t.Run(name+" of a "+kind, func(t *testing.T) {
				if kind == "Job" {
					object = `{"metadata":{` + wish + `},"spec":{"template":` + object + `}}`
				}
				h := serving.NewIntake(serving.ReviewLimits()).Reviews(Path, serving.NewMetrics(prometheus.NewRegistry(), time.Now), dirtyNow(t).Handle)
				req := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(reviewOf(kind, object)))
				req.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				h.ServeHTTP(w, req)
				runtime.ReadMemStats(&after)
				if took := after.TotalAlloc - before.TotalAlloc; took > 5*uint64(req.ContentLength) {
					t.Errorf("a body of %d MiB took %d MiB: status %d, %.200s", req.ContentLength>>20, took>>20, w.Code, w.Body)
				}
			})
		}
	}
}

// FuzzRead compares what is read of pods and Jobs with what decoding all of them
// gives.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"metadata":{"labels":{"gridlatch.dev/state":"held","a":"b"},"annotations":{"gridlatch.dev/reason":"\u003c","kueue.x-k8s.io/queue-name":""},"ownerReferences":[{"kind":"Job","uid":"1","controller":true}]},
		"spec":{"schedulingGates":[{"name":"x"}],"nodeName":"n","nodeSelector":{"a":"b"},"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":1,"preference":{}}]},"podAffinity":{}},
		"containers":[{"resources":{"limits":{"gridlatch.dev/placement":"0","cpu":"1"},"requests":{"cpu":"1"}}},{}]}}`))
	f.Add([]byte(`{"metadata":{},"spec":{"suspend":true,"parallelism":3,"completions":2,"activeDeadlineSeconds":7,"managedBy":"x","template":{"metadata":{"annotations":{"gridlatch.dev/location":"l"}},
		"spec":{"affinity":{},"schedulingGates":[]}}}}`))
	f.Add([]byte(`{"metadata":null,"spec":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = readPod(raw)
		_, _ = readJob(raw)
		var pod corev1.Pod
		if kjson.UnmarshalCaseSensitivePreserveInts(raw, &pod) == nil {
			sameAsPod(t, &pod)
		}
		var job batchv1.Job
		if kjson.UnmarshalCaseSensitivePreserveInts(raw, &job) == nil {
			sameAsJob(t, &job)
		}
	})
}

// FuzzReadWhole compares what is read of objects that are held whole with what decoding all of them
// gives, and applies the patches that close their doors.
func FuzzReadWhole(f *testing.F) {
	for _, d := range door.All() {
		for _, spec := range []string{`{}`, `null`, `{"suspend":true,"runPolicy":{"suspend":false,"managedBy":"x"},"status":"y","activeDeadlineSeconds":7,"synchronization":{"a":[]}}`, `{"runPolicy":null}`, `{"runPolicy":[]}`, `{"suspend":{"a":1.5}}`} {
			f.Add(d.Kind.Kind, []byte(`{"metadata":{`+wish+`},"spec":`+spec+`}`))
		}
	}
	f.Fuzz(func(t *testing.T, kind string, raw []byte) {
		d := doorNamed(kind)
		if d == nil {
			return
		}
		got, err := readWhole(raw, d)
		var want map[string]any
		if kjson.UnmarshalCaseSensitivePreserveInts(raw, &want) != nil || err != nil || got.tooLarge != nil {
			return
		}
		for _, path := range d.Paths() {
			a, _, _ := unstructured.NestedFieldNoCopy(want, path...)
			b, _, _ := unstructured.NestedFieldNoCopy(got.content, path...)
			if diff := cmp.Diff(a, b); diff != "" {
				t.Errorf("%v: %s", path, diff)
			}
		}
		after, response := admit(t, dirtyNow(t), kind, raw)
		var o unstructured.Unstructured
		if err := json.Unmarshal(after, &o.Object); err != nil {
			t.Fatal(err)
		}
		if len(response.Patch) > 0 && d.IsClosed(o.Object) && !d.IsClosed(want) && (o.GetLabels()[v1alpha1.StateLabel] != v1alpha1.StateHeld || o.GetAnnotations()[v1alpha1.LatestStartAnnotation] == "") {
			t.Errorf("closed, but not to be found: %s", after)
		}
	})
}

// BenchmarkAdmission compares the admission of a JobSet with that of a Job.
func BenchmarkAdmission(b *testing.B) {
	template := `"metadata":{},"spec":{"parallelism":4,"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[` + list(`{"name":"c","image":"i","resources":{"requests":{"cpu":"1"}}}`, 4<<10) + `]}}}`
	for kind, object := range map[string]string{
		"Job":    `{"metadata":{` + wish + `},` + strings.TrimPrefix(template, `"metadata":{},`) + `}`,
		"JobSet": `{"metadata":{` + wish + `},"spec":{"replicatedJobs":[{"name":"a","template":{` + template + `}}]}}`,
	} {
		b.Run(kind, func(b *testing.B) {
			w, req := dirtyNow(b), request(kind, []byte(object))
			b.ReportAllocs()
			for b.Loop() {
				if response := w.Handle(b.Context(), req); len(response.Patch) == 0 {
					b.Fatal("not held")
				}
			}
		})
	}
}

// asSent is an object as the API server encodes it.
func asSent(t *testing.T, object any) []byte {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Skip(err) // a quantity or a raw extension that only hostile JSON has
	}
	return raw
}

func sameAsPod(t *testing.T, want *corev1.Pod) {
	t.Helper()
	got, err := readPod(asSent(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if got.tooLarge != nil {
		return
	}
	sameMeta(t, want.ObjectMeta, got.ObjectMeta)
	sameSpec(t, want.Spec, got.Spec)
	if got.hasContainer != (len(want.Spec.Containers) > 0) {
		t.Errorf("containers: %t", got.hasContainer)
	}
	if !got.hasContainer {
		return
	}
	of := want.Spec.Containers[0].Resources
	_, marked := of.Limits[v1alpha1.PlacementResource]
	_, strict := of.Limits[v1alpha1.StrictPlacementResource]
	has := resources{exist: got.resources.exist, haveLimits: len(of.Limits) > 0, haveRequests: len(of.Requests) > 0, havePlacement: marked, haveStrictPlacement: strict}
	if diff := cmp.Diff(has, got.resources, cmp.AllowUnexported(resources{})); diff != "" {
		t.Error(diff)
	}
}

func sameAsJob(t *testing.T, want *batchv1.Job) {
	t.Helper()
	got, err := readJob(asSent(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if got.tooLarge != nil {
		return
	}
	sameMeta(t, want.ObjectMeta, got.ObjectMeta)
	sameMeta(t, want.Spec.Template.ObjectMeta, got.Spec.Template.ObjectMeta)
	sameSpec(t, want.Spec.Template.Spec, got.Spec.Template.Spec)
	scalars := func(s batchv1.JobSpec) batchv1.JobSpec {
		return batchv1.JobSpec{
			Suspend: s.Suspend, Parallelism: s.Parallelism, Completions: s.Completions,
			ActiveDeadlineSeconds: s.ActiveDeadlineSeconds, ManagedBy: s.ManagedBy,
		}
	}
	if diff := cmp.Diff(scalars(want.Spec), scalars(got.Spec)); diff != "" {
		t.Error(diff)
	}
}

func sameMeta(t *testing.T, want, got metav1.ObjectMeta) {
	t.Helper()
	ours := func(all map[string]string) map[string]string {
		known := map[string]string{}
		maps.Copy(known, all)
		maps.DeleteFunc(known, func(key, _ string) bool { return !hold.IsKnownKey(key) })
		return known
	}
	known := metav1.ObjectMeta{Labels: ours(want.Labels), Annotations: ours(want.Annotations)}
	if len(want.OwnerReferences) > 0 {
		known.OwnerReferences = want.OwnerReferences
	}
	if diff := cmp.Diff(known, got); diff != "" {
		t.Error(diff)
	}
}

func sameSpec(t *testing.T, want, got corev1.PodSpec) {
	t.Helper()
	known := corev1.PodSpec{NodeName: want.NodeName}
	if len(want.SchedulingGates) > 0 {
		known.SchedulingGates = want.SchedulingGates
	}
	if len(want.NodeSelector) > 0 {
		known.NodeSelector = want.NodeSelector
	}
	if want.Affinity != nil {
		known.Affinity = &corev1.Affinity{NodeAffinity: want.Affinity.NodeAffinity}
	}
	if diff := cmp.Diff(asSent(t, known), asSent(t, got)); diff != "" {
		t.Error(diff)
	}
}
