package hold

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/policy"
)

// ProgressOfJob is policy.ProgressOf for a Job of which nobody else decides when it runs.
func ProgressOfJob(job *batchv1.Job) *policy.Progress {
	if job.Labels[KueueQueueLabel] != "" || HasQuota(job.Spec.Template.Labels) || door.OfController(job) != nil {
		return nil
	}
	return policy.ProgressOf(job)
}

// ProgressOfWhole is policy.ProgressOf for an object of another kind than Job.
func ProgressOfWhole(d *door.Door, o *unstructured.Unstructured) *policy.Progress {
	isAsked := d.CanPause && o.GetAnnotations()[v1alpha1.InterruptibleAnnotation] == "true"
	if !isAsked || o.GetLabels()[KueueQueueLabel] != "" || door.OfController(o) != nil || d.ManagedBy(o.Object) != "" || d.IsOver(o.Object) {
		return nil
	}
	return &policy.Progress{Ready: -1}
}

// withProgress is an object about which policy is told what the controller knows of it.
type withProgress struct {
	metav1.Object
	progress  *policy.Progress
	resumedAt time.Time
}

// Progress returns the progress of work that may be paused; nil if it may not.
func (w withProgress) Progress() *policy.Progress { return w.progress }

// ResumedAt returns when a Job was resumed last; zero if it never was.
func (w withProgress) ResumedAt() time.Time { return w.resumedAt }

// WithProgress returns an object as the controller plans it: work that nobody may pause has no progress.
func WithProgress(o client.Object) metav1.Object {
	switch o := o.(type) {
	case *batchv1.Job:
		return withProgress{o, ProgressOfJob(o), policy.ResumedAt(o)}
	case *unstructured.Unstructured:
		if d := door.Of(o.GroupVersionKind().GroupKind()); d != nil {
			return withProgress{o, ProgressOfWhole(d, o), time.Time{}}
		}
	}
	return o
}
