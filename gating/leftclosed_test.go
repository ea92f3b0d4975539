package gating

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// TestWhatTheWebhookLeavesClosedIsDueAtOnce has the marks by which the webhook leaves to the loop what is to
// start, and whose door Gridlatch had closed before: held, with a latest start that has come.
func TestWhatTheWebhookLeavesClosedIsDueAtOnce(t *testing.T) {
	rules := choosing(t, nil, nil, "here")
	later := map[string][]float64{"here": {400, 100, 400}}
	for name, annotations := range map[string]map[string]string{
		"with a wish":          {v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DurationAnnotation: "1h"},
		"without one":          {},
		"of one that declines": {v1alpha1.DelayTolerantAnnotation: "false"},
		"in a queue":           {v1alpha1.DelayTolerantAnnotation: "true", hold.KueueGatesAnnotation: v1alpha1.Gate},
	} {
		for latest, wantDue := range map[time.Time]bool{t0: true, t0.Add(24 * time.Hour): annotations[v1alpha1.DelayTolerantAnnotation] != "true"} {
			annotations[v1alpha1.HeldByAnnotation], annotations[v1alpha1.LatestStartAnnotation] = v1alpha1.HoldBySuspend, policy.FormatTime(latest)
			meta := metav1.ObjectMeta{
				Namespace: "n", Name: "o", UID: "1", CreationTimestamp: metav1.NewTime(t0),
				Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}, Annotations: annotations,
			}
			for kind, object := range map[string]runtime.Object{
				"Job": &batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{Suspend: ptr.To(true)}}, "JobSet": closedJobSet(meta),
			} {
				records, err := StaticRecords(object)
				if err != nil {
					t.Fatal(err)
				}
				groups, _, err := records.groups("default", func(types.UID) (string, bool) { return "", false })
				if err != nil || len(groups) != 1 {
					t.Fatalf("%d groups, %v", len(groups), err)
				}
				p := &pass{policy: rules, snapshot: grid(t, rules, later), now: t0, groups: groups}
				setTasks(rules, p.groups)
				p.decide()
				p.makeWithdrawnDue()
				p.waitForUsers()
				if due := p.groups[0].isDue(); due != wantDue {
					t.Errorf("a %s %s, until %s: due %t, want %t: %s", kind, name, latest, due, wantDue, p.groups[0].decision.Reason())
				}
			}
		}
	}
}

// closedJobSet is a suspended JobSet.
func closedJobSet(meta metav1.ObjectMeta) *unstructured.Unstructured {
	d := door.All()[0]
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"suspend": true}}}
	o.SetGroupVersionKind(d.Kind)
	o.SetNamespace(meta.Namespace)
	o.SetName(meta.Name)
	o.SetUID(meta.UID)
	o.SetCreationTimestamp(meta.CreationTimestamp)
	o.SetLabels(meta.Labels)
	o.SetAnnotations(meta.Annotations)
	return o
}

func TestAWorkflowStartsInTimeForTheLimitOfItsTemplate(t *testing.T) {
	o := closedJobSet(metav1.ObjectMeta{Namespace: "n", Name: "w", UID: "1", CreationTimestamp: metav1.NewTime(t0), Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}, Annotations: map[string]string{
		v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DurationAnnotation: "1h", v1alpha1.LatestStartAnnotation: policy.FormatTime(t0.Add(24 * time.Hour)), v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend,
	}})
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: "Workflow"})
	if err := unstructured.SetNestedField(o.Object, int64(5*60*60), "status", "storedWorkflowTemplateSpec", "activeDeadlineSeconds"); err != nil {
		t.Fatal(err)
	}
	records, err := StaticRecords(o)
	if err != nil {
		t.Fatal(err)
	}
	groups, _, err := records.groups("default", func(types.UID) (string, bool) { return "", false })
	if err != nil || len(groups) != 1 {
		t.Fatalf("%d groups, %v", len(groups), err)
	}
	setTasks(choosing(t, nil, nil, "here"), groups)
	if got, earliest := groups[0].task.LatestStart, t0.Add(3*time.Hour); got.After(t0.Add(4*time.Hour)) || got.Before(earliest) {
		t.Errorf("it starts at %s at the latest", got)
	}
}
