package hold

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// refusal reports whether an error tells of an object, rather than of the API server:
// an admission policy, a webhook or the validation will not have it written like
// this. To try again at once is of no use then.
func IsRefusal(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsTooManyRequests(err) {
		return false
	}
	code := status.Status().Code
	return code >= http.StatusBadRequest && code < http.StatusInternalServerError && code != http.StatusRequestTimeout ||
		strings.Contains(err.Error(), "failed calling webhook")
}

// writes are the ways to let a pod or Job go. An admission policy may refuse what we
// note on an object, and an object may have no room for it: neither is to hold it.
type ReleasePatches struct {
	Full client.Patch
	// least lets go, and says nothing; nil if it is not to be tried.
	Minimal client.Patch
	// notes say what least does not, from much to little.
	Notes []client.Patch
}

// apply lets an object go by the first of its writes that is not refused, and reports
// whether the object says so. If it was refused before, the least alone is tried, which
// is one request.
func (w ReleasePatches) Apply(again bool, write func(client.Patch) error) (noted bool, err error) {
	if !again {
		if err := write(w.Full); w.Minimal == nil || !IsRefusal(err) {
			return true, err
		}
	}
	if err := write(w.Minimal); err != nil {
		return false, err
	}
	for _, note := range w.Notes {
		if err := write(note); !IsRefusal(err) {
			return err == nil, nil // it is let go, and that is what counts
		}
	}
	return false, nil
}

// podWrites take our gate off a pod, and say why.
func (r ReleaseNote) PodPatches(pod metav1.Object) ReleasePatches {
	ungated := object{Metadata: objectMeta{UID: pod.GetUID()}, Spec: &podSpec{SchedulingGates: []dropGate{{Patch: "delete", Name: v1alpha1.Gate}}}}
	return ReleasePatches{
		Full:    r.podPatch(pod),
		Minimal: ungated.patch(types.StrategicMergePatchType),
		Notes:   []client.Patch{r.noting(pod).patch(types.MergePatchType), r.briefPatch(pod), labelPatch(pod)},
	}
}

// jobWrites let a Job go by what holds it, and record that its pods are released.
func (r ReleaseNote) JobPatches(job metav1.Object) ReleasePatches {
	if job.GetAnnotations()[v1alpha1.HeldByAnnotation] == "" { // the record is what lets go
		return ReleasePatches{Full: r.RecordPatch(job), Minimal: labelPatch(job), Notes: []client.Patch{r.RecordPatch(job), r.briefPatch(job)}}
	}
	return ReleasePatches{
		Full:    r.resumePatch(job),
		Minimal: bareResumePatch(job),
		Notes:   []client.Patch{r.RecordPatch(job), r.briefPatch(job), labelPatch(job)},
	}
}

// brief says when something was let go. It takes less room than what was there before.
func (r ReleaseNote) briefPatch(o metav1.Object) client.Patch {
	started := policy.Stamp(r.At)
	return object{Metadata: objectMeta{
		UID: o.GetUID(), Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased},
		Annotations: map[string]*string{v1alpha1.StartedAnnotation: &started, v1alpha1.ReasonAnnotation: nil, v1alpha1.PlannedStartAnnotation: nil, v1alpha1.HeldByAnnotation: nil},
	}}.patch(types.MergePatchType)
}

// labelled says that something is let go, and changes no annotation.
func labelPatch(o metav1.Object) client.Patch {
	return object{Metadata: objectMeta{UID: o.GetUID(), Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}}}.patch(types.MergePatchType)
}

// resuming lets a Job go that is held whole, and records nothing. It fails as invalid
// if the Job is not as the cache knows it.
func bareResumePatch(job metav1.Object) client.Patch {
	return jsonPatch(slices.Concat(holdTests(job), resumeChanges(job)))
}
