package hold

import (
	"errors"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestReleaseAllNamesWhatIsLeft(t *testing.T) {
	c := gatedPods(t, 60, func(name string) bool { return name < "pod-25" })
	calls := 0
	exit := Exit{Client: c, Reason: "r", Now: t0, Progress: func(int, int) { calls++ }}
	released, err := exit.ReleaseAll(t.Context())
	var left *Unreleased
	if !errors.As(err, &left) || released != 35 || left.Count != 25 || len(left.First) != maxNamedUnreleased || calls != 60 {
		t.Errorf("released %d, told %d times, %v", released, calls, err)
	}
	for _, part := range []string{"25 could not be released", "pod n/pod-", "not in  my house", "and 5 more"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("it does not say %q: %q", part, err)
		}
	}
}

func TestAnExitReleasesAllThatIsHeldAndNothingElse(t *testing.T) {
	labelled, unlabelled := heldItself(jobIn(v1alpha1.StateHeld, "labelled"), v1alpha1.HoldBySuspend), heldItself(jobIn("", "unlabelled"), v1alpha1.HoldBySuspend)
	gated, theirs := jobIn(v1alpha1.StateHeld, "gated"), jobIn("", "theirs")
	suspended := true
	theirs.Spec.Suspend = &suspended
	elsewhere, lost := gatedPod("elsewhere"), gatedPod("lost")
	elsewhere.Namespace, lost.Labels = "another", nil
	objects := func() []client.Object {
		return []client.Object{labelled.DeepCopy(), unlabelled.DeepCopy(), gated.DeepCopy(), theirs.DeepCopy(), elsewhere.DeepCopy(), lost.DeepCopy(), ownedBy(gatedPod("member"), gated)}
	}
	for namespace, want := range map[string]int{"": 5, "n": 4, "another": 1} {
		t.Run("in namespace "+namespace, func(t *testing.T) {
			c := server(nil, objects()...)
			exit := Exit{Client: c, Namespace: namespace, Reason: "r", Now: t0}
			if released, err := exit.ReleaseAll(t.Context()); err != nil || released != want {
				t.Errorf("released %d, %v, want %d", released, err, want)
			}
			if isHeld := HoldsJobItself(read(t, c, jobIn("", "unlabelled"))); isHeld != (namespace == "another") {
				t.Errorf("a Job without its label is held: %t", isHeld)
			}
			if job := read(t, c, jobIn("", "theirs")); !*job.Spec.Suspend || len(job.Labels) > 0 {
				t.Errorf("a Job that we do not hold is changed: %v", job)
			}
			if pod := gatedPod("elsewhere"); namespace == "n" {
				pod.Namespace = "another"
				if !HasGate(read(t, c, pod).Spec.SchedulingGates) {
					t.Error("a pod of another namespace is released")
				}
			}
		})
	}
}

// The controller runs on, and would pause the work again.
func TestWhatIsReleasedByHandWithAllElseIsNotPausedAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		byHand bool
		want   string
	}{"by a user": {true, v1alpha1.OutcomeTaken}, "by a removal": {false, ""}} {
		t.Run(name, func(t *testing.T) {
			paused := heldItself(jobIn(v1alpha1.StateHeld, "paused"), v1alpha1.HoldBySuspend)
			paused.Annotations[v1alpha1.InterruptibleAnnotation] = "true"
			c := server(nil, paused)
			exit := Exit{Client: c, Reason: "r", Now: t0, ByHand: tt.byHand}
			if _, err := exit.ReleaseAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := read(t, c, jobIn("", "paused")).Annotations[v1alpha1.OutcomeAnnotation]; got != tt.want {
				t.Errorf("outcome %q, want %q", got, tt.want)
			}
		})
	}
}
