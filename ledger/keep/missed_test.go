package keep

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

func TestAPodThatCameWithoutTheWebhookIsBookedWithItsJob(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	k.Pods, k.shelf.censusUntil = r.api, t0.Add(3*time.Hour) // there is no census
	j := released("j", t0, time.Hour)
	seen := ended(running(j, 0, t0.Add(time.Hour)), corev1.PodSucceeded, t0.Add(2*time.Hour))
	k.list(t, j)
	k.see(t, t0.Add(2*time.Hour), seen)
	missed := ended(running(j, 1, t0), corev1.PodFailed, t0.Add(30*time.Minute))
	missed.Labels, missed.Annotations = map[string]string{batchv1.ControllerUidLabel: string(j.UID)}, nil
	stranger := ended(running(j, 2, t0), corev1.PodFailed, t0.Add(time.Hour))
	stranger.Labels, stranger.OwnerReferences = missed.Labels, nil
	for _, p := range []*corev1.Pod{missed, stranger} {
		if err := r.api.Create(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	over := complete(j, t0.Add(2*time.Hour))
	over.Status.Failed = 1
	k.see(t, t0.Add(2*time.Hour), over)
	r.pass(t, k, t0.Add(3*time.Hour))

	got := r.booked(t)["j"]
	if len(got.Steps) != 2 || got.Steps[0].FailedWatts == 0 || got.Steps[0].Start != t0 || got.CoreHours != 3 {
		t.Errorf("booked %+v", got)
	}
}
