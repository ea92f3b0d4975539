package ceiling

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
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

// TestTheOwnerMaySayWhatTheCeilingHappensToBe has an original of 20 and a ceiling
// of 5, which is what is there.
func TestTheOwnerMaySayWhatTheCeilingHappensToBe(t *testing.T) {
	now := clock(t, "2026-11-22T13:00:00Z")
	const applied = "kubectl.kubernetes.io/last-applied-configuration"
	ours := managed(Manager, "Update", 10, ownsMaxToo)
	tests := []struct {
		name    string
		entries []any
		applied string
		want    int32 // the original after it
	}{
		{"nobody has", []any{managed("kubectl-create", "Update", 0, ownsOther), ours}, "", 20},
		{"nobody has, as far as anybody knows", nil, "", 20},
		{"by server-side apply, beside us", []any{managed("argocd-controller", "Apply", 0, ownsMax), ours}, "", 5},
		{"by another value and this one again", []any{managed("kubectl-edit", "Update", 11, ownsMax), managed(Manager, "Update", 10, ownsNotes)}, "", 5},
		{"in the same second", []any{managed("kubectl-edit", "Update", 10, ownsMax), managed(Manager, "Update", 10, ownsNotes)}, "", 5},
		{"long before us, which is what the original was said to be wrongly", []any{managed("manager", "Update", 9, ownsMax), managed(Manager, "Update", 10, ownsNotes)}, "", 20},
		{"by kubectl apply", []any{managed("kubectl-client-side-apply", "Update", 11, ownsLastApplied), ours}, `{"spec": {"maxReplicaCount": 5}}`, 5},
		{"kubectl apply said it before us, and somebody else 20", []any{managed("kubectl-client-side-apply", "Update", 9, ownsLastApplied), managed("kubectl-edit", "Update", 9, ownsOther), ours}, `{"spec": {"maxReplicaCount": 5}}`, 20},
		{"kubectl apply has said 20 again", []any{managed("kubectl-client-side-apply", "Update", 11, ownsLastApplied), ours}, `{"spec": {"maxReplicaCount": 20}}`, 20},
		{"kubectl apply has said nothing of it", []any{managed("kubectl-client-side-apply", "Update", 11, ownsLastApplied), ours}, `{"spec": {}}`, 20},
		{"kubectl apply has said nonsense", []any{managed("kubectl-client-side-apply", "Update", 11, ownsLastApplied), ours}, `{"spec": "`, 20},
		{"the status is KEDA's", []any{map[string]any{"manager": "keda-operator", "operation": "Update", "subresource": "status", "fieldsType": "FieldsV1", "time": "2026-11-22T12:30:00Z", "fieldsV1": jsonOf(ownsMax)}, ours}, "", 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			notes := map[string]any{v1alpha1.CeilingByAnnotation: policy, v1alpha1.CeilingAnnotation: "5", v1alpha1.OriginalMaxReplicaCountAnnotation: "20", v1alpha1.ReasonAnnotation: "because; then"}
			if tt.applied != "" {
				notes[applied] = tt.applied
			}
			object := scaled(map[string]any{"maxReplicaCount": int64(5)}, notes).managedBy(tt.entries...)
			// the grid is clean: a policy gives no more than the owner does
			v := ceilingOf(110)
			v.capped = true
			change := object.target(scaledObject).settle(policy, v, pace{}, now)
			after := object.after(t, scaledObject, change)
			if got := count(after, "maxReplicaCount"); !ptr.Equal(got, &tt.want) || change.undone {
				t.Errorf("on a clean grid: got %s, undone %v, want %d", printReplicas(got), change.undone, tt.want)
			}
			if got := count(object.after(t, scaledObject, object.target(scaledObject).restore()), "maxReplicaCount"); !ptr.Equal(got, &tt.want) {
				t.Errorf("restored: got %s, want %d", printReplicas(got), tt.want)
			}
		})
	}
}

