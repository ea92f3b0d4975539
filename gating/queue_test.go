package gating

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
)

// queuedJob is a Job that waits for us at its queue in Kueue.
func queuedJob(change func(*batchv1.Job)) *batchv1.Job {
	job := suspendedByUs()
	job.Labels[hold.KueueQueueLabel] = "q"
	job.Annotations[v1alpha1.HeldByAnnotation], job.Annotations[hold.KueueGatesAnnotation] = v1alpha1.HoldByKueue, v1alpha1.Gate
	change(job)
	return job
}

func unmanaged(job *batchv1.Job) { job.Spec.Suspend = ptr.To(false) }

// startedByKueue makes a Job one to which Kueue has given quota.
func startedByKueue(job *batchv1.Job) {
	unmanaged(job)
	job.Spec.Template.Labels = map[string]string{"kueue.x-k8s.io/podset": "main"}
}

func waitingGroup(t *testing.T, job *batchv1.Job) *group {
	t.Helper()
	g := &group{owner: stripped(t, newRecordMaker(), job), task: plan.Task{LatestStart: t0.Add(8 * time.Hour)}}
	g.decision = plan.Decision{Decided: t0, Start: t0.Add(time.Hour), LatestStart: t0.Add(8 * time.Hour), Cause: plan.CauseCleanerLater, Expected: 100, ExpectedAtOnce: 400}
	return g
}

func TestHowKueueTreatsAJobIsSeenOnTheJob(t *testing.T) {
	for name, tt := range map[string]struct {
		change                    func(*batchv1.Job)
		itself, resumed, hasQueue bool
	}{
		"Kueue has suspended it":   {change: func(*batchv1.Job) {}, itself: true, hasQueue: true},
		"Kueue does not manage it": {change: unmanaged},
		"Kueue has started it":     {change: startedByKueue, itself: true, resumed: true, hasQueue: true},
		"Kueue has started it once it was held by gates": {change: func(j *batchv1.Job) {
			startedByKueue(j)
			delete(j.Annotations, v1alpha1.HeldByAnnotation)
			delete(j.Annotations, hold.KueueGatesAnnotation)
		}, resumed: true, hasQueue: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := waitingGroup(t, queuedJob(tt.change))
			if g.holdsJobItself() != tt.itself || g.isResumed() != tt.resumed || g.owner.hasNoQueue() == tt.hasQueue {
				t.Errorf("held itself: %t, resumed: %t, in no queue: %t", g.holdsJobItself(), g.isResumed(), g.owner.hasNoQueue())
			}
		})
	}
}

func TestAJobThatKueueDoesNotManageIsHeldByOurOwnMeans(t *testing.T) {
	for name, tt := range map[string]struct {
		change    func(*batchv1.Job)
		due       bool
		by        string
		suspended bool
	}{
		"by its gates": {change: unmanaged},
		"by its suspend, if a clock of its own runs": {change: func(j *batchv1.Job) { unmanaged(j); j.Spec.ActiveDeadlineSeconds = ptr.To(int64(60)) }, by: v1alpha1.HoldBySuspend, suspended: true},
		"by its suspend, if it says so":              {change: func(j *batchv1.Job) { unmanaged(j); j.Annotations[v1alpha1.HoldAnnotation] = v1alpha1.HoldBySuspend }, by: v1alpha1.HoldBySuspend, suspended: true},
		"not if Kueue has suspended it":              {change: func(*batchv1.Job) {}, by: v1alpha1.HoldByKueue, suspended: true},
		"not if it is released now":                  {change: unmanaged, due: true, by: v1alpha1.HoldByKueue},
	} {
		t.Run(name, func(t *testing.T) {
			job := queuedJob(tt.change)
			c := jobServer(job.DeepCopy(), func(string) error { return nil })
			l, g := loopWith(c), waitingGroup(t, job)
			if tt.due {
				g.decision.Start = t0
			}
			if failed := l.leaveQueues(t.Context(), &pass{policy: builtin(), now: t0, groups: []*group{g}}); failed > 0 {
				t.Fatalf("%d writes failed", failed)
			}
			var got batchv1.Job
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(job), &got); err != nil {
				t.Fatal(err)
			}
			if hold.HeldBy(got.Annotations) != tt.by || *got.Spec.Suspend != tt.suspended || got.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld {
				t.Errorf("held by %q, suspended: %t, %v", hold.HeldBy(got.Annotations), *got.Spec.Suspend, got.Labels)
			}
		})
	}
}

