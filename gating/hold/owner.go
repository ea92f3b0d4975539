package hold

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/gating/door"
)

// Owner is an object that may be held itself: a Job, or an object of another kind that has a door.
type Owner struct {
	client.Object
	// Kind is the kind in the version that Gridlatch writes.
	Kind schema.GroupVersionKind
	// IsSuspended says that the door is closed, whoever has closed it.
	IsSuspended bool
	// Pods is how many pods the work runs at once, once the door is open.
	Pods int
}

// OwnerOf returns what an object is as an owner; false if the object is no owner. An object of another
// kind than Job is an *unstructured.Unstructured.
func OwnerOf(o client.Object) (Owner, bool) {
	switch o := o.(type) {
	case *batchv1.Job:
		return Owner{Object: o, Kind: JobKind(), IsSuspended: ptr.Deref(o.Spec.Suspend, false), Pods: PodsToRun(o)}, true
	case *unstructured.Unstructured:
		if d := door.Of(o.GroupVersionKind().GroupKind()); d != nil {
			return Owner{Object: o, Kind: d.Kind, IsSuspended: d.IsClosed(o.Object), Pods: d.Pods(o.Object)}, true
		}
	}
	return Owner{}, false
}

// HoldsItself reports whether we hold the object itself, rather than its pods by their gates.
func (o Owner) HoldsItself() bool { return HoldsItself(o.GetAnnotations(), o.IsSuspended) }

// ReadOwner reads an owner.
func ReadOwner(ctx context.Context, reader client.Reader, kind schema.GroupVersionKind, key client.ObjectKey) (Owner, error) {
	var object client.Object = &batchv1.Job{}
	if kind != JobKind() {
		object = newWhole(kind)
	}
	if err := reader.Get(ctx, key, object); err != nil {
		return Owner{}, fmt.Errorf("read %s %s: %w", kind.Kind, key, err)
	}
	owner, ok := OwnerOf(object)
	if !ok {
		return Owner{}, fmt.Errorf("%s %s: no kind that is held whole", kind.Kind, key)
	}
	return owner, nil
}

func newWhole(kind schema.GroupVersionKind) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(kind)
	return o
}

// doorOf returns how a kind is held itself.
func doorOf(kind schema.GroupKind) *door.Door {
	if d := door.Of(kind); d != nil {
		return d
	}
	return &door.Door{Kind: JobKind(), Field: []string{"spec", "suspend"}, Closed: true, Open: false}
}
