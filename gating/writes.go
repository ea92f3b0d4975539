package gating

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// writes are the ways to let a pod or Job go. An admission policy may refuse what we
// note on an object, and an object may have no room for it: neither is to hold it.
type writes struct {
	whole client.Patch
	// least lets go, and says nothing; nil if it is not to be tried.
	least client.Patch
	// notes say what least does not, from much to little.
	notes []client.Patch
}

// apply lets an object go by the first of its writes that is not refused, and reports
// whether the object says so. If it was refused before, the least alone is tried, which
// is one request.
func (w writes) apply(again bool, write func(client.Patch) error) (noted bool, err error) {
	if !again {
		if err := write(w.whole); w.least == nil || !refusal(err) {
			return true, err
		}
	}
	if err := write(w.least); err != nil {
		return false, err
	}
	for _, note := range w.notes {
		if err := write(note); !refusal(err) {
			return err == nil, nil // it is let go, and that is what counts
		}
	}
	return false, nil
}

// podWrites take our gate off a pod, and say why.
func (r release) podWrites(pod metav1.Object) writes {
	ungated := object{Metadata: objectMeta{UID: pod.GetUID()}, Spec: &podSpec{SchedulingGates: []dropGate{{Patch: "delete", Name: v1alpha1.Gate}}}}
	return writes{
		whole: r.pod(pod),
		least: ungated.as(types.StrategicMergePatchType),
		notes: []client.Patch{r.metadata(pod).as(types.MergePatchType), r.brief(pod), labelled(pod)},
	}
}

// jobWrites let a Job go by what holds it, and record that its pods are released.
func (r release) jobWrites(job metav1.Object) writes {
	if job.GetAnnotations()[v1alpha1.HeldByAnnotation] == "" { // the record is what lets go
		return writes{whole: r.record(job), least: labelled(job), notes: []client.Patch{r.record(job), r.brief(job)}}
	}
	return writes{
		whole: r.resume(job),
		least: resuming(job),
		notes: []client.Patch{r.record(job), r.brief(job), labelled(job)},
	}
}

// brief says when something was let go. It takes less room than what was there before.
func (r release) brief(o metav1.Object) client.Patch {
	started := policy.Stamp(r.at)
	return object{Metadata: objectMeta{
		UID: o.GetUID(), Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased},
		Annotations: map[string]*string{v1alpha1.StartedAnnotation: &started, v1alpha1.ReasonAnnotation: nil, v1alpha1.PlannedStartAnnotation: nil, v1alpha1.HeldByAnnotation: nil},
	}}.as(types.MergePatchType)
}

// labelled says that something is let go, and changes no annotation.
func labelled(o metav1.Object) client.Patch {
	return object{Metadata: objectMeta{UID: o.GetUID(), Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}}}.as(types.MergePatchType)
}

// resuming lets a Job go that is held whole, and records nothing. It fails as invalid
// if the Job is not as the cache knows it.
func resuming(job metav1.Object) client.Patch {
	return jsonPatch(slices.Concat(known(job), leave(job)))
}
