package override

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Manager is the field manager of every change that Gridlatch makes to an object of somebody else.
// A GitOps tool can be told to leave alone what Manager owns.
const Manager = "gridlatch"

// Writer writes to objects of others.
type Writer struct {
	Client client.Client
	// Live reads from the API server itself.
	Live client.Reader
}

// Outcome says what has come of a change that the API server did not refuse.
type Outcome string

const (
	// Written says that the object is changed.
	Written Outcome = "Written"
	// Outdated says that the object has changed since it was read. The change has to be decided on
	// again.
	Outdated Outcome = "Outdated"
	// Gone says that the object does not exist any more.
	Gone Outcome = "Gone"
)

// Write makes a change.
func (w Writer) Write(ctx context.Context, c *Change) (Outcome, error) {
	err := w.Client.Patch(ctx, c.object.Reference(), c.patch(), client.FieldOwner(Manager))
	switch {
	case apierrors.IsConflict(err):
		return Outdated, nil
	case apierrors.IsNotFound(err):
		return Gone, nil
	case err != nil:
		return "", fmt.Errorf("patch %s: %w", c.object, err)
	}
	return Written, nil
}

// Disown gives up the ownership of all fields but those that are lent. Without notes on the object,
// Disown gives up all ownership. To write a field is to own the field, so this is a patch of its
// own, which changes nothing else. Disown does nothing if the object has changed since it was read.
func (w Writer) Disown(ctx context.Context, o *Object, lent []Field, hasNotes bool) error {
	fields, all := o.surplus(lent), o.IsWritten() && !hasNotes
	if len(fields) == 0 && !all {
		return nil
	}
	live := o.Reference()
	err := w.Live.Get(ctx, client.ObjectKeyFromObject(live), live)
	if err == nil && live.ResourceVersion == o.ResourceVersion {
		err = w.disown(ctx, live, fields, all)
	}
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("give up the fields of %s: %w", o, err)
	}
	return nil
}

// disown takes fields, or all fields, out of what we own of an object.
func (w Writer) disown(ctx context.Context, live *metav1.PartialObjectMetadata, fields []Field, all bool) error {
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": live.UID, "resourceVersion": live.ResourceVersion, "managedFields": disowned(live.ManagedFields, fields, all),
	}})
	if err != nil {
		return err
	}
	return w.Client.Patch(ctx, live, client.RawPatch(types.MergePatchType, data), client.FieldOwner(Manager))
}
