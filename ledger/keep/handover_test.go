package keep

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/ledger/energy"
)

func TestPodsThatNobodyDecidedOnAndThatHaveNoOwnerAreForgotten(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	k.list(t)
	for i := range 100 {
		p := running(released("j", t0, 0), i, t0)
		p.OwnerReferences, p.Labels, p.Annotations = nil, map[string]string{watchJobPods: "j"}, nil
		for _, how := range []func(*sink, any) error{(*sink).Add, (*sink).Delete} {
			if err := how(k.podSink(watchJobPods), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.pass(t, k, t0.Add(time.Hour))
	if n := len(k.known.pods); n != 0 {
		t.Errorf("%d pods are kept", n)
	}
}

// TestAGroupThatAnotherLeaderHasBookedOnAnotherDayIsNotBookedAgain has two leaders that have seen the end
// of a pod on different sides of midnight.
func TestAGroupThatAnotherLeaderHasBookedOnAnotherDayIsNotBookedAgain(t *testing.T) {
	r := newRig(t)
	first, second := r.keeper(t), r.keeper(t)
	j := released("j", t0, 0)
	p := running(j, 0, t0)
	p.OwnerReferences = nil
	midnight := t0.Add(12 * time.Hour)
	for k, at := range map[*Keeper]time.Time{first: midnight.Add(-time.Second), second: midnight.Add(time.Second)} {
		k.list(t, p)
		k.gone(t, at, p)
	}
	other, itsPod := done("other", midnight, 0, time.Minute)
	first.see(t, midnight.Add(2*time.Minute), other)
	first.see(t, midnight.Add(2*time.Minute), itsPod)
	r.pass(t, first, midnight.Add(10*time.Minute))
	if err := second.pass(t.Context(), midnight.Add(11*time.Minute)); err == nil {
		t.Fatal("the second leader has overwritten what the first has booked")
	}
	r.pass(t, second, midnight.Add(21*time.Minute))
	if n := len(r.booked(t)); n != 2 { // booked tells what is there twice
		t.Errorf("%d groups are booked, want 2", n)
	}
}

// TestAPageThatCannotBeWrittenHoldsUpNoOther has a page that somebody has made immutable.
func TestAPageThatCannotBeWrittenHoldsUpNoOther(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	old, oldPod := done("old", t0.Add(-25*time.Hour), 0, time.Hour)
	j, p := done("j", t0, 0, time.Hour)
	r.now = t0.Add(2 * time.Hour)
	k.list(t, old, oldPod, j, p)
	refuse := errors.New("the page is immutable")
	r.refuseOne = func(o client.Object) error {
		if strings.HasSuffix(o.GetName(), "2026-11-20") {
			return refuse
		}
		return nil
	}
	for i := range 3 {
		if err := k.pass(t.Context(), t0.Add(time.Duration(3+i)*time.Hour)); !errors.Is(err, refuse) {
			t.Errorf("the pass says %v", err)
		}
	}
	if _, ok := r.booked(t)["j"]; !ok {
		t.Error("what could be written is not written")
	}
	r.refuseOne = nil
	next := r.keeper(t)
	next.list(t) // all have gone
	r.pass(t, next, t0.Add(8*time.Hour))
	if n := len(r.booked(t)); n != 2 {
		t.Errorf("%d groups are booked, want 2", n)
	}
}

// TestAPodThatNobodyCanSeeAgainKeepsItsNode hands over a pod that has gone. The node says what its GPU is.
func TestAPodThatNobodyCanSeeAgainKeepsItsNode(t *testing.T) {
	r := newRig(t)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node", Labels: map[string]string{gpuKindLabel: "Tesla-T4"}}}
	if err := r.api.Create(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	j := released("j", t0, 0)
	p := running(j, 0, t0)
	k := r.keeper(t)
	k.list(t, j, p)
	k.gone(t, t0.Add(time.Hour), ended(p, corev1.PodFailed, t0.Add(time.Hour)))
	r.pass(t, k, t0.Add(2*time.Hour))
	next := &Keeper{Store: k.Store, Policies: k.Policies, Clock: k.Clock, Metrics: k.Metrics, Pages: k.Pages, Nodes: r.api}
	next.prepare()
	if err := next.load(t.Context(), r.now); err != nil {
		t.Fatal(err)
	}
	if got := next.known.pods[p.UID].known(energy.Requests{}).GPUKind; got != "Tesla-T4" {
		t.Errorf("the GPU is %q", got)
	}
}
