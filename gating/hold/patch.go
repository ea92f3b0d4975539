package hold

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// object is the part of a pod or Job that a patch of ours may name. The UID
// makes it fail on another object of the same name.
type object struct {
	Metadata objectMeta `json:"metadata"`
	Spec     *podSpec   `json:"spec,omitempty"`
}

type objectMeta struct {
	UID types.UID `json:"uid,omitempty"`
	// ResourceVersion makes the patch fail on an object that has changed.
	ResourceVersion string             `json:"resourceVersion,omitempty"`
	Labels          map[string]string  `json:"labels,omitempty"`
	Annotations     map[string]*string `json:"annotations,omitempty"`
}

type podSpec struct {
	SchedulingGates []dropGate       `json:"schedulingGates"`
	Affinity        *corev1.Affinity `json:"affinity,omitempty"`
}

// dropGate deletes the one entry of that name from a list; other gates are
// not touched.
type dropGate struct {
	Patch string `json:"$patch"`
	Name  string `json:"name"`
}

// A release is what is recorded of one.
type ReleaseNote struct {
	Reason   string
	At       time.Time
	IsTaken  bool   // a Job that somebody else has let go
	Location string // the location; empty where there is nothing to choose
	// template has the pods of a Job that is held whole know the location as they
	// are created, before any cache has seen the release.
	MarksTemplate bool
}

// pod takes our gate off a pod, and says why.
func (r ReleaseNote) podPatch(pod metav1.Object) client.Patch {
	return r.ungating(pod).patch(types.StrategicMergePatchType)
}

// preferring is r.pod with a preference for nodes beside those that the pod has
// as it was read: the list can be replaced as a whole only. It fails with a
// conflict if the pod has changed since.
func (r ReleaseNote) PreferencePatch(pod *corev1.Pod, term corev1.PreferredSchedulingTerm) client.Patch {
	patch := r.ungating(pod)
	if !policy.Prefers(&pod.Spec, term) {
		patch.Metadata.ResourceVersion = pod.ResourceVersion
		patch.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: append(slices.Clip(policy.Preferred(&pod.Spec)), term),
		}}
	}
	return patch.patch(types.StrategicMergePatchType)
}

func (r ReleaseNote) ungating(pod metav1.Object) object {
	patch := r.noting(pod)
	patch.Spec = &podSpec{SchedulingGates: []dropGate{{Patch: "delete", Name: v1alpha1.Gate}}}
	return patch
}

// record records that a Job's pods are released, and changes nothing else.
func (r ReleaseNote) RecordPatch(job metav1.Object) client.Patch {
	patch := r.noting(job)
	patch.Metadata.Annotations[v1alpha1.HeldByAnnotation] = nil
	return patch.patch(types.MergePatchType)
}

func (r ReleaseNote) noting(o metav1.Object) object {
	started := policy.Stamp(r.At)
	patch := object{Metadata: objectMeta{
		UID:         o.GetUID(),
		Labels:      map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased},
		Annotations: map[string]*string{v1alpha1.ReasonAnnotation: &r.Reason, v1alpha1.StartedAnnotation: &started, v1alpha1.PlannedStartAnnotation: nil},
	}}
	if r.Location != "" {
		patch.Metadata.Annotations[v1alpha1.PlannedLocationAnnotation] = &r.Location
	}
	if r.IsTaken {
		taken := v1alpha1.OutcomeTaken
		patch.Metadata.Annotations[v1alpha1.OutcomeAnnotation] = &taken
	}
	return patch
}

// explain writes notes on a pod or Job.
func NotesPatch(o metav1.Object, notes map[string]string) client.Patch {
	annotations := make(map[string]*string, len(notes))
	for key, value := range notes {
		annotations[key] = &value
	}
	return object{Metadata: objectMeta{UID: o.GetUID(), Annotations: annotations}}.patch(types.MergePatchType)
}

// adopt makes a pod or Job that we hold known as held.
func AdoptPatch(o metav1.Object) client.Patch {
	return object{Metadata: objectMeta{
		UID:    o.GetUID(),
		Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld},
	}}.patch(types.MergePatchType)
}

