package keep

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
	"github.com/gridlatch/gridlatch/policy"
)

func TestAJobIsBookedWithTheRunOfItsPods(t *testing.T) {
	r := newRig(t)
	r.offer(t, t0.Add(-24*time.Hour), hours(25)...)
	k := r.keeper(t)
	j := released("j", t0, time.Hour)
	first, second := running(j, 0, t0.Add(time.Hour)), running(j, 1, t0.Add(2*time.Hour))
	k.list(t, j, first)
	r.pass(t, k, t0.Add(90*time.Minute))
	k.see(t, t0.Add(2*time.Hour), ended(first, corev1.PodFailed, t0.Add(2*time.Hour)))
	k.see(t, t0.Add(2*time.Hour), second)
	k.see(t, t0.Add(3*time.Hour), ended(second, corev1.PodSucceeded, t0.Add(3*time.Hour)))
	k.see(t, t0.Add(3*time.Hour+time.Second), complete(j, t0.Add(3*time.Hour+time.Second)))
	r.pass(t, k, t0.Add(4*time.Hour))
	watts := policy.DefaultAccounting().Coefficients.Watts(energy.Requests{Cores: 2, GiB: 4})
	want := ledger.Group{
		UID: "job-j", Kind: "Job", Namespace: "n", Name: "j", Owner: "Job/j", Policy: "default", Mode: ledger.Enforce,
		Source: r.source(t).String(), Location: "X", OtherLocation: "X", Arrived: t0, LatestStart: t0.Add(8 * time.Hour), Released: t0.Add(time.Hour),
		Ended: t0.Add(3*time.Hour + time.Second), SeenEnd: true, Wait: time.Hour, Energy: energy.Modelled, Units: 1, CoreHours: 4,
		Steps: []ledger.Step{
			{Start: t0.Add(time.Hour), End: t0.Add(2 * time.Hour), Watts: watts, FailedWatts: watts},
			{Start: t0.Add(2 * time.Hour), End: t0.Add(3 * time.Hour), Watts: watts},
		},
	}
	got := r.booked(t)["j"]
	want.EmbodiedGrams = got.EmbodiedGrams
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-5, 0)); diff != "" || got.EmbodiedGrams <= 0 {
		t.Errorf("booked (-want +got):\n%s", diff)
	}
}

func TestNothingIsBookedTwiceOverHandOversAndRestarts(t *testing.T) {
	r := newRig(t)
	j, p := done("j", t0, time.Hour, time.Hour)
	r.now = t0.Add(3 * time.Hour)
	earlier, itsPod := done("earlier", t0, 0, time.Hour)
	k := r.keeper(t)
	k.list(t, earlier, itsPod)
	r.pass(t, k, t0.Add(3*time.Hour))
	first, second := r.keeper(t), r.keeper(t)
	first.list(t, j, p)
	second.list(t, j, p) // both believe that they lead
	r.pass(t, first, t0.Add(3*time.Hour+time.Minute))
	if err := second.pass(t.Context(), t0.Add(3*time.Hour+2*time.Minute)); err == nil {
		t.Error("the second leader has overwritten what the first has booked")
	}
	r.pass(t, second, t0.Add(3*time.Hour+12*time.Minute))
	for day := range 6 { // a restart each day: the page is settled, and what it had is forgotten
		at := t0.AddDate(0, 0, day).Add(4 * time.Hour)
		r.now = at
		k := r.keeper(t)
		k.list(t, j, p)
		r.pass(t, k, at.Add(time.Minute))
		other, pod := done(fmt.Sprint("other-", day), at, 0, time.Minute)
		k.see(t, at.Add(2*time.Minute), other)
		k.see(t, at.Add(2*time.Minute), pod)
		r.pass(t, k, at.Add(11*time.Minute))
	}
	sums := 0
	k = r.keeper(t)
	for _, sum := range k.shelf.recent(r.now) {
		sums += sum.Groups
	}
	if sums != 8 {
		t.Errorf("%d groups are booked, want 8", sums)
	}
}

