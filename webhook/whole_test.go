package webhook

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
)

// doorNamed returns the door of the kind with a name.
func doorNamed(kind string) *door.Door {
	all := door.All()
	if i := slices.IndexFunc(all, func(d door.Door) bool { return d.Kind.Kind == kind }); i >= 0 {
		return &all[i]
	}
	return nil
}

// wholeOf is an object of a kind with a door.
func wholeOf(kind, spec string, meta metav1.ObjectMeta) map[string]any {
	raw, _ := json.Marshal(meta)
	var object map[string]any
	_ = json.Unmarshal([]byte(`{"metadata":`+string(raw)+`,"spec":`+spec+`}`), &object)
	object["apiVersion"], object["kind"] = doorNamed(kind).Kind.GroupVersion().String(), kind
	return object
}

// specToHold are specs of objects that can be held, where an empty spec cannot be.
func specToHold(kind string) string {
	if kind == "RayJob" {
		return `{"shutdownAfterJobFinishes":true}`
	}
	return `{}`
}

func TestEachKindIsHeldByItsDoor(t *testing.T) {
	for _, d := range door.All() {
		t.Run(d.Kind.Kind, func(t *testing.T) {
			for name, spec := range map[string]string{"a spec": specToHold(d.Kind.Kind), "no spec": "null"} {
				if name == "no spec" && d.Refusal != nil && d.Refusal(nil) != "" {
					continue
				}
				o := passed(t, dirtyNow(t), d.Kind.Kind, wholeOf(d.Kind.Kind, spec, metav1.ObjectMeta{Annotations: tolerant(nil)}))
				a := o.GetAnnotations()
				if !d.IsClosed(o.Object) || o.GetLabels()[v1alpha1.StateLabel] != v1alpha1.StateHeld || a[v1alpha1.HeldByAnnotation] != v1alpha1.HoldBySuspend {
					t.Fatalf("with %s it is not held: %v", name, o.Object)
				}
				if a[v1alpha1.LatestStartAnnotation] == "" || a[v1alpha1.PlannedStartAnnotation] == "" || a[v1alpha1.ReasonAnnotation] == "" || a[v1alpha1.PolicyAnnotation] == "" {
					t.Errorf("something is not noted: %v", a)
				}
			}
			starts := passed(t, dirtyNow(t), d.Kind.Kind, wholeOf(d.Kind.Kind, specToHold(d.Kind.Kind), metav1.ObjectMeta{Annotations: tolerant(map[string]string{v1alpha1.DeadlineAnnotation: "1m"})}))
			if d.IsSet(starts.Object) || starts.GetLabels()[v1alpha1.StateLabel] != v1alpha1.StateReleased {
				t.Errorf("it does not start: %v", starts.Object)
			}
			other := request(d.Kind.Kind, nil)
			other.Kind.Version = "v0"
			if doorOf(other) != nil {
				t.Error("another version is read in the same way")
			}
		})
	}
}

