package hold

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/policy"
)

// ReleaseNote says what is written on an object as it is released.
type ReleaseNote struct {
	Reason string
	At     time.Time
	// Outcome is written as OutcomeAnnotation: OutcomeTaken if somebody else has released the owner,
	// and OutcomeNotHeld if the work turned out not to be held. It is empty for a release of ours.
	Outcome string
	// Location is where the work is to run; empty where there is no choice.
	Location string
	// MarksTemplate writes Location into the template of a Job that is held itself. So its pods
	// have the location from the start, before any cache has seen the release.
	MarksTemplate bool
}

// ReleasePatches are the patches that release a pod or Job, from much to little. An admission
// policy may refuse what we note on an object, and an object may be too large for a note. Neither
// keeps the object held.
type ReleasePatches struct {
	// Full releases the object and notes why.
	Full client.Patch
	// Minimal releases the object and notes nothing; nil if it is not to be tried.
	Minimal client.Patch
	// Notes write what Minimal does not, from much to little.
	Notes []client.Patch
}

// Apply releases an object by the first patch that is not refused, and reports whether the object
// notes the release. With minimal, Full is not tried: it was refused before.
func (p ReleasePatches) Apply(minimal bool, write func(client.Patch) error) (noted bool, err error) {
	if !minimal {
		if err := write(p.Full); p.Minimal == nil || !IsRefusal(err) {
			return true, err
		}
	}
	if err := write(p.Minimal); err != nil {
		return false, err
	}
	for _, note := range p.Notes {
		if err := write(note); !IsRefusal(err) {
			return err == nil, nil // the object is released, with its note or without
		}
	}
	return false, nil
}

// IsRefusal reports whether the API server refuses an object as it was written, by validation, an
// admission policy or a webhook. The same request would be refused again.
func IsRefusal(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsTooManyRequests(err) {
		return false
	}
	code := status.Status().Code
	return code >= http.StatusBadRequest && code < http.StatusInternalServerError && code != http.StatusRequestTimeout ||
		strings.Contains(err.Error(), "failed calling webhook") // by nothing else is it told from other internal errors
}

// PodPatches release a pod by taking our gate off.
func (r ReleaseNote) PodPatches(pod metav1.Object) ReleasePatches {
	ungated := object{Metadata: objectMeta{UID: pod.GetUID(), Annotations: map[string]*string{}}, Spec: withoutGate()}
	ungated.leaveQueue(pod)
	return ReleasePatches{
		Full:    r.ungating(pod).patch(types.StrategicMergePatchType),
		Minimal: ungated.patch(types.StrategicMergePatchType),
		Notes:   []client.Patch{r.noting(pod).patch(types.MergePatchType), r.briefPatch(pod), labelPatch(pod)},
	}
}

// OwnerPatches release a Job, or an object of another kind that is held whole. An object that is not
// held itself is released by its label.
func (r ReleaseNote) OwnerPatches(owner metav1.Object, kind schema.GroupKind) ReleasePatches {
	if HeldBy(owner.GetAnnotations()) == "" {
		return r.RecordPatches(owner)
	}
	opening := slices.Concat(holdTests(owner), openingChanges(owner, doorOf(kind)))
	return ReleasePatches{
		Full:    jsonPatch(slices.Concat(opening, r.noteChanges(owner, kind))),
		Minimal: jsonPatch(opening),
		Notes:   []client.Patch{r.RecordPatch(owner), r.briefPatch(owner), labelPatch(owner)},
	}
}

// RecordPatches record that the pods of an owner are released, as RecordPatch does. Minimal makes an
// owner that waits at its queue no longer wait there for Gridlatch, or writes the label.
func (r ReleaseNote) RecordPatches(owner metav1.Object) ReleasePatches {
	patches := ReleasePatches{Full: r.RecordPatch(owner), Minimal: labelPatch(owner), Notes: []client.Patch{r.RecordPatch(owner), r.briefPatch(owner)}}
	if gates := owner.GetAnnotations()[KueueGatesAnnotation]; hasKueueGate(gates) {
		patches.Minimal = jsonPatch(append(holdTests(owner), kueueGateRemoval(gates)...))
		patches.Notes = append(patches.Notes, labelPatch(owner))
	}
	return patches
}

// RecordPatch records that the pods of an owner are released, and leaves its door. An owner that waits
// at its queue no longer waits there for Gridlatch.
func (r ReleaseNote) RecordPatch(owner metav1.Object) client.Patch {
	patch := r.noting(owner)
	patch.Metadata.Annotations[v1alpha1.HeldByAnnotation] = nil
	return patch.patch(types.MergePatchType)
}

// PreferencePatch releases a pod and adds a preference for nodes to the preferences that the pod
// has. A patch can only replace the whole list, so it fails with a conflict if the pod has changed
// since it was read.
func (r ReleaseNote) PreferencePatch(pod *corev1.Pod, term corev1.PreferredSchedulingTerm) client.Patch {
	patch := r.ungating(pod)
	if !policy.HasPreference(&pod.Spec, term) {
		patch.Metadata.ResourceVersion = pod.ResourceVersion
		patch.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: append(slices.Clip(policy.Preferences(&pod.Spec)), term),
		}}
	}
	return patch.patch(types.StrategicMergePatchType)
}