func TestWhatGoesWhileNobodyLeadsIsNotLost(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	j := released("j", t0, 0)
	gone, stays := running(j, 0, t0), running(j, 1, t0)
	bare := running(released("bare", t0, 0), 0, t0)
	bare.OwnerReferences = nil
	k.list(t, j, gone, stays, bare)
	k.gone(t, t0.Add(time.Hour), ended(gone, corev1.PodFailed, t0.Add(time.Hour)))
	r.pass(t, k, t0.Add(2*time.Hour))
	r.now = t0.Add(5 * time.Hour)
	next := r.keeper(t)
	next.list(t) // all have gone
	r.pass(t, next, t0.Add(5*time.Hour+time.Minute))
	found := r.booked(t)
	if g := found["j"]; g.SeenEnd || !g.Ended.Equal(t0.Add(2*time.Hour)) || g.Units != 0 || g.Failed || len(g.Steps) != 2 || g.Steps[0].FailedWatts != g.Steps[1].Watts {
		t.Errorf("the Job is booked as %+v", g)
	}
	if g := found["bare-0"]; g.SeenEnd || !g.Ended.Equal(t0.Add(2*time.Hour)) || g.Kind != "Pod" {
		t.Errorf("the pod is booked as %+v", g)
	}
}

func TestAllThatStillExistsIsBookedAfterAWeekWithoutALeader(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	before, pod := done("before", t0.Add(-2*time.Hour), 0, time.Hour)
	k.list(t, before, pod)
	r.pass(t, k, t0)
	all := []client.Object{before, pod}
	for day := range 7 {
		j, p := done(fmt.Sprint("day-", day), t0.AddDate(0, 0, day), 0, time.Hour)
		all = append(all, j, p)
	}
	r.now = t0.AddDate(0, 0, 8)
	next := r.keeper(t)
	next.list(t, all...)
	r.pass(t, next, r.now.Add(time.Minute))
	r.pass(t, next, r.now.Add(2*time.Hour)) // an hour allows so many pages only
	groups := 0
	last := r.keeper(t)
	for _, sum := range last.shelf.recent(r.now) {
		groups += sum.Groups
	}
	if groups != 8 || len(last.shelf.pending) != 0 {
		t.Errorf("%d groups are booked, want 8", groups)
	}
}

func TestAWriteThatFailsLosesNothing(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	j, p := done("j", t0.Add(-3*time.Hour), 0, time.Hour)
	k.list(t, j, p)
	r.refuse = errors.New("no")
	if err := k.pass(t.Context(), t0); !errors.Is(err, r.refuse) {
		t.Errorf("%v", err)
	}
	r.refuse = nil
	k.gone(t, t0, j)
	k.gone(t, t0, p)
	r.pass(t, k, t0.Add(10*time.Minute))
	if found := r.booked(t); len(found) != 1 {
		t.Errorf("%d groups are booked, want 1", len(found))
	}
}

func TestWhatNeverRanIsNotBooked(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	gone, idle := released("gone", t0, time.Hour), complete(released("idle", t0, 0), t0.Add(time.Minute))
	idle.Status.Succeeded = 0
	waiting := running(gone, 0, t0)
	waiting.Status, waiting.Spec.NodeName = corev1.PodStatus{}, ""
	k.list(t, gone, idle, waiting)
	r.pass(t, k, t0.Add(2*time.Hour))
	k.gone(t, r.now, waiting)
	k.gone(t, r.now, gone)
	r.pass(t, k, t0.Add(3*time.Hour))
	if found := r.booked(t); len(found) != 0 || k.known.size() != 0 {
		t.Errorf("booked %v, and %d are open", found, k.known.size())
	}
}

func TestAJobWhosePodsNobodyHasSeenIsBookedByItsStatus(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	j, _ := done("j", t0, time.Hour, time.Hour)
	r.now = t0.Add(2 * time.Hour)
	k.list(t, j)
	r.pass(t, k, t0.Add(3*time.Hour))
	if g := r.booked(t)["j"]; len(g.Steps) != 1 || !g.Steps[0].Start.Equal(t0.Add(time.Hour)) || !g.Steps[0].End.Equal(t0.Add(2*time.Hour)) || g.CoreHours != 2 {
		t.Errorf("booked as %+v", g)
	}
}

