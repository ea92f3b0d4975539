package override

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	ownsReplicas = `{"f:spec": {"f:replicas": {}}}`
	ownsDepth    = `{"f:spec": {"f:depth": {}}}`
	ownsNote     = `{"f:metadata": {"f:annotations": {"f:gridlatch.dev/original": {}}}}`
	ownsDrain    = `{"f:metadata": {"f:annotations": {"f:pond.example.com/drain": {}}}}`
	ownsBoth     = `{"f:metadata": {"f:annotations": {"f:gridlatch.dev/original": {}}}, "f:spec": {"f:replicas": {}}}`
	ownsApplied  = `{"f:metadata": {"f:annotations": {"f:kubectl.kubernetes.io/last-applied-configuration": {}}}}`
	lastApplied  = "kubectl.kubernetes.io/last-applied-configuration"
)

// TestSomebodyElseMaySayTheVeryValueThatWasSet has a field with an original of 20, and the value of
// 5 that was set. It has an annotation with a value that was set, too.
func TestSomebodyElseMaySayTheVeryValueThatWasSet(t *testing.T) {
	ours := entry(Manager, 10, ownsBoth)
	status := entry("controller", 30, ownsReplicas).(map[string]any)
	status["subresource"] = "status"
	tests := []struct {
		name     string
		entries  []any
		applied  string
		original Value // of the replicas
		theirs   []Field
	}{
		{"nobody has", []any{entry("kubectl-create", 0, ownsDepth), ours}, "", "20", nil},
		{"nobody has, as far as anybody knows", nil, "", "20", nil},
		{"beside us, by server-side apply", []any{entry("argocd-controller", 0, ownsReplicas), ours}, "", "5", []Field{replicas}},
		{"by another value and then this one", []any{entry("kubectl-edit", 11, ownsReplicas), entry(Manager, 10, ownsNote)}, "", "5", []Field{replicas}},
		{"in the second of our write", []any{entry("kubectl-edit", 10, ownsReplicas), entry(Manager, 10, ownsNote)}, "", "5", []Field{replicas}},
		{"before our last write", []any{entry("kubectl-edit", 9, ownsReplicas), entry(Manager, 10, ownsNote)}, "", "20", nil},
		{"on an object that we have never written", []any{entry("kubectl-edit", 9, ownsReplicas)}, "", "20", nil},
		{"in the status, which is not the field", []any{status, ours}, "", "20", nil},
		{"of the annotation", []any{entry("kubectl-edit", 11, ownsDrain), ours}, "", "20", []Field{Annotation(drain)}},
		{"by kubectl apply", []any{entry("kubectl", 11, ownsApplied), ours}, `{"spec": {"replicas": 5}}`, "5", []Field{replicas}},
		{"by kubectl apply, of the annotation", []any{entry("kubectl", 11, ownsApplied), ours}, `{"metadata": {"annotations": {"pond.example.com/drain": "yes"}}}`, "20", []Field{Annotation(drain)}},
		{"by kubectl apply before our last write", []any{entry("kubectl", 9, ownsApplied), ours}, `{"spec": {"replicas": 5}}`, "20", nil},
		{"not by kubectl apply, which said another value", []any{entry("kubectl", 11, ownsApplied), ours}, `{"spec": {"replicas": 20}}`, "20", nil},
		{"not by kubectl apply, which said nothing of the field", []any{entry("kubectl", 11, ownsApplied), ours}, `{"spec": {}}`, "20", nil},
		{"not by kubectl apply, whose note cannot be read", []any{entry("kubectl", 11, ownsApplied), ours}, `{"spec": "`, "20", nil},
		{"not by kubectl apply, whose note has another shape", []any{entry("kubectl", 11, ownsApplied), ours}, `{"spec": [5], "metadata": 7}`, "20", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := managedBy(pond("duck", 5, map[string]string{drain: "yes", lastApplied: tt.applied}), tt.entries...)
			object := Read(o, replicas, Annotation(drain))
			standing := object.Standing(replicas, &Loan{Original: "20", Applied: "5"})
			if diff := cmp.Diff(Standing{Original: tt.original}, standing); diff != "" {
				t.Error(diff)
			}
			var theirs []Field
			for _, f := range []Field{replicas, Annotation(drain)} {
				if object.IsRewritten(f) {
					theirs = append(theirs, f)
				}
			}
			if diff := cmp.Diff(tt.theirs, theirs); diff != "" {
				t.Error("written by others: ", diff)
			}
		})
	}
}

func TestOnlyWhatIsNotLentIsDisowned(t *testing.T) {
	owner := entry("kubectl-create", 0, ownsDepth)
	tests := []struct {
		name     string
		ours     []any
		lent     []Field
		hasNotes bool
		want     []any // the managed fields, nil if nothing is written
	}{
		{"the field is lent", []any{entry(Manager, 10, ownsBoth)}, []Field{replicas}, true, nil},
		{"the field is given back, and a note stays", []any{entry(Manager, 10, ownsBoth)}, nil, true, []any{owner, entry(Manager, 10, ownsNote)}},
		{"the field is given back, and no note stays", []any{entry(Manager, 10, ownsReplicas)}, nil, false, []any{owner}},
		{"another field of ours goes with the last note", []any{entry(Manager, 10, ownsNote)}, nil, false, []any{owner}},
		{"one of two fields is given back", []any{entry(Manager, 10, ownsReplicas), entry(Manager, 11, ownsDrain)}, []Field{replicas}, true, []any{owner, entry(Manager, 10, ownsReplicas)}},
		{"a note is no field that is lent", []any{entry(Manager, 10, ownsNote)}, nil, true, nil},
		{"nothing is ours", nil, nil, false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := managedBy(pond("duck", 5, nil), append([]any{owner}, tt.ours...)...)
			o.SetResourceVersion("7")
			api := &recorder{live: o}
			object := Read(o, replicas, Annotation(drain))
			if err := (Writer{Client: api, Live: api}).Disown(t.Context(), &object, tt.lent, tt.hasNotes); err != nil {
				t.Fatal(err)
			}
			if tt.want == nil {
				if len(api.patches) > 0 {
					t.Fatalf("written: %s", api.patches)
				}
				return
			}
			if len(api.patches) != 1 {
				t.Fatalf("written: %s", api.patches)
			}
			var body struct{ Metadata map[string]any }
			if err := json.Unmarshal([]byte(api.patches[0]), &body); err != nil {
				t.Fatal(err)
			}
			want := map[string]any{"uid": "uid-of-duck", "resourceVersion": "7", "managedFields": tt.want}
			if diff := cmp.Diff(want, body.Metadata); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheLastEntryOfTheManagedFieldsIsReplacedByAnEmptyOne(t *testing.T) {
	o := managedBy(pond("duck", 5, nil), entry(Manager, 10, ownsReplicas))
	left := disowned((&unstructured.Unstructured{Object: o.Object}).GetManagedFields(), nil, true)
	if len(left) != 1 || left[0].Manager != "" || left[0].FieldsV1 != nil {
		t.Errorf("got %+v, and the API server ignores an empty list", left)
	}
}