// noteChanges note the release on an owner that is held itself.
func (r ReleaseNote) noteChanges(owner metav1.Object, kind schema.GroupKind) []change {
	changes := []change{
		{"add", "/metadata/labels/" + escapePointer(v1alpha1.StateLabel), v1alpha1.StateReleased},
		{"add", annotationPath(v1alpha1.ReasonAnnotation), r.Reason},
		{"add", annotationPath(v1alpha1.StartedAnnotation), policy.FormatTime(r.At)},
	}
	if r.Location != "" {
		changes = append(changes, change{"add", annotationPath(v1alpha1.PlannedLocationAnnotation), r.Location})
	}
	if r.Location != "" && r.MarksTemplate && kind == JobKind().GroupKind() {
		changes = append(changes, change{"add", "/spec/template" + annotationPath(v1alpha1.PlannedLocationAnnotation), r.Location})
	}
	gone := []string{v1alpha1.HeldByAnnotation, v1alpha1.PlannedStartAnnotation, v1alpha1.PausedAnnotation}
	if r.Outcome != "" {
		changes = append(changes, change{"add", annotationPath(v1alpha1.OutcomeAnnotation), r.Outcome})
	} else {
		gone = append(gone, v1alpha1.OutcomeAnnotation)
	}
	for _, key := range gone {
		if _, ok := owner.GetAnnotations()[key]; ok {
			changes = append(changes, change{"remove", annotationPath(key), nil})
		}
	}
	return changes
}

// holdTests fail as invalid unless an owner is the one that the cache knows, and is held as the cache
// says. Somebody else may have released it.
func holdTests(owner metav1.Object) []change {
	tests := []change{{"test", "/metadata/uid", owner.GetUID()}}
	if by, isMarked := owner.GetAnnotations()[v1alpha1.HeldByAnnotation]; isMarked {
		tests = append(tests, change{"test", annotationPath(v1alpha1.HeldByAnnotation), by})
	}
	return tests
}

// openingChanges undo what holds an owner itself, and fail as invalid if somebody else has done so.
func openingChanges(owner metav1.Object, by *door.Door) []change {
	var changes []change
	gates := owner.GetAnnotations()[KueueGatesAnnotation]
	if HeldBy(owner.GetAnnotations()) == v1alpha1.HoldBySuspend {
		field := fieldPath(by.Field)
		changes = []change{{"test", field, by.Closed}, {"replace", field, by.Open}}
		if by.Open == nil {
			changes[1] = change{"remove", field, nil}
		}
	}
	if len(changes) == 0 || hasKueueGate(gates) {
		changes = append(changes, kueueGateRemoval(gates)...)
	}
	return changes
}

// leaveQueue makes an object that waits at its queue in Kueue no longer wait for Gridlatch there.
func (o *object) leaveQueue(from metav1.Object) {
	if gates := from.GetAnnotations()[KueueGatesAnnotation]; hasKueueGate(gates) {
		o.Metadata.Annotations[KueueGatesAnnotation] = withoutKueueGate(gates)
	}
}

// endPause makes an object that was paused no longer say so.
func (o *object) endPause(from metav1.Object) {
	if _, ok := from.GetAnnotations()[v1alpha1.PausedAnnotation]; ok {
		o.Metadata.Annotations[v1alpha1.PausedAnnotation] = nil
	}
}

// ungating takes our gate off a pod and notes the release.
func (r ReleaseNote) ungating(pod metav1.Object) object {
	patch := r.noting(pod)
	patch.Spec = withoutGate()
	return patch
}

func withoutGate() *podSpec {
	return &podSpec{SchedulingGates: []dropGate{{Patch: "delete", Name: v1alpha1.Gate}}}
}

// noting writes the note on an object.
func (r ReleaseNote) noting(o metav1.Object) object {
	started := policy.FormatTime(r.At)
	patch := object{Metadata: objectMeta{
		UID:    o.GetUID(),
		Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased},
		Annotations: map[string]*string{
			v1alpha1.ReasonAnnotation: &r.Reason, v1alpha1.StartedAnnotation: &started, v1alpha1.PlannedStartAnnotation: nil,
		},
	}}
	if r.Location != "" {
		patch.Metadata.Annotations[v1alpha1.PlannedLocationAnnotation] = &r.Location
	}
	patch.leaveQueue(o)
	patch.endPause(o)
	if r.Outcome != "" {
		patch.Metadata.Annotations[v1alpha1.OutcomeAnnotation] = &r.Outcome
	} else if hasOutcome(o) {
		patch.Metadata.Annotations[v1alpha1.OutcomeAnnotation] = nil
	}
	return patch
}

// hasOutcome reports whether an object has the outcome of an earlier decision.
func hasOutcome(o metav1.Object) bool {
	_, ok := o.GetAnnotations()[v1alpha1.OutcomeAnnotation]
	return ok
}

// briefPatch notes when an object was released. It makes the object smaller.
func (r ReleaseNote) briefPatch(o metav1.Object) client.Patch {
	started := policy.FormatTime(r.At)
	brief := object{Metadata: objectMeta{
		UID: o.GetUID(), Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased},
		Annotations: map[string]*string{
			v1alpha1.StartedAnnotation: &started, v1alpha1.ReasonAnnotation: nil, v1alpha1.PlannedStartAnnotation: nil, v1alpha1.HeldByAnnotation: nil,
			v1alpha1.OutcomeAnnotation: nil,
		},
	}}
	brief.leaveQueue(o)
	brief.endPause(o)
	return brief.patch(types.MergePatchType)
}

// labelPatch writes the label of released work, and changes no annotation.
func labelPatch(o metav1.Object) client.Patch {
	return object{Metadata: objectMeta{UID: o.GetUID(), Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}}}.patch(types.MergePatchType)
}
