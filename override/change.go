package override

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Change is what is to be different on an object: fields that are lent, and annotations. Nothing
// else of the object can change.
type Change struct {
	object *Object
	values map[Field]Value
}

// Change returns a change of the object that changes nothing yet.
func (o *Object) Change() *Change { return &Change{object: o, values: map[Field]Value{}} }

// Set gives a field a value. A field that has the value already is left alone.
func (c *Change) Set(f Field, v Value) {
	if c.object.Value(f) == v {
		delete(c.values, f)
		return
	}
	c.values[f] = v
}

// Annotate writes an annotation. An empty text takes the annotation away.
func (c *Change) Annotate(key, text string) {
	value := Unset
	if text != "" {
		value = ValueOf(text)
	}
	c.Set(Annotation(key), value)
}

// Sets reports whether the change gives a field another value.
func (c *Change) Sets(f Field) bool {
	_, ok := c.values[f]
	return ok
}

// IsEmpty reports whether the change changes nothing.
func (c *Change) IsEmpty() bool { return len(c.values) == 0 }

// patch returns the change as a JSON merge patch. The API server answers with a conflict if the
// object is not as it was read: what the notes remember is what the patch replaces.
func (c *Change) patch() client.Patch {
	body := map[string]any{"metadata": map[string]any{"uid": c.object.UID, "resourceVersion": c.object.ResourceVersion}}
	for f, v := range c.values {
		names := f.names()
		last := len(names) - 1
		parent := body
		for _, name := range names[:last] {
			child, ok := parent[name].(map[string]any)
			if !ok {
				child = map[string]any{}
				parent[name] = child
			}
			parent = child
		}
		parent[names[last]] = nil
		if v != Unset {
			parent[names[last]] = json.RawMessage(v)
		}
	}
	data, _ := json.Marshal(body) // of texts and of JSON: no error is possible
	return client.RawPatch(types.MergePatchType, data)
}
