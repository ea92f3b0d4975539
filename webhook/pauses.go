package webhook

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// whyNeverPaused says why a Job that may wait is never paused after its start; empty if it may be.
func whyNeverPaused(job *batchv1.Job) string {
	if ptr.Deref(job.Spec.Suspend, false) {
		return "its user has suspended it, and decides when it runs"
	}
	return whyOthersDecide(job)
}

// whyOthersDecide says why an object is never paused after its start: somebody else decides when it
// runs. It is empty if nobody does.
func whyOthersDecide(o metav1.Object) string {
	if o.GetLabels()[hold.KueueQueueLabel] != "" {
		return "Kueue gives it quota, and might not have quota again in time"
	}
	if owner := door.OfController(o); owner != nil {
		return annotateOwner(owner, "decides when it runs")
	}
	return ""
}

// leaveUninterrupted makes an ask of work that is never paused, as why says, and returns a warning if
// the work asks to be. It does nothing if why is empty.
func leaveUninterrupted(ask *policy.Ask, why string) []string {
	if why == "" || !ask.Interruptible {
		return nil
	}
	ask.Interruptible = false
	return []string{fmt.Sprintf("%s has no effect: %s", v1alpha1.InterruptibleAnnotation, why)}
}

// noteInterruptible writes on a Job that starts at once, and may be paused later, what it asks for and
// what it is promised.
func noteInterruptible(job *batchv1.Job, ask policy.Ask, asked map[string]string, d plan.Decision) {
	if ask.Interruptible {
		noteAsk(job, asked)
		notePromise(job, d)
	}
}

// notePromise writes on work that starts at once, and may be paused later, until when it could have
// waited. A pause leaves time for this promise.
func notePromise(o metav1.Object, d plan.Decision) {
	o.GetAnnotations()[v1alpha1.LatestStartAnnotation] = policy.FormatTime(d.LatestStart)
}

// whyNeverPaused says why an object of a kind with a door is never paused after its start; empty
// if it may be.
func (o *decodedWhole) whyNeverPaused() string {
	if !o.door.CanPause {
		return fmt.Sprintf("%s cannot stop a %s that runs, and start it again", o.door.Engine, o.door.Kind.Kind)
	}
	return whyOthersDecide(o)
}
