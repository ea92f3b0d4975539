package webhook

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating"
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

// stored is an object of a kind with a door as the API server has it.
func stored(kind, name, uid, state string, closed bool, owners ...metav1.OwnerReference) *unstructured.Unstructured {
	d := doorNamed(kind)
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{}}}
	o.SetGroupVersionKind(d.Kind)
	o.SetNamespace("default")
	o.SetName(name)
	o.SetUID(types.UID(uid))
	o.SetOwnerReferences(owners)
	o.SetLabels(map[string]string{v1alpha1.StateLabel: state})
	annotations := tolerant(map[string]string{v1alpha1.LatestStartAnnotation: t0.Add(5 * time.Hour).Format(time.RFC3339)})
	if closed {
		annotations[v1alpha1.HeldByAnnotation] = v1alpha1.HoldBySuspend
		_ = unstructured.SetNestedField(o.Object, d.Closed, d.Field...)
	}
	o.SetAnnotations(annotations)
	return o
}

// ownedBy is the reference to the controller "o" of a kind with a door.
func ownedBy(kind string) []metav1.OwnerReference {
	d := doorNamed(kind)
	return []metav1.OwnerReference{{APIVersion: d.Kind.GroupVersion().String(), Kind: kind, Name: "o", UID: "1", Controller: ptr.To(true)}}
}

