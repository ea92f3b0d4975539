package ceiling

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// named returns the document with another name and another kind.
func (d document) named(k kind, name string) document {
	d["kind"] = string(k)
	d["metadata"].(map[string]any)["name"] = name
	delete(d["metadata"].(map[string]any), "resourceVersion")
	return d
}

func kedaServer(t *testing.T, calls interceptor.Funcs, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := batchv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds() {
		scheme.AddKnownTypeWithName(k.gvk(), &unstructured.Unstructured{})
		scheme.AddKnownTypeWithName(k.gvk().GroupVersion().WithKind(string(k)+"List"), &unstructured.UnstructuredList{})
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(calls).Build()
}

func lentNotes(extra map[string]any) map[string]any {
	notes := map[string]any{v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "5", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.ReasonAnnotation: "x"}
	for key, value := range extra {
		notes[key] = value
	}
	return notes
}

func TestRestorePutsKEDAsObjectsBackUnlessThatKillsJobs(t *testing.T) {
	now := clock(t, "2026-11-22T12:00:00Z")
	lent := func(k kind, name string, spec map[string]any, extra map[string]any) client.Object {
		spec["maxReplicaCount"] = int64(5)
		return &unstructured.Unstructured{Object: scaled(spec, lentNotes(extra)).named(k, name)}
	}
	gradual := map[string]any{"rollout": map[string]any{"strategy": "gradual"}}
	running := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "run", Labels: map[string]string{scaledJobLabel: "busy"}}}
	ended := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "over", Labels: map[string]string{scaledJobLabel: "idle"}}, Status: batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: "True"}}}}
	api := kedaServer(t, interceptor.Funcs{},
		lent(scaledObject, "web", map[string]any{}, map[string]any{v1alpha1.PolicyAnnotation: "default", "team": "shop"}),
		lent(scaledObject, "unasked", map[string]any{}, nil),
		&unstructured.Unstructured{Object: asksFor(map[string]any{v1alpha1.PolicyAnnotation: "default"}).named(scaledObject, "not-lent-yet")},
		&unstructured.Unstructured{Object: asksFor(map[string]any{"team": "shop"}).named(scaledObject, "stranger")},
		lent(scaledJob, "busy", map[string]any{}, nil), lent(scaledJob, "idle", map[string]any{}, nil), lent(scaledJob, "gradual", gradual, nil),
		running, ended)
	n, err := Restore(t.Context(), api, now)
	if n != 4 {
		t.Errorf("restored %d", n)
	}
	if err == nil || !contains(err.Error(), "restore ScaledJob shop/busy: it is left as it is while Jobs run, now 1", "rollout.strategy: gradual") {
		t.Errorf("got %v", err)
	}
	released := map[string]string{v1alpha1.CeilingReleasedAnnotation: "2026-11-22T13:00:00Z"}
	for name, want := range map[string]struct {
		kind        kind
		max         int32
		annotations map[string]string
	}{
		"web":          {scaledObject, 40, map[string]string{v1alpha1.PolicyAnnotation: "default", "team": "shop", v1alpha1.CeilingReleasedAnnotation: "2026-11-22T13:00:00Z"}},
		"unasked":      {scaledObject, 40, released},
		"not-lent-yet": {scaledObject, 40, map[string]string{v1alpha1.PolicyAnnotation: "default", v1alpha1.CeilingReleasedAnnotation: "2026-11-22T13:00:00Z"}},
		"stranger":     {scaledObject, 40, map[string]string{"team": "shop"}},
		"busy":         {scaledJob, 5, map[string]string{v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "5", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.ReasonAnnotation: "x"}},
		"idle":         {scaledJob, 40, released},
		"gradual":      {scaledJob, 40, released},
	} {
		got := &unstructured.Unstructured{}
		got.SetGroupVersionKind(want.kind.gvk())
		if err := api.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, got); err != nil {
			t.Fatal(err)
		}
		if most := count(got, "maxReplicaCount"); most == nil || *most != want.max {
			t.Errorf("%s: maxReplicaCount %s", name, printReplicas(most))
		}
		if diff := cmp.Diff(want.annotations, got.GetAnnotations()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestRestoreTellsOfEachKindThatFails(t *testing.T) {
	for name, tt := range map[string]struct {
		objects error // what is answered to a list of KEDA's objects
		jobs    error // and of Jobs
		want    []string
	}{
		"KEDA is not there":       {apierrors.NewNotFound(schema.GroupResource{Group: "keda.sh"}, ""), nil, nil},
		"no list can be read":     {errDown, nil, []string{"list ScaledObjects", "list ScaledJobs"}},
		"the Jobs cannot be read": {nil, errDown, []string{"restore ScaledJob shop/busy: list the Jobs of ScaledJob shop/busy"}},
	} {
		t.Run(name, func(t *testing.T) {
			busy := &unstructured.Unstructured{Object: scaled(map[string]any{"maxReplicaCount": int64(5)}, lentNotes(nil)).named(scaledJob, "busy")}
			api := kedaServer(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
				_, isJobs := l.(*batchv1.JobList)
				if err := map[bool]error{true: tt.jobs, false: tt.objects}[isJobs]; err != nil {
					return err
				}
				return c.List(ctx, l, opts...)
			}}, busy)
			n, err := Restore(t.Context(), api, clock(t, "2026-11-22T12:00:00Z"))
			if n != 0 || (err != nil) != (tt.want != nil) || err != nil && (!errors.Is(err, errDown) || !contains(err.Error(), tt.want...)) {
				t.Errorf("restored %d, %v", n, err)
			}
		})
	}
}