func TestWhyAnObjectIsNotHeldWhole(t *testing.T) {
	owner := func(apiVersion, kind string) []metav1.OwnerReference {
		return []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: "o", UID: "1", Controller: ptr.To(true)}}
	}
	for name, tt := range map[string]struct {
		kind, spec string
		meta       metav1.ObjectMeta
		piece      Piece
		cannot     string
		want       string // the reason
		isNotHeld  bool
	}{
		"suspended by its user":          {kind: "JobSet", spec: `{"suspend":true}`, want: "not held: its spec.suspend is set already, by somebody else", isNotHeld: true},
		"cancelled by its user":          {kind: "PipelineRun", spec: `{"status":"Cancelled"}`, want: "not held: its spec.status is set already, by somebody else", isNotHeld: true},
		"managed by another controller":  {kind: "TrainJob", spec: `{"managedBy":"kueue.x-k8s.io/multikueue"}`, want: "not held: it is managed by kueue.x-k8s.io/multikueue", isNotHeld: true},
		"refused by its engine":          {kind: "RayJob", spec: `{}`, want: "not held: KubeRay suspends only a RayJob with spec.shutdownAfterJobFinishes: true", isNotHeld: true},
		"of an owner that starts it":     {kind: "TaskRun", spec: `{}`, meta: metav1.ObjectMeta{OwnerReferences: owner("tekton.dev/v1", "PipelineRun")}, want: "not held: its PipelineRun decides when it starts: annotate the PipelineRun instead", isNotHeld: true},
		"of an owner that writes it":     {kind: "JobSet", spec: `{}`, meta: metav1.ObjectMeta{OwnerReferences: owner("trainer.kubeflow.org/v1alpha1", "TrainJob")}, want: "not held: its TrainJob decides when it starts: annotate the TrainJob instead", isNotHeld: true},
		"of an owner that is held":       {kind: "JobSet", spec: `{"suspend":true}`, meta: metav1.ObjectMeta{OwnerReferences: owner("trainer.kubeflow.org/v1alpha1", "TrainJob")}, piece: Piece{Kind: "TrainJob", Name: "o", IsDecided: true}, want: "its TrainJob o was decided on as a whole"},
		"of an owner that runs":          {kind: "RayJob", spec: `{}`, meta: metav1.ObjectMeta{OwnerReferences: owner("argoproj.io/v1alpha1", "Workflow")}, piece: Piece{Kind: "Workflow", Name: "o", Runs: true}, want: "its Workflow o runs already"},
		"without the rights":             {kind: "JobSet", spec: `{}`, cannot: "Gridlatch has no right to release a JobSet", want: "not held: Gridlatch has no right to release a JobSet", isNotHeld: true},
		"with less time than it takes":   {kind: "Workflow", spec: `{"activeDeadlineSeconds":3600}`, want: "not held: its spec.activeDeadlineSeconds of 3600 s leaves it no time to wait", isNotHeld: true},
		"with a limit that is no number": {kind: "Workflow", spec: `{"activeDeadlineSeconds":0}`, want: "not held: its spec.activeDeadlineSeconds of 0 s leaves it no time to wait", isNotHeld: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := dirtyNow(t)
			w.Piece = func(string, metav1.Object) Piece { return tt.piece }
			w.CanHold = func(schema.GroupKind) string { return tt.cannot }
			tt.meta.Annotations = tolerant(nil)
			given := wholeOf(tt.kind, tt.spec, tt.meta)
			o := passed(t, w, tt.kind, given)
			a := o.GetAnnotations()
			if a[v1alpha1.ReasonAnnotation] != tt.want || (a[v1alpha1.OutcomeAnnotation] == v1alpha1.OutcomeNotHeld) != tt.isNotHeld || a[v1alpha1.HeldByAnnotation] != "" ||
				o.GetLabels()[v1alpha1.StateLabel] != v1alpha1.StateReleased {
				t.Errorf("labels %v, annotations %v", o.GetLabels(), a)
			}
			before, _, _ := unstructured.NestedFieldNoCopy(given, "spec")
			if after, _, _ := unstructured.NestedFieldNoCopy(o.Object, "spec"); !sameJSON(before, after) {
				t.Errorf("its spec has changed: %v, was %v", after, before)
			}
		})
	}
}

func sameJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func TestATimeLimitLimitsTheWait(t *testing.T) {
	for name, tt := range map[string]struct {
		annotations map[string]string
		want        string
	}{
		"without a deadline": {nil, "2026-11-21T15:47:00Z"}, // five hours, less one to run, and some to start
		"with a later one":   {map[string]string{v1alpha1.DeadlineAnnotation: "20h"}, "2026-11-21T15:47:00Z"},
		"with an earlier":    {map[string]string{v1alpha1.DeadlineAnnotation: "4h"}, "2026-11-21T14:57:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := json.Marshal(wholeOf("Workflow", `{"activeDeadlineSeconds":18000}`, metav1.ObjectMeta{Annotations: tolerant(tt.annotations)}))
			if err != nil {
				t.Fatal(err)
			}
			after, response := admit(t, dirtyNow(t), "Workflow", raw)
			var o unstructured.Unstructured
			if err := json.Unmarshal(after, &o.Object); err != nil {
				t.Fatal(err)
			}
			if got := o.GetAnnotations()[v1alpha1.LatestStartAnnotation]; got != tt.want {
				t.Errorf("the latest start is %s, want %s", got, tt.want)
			}
			if len(response.Warnings) != 1 || !strings.Contains(response.Warnings[0], "Argo Workflows gives up on this work 5h after its creation") {
				t.Errorf("warned of %q", response.Warnings)
			}
		})
	}
}

func TestAnObjectInAQueueIsHeldThere(t *testing.T) {
	queued := map[string]string{hold.KueueQueueLabel: "team"}
	for name, tt := range map[string]struct {
		kind, spec string
		closed     bool
		by, gates  string
	}{
		"which Kueue has closed":       {"JobSet", `{"suspend":true}`, true, v1alpha1.HoldByKueue, v1alpha1.Gate},
		"which Kueue is yet to close":  {"MPIJob", `{}`, false, v1alpha1.HoldByKueue, v1alpha1.Gate},
		"of which Kueue knows nothing": {"Workflow", `{}`, true, v1alpha1.HoldBySuspend, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := passed(t, dirtyNow(t), tt.kind, wholeOf(tt.kind, tt.spec, metav1.ObjectMeta{Labels: queued, Annotations: tolerant(nil)}))
			a := o.GetAnnotations()
			if doorNamed(tt.kind).IsClosed(o.Object) != tt.closed || a[v1alpha1.HeldByAnnotation] != tt.by || a[hold.KueueGatesAnnotation] != tt.gates ||
				o.GetLabels()[v1alpha1.StateLabel] != v1alpha1.StateHeld {
				t.Errorf("%v", o.Object)
			}
		})
	}
}

func TestAnObjectOfOtherTypesPassesUnchanged(t *testing.T) {
	for spec, want := range map[string]string{
		`{"suspend":"yes"}`:               "not held: spec.suspend: want a bool",
		`{"managedBy":7}`:                 "not held: spec.managedBy: want a string",
		`[]`:                              "not held: decode a JobSet: spec: want {, not [",
		`{"suspend":{"a":[1,2]},"x":"y"}`: "not held: spec.suspend: want a bool",
	} {
		raw := []byte(`{"metadata":{` + wish + `},"spec":` + spec + `}`)
		_, response := admit(t, dirtyNow(t), "JobSet", raw)
		if !response.Allowed || len(response.Patch) > 0 || len(response.Warnings) != 1 || response.Warnings[0] != want {
			t.Errorf("%s: %+v, want %q", spec, response, want)
		}
	}
}

func TestAnObjectWithoutAWishLosesOurMarks(t *testing.T) {
	given, want := forged(), metav1.ObjectMeta{Labels: map[string]string{"app": "x"}, Annotations: map[string]string{"note": "y", v1alpha1.DurationAnnotation: "1h"}}
	expectAdmitted(t, "JobSet", wholeOf("JobSet", `{"suspend":true}`, given), wholeOf("JobSet", `{"suspend":true}`, want))
}

func TestADoorKindIsNotHeldByGates(t *testing.T) {
	raw := []byte(`{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":"true","gridlatch.dev/hold":"gate"}},"spec":{}}`)
	_, response := admit(t, dirtyNow(t), "JobSet", raw)
	if response.Allowed || !strings.Contains(response.Result.Message, `metadata.annotations[gridlatch.dev/hold]: Invalid value: "gate": a JobSet is held as a whole`) {
		t.Errorf("%+v", response)
	}
}
