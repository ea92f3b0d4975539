package keep

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// TestJobsThatOwnEachOtherAreBooked has owner references that nobody but their writer would set. The API
// server does not check them.
func TestJobsThatOwnEachOtherAreBooked(t *testing.T) {
	for name, owners := range map[string][]int{"a circle": {1, 0}, "a long chain": {1, 2, 3, 4, 5, 6, -1}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			k := r.keeper(t)
			var all []client.Object
			for i, owner := range owners {
				j, p := done(fmt.Sprint("j-", i), t0, 0, time.Hour)
				if owner >= 0 {
					above := fmt.Sprint("j-", owner)
					j.OwnerReferences = []metav1.OwnerReference{{Kind: "Job", Name: above, UID: types.UID("job-" + above), Controller: ptr.To(true)}}
				}
				all = append(all, j, p)
			}
			r.now = t0.Add(time.Hour)
			k.list(t, all...)
			r.pass(t, k, t0.Add(3*time.Hour))
			hours := 0.0
			for _, g := range r.booked(t) {
				hours += g.CoreHours
			}
			if want := 2 * float64(len(owners)); hours != want || k.known.size() != 0 {
				t.Errorf("%v core-hours are booked, want %v; %d are open", hours, want, k.known.size())
			}
		})
	}
}

// TestWhatWasOpenIsNotBookedAgainDaysLater has a Job that runs over midnight, and then short Jobs, which no
// pass sees run.
func TestWhatWasOpenIsNotBookedAgainDaysLater(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	j := released("j", t0, 0)
	p := running(j, 0, t0)
	k.list(t, j, p)
	r.pass(t, k, t0.Add(time.Hour))
	end := t0.Add(13 * time.Hour)
	k.see(t, end, ended(p, corev1.PodSucceeded, end))
	k.see(t, end, complete(j, end))
	for pass := range 5 * 24 {
		at := end.Add(time.Duration(pass) * time.Hour)
		other, itsPod := done(fmt.Sprint("other-", pass), at, 0, time.Minute)
		k.see(t, at.Add(2*time.Minute), other)
		k.see(t, at.Add(2*time.Minute), itsPod)
		r.pass(t, k, at.Add(time.Hour))
	}
	next := r.keeper(t)
	next.list(t)
	r.pass(t, next, r.now.Add(time.Hour))
	if n := groupsIn(r.keeper(t), r.now); n != 1+5*24 {
		t.Errorf("%d groups are booked, want %d", n, 1+5*24)
	}
}

// groupsIn counts the groups of the recent pages.
func groupsIn(k *Keeper, now time.Time) (groups int) {
	for _, sum := range k.shelf.recent(now) {
		groups += sum.Groups
	}
	return groups
}

// TestARequestWithoutBoundsStopsNoPass has a pod that its node has refused at once.
func TestARequestWithoutBoundsStopsNoPass(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	p := running(released("j", t0, 0), 0, t0)
	p.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("1e400")
	p.Spec.Containers[0].Resources.Requests["a.example/gpu"] = resource.MustParse("1e400")
	k.list(t, released("j", t0, 0), ended(p, corev1.PodFailed, t0.Add(time.Second)))
	r.pass(t, k, t0.Add(time.Hour))
	if !k.shelf.entries["2026-11-21"].IsStored() {
		t.Error("nothing is written")
	}
}

func TestAPodCannotAddItsEnergyToTheWorkOfAnotherNamespace(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	j, p := done("j", t0, 0, time.Hour)
	foreign := ended(running(j, 1, t0), corev1.PodSucceeded, t0.Add(time.Hour))
	foreign.Namespace = "elsewhere"
	r.now = t0.Add(time.Hour)
	k.list(t, j, p, foreign)
	r.pass(t, k, t0.Add(3*time.Hour))
	if got := r.booked(t)["j"]; got.CoreHours != 2 {
		t.Errorf("%v core-hours are booked, want 2", got.CoreHours)
	}
}

func TestNothingWaitedLongerThanUntilItRan(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	j, p := done("j", t0, 0, time.Hour)
	j.Annotations[v1alpha1.StartedAnnotation] = t0.Add(40 * time.Minute).Format(time.RFC3339) // somebody claims a wait
	r.now = t0.Add(time.Hour)
	k.list(t, j, p)
	r.pass(t, k, t0.Add(3*time.Hour))
	if got := r.booked(t)["j"]; got.Wait != 0 || !got.Released.Equal(t0) {
		t.Errorf("booked with a wait of %v, released at %v", got.Wait, got.Released)
	}
}
