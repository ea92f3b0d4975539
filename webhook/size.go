package webhook

import (
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// reservedBytes is the size of the notes that Gridlatch writes later on held work, and on the pods
// of a Job.
const reservedBytes = 2 << 10

// annotationsTooLarge is the reason of work that is valid as it came, and would not be valid with
// Gridlatch's notes.
func annotationsTooLarge() string {
	return fmt.Sprintf("%swith the notes of Gridlatch, its annotations would be larger than %d KiB", notHeld, validation.TotalAnnotationSizeLimitB>>10)
}

// fits reports whether the object may have the annotations in to, and reserved bytes more. An
// object whose annotations were too large as they came also fits: the API server refuses such an
// object.
func (t stringMap) fits(to map[string]string, reserved int) bool {
	const limit = validation.TotalAnnotationSizeLimitB
	return t.size(to)+reserved <= limit || t.size(t.known) > limit
}

// size returns how many bytes the annotations have with these in place of the known ones.
func (t stringMap) size(known map[string]string) int {
	size := t.otherBytes
	for key, value := range known {
		size += len(key) + len(value)
	}
	return size
}

// addsNotes reports whether the verdict writes notes on an object whose size is still to be checked.
func (v verdict) addsNotes() bool {
	return v.changesMetadata && v.outcome != stripped && v.outcome != audited
}

// reserved returns the size of the notes that come later.
func (v verdict) reserved() int {
	if v.outcome == held {
		return reservedBytes
	}
	return 0
}

// ifPodFits returns the verdict if its notes fit on the pod. Otherwise the pod starts without
// notes.
func (v verdict) ifPodFits(pod *decodedPod, before metav1.ObjectMeta) verdict {
	if !v.addsNotes() || pod.original.annotations.fits(pod.Annotations, v.reserved()) {
		return v
	}
	releaseWithoutNotes(&pod.ObjectMeta, before)
	start := startPod(&pod.Pod, "")
	start.changesMetadata = true
	return start.warn(append(v.warnings, annotationsTooLarge())...)
}

// ifJobFits returns the verdict if its notes fit on the Job and on its template. Otherwise the Job
// starts without notes. before, template and suspended are what the Job was before the verdict.
func (v verdict) ifJobFits(job *decodedJob, before, template metav1.ObjectMeta, suspended bool) verdict {
	to := &job.Spec.Template
	if !v.addsNotes() || job.original.annotations.fits(job.Annotations, v.reserved()) && job.originalTemplate.annotations.fits(to.Annotations, v.reserved()) {
		return v
	}
	releaseWithoutNotes(&job.ObjectMeta, before)
	releaseWithoutNotes(&to.ObjectMeta, template)
	if job.Spec.Suspend != nil {
		job.Spec.Suspend = ptr.To(suspended)
	}
	return verdict{outcome: started, changesMetadata: true}.warn(append(v.warnings, annotationsTooLarge())...)
}

// releaseWithoutNotes gives an object back the labels and annotations that came, and marks the
// object as released, which takes no annotation.
func releaseWithoutNotes(to *metav1.ObjectMeta, before metav1.ObjectMeta) {
	to.Labels, to.Annotations = before.Labels, before.Annotations
	policy.ForgetNotes(to.Annotations)
	to.Labels[v1alpha1.StateLabel] = v1alpha1.StateReleased
}

// copyMetadata copies the labels and annotations of an object.
func copyMetadata(o metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Labels: maps.Clone(o.Labels), Annotations: maps.Clone(o.Annotations)}
}
