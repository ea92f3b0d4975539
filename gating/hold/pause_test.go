package hold

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/policy"
)

func aPause() PauseNote {
	return PauseNote{
		Reason: "dirty", At: t0, PlannedStart: t0.Add(time.Hour), LatestStart: t0.Add(2 * time.Hour), FinishBy: t0.Add(3 * time.Hour), Ran: 90*time.Minute + time.Millisecond, Pauses: 2,
	}
}

func TestAPauseIsOneWriteThatAReleaseUndoes(t *testing.T) {
	const kept = "example.com/kept"
	job := jobIn(v1alpha1.StateReleased, "j", v1alpha1.OutcomeAnnotation, v1alpha1.OutcomeNotHeld, kept, "yes")
	c := server(nil, job)
	job = read(t, c, job)
	if err := c.Patch(t.Context(), job.DeepCopy(), aPause().Patch(job, JobKind().GroupKind())); err != nil {
		t.Fatal(err)
	}
	paused := read(t, c, job.DeepCopy())
	want := map[string]string{
		kept: "yes", v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend, v1alpha1.ReasonAnnotation: "dirty", v1alpha1.PausesAnnotation: "2", v1alpha1.RanAnnotation: "1h30m",
		v1alpha1.PausedAnnotation: "2026-11-21T12:00:00Z", v1alpha1.PlannedStartAnnotation: "2026-11-21T13:00:00Z",
		v1alpha1.LatestStartAnnotation: "2026-11-21T14:00:00Z", v1alpha1.FinishByAnnotation: "2026-11-21T15:00:00Z",
	}
	if diff := cmp.Diff(want, paused.Annotations); diff != "" || !HoldsJobItself(paused) || !policy.IsPaused(paused) {
		t.Error(diff, paused)
	}
	again := aPause().Patch(job, JobKind().GroupKind()) // of what was read before
	if err := c.Patch(t.Context(), job.DeepCopy(), again); !apierrors.IsConflict(err) {
		t.Errorf("what has changed since it was read is paused: %v", err)
	}

	note := ReleaseNote{Reason: "clean", At: t0.Add(time.Hour)}
	for name, minimal := range map[string]bool{"at once": false, "by two patches": true} {
		resumed := read(t, server(nil, paused.DeepCopy()), paused.DeepCopy())
		c := server(nil, resumed)
		if noted, err := note.OwnerPatches(paused, JobKind().GroupKind()).Apply(minimal, func(p client.Patch) error { return c.Patch(t.Context(), resumed, p) }); err != nil || !noted {
			t.Fatal(name, noted, err)
		}
		resumed = read(t, c, resumed)
		if got := policy.ReadRuns(resumed.Annotations); HoldsJobItself(resumed) || policy.IsPaused(resumed) || !got.Paused.IsZero() || got.Pauses != 2 || got.Ran != 90*time.Minute || got.FinishBy.IsZero() {
			t.Errorf("%s: %+v, %v", name, got, resumed.Annotations)
		}
	}
}

func TestARunOfNoTimeIsNotNoted(t *testing.T) {
	job := jobIn(v1alpha1.StateReleased, "j")
	c := server(nil, job)
	job = read(t, c, job)
	note := aPause()
	note.Ran = 999 * time.Millisecond
	if err := c.Patch(t.Context(), job, note.Patch(job, JobKind().GroupKind())); err != nil {
		t.Fatal(err)
	}
	if ran, ok := job.Annotations[v1alpha1.RanAnnotation]; ok {
		t.Errorf("it has run for %s", ran)
	}
}

func TestWholesArePausedByTheirDoors(t *testing.T) {
	for _, d := range door.All() {
		if !d.CanPause {
			continue
		}
		o := newWhole(d.Kind)
		o.SetNamespace("n")
		o.SetName("w")
		o.SetUID("u")
		c := server(nil, o)
		o = read(t, c, o)
		if err := c.Patch(t.Context(), o, aPause().Patch(o, d.Kind.GroupKind())); err != nil {
			t.Fatal(err)
		}
		owner, _ := OwnerOf(read[*unstructured.Unstructured](t, c, o))
		if !owner.HoldsItself() {
			t.Errorf("%s: %v", d.Kind.Kind, o.Object)
		}
	}
}

func TestWhoReleasesAnInterruptibleJobByHandWantsItToRun(t *testing.T) {
	for wish, want := range map[string]string{"true": v1alpha1.OutcomeTaken, "false": ""} {
		job := heldItself(jobIn(v1alpha1.StateHeld, "j", v1alpha1.InterruptibleAnnotation, wish, v1alpha1.PausedAnnotation, policy.FormatTime(t0)), v1alpha1.HoldBySuspend)
		c := server(nil, job)
		if _, err := Release(t.Context(), c, read(t, c, job), ManualReleaseReason(t0), t0); err != nil {
			t.Fatal(err)
		}
		if job = read(t, c, job); job.Annotations[v1alpha1.OutcomeAnnotation] != want || *job.Spec.Suspend || job.Annotations[v1alpha1.PausedAnnotation] != "" {
			t.Errorf("interruptible %s: %v", wish, job.Annotations)
		}
	}
}

func TestAHoldByHandForgetsThePausesBefore(t *testing.T) {
	job := jobIn(v1alpha1.StateReleased, "j", v1alpha1.RanAnnotation, "1h", v1alpha1.PausesAnnotation, "1", v1alpha1.FinishByAnnotation, policy.FormatTime(t0.Add(time.Hour)))
	c := server(nil, job)
	job = read(t, c, job)
	if err := (ManualHold{Policy: builtin()}).Apply(t.Context(), c, job, t0); err != nil {
		t.Fatal(err)
	}
	if runs := policy.ReadRuns(read(t, c, &batchv1.Job{ObjectMeta: job.ObjectMeta}).Annotations); runs != (policy.Runs{}) {
		t.Errorf("%+v", runs)
	}
}
