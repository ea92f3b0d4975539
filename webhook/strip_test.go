package webhook

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// forged is what a user may have written as if Gridlatch had, beside what is the
// user's own.
func forged() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Labels: map[string]string{"app": "x", v1alpha1.StateLabel: v1alpha1.StateReleased},
		Annotations: map[string]string{
			"note": "y", v1alpha1.DurationAnnotation: "1h",
			v1alpha1.PlannedStartAnnotation: "z", v1alpha1.LatestStartAnnotation: "2000-01-01T00:00:00Z", v1alpha1.ReasonAnnotation: "z", v1alpha1.IntensityAtCreationAnnotation: "9",
			v1alpha1.HeldByAnnotation: v1alpha1.HoldByGate, v1alpha1.StartedAnnotation: "2099-01-01T00:00:00Z",
			v1alpha1.ExpectedDurationAnnotation: "1s", v1alpha1.DurationSourceAnnotation: "z", v1alpha1.PlannedLocationAnnotation: "z", v1alpha1.CandidateLocationsAnnotation: "z",
		},
	}
}

func TestWhatDoesNotAskToWaitLosesWhatIsNotItsOwn(t *testing.T) {
	own := metav1.ObjectMeta{Labels: map[string]string{"app": "x"}, Annotations: map[string]string{"note": "y", v1alpha1.DurationAnnotation: "1h"}}
	gates := []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}, {Name: "other"}}
	theirs := gates[1:]
	for name, wish := range map[string]map[string]string{"no wish": nil, "the wish not to wait": {v1alpha1.DelayTolerantAnnotation: "false"}} {
		given, want := forged(), *own.DeepCopy()
		maps.Copy(given.Annotations, wish)
		maps.Copy(want.Annotations, wish)
		t.Run("a pod with "+name, func(t *testing.T) {
			expectAdmitted(t, "Pod", corev1.Pod{ObjectMeta: given, Spec: corev1.PodSpec{SchedulingGates: gates}},
				corev1.Pod{ObjectMeta: want, Spec: corev1.PodSpec{SchedulingGates: theirs}})
		})
		t.Run("a Job with "+name, func(t *testing.T) {
			expectAdmitted(t, "Job",
				batchv1.Job{ObjectMeta: given, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: given, Spec: corev1.PodSpec{SchedulingGates: gates}}}},
				batchv1.Job{ObjectMeta: want, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: want, Spec: corev1.PodSpec{SchedulingGates: theirs}}}})
		})
	}
}

func expectAdmitted[T any](t *testing.T, kind string, given, want T) {
	t.Helper()
	raw, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	patched, response := admit(t, dirtyNow(t), kind, raw)
	var got T
	if err := json.Unmarshal(patched, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || !response.Allowed {
		t.Errorf("admitted: %v\n%s", response.Allowed, diff)
	}
}

func TestWhatOnlyWeWriteIsBelievedOfTheJobControllersPodsAlone(t *testing.T) {
	controls := true
	owner := func(apiVersion, kind string) []metav1.OwnerReference {
		return []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: "o", UID: "1", Controller: &controls}}
	}
	for name, tt := range map[string]struct {
		by     string
		owners []metav1.OwnerReference
		want   bool
	}{
		"a pod that the Job controller has made":           {jobController, owner("batch/v1", "Job"), true},
		"one that the controller manager has made for it":  {controllerManager, owner("batch/v1", "Job"), true},
		"one that the controller manager made of others":   {controllerManager, owner("apps/v1", "ReplicaSet"), false},
		"one that says so and that a user has made":        {"tenant", owner("batch/v1", "Job"), false},
		"one of a kind of the same name":                   {jobController, owner("batch.example.com/v1", "Job"), false},
		"one that nobody owns, whoever may have made that": {jobController, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			meta := forged()
			meta.Annotations[v1alpha1.DelayTolerantAnnotation], meta.OwnerReferences = "true", tt.owners
			raw, err := json.Marshal(corev1.Pod{ObjectMeta: meta})
			if err != nil {
				t.Fatal(err)
			}
			req := request("Pod", raw)
			req.Username = tt.by
			patched := apply(t, raw, dirtyNow(t).Handle(t.Context(), req))
			var pod corev1.Pod
			if err := json.Unmarshal(patched, &pod); err != nil {
				t.Fatal(err)
			}
			if believed := pod.Annotations[v1alpha1.StartedAnnotation] != ""; believed != tt.want {
				t.Errorf("believed: %v: %v", believed, pod.Annotations)
			}
		})
	}
}
