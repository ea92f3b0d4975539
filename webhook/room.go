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
const spare = 2 << 10

// noRoom is said of work that is valid as it comes, and would not be with our notes.
func noRoom() string {
	return fmt.Sprintf("%sits annotations leave no room for those of Gridlatch: all together may have %d KiB", notHeld, validation.TotalAnnotationSizeLimitB>>10)
}

// fits reports whether an object that came with these annotations may have those of to.
// What is invalid as it came is none of our business.
func (t table) fits(to map[string]string, spare int) bool {
	const most = validation.TotalAnnotationSizeLimitB
	return t.size(to)+spare <= most || t.size(t.known) > most
}

// size is how many bytes the annotations have with these in place of those that are
// known.
func (t table) size(known map[string]string) int {
	size := t.others
	for key, value := range known {
		size += len(key) + len(value)
	}
	return size
}

// adds reports whether something is noted on an object, and not only taken off it.
func (v verdict) adds() bool { return v.noted && v.outcome != stripped }

// spares returns how much room has to be left.
func (v verdict) spares() int {
	if v.outcome == held {
		return spare
	}
	return 0
}

// withRoom is the verdict on a pod where that has room for our notes. Else it starts,
// and nothing is noted on it.
func (v verdict) withRoom(pod *aPod, before metav1.ObjectMeta) verdict {
	if !v.adds() || pod.came.annotations.fits(pod.Annotations, v.spares()) {
		return v
	}
	unnoted(&pod.ObjectMeta, before)
	start := startPod(&pod.Pod, "")
	start.noted = true
	return start.warn(append(v.warnings, noRoom())...)
}

// jobWithRoom is withRoom for a Job with its template, as both were before.
func (v verdict) jobWithRoom(job *aJob, before, template metav1.ObjectMeta, suspended bool) verdict {
	to := &job.Spec.Template
	if !v.adds() || job.came.annotations.fits(job.Annotations, v.spares()) && job.template.annotations.fits(to.Annotations, v.spares()) {
		return v
	}
	unnoted(&job.ObjectMeta, before)
	unnoted(&to.ObjectMeta, template)
	if job.Spec.Suspend != nil {
		job.Spec.Suspend = ptr.To(suspended)
	}
	return verdict{outcome: started, noted: true}.warn(append(v.warnings, noRoom())...)
}

// unnoted has an object say that it is released, which takes no room, and otherwise be
// as it came.
func unnoted(to *metav1.ObjectMeta, before metav1.ObjectMeta) {
	to.Labels, to.Annotations = before.Labels, before.Annotations
	policy.ForgetNotes(to.Annotations)
	to.Labels[v1alpha1.StateLabel] = v1alpha1.StateReleased
}

// written copies what of an object is written to.
func written(o metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Labels: maps.Clone(o.Labels), Annotations: maps.Clone(o.Annotations)}
}
