package override

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// lend sets the replicas of a Pond, and remembers the original.
func lend(t *testing.T, w Writer, o *unstructured.Unstructured, count int) {
	t.Helper()
	object := Read(o, replicas)
	c := object.Change()
	c.Set(replicas, ValueOf(count))
	c.Annotate(note, string(object.Value(replicas)))
	if outcome, err := w.Write(t.Context(), c); err != nil || outcome != Written {
		t.Fatal(outcome, err)
	}
}

func TestAFieldIsLentAndGivenBackWithItsOwnership(t *testing.T) {
	before := pond("duck", 40, map[string]string{"team": "birds"})
	api := server(t, interceptor.Funcs{}, before)
	w := Writer{Client: api, Live: api}
	lend(t, w, get(t, api, "duck"), 5)
	lent := get(t, api, "duck")
	if got := read(lent.Object, replicas); got != "5" {
		t.Fatalf("lent: %s replicas", got)
	}
	if diff := cmp.Diff([]string{Manager}, managers(lent, replicas)); diff != "" {
		t.Error("lent: ", diff)
	}

	object := Read(lent, replicas)
	standing := object.Standing(replicas, &Loan{Original: Value(object.Annotations[note]), Applied: "5"})
	c := object.Change()
	c.Set(replicas, standing.Original)
	c.Annotate(note, "")
	if outcome, err := w.Write(t.Context(), c); err != nil || outcome != Written {
		t.Fatal(outcome, err)
	}
	object = Read(get(t, api, "duck"), replicas)
	if err := w.Disown(t.Context(), &object, nil, false); err != nil {
		t.Fatal(err)
	}
	after := get(t, api, "duck")
	for _, e := range after.GetManagedFields() {
		if e.Manager == Manager {
			t.Errorf("still ours: %s", e.FieldsV1)
		}
	}
	for _, o := range []*unstructured.Unstructured{before, after} {
		o.SetManagedFields(nil)
		o.SetResourceVersion("")
	}
	if diff := cmp.Diff(before.Object, after.Object); diff != "" {
		t.Error("given back: ", diff)
	}
}

func TestWhoWritesAfterUsIsNoticedByTheManagedFields(t *testing.T) {
	tests := []struct {
		name     string
		write    client.Patch // of the owner, nil for none
		original Value
		undone   bool
		reverted bool
	}{
		{"nobody", nil, "40", false, false},
		{"another field", client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"depth":9}}`)), "40", false, false},
		{"another value", client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":60}}`)), "60", true, false},
		{"the original", client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":40}}`)), "40", true, true},
		{"no value", client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":null}}`)), Unset, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			api := server(t, interceptor.Funcs{}, pond("duck", 40, nil))
			lend(t, Writer{Client: api, Live: api}, get(t, api, "duck"), 5)
			if tt.write != nil {
				if err := api.Patch(t.Context(), get(t, api, "duck"), tt.write, client.FieldOwner("owner")); err != nil {
					t.Fatal(err)
				}
			}
			object := Read(get(t, api, "duck"), replicas)
			got := object.Standing(replicas, &Loan{Original: Value(object.Annotations[note]), Applied: "5"})
			if diff := cmp.Diff(Standing{Original: tt.original, IsUndone: tt.undone, IsReverted: tt.reverted}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
