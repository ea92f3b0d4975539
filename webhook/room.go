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

// spare is how much room what is held has to have for what will be noted on it, and on
// the pods of a Job, later.
const reservedBytes = 2 << 10

// noRoom is said of work that is valid as it comes, and would not be with our notes.
func annotationsTooLarge() string {
	return fmt.Sprintf("%swith the notes of Gridlatch, its annotations would be larger than %d KiB", notHeld, validation.TotalAnnotationSizeLimitB>>10)
}

// fits reports whether an object that came with these annotations may have those of to.
// What is invalid as it came is none of our business.
func (t stringMap) fits(to map[string]string, spare int) bool {
	const most = validation.TotalAnnotationSizeLimitB
	return t.size(to)+spare <= most || t.size(t.known) > most
}

// size is how many bytes the annotations have with these in place of those that are
// known.
func (t stringMap) size(known map[string]string) int {
	size := t.otherBytes
	for key, value := range known {
		size += len(key) + len(value)
	}
	return size
}

// adds reports whether something is noted on an object, and not only taken off it.
func (v verdict) addsNotes() bool { return v.changesMetadata && v.outcome != stripped }

// spares returns how much room has to be left.
func (v verdict) reserved() int {
	if v.outcome == held {
		return reservedBytes
	}
	return 0
}

// withRoom is the verdict on a pod where that has room for our notes. Else it starts,
// and nothing is noted on it.
func (v verdict) ifPodFits(pod *decodedPod, before metav1.ObjectMeta) verdict {
	if !v.addsNotes() || pod.original.annotations.fits(pod.Annotations, v.reserved()) {
		return v
	}
	releaseWithoutNotes(&pod.ObjectMeta, before)
	start := startPod(&pod.Pod, "")
	start.changesMetadata = true
	return start.warn(append(v.warnings, annotationsTooLarge())...)
}

// jobWithRoom is withRoom for a Job with its template, as both were before.
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

// unnoted has an object say that it is released, which takes no room, and otherwise be
// as it came.
func releaseWithoutNotes(to *metav1.ObjectMeta, before metav1.ObjectMeta) {
	to.Labels, to.Annotations = before.Labels, before.Annotations
	policy.ForgetNotes(to.Annotations)
	to.Labels[v1alpha1.StateLabel] = v1alpha1.StateReleased
}

// written copies what of an object is written to.
func copyMetadata(o metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Labels: maps.Clone(o.Labels), Annotations: maps.Clone(o.Annotations)}
}
