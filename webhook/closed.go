package webhook

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// mark is what Gridlatch wrote on an object before the object came here: in an earlier pass of the
// same request, or on the object of which this is a copy.
type mark struct {
	// closed says that Gridlatch had closed the door of the object, and that the door is closed.
	closed bool
	// opened says that Gridlatch had closed the door of the object, and that somebody else has opened
	// the door since.
	opened bool
}

// forgetMark removes what Gridlatch has written on an object that is held whole, and returns the mark
// that was there. isClosed says that the door of the object is closed.
func forgetMark(o *metav1.ObjectMeta, came *meta, isClosed bool) mark {
	by, isMarked := came.annotations.known[v1alpha1.HeldByAnnotation]
	isOurs := isMarked && (by == v1alpha1.HoldBySuspend || by == "") // the value is empty if it was not read
	hold.ForgetKueueGate(o.Annotations)
	policy.ForgetNotes(o.Annotations)
	return mark{closed: isOurs && isClosed, opened: by == v1alpha1.HoldBySuspend && !isClosed}
}

// leaveClosed returns a verdict that leaves a door closed which Gridlatch had closed before. Others may
// count on the closed door since then, and may have closed the door, too: Kueue suspends what it admits
// later. So work that is to start stays held, with the present as its latest start, and the loop opens
// the door at once. Only if nobody could release the work, as whyUnable then says, open opens the door.
func (m mark) leaveClosed(v verdict, o *metav1.ObjectMeta, came *meta, now time.Time, whyUnable string, open patch) verdict {
	if !m.closed || len(v.errs) > 0 || o.Annotations[v1alpha1.HeldByAnnotation] != "" {
		return v
	}
	v.changesMetadata = true
	before := o.Labels[v1alpha1.StateLabel]
	o.Annotations[v1alpha1.HeldByAnnotation] = v1alpha1.HoldBySuspend
	o.Annotations[v1alpha1.LatestStartAnnotation] = policy.FormatTime(now)
	o.Labels[v1alpha1.StateLabel] = v1alpha1.StateHeld
	if whyUnable == "" && came.annotations.fits(o.Annotations, 0) {
		delete(o.Annotations, v1alpha1.OutcomeAnnotation)
		return v
	}
	delete(o.Annotations, v1alpha1.HeldByAnnotation)
	delete(o.Annotations, v1alpha1.LatestStartAnnotation)
	if o.Labels[v1alpha1.StateLabel] = before; before == "" {
		delete(o.Labels, v1alpha1.StateLabel)
	}
	v.patch = append(v.patch, open...)
	return v
}
