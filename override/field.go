package override

import (
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Field names a field from the root of its object, as a JSON pointer: /spec/maxReplicaCount.
type Field string

// FieldAt returns the field at the end of a path of names.
func FieldAt(names ...string) Field {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	var pointer strings.Builder
	for _, name := range names {
		pointer.WriteString("/" + escape.Replace(name))
	}
	return Field(pointer.String())
}

// Annotation returns the field of an annotation.
func Annotation(key string) Field { return FieldAt("metadata", "annotations", key) }

// names returns the path of the field.
func (f Field) names() []string {
	names := strings.Split(strings.TrimPrefix(string(f), "/"), "/")
	for i := range names {
		names[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(names[i])
	}
	return names
}

// annotation returns the key of the annotation that the field is, empty if the field is none.
func (f Field) annotation() string {
	names := f.names()
	if len(names) == 3 && names[0] == "metadata" && names[1] == "annotations" {
		return names[2]
	}
	return ""
}

// path returns the path of the field as managed fields spell it.
func (f Field) path() fieldpath.Path {
	names := f.names()
	path := fieldpath.Path{}
	for i := range names {
		path = append(path, fieldpath.PathElement{FieldName: &names[i]})
	}
	return path
}

// Value is the value of a field as JSON. Two values are equal if their texts are.
type Value string

// Unset is the value of a field that is not set.
const Unset Value = ""

// ValueOf returns a string, a number, a boolean, or a list or map of them, as a value. It returns
// Unset for nil, and for what JSON cannot say.
func ValueOf(value any) Value {
	text, err := json.Marshal(value)
	if err != nil || string(text) == "null" {
		return Unset
	}
	return Value(text)
}

// read returns the value of a field of an object.
func read(object map[string]any, f Field) Value {
	value, found, err := unstructured.NestedFieldNoCopy(object, f.names()...)
	if !found || err != nil {
		return Unset
	}
	return ValueOf(value)
}