func TestTheOwnerMayPauseAsWeDo(t *testing.T) {
	now := clock(t, "2026-11-22T13:00:00Z")
	notes := map[string]any{v1alpha1.CeilingByAnnotation: policy, v1alpha1.CeilingAnnotation: "0", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.AppliedMaxReplicaCountAnnotation: "40", v1alpha1.CeilingPausedWithAnnotation: bothPauses, v1alpha1.ReasonAnnotation: "because; then", pausedReplicas: "0", paused: "true"}
	object := scaled(map[string]any{"maxReplicaCount": int64(40)}, notes).
		managedBy(managed("argocd-controller", "Apply", 11, ownsPause), managed(Manager, "Update", 10, ownsPause))
	after := object.after(t, scaledObject, object.target(scaledObject).settle(policy, ceilingOf(10), pace{}, now)).annotations()
	if _, ok := after[paused]; ok || after[pausedReplicas] != "0" || after[v1alpha1.CeilingPausedWithAnnotation] != "" {
		t.Errorf("got %v", after)
	}
}

func TestWhatIsGivenBackIsNotOwned(t *testing.T) {
	others := managed("kubectl-create", "Update", 0, ownsOther)
	ceilingNotes := map[string]any{v1alpha1.CeilingByAnnotation: policy, v1alpha1.CeilingAnnotation: "5", v1alpha1.OriginalMaxReplicaCountAnnotation: "20", v1alpha1.ReasonAnnotation: "x"}
	tests := []struct {
		name  string
		max   int64
		notes map[string]any
		ours  string
		want  []any // nil if nothing is given up
	}{
		{"a ceiling is in force", 5, ceilingNotes, ownsMaxToo, nil},
		{"it is what the owner has", 20, map[string]any{v1alpha1.CeilingByAnnotation: policy, v1alpha1.CeilingAnnotation: "20", v1alpha1.OriginalMaxReplicaCountAnnotation: "20"}, ownsMaxToo, []any{others, managed(Manager, "Update", 10, ownsNotes)}},
		{"there is none, and a reason for that", 20, map[string]any{v1alpha1.CeilingByAnnotation: policy, v1alpha1.ReasonAnnotation: "no ceiling"}, ownsMaxToo, []any{others, managed(Manager, "Update", 10, ownsNotes)}},
		{"there is none, and no more to say", 20, nil, ownsMax, []any{others}},
		{"it was taken off by hand", 20, map[string]any{v1alpha1.CeilingReleasedAnnotation: "2026-11-22T13:00:00Z"}, ownsMaxToo, []any{others}},
		{"a pause is in force", 20, map[string]any{v1alpha1.CeilingByAnnotation: policy, v1alpha1.CeilingAnnotation: "0", v1alpha1.OriginalMaxReplicaCountAnnotation: "20", v1alpha1.AppliedMaxReplicaCountAnnotation: "20", v1alpha1.CeilingPausedWithAnnotation: pausedReplicas, pausedReplicas: "0"}, ownsPause, nil},
		{"a pause has become the owner's", 20, map[string]any{v1alpha1.CeilingByAnnotation: policy, v1alpha1.CeilingAnnotation: "0", v1alpha1.OriginalMaxReplicaCountAnnotation: "20", v1alpha1.AppliedMaxReplicaCountAnnotation: "20", pausedReplicas: "0"}, ownsPause, []any{others}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			object := scaled(map[string]any{"maxReplicaCount": tt.max}, tt.notes).managedBy(others, managed(Manager, "Update", 10, tt.ours))
			fields, all := object.target(scaledObject).surplus()
			if len(fields) == 0 && !all {
				if tt.want != nil {
					t.Error("nothing is given up")
				}
				return
			}
			entries := (&unstructured.Unstructured{Object: object}).GetManagedFields()
			patch, err := disowned(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{ManagedFields: entries}}, fields, all).Data(nil)
			if err != nil {
				t.Fatal(err)
			}
			before, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			merged, err := jsonpatch.MergePatch(before, patch)
			if err != nil {
				t.Fatal(err)
			}
			var after document
			if err := json.Unmarshal(merged, &after); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, after["metadata"].(map[string]any)["managedFields"]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCeilingsAreLoweredInSteps(t *testing.T) {
	start := clock(t, "2026-11-22T12:00:00Z")
	tests := []struct {
		name   string
		by     string
		spec   map[string]any
		limit  int32
		damped bool
		want   []int32 // at each interval
	}{
		{"by a number", "3", map[string]any{"maxReplicaCount": int64(10)}, 2, true, []int32{7, 4, 2}},
		{"by a share", "30%", map[string]any{"maxReplicaCount": int64(10)}, 2, true, []int32{7, 4, 2}},
		{"by a share of little, one goes", "10%", map[string]any{"maxReplicaCount": int64(3)}, 1, true, []int32{2, 1}},
		{"to a pause", "1", map[string]any{"maxReplicaCount": int64(2)}, 0, true, []int32{1, 0}},
		{"from what KEDA makes of none", "50%", map[string]any{}, 10, true, []int32{50, 25, 12, 10}},
		{"no lower than the minimum", "5", map[string]any{"minReplicaCount": int64(4), "maxReplicaCount": int64(10)}, 0, true, []int32{5, 4}},
		{"by a schedule, too", "3", map[string]any{"maxReplicaCount": int64(10)}, 6, false, []int32{7, 6}},
		{"all at once without it", "", map[string]any{"maxReplicaCount": int64(10)}, 2, true, []int32{2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			by, err := parseStep(tt.by)
			if err != nil {
				t.Fatal(err)
			}
			p := pace{interval: 5 * time.Minute, followed: true, step: by}
			v := ceilingOf(tt.limit)
			v.damped = tt.damped
			object, now := scaled(tt.spec, nil), start
			for i, want := range tt.want {
				change := object.target(scaledObject).settle(policy, v, p, now)
				object = object.after(t, scaledObject, change)
				if got := object.target(scaledObject).record(); got == nil || got.ceiling != want {
					t.Fatalf("at %s: got %+v, want %d", now.Format(time.TimeOnly), got, want)
				}
				last := i == len(tt.want)-1
				if next := now.Add(p.interval); !last && !change.held.Equal(next) || last && !change.held.IsZero() {
					t.Fatalf("at %s: looked at again at %v", now.Format(time.TimeOnly), change.held)
				}
				early := object.target(scaledObject).settle(policy, v, p, now.Add(p.interval-time.Second))
				if !last && !early.empty() {
					t.Fatalf("too early: %+v", early)
				}
				now = now.Add(p.interval)
			}
			raised := object.target(scaledObject).settle(policy, ceilingOf(9), p, now.Add(time.Second))
			if raised.ceiling == nil || *raised.ceiling != 9 {
				t.Errorf("raised to %v, want 9 at once", raised.ceiling)
			}
		})
	}
	for _, text := range []string{"0", "-1", "0%", "101%", "two", "2.5", "%", "2 %", "+1", "99999999999"} {
		if _, err := parseStep(text); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
}

func TestStepsDoNotExceedWhatTheOwnerHasSet(t *testing.T) {
	now := clock(t, "2026-11-22T12:00:00Z")
	object := scaled(map[string]any{"maxReplicaCount": int64(6)}, map[string]any{v1alpha1.CeilingByAnnotation: policy, v1alpha1.CeilingAnnotation: "10", v1alpha1.OriginalMaxReplicaCountAnnotation: "40"})
	v := ceilingOf(20)
	v.capped = true
	change := object.target(scaledObject).settle(policy, v, pace{interval: time.Minute, step: step{replicas: 1}}, now)
	if change.ceiling == nil || *change.ceiling != 6 {
		t.Errorf("got %v, want 6", change.ceiling)
	}
}
