package ceiling

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// maxReplicaCount is the one field of the spec that is borrowed. The others are
// annotations, and have the names of their keys.
const maxReplicaCount = "maxReplicaCount"

// hands tell who has written what is borrowed, as the API server noted it.
type hands struct {
	// ours are the borrowed fields that the field manager Gridlatch owns, and any
	// says that it owns anything at all.
	ours map[string]bool
	any  bool
	// theirs are the borrowed fields whose value somebody else has written since
	// our last write, be it the same as ours.
	theirs map[string]bool
}

// pathOf is where a borrowed field is.
func pathOf(field string) fieldpath.Path {
	names := []string{"metadata", "annotations", field}
	if field == maxReplicaCount {
		names = []string{"spec", field}
	}
	path := fieldpath.Path{}
	for i := range names {
		path = append(path, fieldpath.PathElement{FieldName: &names[i]})
	}
	return path
}

func borrowed(k kind) []string {
	fields := []string{maxReplicaCount}
	for _, b := range pauses(k) {
		fields = append(fields, b.key)
	}
	return fields
}

// isOurs reports whether an entry is of what we write.
func isOurs(e metav1.ManagedFieldsEntry) bool { return e.Manager == Manager && e.Subresource == "" }

// newHands reads the managed fields of an object that we have written to; of any
// other there is nothing to know.
func newHands(k kind, o *unstructured.Unstructured) hands {
	var h hands
	var last time.Time
	entries := o.GetManagedFields()
	for _, e := range entries {
		if !isOurs(e) {
			continue
		}
		h.any = true
		if e.Time != nil && e.Time.After(last) {
			last = e.Time.Time
		}
		mark(&h.ours, fieldsOf(e), borrowed(k), func(string) bool { return true })
	}
	for _, e := range entries {
		if h.any && e.Manager != Manager && e.Subresource == "" {
			h.hear(k, o, e, last)
		}
	}
	return h
}

// hear notes what an entry of somebody else tells of the time since our last
// write.
func (h *hands) hear(k kind, o *unstructured.Unstructured, e metav1.ManagedFieldsEntry, last time.Time) {
	fields, since := fieldsOf(e), e.Time != nil && !e.Time.Time.Before(last)
	// What we changed was taken from whoever owned it: who owns it beside us
	// has come after us.
	mark(&h.theirs, fields, borrowed(k), func(field string) bool { return since || h.ours[field] })
	if since && fields.Has(pathOf(corev1.LastAppliedConfigAnnotation)) {
		mark(&h.theirs, lastApplied(o), borrowed(k), func(string) bool { return true })
	}
}

// mark adds the fields of a set that are so.
func mark(marked *map[string]bool, set *fieldpath.Set, fields []string, so func(string) bool) {
	for _, field := range fields {
		if set.Has(pathOf(field)) && so(field) {
			if *marked == nil {
				*marked = map[string]bool{}
			}
			(*marked)[field] = true
		}
	}
}

func fieldsOf(e metav1.ManagedFieldsEntry) *fieldpath.Set {
	set := &fieldpath.Set{}
	if e.FieldsV1 == nil || set.FromJSON(e.FieldsV1.GetRawReader()) != nil {
		return &fieldpath.Set{} // which the API server does not let happen
	}
	return set
}

// lastApplied returns the borrowed fields that are as kubectl apply was last told:
// it does not touch, nor own, a value that is there already.
func lastApplied(o *unstructured.Unstructured) *fieldpath.Set {
	annotations := o.GetAnnotations()
	var told struct {
		Metadata struct{ Annotations map[string]string }
		Spec     struct{ MaxReplicaCount *int32 }
	}
	set := &fieldpath.Set{}
	if json.Unmarshal([]byte(annotations[corev1.LastAppliedConfigAnnotation]), &told) != nil {
		return set
	}
	if n := told.Spec.MaxReplicaCount; n != nil && ptr.Equal(n, count(o.Object, maxReplicaCount)) {
		set.Insert(pathOf(maxReplicaCount))
	}
	for key, value := range told.Metadata.Annotations {
		if held, ok := annotations[key]; ok && held == value {
			set.Insert(pathOf(key))
		}
	}
	return set
}

// surplus returns the fields that we own and do not need any more: they have been
// given back. all says that we need nothing of the object.
func (t *target) surplus() (fields []string, all bool) {
	r := t.record()
	for _, field := range borrowed(t.kind) {
		lent := r != nil && (field == maxReplicaCount && !ptr.Equal(t.max, r.original) || r.loan(field) != nil)
		if t.hands.ours[field] && !lent {
			fields = append(fields, field)
		}
	}
	return fields, t.hands.any && !t.noted()
}

// disown gives up what we own of fields that were given back. To write a value is
// to own it, so this is a write of its own, which changes nothing else. It waits for
// another look if the object is not as it was.
func disown(ctx context.Context, reader client.Reader, writer client.Client, t *target) error {
	fields, all := t.surplus()
	if len(fields) == 0 && !all {
		return nil
	}
	object := t.about()
	err := reader.Get(ctx, client.ObjectKeyFromObject(object), object)
	if err == nil && object.ResourceVersion == t.ResourceVersion {
		err = writer.Patch(ctx, t.about(), disowned(object, fields, all), client.FieldOwner(Manager))
	}
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("give up what is owned of %s: %w", t.ref(), err)
	}
	return nil
}

// disowned is the patch that takes fields, or all, out of what we own.
func disowned(o *metav1.PartialObjectMetadata, fields []string, all bool) client.Patch {
	given := &fieldpath.Set{}
	for _, field := range fields {
		given.Insert(pathOf(field))
	}
	entries := []metav1.ManagedFieldsEntry{}
	for _, e := range o.ManagedFields {
		if isOurs(e) {
			left := fieldsOf(e).Difference(given)
			raw, err := left.ToJSON()
			if all || left.Empty() || err != nil {
				continue
			}
			e.FieldsV1 = metav1.NewFieldsV1(string(raw))
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		entries = append(entries, metav1.ManagedFieldsEntry{}) // an empty list would be ignored
	}
	data, _ := json.Marshal(map[string]any{"metadata": map[string]any{ // of plain fields: no error is possible
		"uid": o.UID, "resourceVersion": o.ResourceVersion, "managedFields": entries,
	}})
	return client.RawPatch(types.MergePatchType, data)
}
