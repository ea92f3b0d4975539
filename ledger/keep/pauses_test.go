package keep

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// afterPause is a Job after its pause.
func afterPause(j *batchv1.Job, at time.Time) *batchv1.Job {
	j = j.DeepCopy()
	for key, value := range map[string]string{
		v1alpha1.StartedAnnotation: policy.FormatTime(at), v1alpha1.PausesAnnotation: "1", v1alpha1.RanAnnotation: "1h", v1alpha1.RestartCostAnnotation: "10m",
		v1alpha1.FinishByAnnotation: policy.FormatTime(t0.Add(10 * time.Hour)), v1alpha1.LatestStartAnnotation: policy.FormatTime(t0.Add(9 * time.Hour)),
	} {
		j.Annotations[key] = value
	}
	return j
}

// What is paused is held, and no watch brings it. It must not be booked as deleted, nor its pods as failed.
func TestAPausedJobIsBookedAsOnePieceOfWork(t *testing.T) {
	for name, handOver := range map[string]bool{"by one leader": false, "by the next leader": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.offer(t, t0.Add(-24*time.Hour), hours(40)...)
			exists := func(kind, _, _ string, uid types.UID) bool { return kind == "Job" && uid == "job-j" }
			k := r.keeper(t)
			k.Exists = exists
			j := released("j", t0, 0)
			first := running(j, 0, t0.Add(time.Minute))
			k.list(t, j, first)
			r.pass(t, k, t0.Add(50*time.Minute))
			k.gone(t, t0.Add(time.Hour), j) // it was paused
			k.gone(t, t0.Add(time.Hour+10*time.Second), ended(first, corev1.PodFailed, t0.Add(time.Hour)))
			r.pass(t, k, t0.Add(2*time.Hour))
			if handOver {
				r.now = t0.Add(150 * time.Minute)
				k = r.keeper(t)
				k.Exists = exists
				k.list(t) // nothing that is paused
				r.pass(t, k, t0.Add(150*time.Minute))
			}
			if len(r.booked(t)) > 0 {
				t.Fatal("it is booked while it is paused")
			}
			again := afterPause(j, t0.Add(3*time.Hour))
			second := running(again, 1, t0.Add(3*time.Hour))
			k.see(t, t0.Add(3*time.Hour), again)
			k.see(t, t0.Add(3*time.Hour), second)
			r.pass(t, k, t0.Add(4*time.Hour))
			k.see(t, t0.Add(5*time.Hour), ended(second, corev1.PodSucceeded, t0.Add(5*time.Hour)))
			k.see(t, t0.Add(5*time.Hour), complete(again, t0.Add(5*time.Hour)))
			r.pass(t, k, t0.Add(6*time.Hour))
			got, ok := r.booked(t)["j"]
			if !ok || got.Failed || !got.SeenEnd || got.Pauses != 1 || got.RestartCost != 10*time.Minute || len(got.Steps) != 2 || got.Units != 1 {
				t.Fatalf("%+v", got)
			}
			if got.Steps[0].FailedWatts != 0 || got.Steps[1].FailedWatts != 0 {
				t.Errorf("a pod that was stopped has failed: %+v", got.Steps)
			}
			if !got.Released.Equal(t0) || got.Wait != 0 {
				t.Errorf("it has waited since %s for %s, and never has before its start", got.Released, got.Wait)
			}
			// of the ten hours it would have run for 59 minutes and two hours, less the restart
			if want := t0.Add(10*time.Hour - 169*time.Minute); !got.LatestStart.Equal(want) {
				t.Errorf("latest start %s, want %s", got.LatestStart, want)
			}
		})
	}
}

func TestAJobThatIsDeletedWhilePausedIsBooked(t *testing.T) {
	r := newRig(t)
	isThere := true
	k := r.keeper(t)
	k.Exists = func(string, string, string, types.UID) bool { return isThere }
	j := released("j", t0, 0)
	first := running(j, 0, t0)
	k.list(t, j, first)
	k.gone(t, t0.Add(time.Hour), j)
	k.gone(t, t0.Add(time.Hour), ended(first, corev1.PodFailed, t0.Add(time.Hour)))
	r.pass(t, k, t0.Add(2*time.Hour))
	isThere = false
	r.pass(t, k, t0.Add(3*time.Hour))
	if got, ok := r.booked(t)["j"]; !ok || !got.Failed || !got.Ended.Equal(t0.Add(time.Hour)) {
		t.Errorf("%+v", got)
	}
}
