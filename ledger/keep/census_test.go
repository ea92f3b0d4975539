package keep

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/pages"
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

	got, err := takeCensus(t.Context(), builder.Build(), 2*time.Hour, nil)
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

// TestAPodOfHeldWorkIsCountedThoughItDoesNotSaySo has a Job that was held by suspension, a Job that is audited,
// and a Job of somebody else. Their pods have no annotation, and some no label.
func TestAPodOfHeldWorkIsCountedThoughItDoesNotSaySo(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	suspended, audited, foreign := released("suspended", t0, time.Hour), released("audited", t0, 0), released("foreign", t0, 0)
	audited.Labels = map[string]string{v1alpha1.StateLabel: v1alpha1.StateAudited}
	var pods []client.Object
	for _, j := range []*batchv1.Job{suspended, audited, foreign} {
		p := running(j, 0, t0.Add(time.Hour))
		p.Labels, p.Annotations = nil, nil
		pods = append(pods, p)
		k.see(t, t0.Add(time.Hour), p)
	}
	pods[0].SetLabels(map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased})
	k.see(t, t0.Add(time.Hour), suspended)
	k.see(t, t0.Add(time.Hour), audited)
	api := fake.NewClientBuilder().WithIndex(&corev1.Pod{}, "status.phase", func(o client.Object) []string {
		return []string{string(o.(*corev1.Pod).Status.Phase)}
	}).WithObjects(pods...).Build()
	k.Pods = api
	r.pass(t, k, t0.Add(90*time.Minute))
	page, err := pages.Store{Reader: r.api, Namespace: home}.Read(t.Context(), ledger.DayOf(t0))
	if err != nil {
		t.Fatal(err)
	}
	want := ledger.Census{Samples: 1, Until: t0.Add(90 * time.Minute), CoreHours: 6, ElasticCoreHours: 4, HeldCoreHours: 2}
	if diff := cmp.Diff(want, page.Page.Census()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
