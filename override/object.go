package override

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Object is what an object of somebody else says: its metadata, the values of the fields that its
// owner lends, and who wrote these fields.
type Object struct {
	// ObjectMeta has the object's names, age, annotations and resourceVersion only. The annotations
	// may be thinned out.
	metav1.ObjectMeta

	gvk     schema.GroupVersionKind
	fields  []Field
	values  []fieldValue // of the fields that are set; a map takes ten times the memory of one value
	writers writers
}

type fieldValue struct {
	field Field
	value Value
}

// Read returns what an object says of the fields that its owner lends. The Object keeps the list of
// fields.
func Read(o *unstructured.Unstructured, fields ...Field) Object {
	object := Object{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(),
			CreationTimestamp: o.GetCreationTimestamp(), Annotations: o.GetAnnotations(),
		},
		gvk: o.GroupVersionKind(), fields: fields, writers: newWriters(o, fields),
	}
	for _, f := range fields {
		if value := read(o.Object, f); value != Unset {
			object.values = append(object.values, fieldValue{f, value})
		}
	}
	return object
}

// Value returns the value of a lent field or of an annotation.
func (o *Object) Value(f Field) Value {
	for _, set := range o.values {
		if set.field == f {
			return set.value
		}
	}
	if text, ok := o.Annotations[f.annotation()]; ok {
		return ValueOf(text)
	}
	return Unset
}

// Forget drops the value of a lent field. Who writes the field is still known. So a long value, which
// the object itself remembers, takes no memory.
func (o *Object) Forget(f Field) {
	o.values = slices.DeleteFunc(o.values, func(set fieldValue) bool { return set.field == f })
}

// IsRewritten reports whether somebody else has written a lent field since our last write, be it
// with the same value.
func (o *Object) IsRewritten(f Field) bool { return o.writers.theirs[f] }

// IsOurs reports whether the API server notes a lent field as ours.
func (o *Object) IsOurs(f Field) bool { return o.writers.ours[f] }

// IsWritten reports whether the API server notes any field of the object as ours.
func (o *Object) IsWritten() bool { return o.writers.haveOurs }

// Reference returns the object for an Event or for a patch.
func (o *Object) Reference() *metav1.PartialObjectMetadata {
	reference := &metav1.PartialObjectMetadata{}
	reference.SetGroupVersionKind(o.gvk)
	reference.Namespace, reference.Name, reference.UID = o.Namespace, o.Name, o.UID
	return reference
}

// String returns the kind and the name of the object, for people.
func (o *Object) String() string {
	name := o.Name
	if o.Namespace != "" {
		name = o.Namespace + "/" + name
	}
	return o.gvk.Kind + " " + name
}
