package ceiling

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
)

// managed is an entry of the managed fields, of a minute of 2026-11-22 12:00.
func managed(manager, operation string, minute int, fields string) any {
	return map[string]any{
		"manager": manager, "operation": operation, "apiVersion": "keda.sh/v1alpha1", "fieldsType": "FieldsV1",
		"time": fmt.Sprintf("2026-11-22T12:%02d:00Z", minute), "fieldsV1": jsonOf(fields),
	}
}

func jsonOf(text string) (value any) {
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		panic(err)
	}
	return value
}

func (d document) managedBy(entries ...any) document {
	d["metadata"].(map[string]any)["managedFields"] = entries
	return d
}

const (
	ownsMax         = `{"f:spec": {"f:maxReplicaCount": {}}}`
	ownsNotes       = `{"f:metadata": {"f:annotations": {"f:gridlatch.dev/ceiling": {}}}}`
	ownsMaxToo      = `{"f:metadata": {"f:annotations": {"f:gridlatch.dev/ceiling": {}}}, "f:spec": {"f:maxReplicaCount": {}}}`
	ownsPause       = `{"f:metadata": {"f:annotations": {"f:autoscaling.keda.sh/paused-replicas": {}}}}`
	ownsLastApplied = `{"f:metadata": {"f:annotations": {"f:kubectl.kubernetes.io/last-applied-configuration": {}}}}`
	ownsOther       = `{"f:spec": {"f:pollingInterval": {}}}`
)

// TestTheOwnerMaySayWhatTheCeilingHappensToBe has an original of 20 and a ceiling of 5, which is
// what is there.
func TestTheOwnerMaySayWhatTheCeilingHappensToBe(t *testing.T) {
	now := clock(t, "2026-11-22T13:00:00Z")
	const applied = "kubectl.kubernetes.io/last-applied-configuration"
	ours := managed(override.Manager, "Update", 10, ownsMaxToo)
	tests := []struct {
		name    string
		entries []any
		applied string
		want    int32 // the original after it
	}{
		{"nobody has", []any{managed("kubectl-create", "Update", 0, ownsOther), ours}, "", 20},
		{"nobody has, as far as anybody knows", nil, "", 20},
		{"by server-side apply, beside us", []any{managed("argocd-controller", "Apply", 0, ownsMax), ours}, "", 5},
		{"by another value and this one again", []any{managed("kubectl-edit", "Update", 11, ownsMax), managed(override.Manager, "Update", 10, ownsNotes)}, "", 5},
		{"in the same second", []any{managed("kubectl-edit", "Update", 10, ownsMax), managed(override.Manager, "Update", 10, ownsNotes)}, "", 5},
		{"long before us, which is what the original was said to be wrongly", []any{managed("manager", "Update", 9, ownsMax), managed(override.Manager, "Update", 10, ownsNotes)}, "", 20},
		{"by kubectl apply", []any{managed("kubectl-client-side-apply", "Update", 11, ownsLastApplied), ours}, `{"spec": {"maxReplicaCount": 5}}`, 5},
		{"kubectl apply said it before us, and somebody else 20", []any{managed("kubectl-client-side-apply", "Update", 9, ownsLastApplied), managed("kubectl-edit", "Update", 9, ownsOther), ours}, `{"spec": {"maxReplicaCount": 5}}`, 20},
		{"kubectl apply has said 20 again", []any{managed("kubectl-client-side-apply", "Update", 11, ownsLastApplied), ours}, `{"spec": {"maxReplicaCount": 20}}`, 20},
		{"kubectl apply has said nothing of it", []any{managed("kubectl-client-side-apply", "Update", 11, ownsLastApplied), ours}, `{"spec": {}}`, 20},
		{"kubectl apply has said nonsense", []any{managed("kubectl-client-side-apply", "Update", 11, ownsLastApplied), ours}, `{"spec": "`, 20},
		{"the status is KEDA's", []any{map[string]any{"manager": "keda-operator", "operation": "Update", "subresource": "status", "fieldsType": "FieldsV1", "time": "2026-11-22T12:30:00Z", "fieldsV1": jsonOf(ownsMax)}, ours}, "", 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			notes := map[string]any{v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "5", v1alpha1.OriginalMaxReplicaCountAnnotation: "20", v1alpha1.ReasonAnnotation: "because; then"}
			if tt.applied != "" {
				notes[applied] = tt.applied
			}
			object := scaled(map[string]any{"maxReplicaCount": int64(5)}, notes).managedBy(tt.entries...)
			// the grid is clean: a policy gives no more than the owner does
			v := ceilingOf(110)
			v.isCapped = true
			change := object.target(scaledObject).settle(byPolicy, v, pace{}, now)
			after := object.after(t, change)
			if got := after.max(); !ptr.Equal(got, &tt.want) || change.standing.IsUndone {
				t.Errorf("on a clean grid: got %s, undone %v, want %d", printReplicas(got), change.standing.IsUndone, tt.want)
			}
			if got := object.after(t, object.target(scaledObject).restore()).max(); !ptr.Equal(got, &tt.want) {
				t.Errorf("restored: got %s, want %d", printReplicas(got), tt.want)
			}
		})
	}
}