func TestWorkThatItsQueueDoesNotHoldIsSaidNotToBeHeld(t *testing.T) {
	door := queuedJob(unmanaged) // the record of another kind has the same facts
	gated := func(quota bool) *record {
		pod := waitingRecord("Pod", "p", nil)
		pod.isGated, pod.hasQuota = true, quota
		return pod
	}
	for name, tt := range map[string]struct {
		change func(*testing.T, *group)
		want   string
	}{
		"an object of another kind that runs":  {func(_ *testing.T, g *group) { g.owner.Kind = "JobSet" }, whyNotSuspended},
		"not one that is suspended":            {func(_ *testing.T, g *group) { g.owner.Kind, g.owner.isSuspended = "JobSet", true }, ""},
		"not a Job, whose pods have gates":     {func(*testing.T, *group) {}, ""},
		"a pod to which Kueue has given quota": {func(_ *testing.T, g *group) { g.owner, g.pods = nil, []*record{gated(false), gated(true)} }, hold.ReasonStartedByKueue},
		"not a pod that waits for quota":       {func(_ *testing.T, g *group) { g.owner, g.pods = nil, []*record{gated(false)} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := waitingGroup(t, door)
			tt.change(t, g)
			p := &pass{policy: builtin(), now: t0, groups: []*group{g}}
			p.makeUnqueuedDue()
			if g.whyNotHeld != tt.want || g.isDue() != (tt.want != "") || g.isResumed() {
				t.Errorf("%q, due: %t, resumed: %t, want %q", g.whyNotHeld, g.isDue(), g.isResumed(), tt.want)
			}
			if g.setReason(); tt.want != "" && g.reason != tt.want {
				t.Errorf("reason %q", g.reason)
			}
		})
	}
}

// workloadsOf is what is known of Kueue's Workloads: those of these owners.
func workloadsOf(t *testing.T, owners ...types.UID) *Workloads {
	t.Helper()
	w := newWorkloads(nil)
	var all []any
	for _, uid := range owners {
		all = append(all, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: "job-" + string(uid), OwnerReferences: []metav1.OwnerReference{{UID: uid, Kind: "Job", Controller: ptr.To(true)}},
		}})
	}
	if err := w.resource.Fill(all...); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWorkThatKueueHasSuspendedForNothingIsSaidNotToBeHeld(t *testing.T) {
	for name, tt := range map[string]struct {
		workloads func(*testing.T) *Workloads
		after     time.Duration
		notHeld   bool
	}{
		"once Kueue had time to make a Workload": {func(t *testing.T) *Workloads { return workloadsOf(t, "another") }, workloadGrace, true},
		"not before":                             {func(t *testing.T) *Workloads { return workloadsOf(t) }, workloadGrace - time.Second, false},
		"not if there is one":                    {func(t *testing.T) *Workloads { return workloadsOf(t, "u") }, time.Hour, false},
		"not if nobody knows":                    {func(*testing.T) *Workloads { return nil }, time.Hour, false},
		"not while they are being read":          {func(*testing.T) *Workloads { return newWorkloads(nil) }, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			job := queuedJob(func(*batchv1.Job) {})
			c := jobServer(job.DeepCopy(), func(string) error { return nil })
			l := loopWith(c)
			l.Workloads = tt.workloads(t)
			first := &pass{policy: builtin(), now: t0, groups: []*group{waitingGroup(t, job)}}
			if l.makeUnmanagedDue(first); first.groups[0].isDue() {
				t.Fatal("due at once")
			}
			g := waitingGroup(t, job)
			later := &pass{policy: builtin(), now: t0.Add(tt.after), groups: []*group{g}}
			g.decision.Decided = later.now
			l.Clock = clocktesting.NewFakePassiveClock(later.now)
			g.decision.Start = later.now.Add(time.Hour)
			if l.makeUnmanagedDue(later); g.isDue() != tt.notHeld {
				t.Fatalf("due: %t", g.isDue())
			}
			if !tt.notHeld {
				return
			}
			g.setReason()
			if err := l.recordRelease(t.Context(), later, g, false); err != nil {
				t.Fatal(err)
			}
			var got batchv1.Job
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(job), &got); err != nil {
				t.Fatal(err)
			}
			if !*got.Spec.Suspend || hold.HeldBy(got.Annotations) != "" || got.Labels[v1alpha1.StateLabel] != v1alpha1.StateReleased ||
				got.Annotations[v1alpha1.OutcomeAnnotation] != v1alpha1.OutcomeNotHeld || got.Annotations[v1alpha1.ReasonAnnotation] != whyNotManaged {
				t.Errorf("suspended: %t, %v %v", *got.Spec.Suspend, got.Labels, got.Annotations)
			}
			if a, found := l.Events.queue.next(); !found || a.reason != v1alpha1.EventNotHeld {
				t.Errorf("announced %q", a.reason)
			}
		})
	}
}