func TestVeryManyAttemptsAreFolded(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	j := released("j", t0, 0)
	k.list(t, j)
	const attempts = 3 * maxAttempts
	for i := range attempts {
		start := t0.Add(time.Duration(i) * time.Second)
		p := running(j, i, start)
		k.gone(t, start.Add(time.Second), ended(p, corev1.PodFailed, start.Add(time.Second)))
		if i%1000 == 999 {
			r.pass(t, k, start.Add(time.Minute))
		}
	}
	if n := len(k.known.pods); n > maxAttempts {
		t.Errorf("%d attempts are kept one by one", n)
	}
	k.see(t, t0.Add(attempts*time.Second), complete(j, t0.Add(attempts*time.Second)))
	r.pass(t, k, t0.Add(24*time.Hour))
	g := r.booked(t)["j"]
	if want := attempts * 2.0 / 3600; g.CoreHours < want*.999 || g.CoreHours > want*1.001 {
		t.Errorf("%v core-hours, want %v", g.CoreHours, want)
	}
	watts := policy.DefaultAccounting().Coefficients.Watts(energy.Requests{Cores: 2, GiB: 4})
	if a := g.Account(nil); a.Joules < attempts*watts*.999 || a.Joules > attempts*watts*1.001 || a.FailedJoules < a.Joules*.999 {
		t.Errorf("%v J, of which %v J failed, want %v J", a.Joules, a.FailedJoules, attempts*watts)
	}
}

func TestAnHourHasAtMostTwelveWrites(t *testing.T) {
	r := newRig(t)
	r.offer(t, t0, hours(24)...)
	k := r.keeper(t)
	k.list(t)
	for i := range 2 * 24 * 6 {
		at := t0.Add(time.Duration(i) * 10 * time.Minute)
		r.now = at
		for hours := range 4 { // some have ended days before they are seen
			j, p := done(fmt.Sprint("j-", i, "-", hours), at.Add(-time.Duration(hours*30)*time.Hour), 0, 5*time.Minute)
			p.Status.Phase = corev1.PodRunning
			seen := at.Add(8 * time.Minute)
			k.see(t, seen, p)
			k.see(t, seen, ended(p, corev1.PodSucceeded, p.Status.StartTime.Add(5*time.Minute)))
			k.see(t, seen, j)
		}
		r.offer(t, at.Truncate(time.Hour).Add(-24*time.Hour), hours(25)...)
		r.pass(t, k, at.Add(9*time.Minute))
	}
	for i, first := range r.writes {
		n := 0
		for _, at := range r.writes[i:] {
			if at.Sub(first) < time.Hour {
				n++
			}
		}
		if n > 12 {
			t.Fatalf("%d writes in the hour from %v", n, first)
		}
	}
	if len(r.writes) < 2*24*6 {
		t.Errorf("only %d writes", len(r.writes))
	}
}

func TestOldDaysBecomeAMonth(t *testing.T) {
	r := newRig(t)
	for day := range 3 {
		r.now = t0.AddDate(0, 0, day)
		k := r.keeper(t)
		j, p := done(fmt.Sprint("j-", day), r.now.Add(-time.Hour), 0, time.Minute)
		k.list(t, j, p)
		r.pass(t, k, r.now)
	}
	k := r.keeper(t)
	k.list(t)
	for i := range 20 {
		r.pass(t, k, t0.AddDate(0, 0, keptDays+10).Add(time.Duration(i)*time.Hour))
		if i == 1 { // a crash
			k = r.keeper(t)
			k.list(t)
		}
	}
	listed, err := k.Pages.List(t.Context())
	if err != nil || len(listed) != 1 || len(listed[0].Days) != 3 {
		t.Fatalf("pages %+v, %v", listed, err)
	}
	e, err := k.Pages.Read(t.Context(), "2026-11")
	if err != nil {
		t.Fatal(err)
	}
	groups := 0
	for _, s := range e.Page.Sums(nil) {
		groups += s.Groups
	}
	if groups != 3 {
		t.Errorf("the month has %d groups, want 3", groups)
	}
}

