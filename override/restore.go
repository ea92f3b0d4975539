package override

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// pageSize is how many objects are read at a time.
const pageSize = 500

// Undo returns the change that puts an object back as its owner wants it, nil if there is nothing
// to put back. isLent says that a field of the object is lent. If the error is a conflict, Undo is called
// again with the object as it is by then.
type Undo func(ctx context.Context, o *unstructured.Unstructured) (c *Change, isLent bool, err error)

// Restore puts every object of a kind back, gives up all ownership of the objects, and returns how
// many had a field that was lent. An object that cannot be put back is left, and named in the
// error, unless we have no right to it and nothing of it is lent. Restore does nothing where the kind
// does not exist, or where we may not list its objects. The options select the objects.
func (w Writer) Restore(ctx context.Context, kind schema.GroupVersionKind, undo Undo, options ...client.ListOption) (restored int, err error) {
	var problems []error
	for next := ""; ; {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind)
		err := w.Client.List(ctx, list, append([]client.ListOption{client.Limit(pageSize), client.Continue(next)}, options...)...)
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			return restored, errors.Join(problems...)
		}
		if apierrors.IsResourceExpired(err) && next != "" {
			next = "" // an object that is put back has nothing to put back
			continue
		}
		if err != nil {
			return restored, errors.Join(append(problems, fmt.Errorf("list %ss: %w", kind.Kind, err))...)
		}
		for i := range list.Items {
			switch wasLent, err := w.restoreOne(ctx, &list.Items[i], undo); {
			case err != nil:
				problems = append(problems, err)
			case wasLent:
				restored++
			}
		}
		if next = list.GetContinue(); next == "" {
			return restored, errors.Join(problems...)
		}
	}
}

// restoreBackoff lets a change wait for a moment, up to some seconds in all, in which nobody else changes the object.
func restoreBackoff() wait.Backoff {
	return wait.Backoff{Steps: 9, Duration: 10 * time.Millisecond, Factor: 2, Jitter: 0.5}
}

// restoreOne puts one object back, and reports whether a field of the object was lent. It reads the
// object again if the object changes meanwhile: its own controller writes its status.
func (w Writer) restoreOne(ctx context.Context, o *unstructured.Unstructured, undo Undo) (wasLent bool, err error) {
	object, isLent := Read(o), false
	err = retry.RetryOnConflict(restoreBackoff(), func() error {
		var c *Change
		c, isLent, err = undo(ctx, o)
		if c == nil && err == nil {
			return nil
		}
		if err == nil {
			live := c.object.Reference()
			if err = w.Client.Patch(ctx, live, c.patch(), client.FieldOwner(Manager)); err == nil {
				wasLent = wasLent || isLent
				err = w.disown(ctx, live, nil, true)
			}
		}
		if apierrors.IsConflict(err) {
			o = &unstructured.Unstructured{}
			o.SetGroupVersionKind(object.gvk)
			if err := w.Client.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: object.Name}, o); err != nil {
				return err
			}
		}
		return err
	})
	if apierrors.IsForbidden(err) && !isLent && !object.IsWritten() {
		return false, nil // there was nothing to give back
	}
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("restore %s: %w", &object, err)
	}
	return wasLent, nil
}