func TestAJobThatWeSuspendedBeforeItCameIntoAQueueIsResumedByKueue(t *testing.T) {
	for name, tt := range map[string]struct {
		workloads *Workloads
		suspended bool // after the release
	}{
		"by Kueue, which manages it":        {workloadsOf(t, "u"), true},
		"by us, if Kueue may not manage it": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			job := queuedJob(func(j *batchv1.Job) { j.Annotations[v1alpha1.HeldByAnnotation] = v1alpha1.HoldBySuspend })
			c := jobServer(job.DeepCopy(), func(string) error { return nil })
			l, g := loopWith(c), dueGroup(t, job)
			l.Workloads = tt.workloads
			if err := l.recordRelease(t.Context(), &pass{policy: builtin(), now: t0}, g, false); err != nil {
				t.Fatal(err)
			}
			var got batchv1.Job
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(job), &got); err != nil {
				t.Fatal(err)
			}
			if *got.Spec.Suspend != tt.suspended || hold.IsAtQueue(got.Annotations) || got.Labels[v1alpha1.StateLabel] != v1alpha1.StateReleased {
				t.Errorf("suspended: %t, %v %v", *got.Spec.Suspend, got.Labels, got.Annotations)
			}
		})
	}
}

func TestWorkLeavesItsQueueThoughOurNotesAreRefused(t *testing.T) {
	refusing := func(words ...string) func(string) error {
		return func(patch string) error {
			for _, word := range words {
				if strings.Contains(patch, word) {
					return apierrors.NewForbidden(batchv1.Resource("jobs"), "j", errors.New("no notes"))
				}
			}
			return nil
		}
	}
	noNotes := []string{v1alpha1.ReasonAnnotation, v1alpha1.StartedAnnotation}
	for name, tt := range map[string]struct {
		by, whyNotHeld string
		refused        []string
		recorded       bool
	}{
		"what Kueue opens, with its label":      {by: v1alpha1.HoldBySuspend, refused: noNotes, recorded: true},
		"what Kueue opens, without a label":     {by: v1alpha1.HoldBySuspend, refused: append(noNotes, "labels")},
		"what is not held, with its label":      {by: v1alpha1.HoldByKueue, whyNotHeld: whyNotManaged, refused: noNotes, recorded: true},
		"what is not held, without a label":     {by: v1alpha1.HoldByKueue, whyNotHeld: whyNotManaged, refused: append(noNotes, "labels")},
		"what is not held, with a note at last": {by: v1alpha1.HoldByKueue, whyNotHeld: whyNotManaged, recorded: true},
	} {
		for _, minimal := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, minimal %t", name, minimal), func(t *testing.T) {
				job := queuedJob(func(j *batchv1.Job) { j.Annotations[v1alpha1.HeldByAnnotation] = tt.by })
				c := jobServer(job.DeepCopy(), refusing(tt.refused...))
				l, g := loopWith(c), dueGroup(t, job)
				l.Workloads, g.whyNotHeld = workloadsOf(t, "u"), tt.whyNotHeld
				g.setReason()
				if err := l.recordRelease(t.Context(), &pass{policy: builtin(), now: t0}, g, minimal); err != nil {
					t.Fatal(err)
				}
				var got batchv1.Job
				if err := c.Get(t.Context(), client.ObjectKeyFromObject(job), &got); err != nil {
					t.Fatal(err)
				}
				if _, isGated := got.Annotations[hold.KueueGatesAnnotation]; isGated || !*got.Spec.Suspend {
					t.Errorf("suspended: %t, %v", *got.Spec.Suspend, got.Annotations)
				}
				if isReleased := got.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased; isReleased != tt.recorded || l.refusals.isReleased(g.owner) == tt.recorded {
					t.Errorf("recorded: %t, known as released: %t", isReleased, l.refusals.isReleased(g.owner))
				}
				if ours, isOurs := l.refusals.unrecordedRelease(g.owner); isOurs && (ours.Reason != g.reason || ours.Outcome != g.outcome()) {
					t.Errorf("%+v is to be recorded later", ours)
				}
			})
		}
	}
}