func TestAPodOfAJobThatIsBookedIsNotBookedApart(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	j, p := done("j", t0, 0, time.Hour)
	r.now = t0.Add(time.Hour)
	k.list(t, j, p)
	r.pass(t, k, t0.Add(2*time.Hour))
	r.now = t0.Add(3 * time.Hour)
	next := r.keeper(t)
	next.list(t, p) // the Job was deleted, and has left its pod behind
	r.pass(t, next, r.now.Add(10*time.Minute))
	if found := r.booked(t); len(found) != 1 {
		t.Errorf("booked: %v", found)
	}
}

// fakeMeter has measured some pods.
type fakeMeter struct {
	joules map[string]float64
	err    error
	asked  int
}

func (m *fakeMeter) Joules(_ context.Context, pods []ledger.PodRun) (map[string]float64, error) {
	m.asked += len(pods)
	return m.joules, m.err
}

func TestMeasuredEnergyComesFirst(t *testing.T) {
	for name, tt := range map[string]struct {
		meter *fakeMeter
		want  energy.Source
	}{
		"all pods":    {&fakeMeter{joules: map[string]float64{"pod-j-0": 3600, "pod-j-1": 3600}}, energy.Measured},
		"one is left": {&fakeMeter{joules: map[string]float64{"pod-j-0": 3600}}, energy.Modelled},
		"no answer":   {&fakeMeter{err: errors.New("away")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			j, p := done("j", t0, 0, time.Hour)
			other := p.DeepCopy()
			other.Name, other.UID = "j-1", types.UID("pod-j-1")
			k := r.keeper(t)
			g := &group{uid: j.UID, owner: ownerOfJob(j, watchJobs, t0.Add(time.Hour)), pods: []*pod{podOf(p, watchPods, t0.Add(time.Hour)), podOf(other, watchPods, t0.Add(time.Hour))}}
			rules, err := k.rulesOf(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			rules.meter, g.rules = tt.meter, rules
			measureAll(t.Context(), []*group{g}, t0.Add(61*time.Minute))
			if _, err := g.account(t0.Add(61 * time.Minute)); !errors.Is(err, errLater) || tt.meter.asked != 0 {
				t.Errorf("a minute after the end: %v, %d pods were asked for", err, tt.meter.asked)
			}
			now := t0.Add(2 * time.Hour)
			measureAll(t.Context(), []*group{g}, now)
			b, err := g.account(now)
			if tt.want == "" {
				if !errors.Is(err, errLater) {
					t.Errorf("a meter that does not answer: %v", err)
				}
				b, err = g.account(now.Add(meterPatience))
				tt.want = energy.Modelled
			}
			if err != nil || b.Energy != tt.want {
				t.Errorf("%s, %v, want %s", b.Energy, err, tt.want)
			}
			if want := 2 * policy.DefaultAccounting().Coefficients.PUE; tt.want == energy.Measured && (b.Steps[0].Watts < want*.999 || b.Steps[0].Watts > want*1.001) {
				t.Errorf("%v W, want %v W", b.Steps[0].Watts, want)
			}
		})
	}
}

func TestWatchesAndPassesDoNotDisturbEachOther(t *testing.T) {
	r := newRig(t)
	k := r.keeper(t)
	k.list(t)
	var watches sync.WaitGroup
	for w := range 4 {
		watches.Go(func() {
			for i := range 200 {
				j := released(fmt.Sprint(w, "-", i), t0.Add(-time.Hour), 0)
				p := podOf(running(j, 0, t0.Add(-time.Hour)), watchPods, t0.Add(-time.Minute))
				k.known.setOwner(ownerOfJob(j, watchJobs, t0))
				k.known.setPod(p)
				k.known.dropPod(p.UID, watchPods, p, t0)
				k.known.setOwner(ownerOfJob(complete(j, t0), watchJobs, t0.Add(-time.Minute)))
			}
		})
	}
	for i := range 20 {
		if err := k.pass(t.Context(), t0.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	watches.Wait()
	r.pass(t, k, t0.Add(time.Hour))
	if found := r.booked(t); len(found) != 800 {
		t.Errorf("%d groups are booked, want 800", len(found))
	}
}
