package webhook

import (
	"encoding/json"
	"maps"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
)

// tolerant are the annotations of work that may wait, with others on top.
func tolerant(more map[string]string) map[string]string {
	all := map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DurationAnnotation: "1h"}
	maps.Copy(all, more)
	return all
}

// admitJob returns a Job as the API server would have it after the webhook.
func admitJob(t *testing.T, w *Webhook, job *batchv1.Job) *batchv1.Job {
	t.Helper()
	raw, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	patched, response := admit(t, w, "Job", raw)
	if !response.Allowed {
		t.Fatalf("refused: %+v", response.Result)
	}
	admitted := &batchv1.Job{}
	if err := json.Unmarshal(patched, admitted); err != nil {
		t.Fatal(err)
	}
	return admitted
}

func TestHowAJobIsHeld(t *testing.T) {
	const held, released = v1alpha1.StateHeld, v1alpha1.StateReleased
	queued := map[string]string{hold.KueueQueueLabel: "team"}
	tests := map[string]struct {
		job       batchv1.Job
		suspended bool
		state     string
		by        string
		template  string // the state of its pods to come
		queue     string
	}{
		"by the gates of its pods": {
			job: batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(nil)}}, state: held,
		},
		"suspended, as it asks": {
			job:       batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(map[string]string{v1alpha1.HoldAnnotation: v1alpha1.HoldBySuspend})}},
			suspended: true, state: held, by: v1alpha1.HoldBySuspend, template: released,
		},
		"suspended, since its clock would run": {
			job: batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(map[string]string{v1alpha1.HoldAnnotation: v1alpha1.HoldByGate})},
				Spec:       batchv1.JobSpec{ActiveDeadlineSeconds: ptr.To(int64(60))},
			},
			suspended: true, state: held, by: v1alpha1.HoldBySuspend, template: released,
		},
		"by gates, if the clock is that of its pods": {
			job: batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(nil)},
				Spec:       batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{ActiveDeadlineSeconds: ptr.To(int64(60))}}},
			}, state: held,
		},
		"not at all, if it is to be suspended and is": {
			job: batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(map[string]string{v1alpha1.HoldAnnotation: v1alpha1.HoldBySuspend})},
				Spec:       batchv1.JobSpec{Suspend: ptr.To(true)},
			}, suspended: true, state: released, template: released,
		},
		"at the queue of Kueue": {
			job: batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Labels: queued, Annotations: tolerant(nil)}, Spec: batchv1.JobSpec{Suspend: ptr.To(true)},
			}, suspended: true, state: held, by: v1alpha1.HoldByKueue, queue: v1alpha1.Gate,
		},
		"at the queue, beside others": {
			job: batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Labels: queued, Annotations: tolerant(map[string]string{hold.KueueGatesAnnotation: "a.example/b"})},
			}, state: held, by: v1alpha1.HoldByKueue, queue: "a.example/b," + v1alpha1.Gate,
		},
		"not at all, if another controller runs it": {
			job: batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(nil)}, Spec: batchv1.JobSpec{ManagedBy: ptr.To("example.com/other")},
			}, state: released, template: released,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := admitJob(t, dirtyNow(t), &tt.job)
			if suspended := ptr.Deref(got.Spec.Suspend, false); suspended != tt.suspended || got.Labels[v1alpha1.StateLabel] != tt.state ||
				got.Annotations[v1alpha1.HeldByAnnotation] != tt.by || got.Spec.Template.Labels[v1alpha1.StateLabel] != tt.template ||
				got.Annotations[hold.KueueGatesAnnotation] != tt.queue {
				t.Errorf("suspended %v, labels %v, annotations %v, template %v", suspended, got.Labels, got.Annotations, got.Spec.Template.Labels)
			}
			again := admitJob(t, dirtyNow(t), got) // by reinvocation, or of a copy
			if ptr.Deref(again.Spec.Suspend, false) != tt.suspended || again.Annotations[v1alpha1.HeldByAnnotation] != tt.by || again.Annotations[hold.KueueGatesAnnotation] != tt.queue {
				t.Errorf("the second time: suspended %v, annotations %v", again.Spec.Suspend, again.Annotations)
			}
		})
	}
}

func TestAPodCannotBeSuspended(t *testing.T) {
	raw, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: tolerant(map[string]string{v1alpha1.HoldAnnotation: v1alpha1.HoldBySuspend})}})
	if err != nil {
		t.Fatal(err)
	}
	if _, response := admit(t, dirtyNow(t), "Pod", raw); response.Allowed {
		t.Error("it was admitted")
	}
}

func TestHoldTakesWhatItKnows(t *testing.T) {
	raw, err := json.Marshal(batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		CreationTimestamp: metav1.NewTime(time.Time{}), Annotations: tolerant(map[string]string{v1alpha1.HoldAnnotation: "firmly"}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, response := admit(t, dirtyNow(t), "Job", raw); response.Allowed {
		t.Error("it was admitted")
	}
}
