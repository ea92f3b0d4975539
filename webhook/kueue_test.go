package webhook

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
)

const podSet = "kueue.x-k8s.io/podset"

func TestHowAPodInAQueueOfKueueIsHeld(t *testing.T) {
	promised := map[string]string{v1alpha1.LatestStartAnnotation: t0.Add(5 * time.Hour).Format(time.RFC3339)}
	ofJob := []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: "1", Controller: ptr.To(true)}}
	for name, tt := range map[string]struct {
		labels, annotations map[string]string
		owners              []metav1.OwnerReference
		held                bool
		queue, reason       string
	}{
		"by our gate and at its queue":                     {labels: map[string]string{hold.KueueQueueLabel: "q"}, held: true, queue: v1alpha1.Gate},
		"at its queue, beside others":                      {labels: map[string]string{hold.KueueQueueLabel: "q"}, annotations: map[string]string{hold.KueueGatesAnnotation: "a.example/b"}, held: true, queue: "a.example/b," + v1alpha1.Gate},
		"by our gate alone, in no queue":                   {held: true},
		"by our gate alone, without a forged entry":        {annotations: map[string]string{hold.KueueGatesAnnotation: v1alpha1.Gate}, held: true},
		"not with quota":                                   {labels: map[string]string{hold.KueueQueueLabel: "q", podSet: "main"}, reason: "not held: Kueue has given quota to the pod already: annotate the object that has the queue label"},
		"not with a Workload that was made before":         {labels: map[string]string{hold.KueueQueueLabel: "q", "kueue.x-k8s.io/prebuilt-workload-name": "w"}, reason: "not held: its Workload"},
		"not the pod of a Job that Kueue has started":      {labels: map[string]string{podSet: "main"}, annotations: promised, owners: ofJob, reason: "Kueue has started its Job"},
		"by our gate, of a Job that Kueue does not manage": {annotations: promised, owners: ofJob, held: true},
	} {
		t.Run(name, func(t *testing.T) {
			got := admitPod(t, dirtyNow(t), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: tt.labels, Annotations: tolerant(tt.annotations), OwnerReferences: tt.owners}})
			if hold.HasGate(got.Spec.SchedulingGates) != tt.held || got.Annotations[hold.KueueGatesAnnotation] != tt.queue {
				t.Errorf("gates %v, annotations %v", got.Spec.SchedulingGates, got.Annotations)
			}
			if reason := got.Annotations[v1alpha1.ReasonAnnotation]; !tt.held && !strings.HasPrefix(reason, tt.reason) {
				t.Errorf("reason %q, want %q", reason, tt.reason)
			}
		})
	}
}

func TestTheJobsPodsAreHeldTooIfKueueDoesNotManageTheJob(t *testing.T) {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{hold.KueueQueueLabel: "q"}, Annotations: tolerant(nil)}}
	got := admitJob(t, dirtyNow(t), job)
	template := got.Spec.Template
	if template.Annotations[v1alpha1.LatestStartAnnotation] != got.Annotations[v1alpha1.LatestStartAnnotation] || template.Labels[v1alpha1.StateLabel] != "" {
		t.Errorf("the template promises %v %v, the Job %v", template.Labels, template.Annotations, got.Annotations)
	}
}

func TestOurGateAtAQueueThatSomebodyElseHasWrittenKeepsNothingWaiting(t *testing.T) {
	forged := map[string]string{hold.KueueGatesAnnotation: "a.example/b," + v1alpha1.Gate}
	for name, annotations := range map[string]map[string]string{
		"on work that starts":        tolerant(map[string]string{hold.KueueGatesAnnotation: forged[hold.KueueGatesAnnotation], v1alpha1.DeadlineAnnotation: "1m"}),
		"on work that does not wait": forged,
	} {
		labels := map[string]string{hold.KueueQueueLabel: "q"}
		job := admitJob(t, dirtyNow(t), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations}})
		pod := admitPod(t, dirtyNow(t), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations}})
		if job.Annotations[hold.KueueGatesAnnotation] != "a.example/b" || pod.Annotations[hold.KueueGatesAnnotation] != "a.example/b" {
			t.Errorf("%s: %v, %v", name, job.Annotations, pod.Annotations)
		}
	}
}
