package gating

import (
	"iter"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
)

// maxOwners bounds how many owners of owners are looked at.
const maxOwners = 8

// Piece is what is known of the piece of work that an object belongs to, such as a PyTorchJob with
// its pods, or a JobSet with its Jobs. The zero value is for an object that stands for itself.
type Piece struct {
	// Kind, Name and UID name the highest owner that is known.
	Kind, Name string
	UID        types.UID
	// Runs says that something of the piece was released and may not be over.
	Runs bool
	// IsDecided says that an owner is held whole, or was decided on itself. Nothing below that owner
	// is decided on.
	IsDecided bool
	// StartReason says why the object starts at once; empty if neither Runs nor IsDecided.
	StartReason string
	// LatestStart is the earliest latest start of what waits; zero if nothing is known to wait.
	LatestStart time.Time
	// Location is where what runs of the piece was released to; empty if nobody has chosen.
	Location string
}

// Piece returns what is known of the piece of work that a new object of a namespace belongs to. The
// piece is found by owner references, and by labels of Kueue and Tekton, through the objects that
// were decided on. Nothing is read. The creation time of the object is now.
//
// Anybody can make up the owner of an object. So whoever may create objects in a namespace can make
// a piece of work there start earlier, or look larger and longer to the planner. Nobody can make a
// piece wait beyond the latest start that it was promised.
func (r *Records) Piece(namespace string, o metav1.Object) Piece {
	if r == nil {
		return Piece{}
	}
	return r.pieceAt(namespace, o, o.GetCreationTimestamp().Time)
}

// pieceAt is Piece for any object at a time.
func (r *Records) pieceAt(namespace string, o metav1.Object, now time.Time) (p Piece) {
	for owner, known := range r.owners(namespace, kindOf(o), o) {
		d := r.doorOf(ownerKind(owner))
		p.Kind, p.Name, p.UID = owner.Kind, owner.Name, owner.UID
		if d != nil && known != nil { // what others say of such an owner does not count
			p.decide(known)
			continue
		}
		p.add(owner, standingOfOwner(owner, known))
		p.add(owner, r.pieces.standing(groupKey{namespace, owner.UID}, now))
	}
	p.addLabels(o)
	return p
}

// decide notes that an owner was decided on itself. The highest such owner counts.
func (p *Piece) decide(owner *record) {
	p.IsDecided, p.Runs, p.LatestStart = true, false, time.Time{}
	s := standingOf(owner)
	if s.isWaiting {
		p.LatestStart, p.StartReason = s.latestStart, describeOwner(owner.Kind, owner.Name)+" decides when the work starts"
		return
	}
	p.Runs, p.Location, p.StartReason = s.runs, s.location, describeOwner(owner.Kind, owner.Name)+" has been released already"
	if isAudited(owner) {
		p.StartReason = describeOwner(owner.Kind, owner.Name) + " is audited, and was not held"
	}
}

// add adds how the objects of an owner stand.
func (p *Piece) add(owner *metav1.OwnerReference, s standing) {
	if s.isWaiting && !s.latestStart.IsZero() && (p.LatestStart.IsZero() || s.latestStart.Before(p.LatestStart)) {
		p.LatestStart = s.latestStart
	}
	if s.runs && !p.IsDecided {
		p.Runs, p.StartReason = true, runsAlready(owner.Kind, owner.Name)
		if s.location != "" {
			p.Location = s.location
		}
	}
}

// addLabels adds what the labels of Spark and JobSet say of an object.
func (p *Piece) addLabels(o metav1.Object) {
	if p.StartReason != "" {
		return
	}
	labels, owner := o.GetLabels(), metav1.GetControllerOfNoCopy(o)
	restarts := labels[door.RestartLabel]
	switch {
	case labels[door.SparkRoleLabel] == door.SparkExecutor:
		p.Runs, p.StartReason = true, "it is an executor of Spark, whose driver runs already"
	case restarts != "" && restarts != "0" && owner != nil && owner.Kind == "JobSet":
		p.Runs, p.StartReason = true, describeOwner(owner.Kind, owner.Name)+" restarts"
	}
}

// runsAlready is the reason of what starts because a piece of work runs.
func runsAlready(kind, name string) string { return describeOwner(kind, name) + " runs already" }

// describeOwner names an owner in a reason. Anybody chooses the name, and the kind.
func describeOwner(kind, name string) string {
	return plan.Truncate(hold.Printable("its " + kind + " " + name))
}