func TestWorkWhoseGateSomebodyElseRemovesIsTaken(t *testing.T) {
	g := waitingGroup(t, queuedJob(func(j *batchv1.Job) { unmanaged(j); delete(j.Annotations, hold.KueueGatesAnnotation) }))
	g.owner.Kind = "JobSet"
	p := &pass{policy: builtin(), now: t0, groups: []*group{g}}
	p.makeUnqueuedDue()
	p.makeResumedDue()
	if g.setReason(); !g.isDue() || g.reason != hold.ReasonTaken {
		t.Errorf("due: %t, %q", g.isDue(), g.reason)
	}
}

func TestAPartOfAWholeNeedsNoWorkload(t *testing.T) {
	for kind, want := range map[string]bool{"JobSet": false, "CronJob": true} {
		apiVersion := map[string]string{"JobSet": "jobset.x-k8s.io/v1alpha2", "CronJob": "batch/v1"}[kind]
		g := waitingGroup(t, queuedJob(func(j *batchv1.Job) {
			j.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: "o", UID: "o", Controller: ptr.To(true)}}
		}))
		if got := (&Loop{Workloads: workloadsOf(t)}).waitsForNothing(g.owner); got != want {
			t.Errorf("of a %s: waits for nothing: %t", kind, got)
		}
	}
}

func TestAPodToWhichKueueHasGivenQuotaIsNoRelease(t *testing.T) {
	for reason, wantEvent := range map[string]string{hold.ReasonStartedByKueue: v1alpha1.EventNotHeld, "": v1alpha1.EventReleased} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", UID: "p", CreationTimestamp: metav1.NewTime(t0)}}
		pod.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}}
		c := fake.NewClientBuilder().WithObjects(pod.DeepCopy()).Build()
		l := loopWith(c)
		g := &group{pods: []*record{stripped(t, newRecordMaker(), pod)}, task: plan.Task{LatestStart: t0.Add(time.Hour)}, whyNotHeld: reason}
		g.decision = plan.Decision{Decided: t0, Start: t0, Cause: plan.CauseCleanestNow, Expected: 100, ExpectedAtOnce: 100}
		g.setReason()
		if err := l.releasePod(t.Context(), &pass{policy: builtin(), now: t0}, g, g.pods[0], false); err != nil {
			t.Fatal(err)
		}
		var got corev1.Pod
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(pod), &got); err != nil {
			t.Fatal(err)
		}
		if hold.HasGate(got.Spec.SchedulingGates) || got.Annotations[v1alpha1.OutcomeAnnotation] != g.outcome() {
			t.Errorf("%q: %v %v", reason, got.Spec.SchedulingGates, got.Annotations)
		}
		if a, found := l.Events.queue.next(); !found || a.reason != wantEvent {
			t.Errorf("%q: announced %q", reason, a.reason)
		}
		if n := testutil.ToFloat64(l.Metrics.released.WithLabelValues("default", string(plan.CauseCleanestNow))); n > 0 != (reason == "") {
			t.Errorf("%q: %v pods count as released", reason, n)
		}
	}
}
