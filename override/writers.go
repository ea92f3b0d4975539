package override

import (
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// writers tells who has written the lent fields of an object, as the API server noted it in the
// managed fields.
type writers struct {
	// ours are the lent fields that the API server notes as ours. haveOurs says that the API server
	// notes any field as ours.
	ours     map[Field]bool
	haveOurs bool
	// theirs are the lent fields that somebody else has written since our last write.
	theirs map[Field]bool
}

// isOurs reports whether an entry of the managed fields is about our writes.
func isOurs(e metav1.ManagedFieldsEntry) bool { return e.Manager == Manager && e.Subresource == "" }

// newWriters reads the managed fields of an object. Nobody has taken a field from us on an object
// that we have not written.
func newWriters(o *unstructured.Unstructured, fields []Field) writers {
	var w writers
	var lastWrite time.Time
	entries := o.GetManagedFields()
	for _, e := range entries {
		if !isOurs(e) {
			continue
		}
		if !w.haveOurs {
			w = writers{haveOurs: true, ours: map[Field]bool{}, theirs: map[Field]bool{}}
		}
		if e.Time != nil && e.Time.After(lastWrite) {
			lastWrite = e.Time.Time
		}
		owned := fieldsOf(e)
		for _, f := range fields {
			w.ours[f] = w.ours[f] || owned.Has(f.path())
		}
	}
	for _, e := range entries {
		if w.haveOurs && e.Manager != Manager && e.Subresource == "" {
			w.noteOthers(o, fields, e, lastWrite)
		}
	}
	return w
}

// noteOthers notes which lent fields somebody else has written since our last write.
func (w *writers) noteOthers(o *unstructured.Unstructured, fields []Field, e metav1.ManagedFieldsEntry, lastWrite time.Time) {
	owned, isSince := fieldsOf(e), e.Time != nil && !e.Time.Time.Before(lastWrite)
	hasApplied := isSince && owned.Has(Annotation(corev1.LastAppliedConfigAnnotation).path())
	for _, f := range fields {
		// A patch with another value takes the field from its owners. So whoever owns the field
		// beside us has come after us.
		hasWritten := owned.Has(f.path()) && (isSince || w.ours[f])
		if hasWritten || hasApplied && isAsApplied(o, f) {
			w.theirs[f] = true
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

// isAsApplied reports whether a field has the value that kubectl apply was last told. kubectl apply
// does not write, and so does not own, a value that is there already.
func isAsApplied(o *unstructured.Unstructured, f Field) bool {
	var applied map[string]any
	if json.Unmarshal([]byte(o.GetAnnotations()[corev1.LastAppliedConfigAnnotation]), &applied) != nil {
		return false
	}
	value := read(applied, f)
	return value != Unset && value == read(o.Object, f)
}

// surplus returns the fields that are noted as ours although they are not lent.
func (o *Object) surplus(lent []Field) (fields []Field) {
	isLent := map[Field]bool{}
	for _, f := range lent {
		isLent[f] = true
	}
	for _, f := range o.fields {
		if o.writers.ours[f] && !isLent[f] {
			fields = append(fields, f)
		}
	}
	return fields
}

// disowned returns the managed fields without ours among some fields, or without any of ours.
func disowned(entries []metav1.ManagedFieldsEntry, fields []Field, all bool) []metav1.ManagedFieldsEntry {
	given := &fieldpath.Set{}
	for _, f := range fields {
		given.Insert(f.path())
	}
	left := []metav1.ManagedFieldsEntry{}
	for _, e := range entries {
		if isOurs(e) {
			kept := fieldsOf(e).Difference(given)
			raw, err := kept.ToJSON()
			if all || kept.Empty() || err != nil {
				continue
			}
			e.FieldsV1 = metav1.NewFieldsV1(string(raw))
		}
		left = append(left, e)
	}
	if len(left) == 0 {
		left = append(left, metav1.ManagedFieldsEntry{}) // the API server ignores an empty list
	}
	return left
}