// owners yields the owners that make an object of a kind part of a piece of work, from the nearest
// to the highest that is known, each with its record. The record is nil if the owner was not decided
// on.
func (r *Records) owners(namespace string, kind schema.GroupKind, o metav1.Object) iter.Seq2[*metav1.OwnerReference, *record] {
	return func(yield func(*metav1.OwnerReference, *record) bool) {
		owner, labelled := r.directOwners(kind, o)
		last := types.UID("")
		for range maxOwners {
			if owner == nil {
				break
			}
			known := r.recordOf(namespace, owner)
			if !yield(owner, known) {
				return
			}
			last = owner.UID
			if known == nil {
				owner = r.makerOf(namespace, owner)
				continue
			}
			owner, _ = r.directOwners(ownerKind(owner), known)
		}
		if labelled != nil && labelled.UID != last {
			yield(labelled, r.recordOf(namespace, labelled))
		}
	}
}

// directOwners returns what makes an object of a kind part of a piece of work: its controller, and
// the piece of work that the labels of a pod name. Each is nil if there is none. Jobs and objects
// that are held whole are parts of a piece only if their controller can be held whole, too: any other
// controller, such as a CronJob, makes work that is independent.
func (r *Records) directOwners(kind schema.GroupKind, o metav1.Object) (controller, labelled *metav1.OwnerReference) {
	controller = metav1.GetControllerOfNoCopy(o)
	if controller != nil && !isPlausible(controller) {
		return nil, nil
	}
	isPod := kind == hold.PodKind().GroupKind()
	switch {
	case controller == nil:
	case isPod && keepsPodsApart(controller):
		return nil, nil
	case !isPod && r.wholesOf(ownerKind(controller)) == nil:
		return nil, nil
	}
	if isPod {
		labelled = labelledOwner(o)
	}
	return controller, labelled
}

// keepsPodsApart reports whether the pods of a controller are no piece of work: the controller makes
// pods for as long as it exists, or is a Job, which records the decision for its pods.
func keepsPodsApart(controller *metav1.OwnerReference) bool {
	switch ownerKind(controller) {
	case schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}, schema.GroupKind{Group: "apps", Kind: "StatefulSet"},
		schema.GroupKind{Group: "apps", Kind: "DaemonSet"}, schema.GroupKind{Kind: "ReplicationController"}, hold.JobKind().GroupKind():
		return true
	default:
		return false
	}
}

// labelledOwner is door.LabelledOwner for a pod or its record, which keeps the result beside the
// controller.
func labelledOwner(o metav1.Object) *metav1.OwnerReference {
	known, isRecord := o.(*record)
	if !isRecord {
		return door.LabelledOwner(o.GetLabels())
	}
	for i := range known.OwnerReferences {
		if known.OwnerReferences[i].Controller == nil {
			return &known.OwnerReferences[i]
		}
	}
	return nil
}

// kindOf returns the kind of an object.
func kindOf(o metav1.Object) schema.GroupKind {
	switch o := o.(type) {
	case *corev1.Pod:
		return hold.PodKind().GroupKind()
	case *batchv1.Job:
		return hold.JobKind().GroupKind()
	case *record:
		return o.GroupVersionKind().GroupKind()
	case runtime.Object:
		return o.GetObjectKind().GroupVersionKind().GroupKind()
	default:
		return schema.GroupKind{}
	}
}

// ownerKind returns the kind that a reference names.
func ownerKind(owner *metav1.OwnerReference) schema.GroupKind {
	return schema.FromAPIVersionAndKind(owner.APIVersion, owner.Kind).GroupKind()
}

// recordOf returns the record of an owner in a namespace; nil if the owner was not decided on.
func (r *Records) recordOf(namespace string, owner *metav1.OwnerReference) *record {
	cache := r.cacheOf(ownerKind(owner))
	if cache == nil {
		return nil
	}
	found, _, _ := cache.GetByKey(namespace + "/" + owner.Name) // of a cache: no error is possible
	known, ok := found.(*record)
	if !ok || known.UID != owner.UID {
		return nil
	}
	return known
}

// makerOf returns the owner of an owner that was not decided on: what was decided on, has the same
// name, and makes one object of the kind. It returns nil if there is none.
func (r *Records) makerOf(namespace string, owner *metav1.OwnerReference) *metav1.OwnerReference {
	for _, w := range r.wholes {
		if w.door.Child != ownerKind(owner) {
			continue
		}
		found, _, _ := w.Indexer().GetByKey(namespace + "/" + owner.Name) // of a cache: no error is possible
		if maker, ok := found.(*record); ok {
			return metav1.NewControllerRef(maker, w.door.Kind)
		}
	}
	return nil
}

// doorOf returns the door of a kind; nil if the kind has none.
func (r *Records) doorOf(kind schema.GroupKind) *door.Door {
	if w := r.wholesOf(kind); w != nil {
		return &w.door
	}
	return nil
}
