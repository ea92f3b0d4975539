package webhook

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
)

func TestNothingIsHeldWhereNobodyCouldLetGo(t *testing.T) {
	const unable = "what is held could not be released since today"
	const why = notHeld + unable
	owned := []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: "1", Controller: new(bool)}}
	*owned[0].Controller = true
	waits := metav1.ObjectMeta{Annotations: tolerant(nil)}
	starts := metav1.ObjectMeta{Annotations: tolerant(map[string]string{v1alpha1.DeadlineAnnotation: "1m"})}
	promised := metav1.ObjectMeta{OwnerReferences: owned, Annotations: tolerant(map[string]string{v1alpha1.LatestStartAnnotation: t0.Add(5 * time.Hour).Format(time.RFC3339)})}
	for name, tt := range map[string]struct {
		kind     string
		object   any
		unable   string // the namespace
		warned   bool
		released bool
	}{
		"a pod":                       {"Pod", corev1.Pod{ObjectMeta: waits}, "default", true, true},
		"a pod of another namespace":  {"Pod", corev1.Pod{ObjectMeta: waits}, "other", false, false},
		"a pod of a Job that is held": {"Pod", corev1.Pod{ObjectMeta: promised}, "default", true, true},
		"a pod that starts anyway":    {"Pod", corev1.Pod{ObjectMeta: starts}, "default", false, true},
		"a Job":                       {"Job", batchv1.Job{ObjectMeta: waits}, "default", true, true},
		"a Job of another namespace":  {"Job", batchv1.Job{ObjectMeta: waits}, "other", false, false},
		"a Job that starts anyway":    {"Job", batchv1.Job{ObjectMeta: starts}, "default", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := dirtyNow(t)
			w.WhyUnable = func(namespace, _ string) string {
				if namespace == tt.unable {
					return unable
				}
				return ""
			}
			raw, err := json.Marshal(tt.object)
			if err != nil {
				t.Fatal(err)
			}
			patched, response := admit(t, w, tt.kind, raw)
			var got corev1.Pod // of a Job, what both have
			if err := json.Unmarshal(patched, &got); err != nil {
				t.Fatal(err)
			}
			if (got.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased) != tt.released || hold.HasGate(got.Spec.SchedulingGates) && tt.released {
				t.Errorf("released: want %t: %+v", tt.released, got)
			}
			if (got.Annotations[v1alpha1.OutcomeAnnotation] == v1alpha1.OutcomeNotHeld) != tt.warned {
				t.Errorf("the outcome: want %t: %v", tt.warned, got.Annotations)
			}
			if (got.Annotations[v1alpha1.ReasonAnnotation] == why) != tt.warned || slices.Contains(response.Warnings, why) != tt.warned {
				t.Errorf("told: want %t: %v, %v", tt.warned, got.Annotations, response.Warnings)
			}
		})
	}
}

// namespaced is a cache in which each namespace names a policy that does not exist.
type namespaced struct{ empty }

func (n namespaced) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if metadata, ok := object.(*metav1.PartialObjectMetadata); ok {
		metadata.Annotations = map[string]string{v1alpha1.PolicyAnnotation: "gone"}
		return nil
	}
	return n.empty.Get(ctx, key, object, options...)
}

func TestTheOutcomeTellsThatThePolicyOfANamespaceDoesNotExist(t *testing.T) {
	w := dirtyNow(t)
	w.Reader = namespaced{}
	pod := admitPod(t, w, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(nil)}})
	want := notHeld + "CarbonPolicy gone, which namespace default names, does not exist"
	if pod.Annotations[v1alpha1.ReasonAnnotation] != want || pod.Annotations[v1alpha1.OutcomeAnnotation] != v1alpha1.OutcomeNotHeld {
		t.Errorf("got %v, want reason %q and the outcome", pod.Annotations, want)
	}
}
