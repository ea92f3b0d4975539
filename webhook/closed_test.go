package webhook

import (
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
)

// suspendable are objects that Gridlatch holds by spec.suspend, by their kinds.
func suspendable() map[string]any {
	annotations := tolerant(map[string]string{v1alpha1.HoldAnnotation: v1alpha1.HoldBySuspend})
	return map[string]any{
		"Job":    batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}},
		"JobSet": wholeOf("JobSet", `{}`, metav1.ObjectMeta{Annotations: annotations}),
	}
}

// passed returns an object as the API server has it after the webhook, as what Jobs and JobSets have in
// common.
func passed(t *testing.T, w *Webhook, kind string, object any) *unstructured.Unstructured {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	after, response := admit(t, w, kind, raw)
	if !response.Allowed {
		t.Fatalf("refused: %+v", response.Result)
	}
	o := &unstructured.Unstructured{}
	if err := json.Unmarshal(after, &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

// annotate changes annotations of an object. An empty value removes one.
func annotate(o *unstructured.Unstructured, changes map[string]string) {
	all := o.GetAnnotations()
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	o.SetAnnotations(all)
}

func TestNoLaterPassOpensAClosedDoor(t *testing.T) {
	const held, released, bySuspend = v1alpha1.StateHeld, v1alpha1.StateReleased, v1alpha1.HoldBySuspend
	latest := t0.Add(24 * time.Hour).Format(time.RFC3339)
	now := t0.Format(time.RFC3339)
	for name, tt := range map[string]struct {
		between   func(o *unstructured.Unstructured)
		unable    string
		suspended bool
		state, by string
		latest    string
		gates     string
	}{
		"nothing happened in between": {
			between:   func(*unstructured.Unstructured) {},
			suspended: true, state: held, by: bySuspend, latest: latest,
		},
		"another webhook has changed something else": {
			between:   func(o *unstructured.Unstructured) { annotate(o, map[string]string{"example.com/team": "a"}) },
			suspended: true, state: held, by: bySuspend, latest: latest,
		},
		"the wish is taken back": {
			between: func(o *unstructured.Unstructured) {
				annotate(o, map[string]string{v1alpha1.DelayTolerantAnnotation: "false"})
			},
			suspended: true, state: held, by: bySuspend, latest: now,
		},
		"the wish is gone": {
			between: func(o *unstructured.Unstructured) {
				annotate(o, map[string]string{v1alpha1.DelayTolerantAnnotation: ""})
			},
			suspended: true, state: held, by: bySuspend, latest: now,
		},
		"the deadline is near": {
			between:   func(o *unstructured.Unstructured) { annotate(o, map[string]string{v1alpha1.DeadlineAnnotation: "1m"}) },
			suspended: true, state: held, by: bySuspend, latest: now,
		},
		"the policy of the namespace is none": {
			between: func(o *unstructured.Unstructured) {
				o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "x/v1", Kind: "X", Name: "x", UID: "1", Controller: ptr.To(true)}})
				annotate(o, map[string]string{v1alpha1.PolicyAnnotation: "none"})
			},
			suspended: true, state: held, by: bySuspend, latest: now,
		},
		"another controller manages it": {
			between: func(o *unstructured.Unstructured) {
				_ = unstructured.SetNestedField(o.Object, "example.com/other", "spec", "managedBy")
			},
			suspended: true, state: held, by: bySuspend, latest: now,
		},
		"the way to hold it is gone": {
			between:   func(o *unstructured.Unstructured) { annotate(o, map[string]string{v1alpha1.HoldAnnotation: ""}) },
			suspended: true, state: held, by: bySuspend, latest: latest,
		},
		"Kueue has put it into a queue": {
			between: func(o *unstructured.Unstructured) {
				o.SetLabels(map[string]string{hold.KueueQueueLabel: "team", v1alpha1.StateLabel: held})
			},
			suspended: true, state: held, by: bySuspend, latest: latest, gates: v1alpha1.Gate,
		},
		"Kueue has put it into a queue, and the wish is gone": {
			between: func(o *unstructured.Unstructured) {
				o.SetLabels(map[string]string{hold.KueueQueueLabel: "team", v1alpha1.StateLabel: held})
				annotate(o, map[string]string{v1alpha1.DelayTolerantAnnotation: ""})
			},
			suspended: true, state: held, by: bySuspend, latest: now,
		},
		"somebody has opened it": {
			between: func(o *unstructured.Unstructured) {
				_ = unstructured.SetNestedField(o.Object, false, "spec", "suspend")
			},
			suspended: false, state: released,
		},
		"nobody could release it any more": {
			between: func(*unstructured.Unstructured) {}, unable: "nobody is there",
			suspended: false, state: released,
		},
		"nobody could release it, and the wish is gone": {
			between: func(o *unstructured.Unstructured) {
				annotate(o, map[string]string{v1alpha1.DelayTolerantAnnotation: ""})
			}, unable: "nobody is there",
			suspended: false,
		},
	} {
		for kind, object := range suspendable() {
			t.Run(name+", a "+kind, func(t *testing.T) {
				w := dirtyNow(t)
				o := passed(t, w, kind, object)
				tt.between(o)
				w.WhyUnable = func(string, string) string { return tt.unable }
				o = passed(t, w, kind, o)
				suspended, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend")
				a := o.GetAnnotations()
				if suspended != tt.suspended || o.GetLabels()[v1alpha1.StateLabel] != tt.state || a[v1alpha1.HeldByAnnotation] != tt.by ||
					a[v1alpha1.LatestStartAnnotation] != tt.latest || a[hold.KueueGatesAnnotation] != tt.gates {
					t.Errorf("suspended %t, labels %v, annotations %v", suspended, o.GetLabels(), a)
				}
				if _, ok := a[v1alpha1.OutcomeAnnotation]; ok && tt.by != "" {
					t.Errorf("held, and with an outcome: %v", a)
				}
				if tt.by == "" {
					return // the mark is gone
				}
				if diff := cmp.Diff(o.Object, passed(t, w, kind, o).Object); diff != "" {
					t.Errorf("one more pass changes it: %s", diff)
				}
			})
		}
	}
}

func TestASuspendOfOthersStays(t *testing.T) {
	for name, annotations := range map[string]map[string]string{
		"held by gates": tolerant(nil), "started": tolerant(map[string]string{v1alpha1.DeadlineAnnotation: "1m"}),
	} {
		t.Run(name, func(t *testing.T) {
			w := dirtyNow(t)
			o := passed(t, w, "Job", batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}})
			_ = unstructured.SetNestedField(o.Object, true, "spec", "suspend")
			o.SetLabels(map[string]string{hold.KueueQueueLabel: "team"})
			o = passed(t, w, "Job", o)
			if suspended, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend"); !suspended {
				t.Errorf("it is resumed: %v", o.GetAnnotations())
			}
		})
	}
}
