package keep

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/ledger"
)

func TestTheCensusCountsWhatRunsAndWhatOfItCanWait(t *testing.T) {
	builder := fake.NewClientBuilder().WithIndex(&corev1.Pod{}, "status.phase", func(o client.Object) []string {
		return []string{string(o.(*corev1.Pod).Status.Phase)}
	})
	total := 0
	add := func(count int, phase corev1.PodPhase, state string, annotations map[string]string) {
		for range count {
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("pod-%d", total), Annotations: annotations},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m")}}}}},
				Status: corev1.PodStatus{Phase: phase},
			}
			total++
			if state != "" {
				pod.Labels = map[string]string{v1alpha1.StateLabel: state}
			}
			builder = builder.WithObjects(pod)
		}
	}
	add(6, corev1.PodRunning, "", nil)
	add(1, corev1.PodRunning, v1alpha1.StateReleased, nil)
	add(1, corev1.PodRunning, v1alpha1.StateReleased, map[string]string{v1alpha1.StartedAnnotation: "2026-11-27T12:00:00Z"})
	add(3, corev1.PodPending, v1alpha1.StateHeld, nil)
	add(3, corev1.PodSucceeded, v1alpha1.StateReleased, nil)

	got, err := takeCensus(t.Context(), builder.Build(), 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ledger.Census{Samples: 1, CoreHours: 8, ElasticCoreHours: 2, HeldCoreHours: 1}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if percent, ok := got.ElasticShare(); !ok || percent != 25 {
		t.Errorf("%v %% could wait, want 25", percent)
	}
	if percent, ok := got.HeldShare(); !ok || percent != 50 {
		t.Errorf("%v %% of that waited, want 50", percent)
	}
}
