package hold

import (
	"errors"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestAJobIsReleasedByHandWithItsPods(t *testing.T) {
	const planned = "2026-11-22T02:00:00Z"
	for name, tt := range map[string]struct {
		job       *batchv1.Job
		pods      []string // that the Job owns
		meanwhile func(*batchv1.Job)
		want      int
		suspended bool
		queue     string
		reason    string
	}{
		"a Job whose pods have gates": {
			job: jobIn(v1alpha1.StateHeld, "j", v1alpha1.PlannedStartAnnotation, planned), pods: []string{"a", "b"}, want: 2, reason: "released by hand at",
		},
		"a Job that we suspend, with all the pods it will run": {
			job: func() *batchv1.Job {
				j := heldItself(jobIn(v1alpha1.StateHeld, "j", v1alpha1.PlannedStartAnnotation, planned), v1alpha1.HoldBySuspend)
				j.Spec.Parallelism = ptr.To(int32(3))
				return j
			}(), want: 3, reason: "released by hand at",
		},
		"a Job that has lost its label": {job: heldItself(jobIn("", "j"), v1alpha1.HoldBySuspend), want: 1, reason: "released by hand at"},
		"a Job in a queue, which Kueue resumes": {
			job:  heldItself(jobIn(v1alpha1.StateHeld, "j", KueueGatesAnnotation, "a.example/b, "+v1alpha1.Gate), v1alpha1.HoldByKueue),
			want: 1, suspended: true, queue: "a.example/b", reason: "released by hand at",
		},
		"a Job that waits in the queue for us alone": {
			job:  heldItself(jobIn(v1alpha1.StateHeld, "j", KueueGatesAnnotation, v1alpha1.Gate), v1alpha1.HoldByKueue),
			want: 1, suspended: true, reason: "released by hand at",
		},
		"a Job that somebody else resumes meanwhile": {
			job:       heldItself(jobIn(v1alpha1.StateHeld, "j"), v1alpha1.HoldBySuspend),
			meanwhile: func(j *batchv1.Job) { j.Spec.Suspend = ptr.To(false) }, reason: ReasonTaken,
		},
		"a Job that the loop releases meanwhile": {
			job: heldItself(jobIn(v1alpha1.StateHeld, "j"), v1alpha1.HoldBySuspend),
			meanwhile: func(j *batchv1.Job) {
				j.Spec.Suspend, j.Labels[v1alpha1.StateLabel] = ptr.To(false), v1alpha1.StateReleased
				j.Annotations = map[string]string{v1alpha1.ReasonAnnotation: "started: clean"}
			}, reason: "started: clean",
		},
	} {
		t.Run(name, func(t *testing.T) {
			stored := tt.job.DeepCopy()
			if tt.meanwhile != nil {
				tt.meanwhile(stored)
			}
			objects := []client.Object{stored, gatedPod("stranger")}
			for _, name := range tt.pods {
				pod := ownedBy(gatedPod(name), tt.job)
				pod.Spec.SchedulingGates = append(pod.Spec.SchedulingGates, corev1.PodSchedulingGate{Name: "other"})
				objects = append(objects, pod)
			}
			c := server(nil, objects...)
			n, err := Release(t.Context(), c, tt.job, ManualReleaseReason(t0), t0)
			if err != nil || n != tt.want {
				t.Errorf("released %d, %v, want %d", n, err, tt.want)
			}
			job := read(t, c, stored)
			if ptr.Deref(job.Spec.Suspend, false) != tt.suspended || HoldsJobItself(job) || job.Labels[v1alpha1.StateLabel] != v1alpha1.StateReleased {
				t.Errorf("suspended: %v, %v %v", job.Spec.Suspend, job.Labels, job.Annotations)
			}
			if got := job.Annotations; got[KueueGatesAnnotation] != tt.queue || !strings.HasPrefix(got[v1alpha1.ReasonAnnotation], tt.reason) || got[v1alpha1.PlannedStartAnnotation] != "" {
				t.Errorf("annotations %v", got)
			}
			for _, name := range tt.pods {
				if gates := read(t, c, gatedPod(name)).Spec.SchedulingGates; len(gates) != 1 || gates[0].Name != "other" {
					t.Errorf("pod %s has the gates %v", name, gates)
				}
			}
			if !HasGate(read(t, c, gatedPod("stranger")).Spec.SchedulingGates) {
				t.Error("a pod that is not the Job's is released")
			}
		})
	}
}

func TestAPodIsReleasedByHandUnlessItsJobIsHeld(t *testing.T) {
	held, released := jobIn(v1alpha1.StateHeld, "held"), jobIn(v1alpha1.StateReleased, "released")
	for name, tt := range map[string]struct {
		object client.Object
		want   string // the error
	}{
		"a pod without a Job":                  {object: gatedPod("p")},
		"a pod that a release has left":        {object: ownedBy(gatedPod("p"), released)},
		"a pod whose Job is gone":              {object: ownedBy(gatedPod("p"), jobIn("", "gone"))},
		"a pod of a held Job":                  {object: ownedBy(gatedPod("p"), held), want: "all pods of a Job are released together: release job/held"},
		"a pod that runs":                      {object: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Annotations: map[string]string{v1alpha1.ReasonAnnotation: "started"}}}, want: "it is no longer held: started"},
		"a pod that never asked":               {object: &corev1.Pod{}, want: "it is not held by Gridlatch"},
		"a Job that never asked":               {object: jobIn("", "j"), want: "it is not held by Gridlatch"},
		"an object that Gridlatch cannot hold": {object: &corev1.Service{}, want: "want a pod, a Job or what else is held whole, not *v1.Service"},
	} {
		t.Run(name, func(t *testing.T) {
			objects := []client.Object{held.DeepCopy(), released.DeepCopy()}
			if tt.object.GetName() == "p" {
				tt.object.SetNamespace("n")
				objects = append(objects, tt.object)
			}
			c := server(nil, objects...)
			n, err := Release(t.Context(), c, tt.object, "r", t0)
			if tt.want != "" {
				if err == nil || err.Error() != tt.want || n != 0 {
					t.Errorf("released %d, %v, want %q", n, err, tt.want)
				}
				return
			}
			pod := read(t, c, gatedPod("p"))
			if err != nil || n != 1 || HasGate(pod.Spec.SchedulingGates) || pod.Annotations[v1alpha1.ReasonAnnotation] != "r" {
				t.Errorf("released %d, %v: %v", n, err, pod)
			}
		})
	}
}