func TestWhyAnObjectIsNotHeldWhole(t *testing.T) {
	for name, tt := range map[string]struct {
		kind, spec string
		meta       metav1.ObjectMeta
		known      []runtime.Object
		unable     string
		want       string // the reason
		isNotHeld  bool
	}{
		"suspended by its user": {kind: "JobSet", spec: `{"suspend":true}`, want: "not held: its spec.suspend was closed by its user, who must also open it", isNotHeld: true},
		"cancelled by its user": {kind: "PipelineRun", spec: `{"status":"Cancelled"}`, want: "not held: its spec.status was closed by its user, who must also open it", isNotHeld: true},
		"managed by another controller": {
			kind: "TrainJob", spec: `{"managedBy":"kueue.x-k8s.io/multikueue"}`, want: "not held: it is managed by kueue.x-k8s.io/multikueue", isNotHeld: true,
		},
		"refused by its engine": {kind: "RayJob", spec: `{}`, want: "not held: KubeRay suspends only a RayJob with spec.shutdownAfterJobFinishes: true", isNotHeld: true},
		"of an owner that starts it": {
			kind: "TaskRun", spec: `{}`, meta: metav1.ObjectMeta{OwnerReferences: ownedBy("PipelineRun")},
			want: "its PipelineRun decides when the work starts",
		},
		"of an owner that writes its door": {
			kind: "JobSet", spec: `{}`, meta: metav1.ObjectMeta{OwnerReferences: ownedBy("TrainJob")},
			want: "not held: its TrainJob decides when it starts: annotate the TrainJob instead", isNotHeld: true,
		},
		"of an owner that is held": {
			kind: "JobSet", spec: `{"suspend":true}`, meta: metav1.ObjectMeta{OwnerReferences: ownedBy("TrainJob")},
			known: []runtime.Object{stored("TrainJob", "o", "1", v1alpha1.StateHeld, true)}, want: "its TrainJob o decides when the work starts",
		},
		"of an owner that runs": {
			kind: "RayJob", spec: `{}`, meta: metav1.ObjectMeta{OwnerReferences: ownedBy("Workflow")},
			known: []runtime.Object{stored("Workflow", "o", "1", v1alpha1.StateReleased, false)}, want: "its Workflow o has been released already",
		},
		"beside another that runs": {
			kind: "RayJob", spec: specToHold("RayJob"), meta: metav1.ObjectMeta{OwnerReferences: ownedBy("Workflow")},
			known: []runtime.Object{stored("RayJob", "first", "2", v1alpha1.StateReleased, false, ownedBy("Workflow")...)}, want: "its Workflow o runs already",
		},
		"where nobody could release it": {kind: "JobSet", spec: `{}`, unable: "nobody is there", want: "not held: nobody is there", isNotHeld: true},
		"with less time than it takes":  {kind: "Workflow", spec: `{"activeDeadlineSeconds":3600}`, want: "not held: its spec.activeDeadlineSeconds of 3600 s leaves it no time to wait", isNotHeld: true},
		"with no time at all":           {kind: "Workflow", spec: `{"activeDeadlineSeconds":0}`, want: "not held: its spec.activeDeadlineSeconds of 0 s leaves it no time to wait", isNotHeld: true},
		"in a queue, while somebody waits for it": {
			kind: "RayJob", spec: `{"shutdownAfterJobFinishes":true,"submissionMode":"InteractiveMode"}`, meta: metav1.ObjectMeta{Labels: map[string]string{hold.KueueQueueLabel: "team"}},
			want: "not held: its spec.submissionMode is InteractiveMode, so that somebody waits for it", isNotHeld: true,
		},
		"of a tool that never waits": {
			kind: "JobSet", spec: `{}`, meta: metav1.ObjectMeta{Labels: map[string]string{"runner-pod": "x"}},
			want: "not held: its GitHub runner runs already, and fails if the pod does not start soon", isNotHeld: true,
		},
		"with locks that others wait for": {kind: "Workflow", spec: `{"synchronization":{}}`, want: "not held: it would keep the locks of its spec.synchronization while it waits", isNotHeld: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := dirtyNow(t)
			w.Records, w.WhyUnable = recordsOf(t, tt.known...), func(string, string) string { return tt.unable }
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

func TestAKindThatGridlatchCannotReleaseIsNotHeld(t *testing.T) {
	w := dirtyNow(t)
	w.Records = &gating.Records{}
	o := passed(t, w, "JobSet", wholeOf("JobSet", `{}`, metav1.ObjectMeta{Annotations: tolerant(nil)}))
	if reason := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; doorNamed("JobSet").IsSet(o.Object) || !strings.HasPrefix(reason, notHeld+"Gridlatch ") {
		t.Errorf("%v", o.Object)
	}
}

func TestANewMemberWaitsNoLongerThanTheOthers(t *testing.T) {
	w := dirtyNow(t)
	waiting := stored("RayJob", "first", "2", v1alpha1.StateHeld, true, ownedBy("Workflow")...)
	w.Records = recordsOf(t, waiting)
	meta := metav1.ObjectMeta{OwnerReferences: ownedBy("Workflow"), Annotations: tolerant(map[string]string{v1alpha1.DeadlineAnnotation: "20h"})}
	for kind, object := range map[string]any{"RayJob": wholeOf("RayJob", specToHold("RayJob"), meta), "Job": batchv1.Job{ObjectMeta: meta}} {
		o := passed(t, w, kind, object)
		if o.GetLabels()[v1alpha1.StateLabel] != v1alpha1.StateHeld || o.GetAnnotations()[v1alpha1.LatestStartAnnotation] != waiting.GetAnnotations()[v1alpha1.LatestStartAnnotation] {
			t.Errorf("a %s: %v", kind, o.Object)
		}
	}
}

func TestJobsOfOtherKinds(t *testing.T) {
	const held, released = v1alpha1.StateHeld, v1alpha1.StateReleased
	bySuspend := tolerant(map[string]string{v1alpha1.HoldAnnotation: v1alpha1.HoldBySuspend})
	limited := batchv1.JobSpec{ActiveDeadlineSeconds: ptr.To(int64(60))}
	restarted := map[string]string{door.RestartLabel: "1"}
	for name, tt := range map[string]struct {
		owner       string
		annotations map[string]string
		labels      map[string]string
		spec        batchv1.JobSpec
		known       []runtime.Object
		state       string
		reason      string // its beginning
	}{
		"of a JobSet, by their gates":    {owner: "JobSet", annotations: tolerant(nil), state: held, reason: "waits until"},
		"of a JobSet, to be suspended":   {owner: "JobSet", annotations: bySuspend, state: released, reason: "not held: its JobSet writes its spec.suspend: annotate the JobSet instead"},
		"of a JobSet, with a clock":      {owner: "JobSet", annotations: tolerant(nil), spec: limited, state: released, reason: "not held: its JobSet writes its spec.suspend: annotate the JobSet instead"},
		"of a JobSet that is held":       {owner: "JobSet", annotations: bySuspend, spec: batchv1.JobSpec{Suspend: ptr.To(true)}, known: []runtime.Object{stored("JobSet", "o", "1", held, true)}, state: released, reason: "its JobSet o decides when the work starts"},
		"of a JobSet that was released":  {owner: "JobSet", annotations: tolerant(nil), known: []runtime.Object{stored("JobSet", "o", "1", released, false)}, state: released, reason: "its JobSet o has been released already"},
		"of a JobSet that restarts":      {owner: "JobSet", annotations: tolerant(nil), labels: restarted, state: released, reason: "its JobSet o restarts"},
		"of a JobSet that is suspended":  {owner: "JobSet", annotations: tolerant(nil), spec: batchv1.JobSpec{Suspend: ptr.To(true)}, state: held, reason: "waits for its JobSet to resume it"},
		"of an MPIJob, which launch it":  {owner: "MPIJob", annotations: tolerant(nil), state: released, reason: "not held: its MPIJob runs other pods, which would wait for it: annotate the MPIJob instead"},
		"of a RayJob, which submit it":   {owner: "RayJob", annotations: tolerant(nil), state: released, reason: "not held: its RayJob runs other pods, which would wait for it: annotate the RayJob instead"},
		"of a Workflow, to be suspended": {owner: "Workflow", annotations: bySuspend, state: held, reason: "waits until"},
	} {
		t.Run(name, func(t *testing.T) {
			w := dirtyNow(t)
			w.Records = recordsOf(t, tt.known...)
			job := admitJob(t, w, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{OwnerReferences: ownedBy(tt.owner), Labels: tt.labels, Annotations: tt.annotations}, Spec: tt.spec})
			if job.Labels[v1alpha1.StateLabel] != tt.state || !strings.HasPrefix(job.Annotations[v1alpha1.ReasonAnnotation], tt.reason) {
				t.Errorf("%v, %v", job.Labels, job.Annotations)
			}
			mayClose := tt.owner == "Workflow"
			if got, want := ptr.Deref(job.Spec.Suspend, false), ptr.Deref(tt.spec.Suspend, mayClose); got != want {
				t.Errorf("suspended: %t, want %t", got, want)
			}
		})
	}
}

func sameJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func TestTheTighterOfTwoTimeLimitsLimitsTheWait(t *testing.T) {
	for name, tt := range map[string]struct {
		spec, mark  string
		annotations map[string]string
		want        string // the latest start; empty if the object starts at once
		reason      string // a part of it
	}{
		"of a hook of Helm":                       {`{}`, "helm.sh/hook", nil, "", "its latest start has come"},
		"of a hook whose limit is raised":         {`{}`, "helm.sh/hook", map[string]string{v1alpha1.DeadlineAnnotation: "20h"}, "2026-11-22T06:57:00Z", ""},
		"of a hook, not its own":                  {`{"activeDeadlineSeconds":72000}`, "helm.sh/hook", nil, "", "its latest start has come"},
		"its own, not that of a runner":           {`{"activeDeadlineSeconds":18000}`, "actions-ephemeral-runner", nil, "2026-11-21T15:47:00Z", ""},
		"neither, if the deadline itself is near": {`{"activeDeadlineSeconds":60}`, "app", map[string]string{v1alpha1.DeadlineAnnotation: "1m"}, "", "its latest start has come"},
	} {
		t.Run(name, func(t *testing.T) {
			o := passed(t, dirtyNow(t), "Workflow", wholeOf("Workflow", tt.spec, metav1.ObjectMeta{Labels: map[string]string{tt.mark: "x"}, Annotations: tolerant(tt.annotations)}))
			a := o.GetAnnotations()
			if a[v1alpha1.LatestStartAnnotation] != tt.want || tt.want == "" && (!strings.Contains(a[v1alpha1.ReasonAnnotation], tt.reason) || a[v1alpha1.OutcomeAnnotation] != "") {
				t.Errorf("%v", a)
			}
		})
	}
}

func TestADoorWithoutAnOpenValueIsOpenedByRemoval(t *testing.T) {
	for spec, want := range map[string]string{`{"status":"PipelineRunPending"}`: `[{"op":"remove","path":"/spec/status"}]`, `{}`: `null`} {
		d := doorNamed("PipelineRun")
		o, err := readWhole([]byte(`{"spec":`+spec+`}`), d)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(o.setAt(d.Field, d.Open).json()); got != want {
			t.Errorf("%s: %s, want %s", spec, got, want)
		}
	}
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
			if len(response.Warnings) != 1 || !strings.Contains(response.Warnings[0], "Argo Workflows ends this work 5h after its creation, even if the work has waited") {
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
	if response.Allowed || !strings.Contains(response.Result.Message, `metadata.annotations[gridlatch.dev/hold]: Invalid value: "gate": a JobSet is always held as a whole: remove this annotation, or write "suspend"`) {
		t.Errorf("%+v", response)
	}
}