func TestTheOwnerMayPauseAsWeDo(t *testing.T) {
	now := clock(t, "2026-11-22T13:00:00Z")
	notes := map[string]any{v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "0", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.AppliedMaxReplicaCountAnnotation: "40", v1alpha1.CeilingPausedWithAnnotation: bothPauses, v1alpha1.ReasonAnnotation: "because; then", pausedReplicas: "0", paused: "true"}
	object := scaled(map[string]any{"maxReplicaCount": int64(40)}, notes).
		managedBy(managed("argocd-controller", "Apply", 11, ownsPause), managed(override.Manager, "Update", 10, ownsPause))
	after := object.after(t, object.target(scaledObject).settle(byPolicy, ceilingOf(10), pace{}, now)).annotations()
	if _, ok := after[paused]; ok || after[pausedReplicas] != "0" || after[v1alpha1.CeilingPausedWithAnnotation] != "" {
		t.Errorf("got %v", after)
	}
}

func TestWhatIsGivenBackIsNotOwned(t *testing.T) {
	others := managed("kubectl-create", "Update", 0, ownsOther)
	ceilingNotes := map[string]any{v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "5", v1alpha1.OriginalMaxReplicaCountAnnotation: "20", v1alpha1.ReasonAnnotation: "x"}
	tests := []struct {
		name  string
		max   int64
		notes map[string]any
		ours  string
		want  []any // nil if nothing is given up
	}{
		{"a ceiling is in force", 5, ceilingNotes, ownsMaxToo, nil},
		{"it is what the owner has", 20, map[string]any{v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "20", v1alpha1.OriginalMaxReplicaCountAnnotation: "20"}, ownsMaxToo, []any{others, managed(override.Manager, "Update", 10, ownsNotes)}},
		{"there is none, and a reason for that", 20, map[string]any{v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.ReasonAnnotation: "no ceiling"}, ownsMaxToo, []any{others, managed(override.Manager, "Update", 10, ownsNotes)}},
		{"there is none, and no more to say", 20, nil, ownsMax, []any{others}},
		{"it was taken off by hand", 20, map[string]any{v1alpha1.CeilingReleasedAnnotation: "2026-11-22T13:00:00Z"}, ownsMaxToo, []any{others}},
		{"a pause is in force", 20, map[string]any{v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "0", v1alpha1.OriginalMaxReplicaCountAnnotation: "20", v1alpha1.AppliedMaxReplicaCountAnnotation: "20", v1alpha1.CeilingPausedWithAnnotation: pausedReplicas, pausedReplicas: "0"}, ownsPause, nil},
		{"a pause has become the owner's", 20, map[string]any{v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "0", v1alpha1.OriginalMaxReplicaCountAnnotation: "20", v1alpha1.AppliedMaxReplicaCountAnnotation: "20", pausedReplicas: "0"}, ownsPause, []any{others}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			object := scaled(map[string]any{"maxReplicaCount": tt.max}, tt.notes).managedBy(others, managed(override.Manager, "Update", 10, tt.ours))
			var after document
			api := patcher{patch: func(_ client.Object, patch client.Patch) error {
				body, err := patch.Data(nil)
				after = object.patched(t, body)
				return err
			}, live: &unstructured.Unstructured{Object: object}}
			known := object.target(scaledObject)
			if err := (override.Writer{Client: api, Live: api}).Disown(t.Context(), &known.Object, known.lent(), known.hasNotes()); err != nil {
				t.Fatal(err)
			}
			if after == nil || tt.want == nil {
				if after != nil || tt.want != nil {
					t.Errorf("given up: %v, want %v", after, tt.want)
				}
				return
			}
			if diff := cmp.Diff(tt.want, after["metadata"].(map[string]any)["managedFields"]); diff != "" {
				t.Error(diff)
			}
		})
	}
}
