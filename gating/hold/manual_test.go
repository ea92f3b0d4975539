package hold

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestHandHoldWithoutAForecastLeavesThePlanToTheLoop(t *testing.T) {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "j", UID: "u", CreationTimestamp: metav1.NewTime(t0)}}
	c := fake.NewClientBuilder().WithObjects(job).Build()
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(job), job); err != nil {
		t.Fatal(err)
	}
	now := t0.Add(48 * time.Hour)
	if err := (ManualHold{Policy: builtin()}).Apply(t.Context(), c, job, now); err != nil {
		t.Fatal(err)
	}
	if !HoldsJobItself(job) || job.Annotations[v1alpha1.PlannedStartAnnotation] != "" {
		t.Errorf("%+v", job)
	}
	if task := builtin().TaskOf(job); !task.LatestStart.Equal(now.Add(24 * time.Hour)) {
		t.Errorf("latest start %s, want a day from %s", task.LatestStart, now)
	}
}

func TestPodsLeftOverByAnInterruptedReleaseGoWithTheirJob(t *testing.T) {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "j", UID: "u", Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateReleased}}}
	left := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: "p", UID: "v", Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec:   corev1.PodSpec{SchedulingGates: []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	c := fake.NewClientBuilder().WithObjects(job, left).
		WithIndex(&corev1.Pod{}, "status.phase", func(o client.Object) []string { return []string{string(o.(*corev1.Pod).Status.Phase)} }).
		WithIndex(&corev1.Pod{}, "spec.nodeName", func(o client.Object) []string { return []string{o.(*corev1.Pod).Spec.NodeName} }).
		Build()
	if n, err := Release(t.Context(), c, job, ManualReleaseReason(t0), t0); n != 1 || err != nil {
		t.Errorf("released %d, %v", n, err)
	}
	if n, err := Release(t.Context(), c, job, ManualReleaseReason(t0), t0); n != 0 || err == nil {
		t.Errorf("released %d again, %v", n, err)
	}
}
