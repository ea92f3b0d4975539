package override

import (
	"encoding/json"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// The tests lend the replicas of a Pond, and the annotation that drains the Pond.
const (
	replicas = Field("/spec/replicas")
	drain    = "pond.example.com/drain"
	note     = "gridlatch.dev/original"
)

var pondKind = schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Pond"}

// pond returns a Pond that its owner has made.
func pond(name string, count int64, annotations map[string]string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"replicas": count, "depth": int64(3)}}}
	o.SetGroupVersionKind(pondKind)
	o.SetNamespace("park")
	o.SetName(name)
	o.SetUID(types.UID("uid-of-" + name))
	o.SetAnnotations(annotations)
	return o
}

// server returns a client of an API server that has objects of the owner, and that notes who writes
// what.
func server(t *testing.T, calls interceptor.Funcs, objects ...*unstructured.Unstructured) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(pondKind, &unstructured.Unstructured{})
	scheme.AddKnownTypeWithName(pondKind.GroupVersion().WithKind("PondList"), &unstructured.UnstructuredList{})
	c := fake.NewClientBuilder().WithScheme(scheme).WithReturnManagedFields().WithInterceptorFuncs(calls).Build()
	for _, o := range objects {
		if err := c.Create(t.Context(), o.DeepCopy(), client.FieldOwner("owner")); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// get returns a Pond as the API server has it.
func get(t *testing.T, c client.Client, name string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(pondKind)
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "park", Name: name}, o); err != nil {
		t.Fatal(err)
	}
	return o
}

// managers returns who owns a field of a Pond.
func managers(o *unstructured.Unstructured, f Field) (names []string) {
	for _, e := range o.GetManagedFields() {
		if fieldsOf(e).Has(f.path()) {
			names = append(names, e.Manager)
		}
	}
	return names
}

// entry is an entry of the managed fields, of a minute of 2026-11-22 12:00.
func entry(manager string, minute int, fields string) any {
	return map[string]any{
		"manager": manager, "operation": "Update", "apiVersion": "example.com/v1", "fieldsType": "FieldsV1",
		"time": fmt.Sprintf("2026-11-22T12:%02d:00Z", minute), "fieldsV1": decode(fields),
	}
}

func decode(text string) (value any) {
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		panic(err)
	}
	return value
}

// managedBy sets the managed fields of an object.
func managedBy(o *unstructured.Unstructured, entries ...any) *unstructured.Unstructured {
	o.Object["metadata"].(map[string]any)["managedFields"] = entries
	return o
}