func TestAReleaseByHandSaysWhatTheAPIServerRefuses(t *testing.T) {
	no := errors.New("no answer")
	c := server(func(client.Object, string) error { return no }, gatedPod("p"), jobIn(v1alpha1.StateHeld, "j"))
	for want, o := range map[string]client.Object{"take the gate off: no answer": gatedPod("p"), "record the release: no answer": jobIn(v1alpha1.StateHeld, "j")} {
		if n, err := Release(t.Context(), c, o, "r", t0); !errors.Is(err, no) || err.Error() != want || n != 0 {
			t.Errorf("released %d, %v, want %q", n, err, want)
		}
	}
	job := jobIn(v1alpha1.StateReleased, "k")
	c = server(func(client.Object, string) error { return no }, job, ownedBy(gatedPod("left"), job))
	if _, err := Release(t.Context(), c, job, "r", t0); !errors.Is(err, no) || !strings.Contains(err.Error(), "pod left") {
		t.Errorf("%v, want the pod that was not released", err)
	}
}

func TestAPodThatTheLoopReleasesMeanwhileIsNoError(t *testing.T) {
	stored := gatedPod("p")
	stored.Spec.SchedulingGates = nil
	c := server(func(client.Object, string) error { return errors.New("too late") }, stored)
	if n, err := Release(t.Context(), c, gatedPod("p"), "r", t0); n != 1 || err != nil {
		t.Errorf("released %d, %v", n, err)
	}
}

func TestPodsThatTheLoopReleasesOnceTheReleaseIsRecordedCount(t *testing.T) {
	job := jobIn(v1alpha1.StateHeld, "j")
	var c client.Client
	loop := func(o client.Object, _ string) error {
		if _, isPod := o.(*corev1.Pod); isPod {
			return nil
		}
		for _, name := range []string{"a", "b"} { // as quickly as a loop can be
			released := ownedBy(gatedPod(name), job)
			released.Spec.SchedulingGates = nil
			if err := errors.Join(c.Delete(t.Context(), gatedPod(name)), c.Create(t.Context(), released)); err != nil {
				return err
			}
		}
		return nil
	}
	c = server(loop, job, ownedBy(gatedPod("a"), job), ownedBy(gatedPod("b"), job))
	if n, err := Release(t.Context(), c, job, "r", t0); n != 2 || err != nil {
		t.Errorf("released %d pods, %v, want 2", n, err)
	}
}