// suspendJob holds a Job that exists already, unless it has changed since it was
// read.
func suspendPatch(job *batchv1.Job, annotations map[string]string) client.Patch {
	data, _ := json.Marshal(map[string]any{ // of strings and booleans alone: no error is possible
		"metadata": map[string]any{
			"uid": job.UID, "resourceVersion": job.ResourceVersion,
			"labels": map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}, "annotations": annotations,
		},
		"spec": map[string]any{"suspend": true},
	})
	return client.RawPatch(types.MergePatchType, data)
}

func (o object) patch(kind types.PatchType) client.Patch {
	data, _ := json.Marshal(o) // of strings alone: no error is possible
	return client.RawPatch(kind, data)
}

// A change is an operation of a JSON patch (RFC 6902).
type change struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// resume lets a suspended Job, or one that its queue holds for us, go, and
// records that. It fails as invalid if the Job is not as the cache knows it: if
// somebody else has resumed it, say.
func (r ReleaseNote) resumePatch(job metav1.Object) client.Patch {
	changes := slices.Concat(holdTests(job), resumeChanges(job), []change{
		{"remove", annotationPath(v1alpha1.HeldByAnnotation), nil},
		{"add", "/metadata/labels/" + escapePointer(v1alpha1.StateLabel), v1alpha1.StateReleased},
		{"add", annotationPath(v1alpha1.ReasonAnnotation), r.Reason},
		{"add", annotationPath(v1alpha1.StartedAnnotation), policy.Stamp(r.At)},
	})
	if r.Location != "" {
		changes = append(changes, change{"add", annotationPath(v1alpha1.PlannedLocationAnnotation), r.Location})
	}
	if r.Location != "" && r.MarksTemplate {
		changes = append(changes, change{"add", "/spec/template" + annotationPath(v1alpha1.PlannedLocationAnnotation), r.Location})
	}
	if _, ok := job.GetAnnotations()[v1alpha1.PlannedStartAnnotation]; ok {
		changes = append(changes, change{"remove", annotationPath(v1alpha1.PlannedStartAnnotation), nil})
	}
	return jsonPatch(changes)
}

func jsonPatch(changes []change) client.Patch {
	data, _ := json.Marshal(changes) // of strings and booleans alone: no error is possible
	return client.RawPatch(types.JSONPatchType, data)
}

// known tests that a Job is the one that the cache knows, and held as that says.
func holdTests(job metav1.Object) []change {
	return []change{{"test", "/metadata/uid", job.GetUID()}, {"test", annotationPath(v1alpha1.HeldByAnnotation), job.GetAnnotations()[v1alpha1.HeldByAnnotation]}}
}

// leave takes a Job out of what holds it.
func resumeChanges(job metav1.Object) []change {
	if job.GetAnnotations()[v1alpha1.HeldByAnnotation] == v1alpha1.HoldBySuspend {
		return []change{{"test", "/spec/suspend", true}, {"replace", "/spec/suspend", false}}
	}
	return kueueGateRemoval(job.GetAnnotations()[KueueGatesAnnotation])
}

// JoinQueue adds our gate to those that Kueue waits for.
func AddKueueGate(gates string) string {
	if strings.TrimSpace(gates) == "" {
		return v1alpha1.Gate
	}
	return gates + "," + v1alpha1.Gate
}

// LeaveQueue takes our gate off those that Kueue waits for.
func RemoveKueueGate(gates string) string {
	others := slices.DeleteFunc(strings.Split(gates, ","), func(gate string) bool { return strings.TrimSpace(gate) == v1alpha1.Gate })
	return strings.Join(others, ",")
}

// leaveQueue is LeaveQueue on a Job that is in the queue as we know it.
func kueueGateRemoval(gates string) []change {
	known := change{"test", annotationPath(KueueGatesAnnotation), gates}
	if others := RemoveKueueGate(gates); others != "" {
		return []change{known, {"replace", annotationPath(KueueGatesAnnotation), others}}
	}
	return []change{known, {"remove", annotationPath(KueueGatesAnnotation), nil}}
}

func annotationPath(key string) string { return "/metadata/annotations/" + escapePointer(key) }

// escape makes a key part of a JSON pointer (RFC 6901).
func escapePointer(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
